"""COCO: JSON files with `images`, `annotations` and `categories`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weldgen.data.formats.collector import Collector
from weldgen.data.formats.paths import IMAGES, find_photo, image_files, read_text, relative, split_of
from weldgen.data.formats.records import Annotated, Annotations, Box, Outline, number
from weldgen.errors import DataError

_Entry = Mapping[str, Any]


def coco_files(root: Path) -> list[Path]:
    """JSON files in a folder and its subfolders that hold `images`, `annotations` and `categories`."""
    files = [*root.glob("*.json"), *root.glob("*/*.json")]
    return sorted(file for file in files if not file.name.startswith(".") and _is_coco(file))


def read_coco(source: Path) -> Annotations:
    """COCO: `images`, `annotations` with `bbox` (x, y, width, height in pixels) and `categories`.

    Polygons of `segmentation` are read too.

    A split is read from the file's name or folder (`instances_train.json`, `valid/`) or the photo's folder.

    Args:
        source: The file, or a folder with one or more of them.

    Raises:
        DataError: There is no such file, or it cannot be read.
    """
    root, files = (source.parent, [source]) if source.is_file() else (source, coco_files(source))
    if not files:
        raise DataError(f"{root}: no JSON file with images, annotations and categories", "name the file itself")
    found = Collector(root)
    classes: dict[str, None] = {}
    for file in files:
        images, by_image, names = _read_file(file)
        classes |= dict.fromkeys(names.values())
        for image in images:
            _add_image(found, file, image, by_image.pop(image["id"], []), names)
        for identity, orphans in by_image.items():
            reason = f"{len(orphans)} annotations belong to image {identity}, which the file does not list"
            found.miss(f"{relative(root, file)}, image {identity}", reason)
    unlisted = set(image_files(root)) - set(found.images) - found.refused
    notes = [f"{len(unlisted)} photos are not listed in the COCO file and were left out"] if unlisted else []
    return found.finish(classes, boxed=True, notes=notes)


def _read_file(file: Path) -> tuple[list[_Entry], dict[Any, list[_Entry]], dict[Any, str]]:
    """Images, annotations by the image's id, and names of the classes by theirs."""
    content = _read_json(file)
    if not _has_coco_keys(content):
        raise DataError(f"{file}: not a COCO file; expected images, annotations and categories")
    try:
        names = {category["id"]: str(category["name"]) for category in content["categories"]}
        by_image: dict[Any, list[_Entry]] = {image["id"]: [] for image in content["images"]}
        listed = len(by_image)
        for annotation in content["annotations"]:
            by_image.setdefault(annotation["image_id"], []).append(annotation)
    except (KeyError, TypeError) as error:
        raise DataError(f"{file}: an entry of images, annotations or categories is wrong: {error!r}") from error
    if listed < len(content["images"]):
        raise DataError(f"{file}: two images have the same id", "export the file again")
    return content["images"], by_image, names


def _add_image(
    found: Collector, file: Path, image: _Entry, annotations: Sequence[_Entry], names: Mapping[Any, str]
) -> None:
    where = relative(found.root, file)
    name = str(image.get("file_name", ""))
    token = file.stem.rpartition("_")[2]
    above = [file.parent, found.root, found.root / token, found.root / IMAGES / token]
    try:
        photo = find_photo(found.root, name, [place for folder in above for place in (folder, folder / IMAGES)])
    except ValueError as error:
        found.miss(name or f"{where}, image {image['id']}", f"{where}: {error}")
        return
    try:
        boxes = tuple(_box(where, annotation, names) for annotation in annotations)
        size = (image.get("width"), image.get("height"))
        size_px = (int(number(size[0])), int(number(size[1]))) if all(size) else None
    except (ValueError, TypeError) as error:
        found.refuse(photo, f"{where}: {error}")
        return
    words = re.split(r"[^a-z]+", file.stem.lower())
    split = split_of([*words, file.parent.name, *photo.relative_to(found.root).parts[:-1]])
    found.add(Annotated(photo, boxes=boxes, split=split, size_px=size_px, where=where))


def _box(file: str, annotation: _Entry, names: Mapping[Any, str]) -> Box:
    where = f"annotation {annotation.get('id')}"
    category = annotation.get("category_id")
    if category not in names:
        known = ", ".join(map(str, names))
        raise ValueError(f"{where}: category {category} is not listed; there are: {known}")
    bbox = annotation.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise ValueError(f"{where}: bbox is {bbox}; accepted: x, y, width, height")
    try:
        x, y, width, height = map(number, bbox)
        corners, outline = (x, y, x + width, y + height), _outline(annotation.get("segmentation"))
        return Box(names[category], corners, relative=False, where=f"{file}, {where}", outline=outline)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _outline(segmentation: object) -> Outline:
    """The points of all polygons of an annotation; empty where it has none, or a run-length mask."""
    rings = segmentation if isinstance(segmentation, list) else []
    if any(not isinstance(ring, list) or len(ring) < 6 or len(ring) % 2 for ring in rings):
        return ()  # the box says where the object lies; tools write empty and cut-short rings beside it
    return tuple((number(x), number(y)) for ring in rings for x, y in zip(ring[::2], ring[1::2], strict=True))


def _is_coco(file: Path) -> bool:
    try:
        return _has_coco_keys(_read_json(file))
    except DataError:
        return False  # another tool's file; one that is named by the user is refused with its fault


def _has_coco_keys(content: object) -> bool:
    return isinstance(content, dict) and all(
        isinstance(content.get(key), list) for key in ("images", "annotations", "categories")
    )


def _read_json(file: Path) -> Any:
    try:
        return json.loads(read_text(file))
    except ValueError as error:
        raise DataError(f"{file} is no JSON: {error}") from error
