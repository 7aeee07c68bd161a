"""Tell what a source is."""

from __future__ import annotations

from pathlib import Path

from weldgen.data.dataset import METADATA_NAME
from weldgen.data.formats.coco import coco_files
from weldgen.data.formats.paths import IMAGES, image_files, names_of, split_of
from weldgen.data.formats.records import COCO, CSV, FOLDER, YOLO
from weldgen.data.formats.table import TABLE_SUFFIXES, csv_files
from weldgen.data.formats.yolo import yolo_evidence
from weldgen.errors import DataError


def detect_format(source: Path) -> tuple[str, str]:
    """What a source is, and what shows it.

    Returns:
        `folder`, `yolo`, `coco` or `csv`, and a phrase for the user.

    Raises:
        DataError: It is nothing that can be read, or looks like two formats.
    """
    if not source.exists():
        raise DataError(f"{source}: there is no such folder", "weldgen ingest SRC, a folder or a CSV or COCO file")
    if source.is_file():
        formats = {**dict.fromkeys(TABLE_SUFFIXES, CSV), ".json": COCO}
        if source.suffix.lower() not in formats:
            raise DataError(f"{source} is no source; accepted: a folder, a .csv or .tsv table, a COCO .json file")
        return formats[source.suffix.lower()], source.name
    if (source / METADATA_NAME).is_file():
        return FOLDER, METADATA_NAME
    evidence = {YOLO: yolo_evidence(source), COCO: names_of(coco_files(source)), CSV: names_of(csv_files(source))}
    seen = {name: what for name, what in evidence.items() if what}
    classes = _class_folders(source)
    shown = f"class folders {', '.join(classes[:4])}"
    if len(classes) > 1 and seen:
        seen[FOLDER] = shown
    if len(seen) > 1:
        listed = " and as ".join(f"{name} ({what})" for name, what in seen.items())
        raise DataError(f"{source} can be read as {listed}", f"say which with --format: {', '.join(seen)}")
    if not seen and not classes and any(IMAGES in path.relative_to(source).parts for path in image_files(source)):
        content = [path.name for path in sorted(source.iterdir())[:8] if not path.name.startswith(".")]
        raise DataError(
            f"{source} holds photos in {IMAGES}/, but no annotation that can be read; there are: {', '.join(content)}",
            "expected: labels/*.txt (yolo), a .json file (coco), a .csv table, or class folders; --format names one",
        )
    return next(iter(seen.items()), (FOLDER, shown if classes else "no annotation"))


def _class_folders(root: Path) -> list[str]:
    """First folders above photos that are neither a split nor `images`, as class folders are."""
    found = set()
    for photo in image_files(root):
        folders = [part for part in photo.relative_to(root).parts[:-1] if not split_of([part])]
        if folders and IMAGES not in folders:
            found.add(folders[0])
    return sorted(found)
