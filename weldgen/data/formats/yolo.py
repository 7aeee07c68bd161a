"""YOLO: a text file for each image, class names in `data.yaml` or `classes.txt`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weldgen.data.formats.collector import Collector
from weldgen.data.formats.paths import IMAGES, files_below, image_files, read_text, relative, split_of
from weldgen.data.formats.records import Annotated, Annotations, Box, Corners, Outline, bounds, number
from weldgen.errors import DataError

_LABELS = "labels"
_NAME_FILES = ("classes.txt", "obj.names")
# Labelling tools let a box stick out a little; far beyond it, the numbers are pixels and not shares of the image.
_SLACK = 0.1
# Files that `auto` looks into before it says that text files beside photos are no YOLO labels (captions, say).
_PROBED = 20


def read_yolo(root: Path) -> Annotations:
    """YOLO: `class x y width height` or a polygon on each line, in shares of the image.

    Label files lie in `labels/` where the images lie in `images/`, or beside the images. An image without a label file
    is one without boxes.

    Raises:
        DataError: There are no class names or no label files.
    """
    classes, pose = _read_classes(root)
    photos = image_files(root)
    labels = {photo: _label_file(root, photo) for photo in photos}
    used = {label for label in labels.values() if label}
    if not used:
        raise DataError(
            f"{root}: no photo has a label file", "expected images/a.jpg and labels/a.txt, or both together"
        )
    found = Collector(root)
    for photo, label in labels.items():
        try:
            boxes = _read_boxes(root, label, classes, pose) if label else ()
        except (ValueError, DataError) as error:
            found.refuse(photo, str(error))
            continue
        split = split_of(photo.relative_to(root).parts[:-1])
        found.add(Annotated(photo, boxes=boxes, split=split, where=relative(root, label or photo)))
    for orphan in sorted(_label_like(root, photos) - used):
        found.miss(relative(root, orphan), f"there is no photo called {orphan.stem} for this label file")
    bare = sum(label is None for label in labels.values())
    notes = [f"{bare} photos have no label file and count as photos without boxes"] if bare else []
    return found.finish(classes.values(), boxed=True, notes=notes)


def yolo_evidence(root: Path) -> str:
    """What shows that a folder is annotated so, or empty."""
    labels = [label for label in (_label_file(root, photo) for photo in image_files(root)) if label]
    return f"{len(labels)} label files" if any(map(_starts_like_label, labels[:_PROBED])) else ""


def parse_yolo_line(line: str, classes: Mapping[int, str], *, pose: bool = False) -> tuple[str, Corners, Outline]:
    """Class, (left, top, right, bottom) and the points of a polygon of a line, in shares of the image.

    Args:
        line: `class x y width height`, or `class x1 y1 x2 y2 x3 y3 ...`.
        classes: Index -> name.
        pose: Whether key points follow the box.

    Raises:
        ValueError: It is no such line; the message says why.
    """
    words = line.split()
    if len(words) < 5:
        raise ValueError(f"{len(words)} numbers; accepted: class x y width height, or a class and points")
    index, *values = map(number, words)
    if index not in classes:
        raise ValueError(f"class {words[0]} is out of range; there are the classes {min(classes)} to {max(classes)}")
    values = values[:4] if pose else values
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        raise ValueError(f"{len(values)} numbers follow the class; accepted: 4 of a box, or 3 and more points")
    if any(value < -_SLACK or value > 1 + _SLACK for value in values):
        raise ValueError(f"{max(values, key=abs):g} is no share of the image; accepted: 0 to 1")
    if len(values) == 4:
        x, y, width, height = values
        return classes[int(index)], (x - width / 2, y - height / 2, x + width / 2, y + height / 2), ()
    outline = tuple(zip(values[::2], values[1::2], strict=True))
    return classes[int(index)], bounds(outline), outline


def _read_boxes(root: Path, file: Path, classes: Mapping[int, str], pose: bool) -> tuple[Box, ...]:
    boxes = []
    for line_number, line in enumerate(read_text(file).splitlines(), start=1):
        where = f"{relative(root, file)}, line {line_number}"
        if line.strip():
            try:
                label, corners, outline = parse_yolo_line(line, classes, pose=pose)
                boxes.append(Box(label, corners, relative=True, where=where, outline=outline))
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
    return tuple(boxes)


def _read_classes(root: Path) -> tuple[dict[int, str], bool]:
    """Class names by index from `data.yaml` or `classes.txt`, and whether the labels hold key points."""
    found: dict[Path, dict[int, str]] = {}
    pose = False
    for file in sorted(root.glob("*.y*ml")):
        content = _read_yaml(file)
        names = content.get("names") if isinstance(content, dict) else None
        if isinstance(names, (list, dict)) and names:
            pairs = names.items() if isinstance(names, dict) else enumerate(names)
            found[file] = {_index(file, index): _class_name(file, name) for index, name in pairs}
            pose = pose or "kpt_shape" in content
    if not found:
        for file in (path for path in files_below(root) if path.name in _NAME_FILES):
            lines = [line.strip() for line in read_text(file).splitlines()]
            found[file] = {index: name for index, name in enumerate(lines) if name}
    if not any(found.values()):
        raise DataError(
            f"{root}: there are no names of classes; expected {root / 'data.yaml'} or {root / 'classes.txt'}",
            "write classes.txt with one name a line, in the order of the class numbers",
        )
    if len({tuple(sorted(names.items())) for names in found.values()}) > 1:
        files = ", ".join(relative(root, file) for file in found)
        raise DataError(f"{root}: {files} name different classes", "keep the one that belongs to the labels")
    return next(iter(found.values())), pose


def _read_yaml(file: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(read_text(file))
    except yaml.YAMLError as error:
        raise DataError(f"{file} is no YAML: {' '.join(str(error).split())}") from error


def _index(file: Path, index: object) -> int:
    try:
        return int(str(index))
    except ValueError as error:
        raise DataError(f"{file}: names has the key '{index}'; accepted: a list, or numbers as keys") from error


def _class_name(file: Path, name: object) -> str:
    """A name as text; YAML reads a bare yes, no, on or off as a truth value, whose spelling is lost."""
    if not isinstance(name, (str, int, float)) or isinstance(name, bool):
        raise DataError(f"{file}: names has {name!r}, which is no name", "put the name into quotation marks")
    return str(name)


def _label_file(root: Path, photo: Path) -> Path | None:
    """Where YOLO tools put the labels of a photo; None where there are none."""
    parts = list(photo.relative_to(root).with_suffix(".txt").parts)
    places = [photo.with_suffix(".txt"), photo.parent / _LABELS / f"{photo.stem}.txt"]
    if IMAGES in parts[:-1]:
        last = max(index for index, part in enumerate(parts[:-1]) if part == IMAGES)
        places.insert(0, root.joinpath(*parts[:last], _LABELS, *parts[last + 1 :]))
    return next((place for place in places if place.is_file() and place.name not in _NAME_FILES), None)


def _label_like(root: Path, photos: Sequence[Path]) -> set[Path]:
    """Text files that are labels by their place (`labels/`) or, beside photos, by their content."""
    folders = {photo.parent for photo in photos}
    return {
        file
        for file in files_below(root)
        if file.suffix == ".txt"
        and file.name not in _NAME_FILES
        and (_LABELS in file.relative_to(root).parts[:-1] or (file.parent in folders and _starts_like_label(file)))
    }


def _starts_like_label(file: Path) -> bool:
    with file.open(encoding="utf-8", errors="replace") as stream:
        words = next((line.split() for line in stream if line.strip()), [])
    return len(words) >= 5 and all(re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", word, re.IGNORECASE) for word in words)
