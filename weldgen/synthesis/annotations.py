"""Datasets for a detector of defects, made from the masks: YOLO's folders, or COCO's one file.

Both are written at the end of a run, image by image from the mask files, so that neither memory nor an interruption
matters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from weldgen.data.dataset import Sample
from weldgen.data.images import decode_photo
from weldgen.data.writer import link_or_copy
from weldgen.runtime import output_errors, temporary_for, write_atomic
from weldgen.synthesis.making import MASK_VALUES
from weldgen.synthesis.shards import mask_name

Mask = npt.NDArray[np.uint8]

YOLO, COCO = "annotations/yolo", "annotations/coco.json"
# Pieces of a mask that are smaller are no object of their own.
_LEAST_PX = 4
# Names that this program gives to images, without their suffix.
_OWN_NAME = re.compile(r".+__.+_\d{6}")


@dataclass(frozen=True)
class Instance:
    """One connected piece of a defect.

    Attributes:
        kind: Of the defect.
        box: Left, top, right, bottom in pixels, the last two exclusive.
        area_px: Its pixels.
        outline: Corners of its outline, x and y in turn.
    """

    kind: str
    box: tuple[int, int, int, int]
    area_px: int
    outline: tuple[int, ...]


def instances_of(mask: Mask) -> list[Instance]:
    """The pieces of a mask file, (H, W) uint8 with a value for each kind of defect."""
    found = []
    for kind, value in MASK_VALUES.items():
        own = (mask == value).astype(np.uint8)
        if not own.any():
            continue
        count, pieces, figures, _ = cv2.connectedComponentsWithStats(own, connectivity=8)
        for piece in range(1, count):
            x, y, width, height, area = (int(value) for value in figures[piece])
            if area < _LEAST_PX:
                continue
            window = (pieces[y : y + height, x : x + width] == piece).astype(np.uint8)
            outlines, _ = cv2.findContours(window, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y))
            corners = tuple(int(number) for number in outlines[0].ravel())
            found.append(Instance(kind, (x, y, x + width, y + height), area, corners))
    return found


def write_annotations(style: str, out: Path, samples: Sequence[Sample]) -> int:
    """Write the dataset of one style for a finished run; returns how many objects it names.

    Args:
        style: `yolo` or `coco`; of `none` and `masks` there is nothing to write.
        out: Folder of the run.
        samples: Its images.

    Raises:
        OutputError: The disk is full.
    """
    _remove_stale(out / YOLO, {_yolo_name(sample) for sample in samples})
    writers = {"yolo": _write_yolo, "coco": _write_coco}
    return writers[style](out, samples) if style in writers else 0


def _yolo_name(sample: Sample) -> str:
    return sample.file_name.replace("/", "__")


def _remove_stale(root: Path, names: set[str]) -> None:
    """Take the images of an earlier run that this one no longer has out of its YOLO folder."""
    kept = {Path(name).stem for name in names}
    for folder in (root / "images" / "train", root / "labels" / "train"):
        for path in folder.iterdir() if folder.is_dir() else ():
            if _OWN_NAME.fullmatch(path.stem) and path.stem not in kept:
                path.unlink()


def _write_yolo(out: Path, samples: Sequence[Sample]) -> int:
    """`images/train`, and `labels/train` with a line `class x y width height`, in shares of the image, a piece."""
    root, kinds, total = out / YOLO, list(MASK_VALUES), 0
    for sample, instances in _read(out, samples):
        name = _yolo_name(sample)
        lines = []
        for piece in instances:
            left, top, right, bottom = piece.box
            middle = ((left + right) / 2 / sample.width, (top + bottom) / 2 / sample.height)
            size = ((right - left) / sample.width, (bottom - top) / sample.height)
            lines.append(" ".join([str(kinds.index(piece.kind)), *(f"{number:.6f}" for number in (*middle, *size))]))
        write_atomic(root / "labels" / "train" / Path(name).with_suffix(".txt"), "".join(f"{line}\n" for line in lines))
        image = root / "images" / "train" / name
        with output_errors(image):
            image.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(out / sample.file_name, image, link=True)
        total += len(lines)
    about = {"path": ".", "train": "images/train", "names": dict(enumerate(kinds))}
    write_atomic(root / "data.yaml", yaml.safe_dump(about, sort_keys=False))
    return total


def _write_coco(out: Path, samples: Sequence[Sample]) -> int:
    """One file; `file_name` is relative to the run's folder, `segmentation` the outline of a piece."""
    path, kinds, total = out / COCO, list(MASK_VALUES), 0
    temporary = temporary_for(path)
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write('{"categories": ')
            json.dump([{"id": number, "name": kind} for number, kind in enumerate(kinds, start=1)], stream)
            stream.write(',\n"images": [')
            pictures = enumerate(samples, start=1)
            _write_list(
                stream,
                ({"id": k, "file_name": s.file_name, "width": s.width, "height": s.height} for k, s in pictures),
            )
            stream.write('],\n"annotations": [')
            total = _write_list(stream, _coco_objects(out, samples, kinds))
            stream.write("]}\n")
        temporary.replace(path)
    return total


def _coco_objects(out: Path, samples: Sequence[Sample], kinds: Sequence[str]) -> Iterator[dict[str, Any]]:
    number = 0
    for image, (_, instances) in enumerate(_read(out, samples), start=1):
        for piece in instances:
            number += 1
            left, top, right, bottom = piece.box
            yield {
                "id": number,
                "image_id": image,
                "category_id": kinds.index(piece.kind) + 1,
                "bbox": [left, top, right - left, bottom - top],
                "area": piece.area_px,
                # a polygon has three corners at least
                "segmentation": [list(piece.outline)] if len(piece.outline) >= 6 else [],
                "iscrowd": 0,
            }


def _write_list(stream: TextIO, records: Iterator[dict[str, Any]]) -> int:
    count = 0
    for count, record in enumerate(records, start=1):
        stream.write(("" if count == 1 else ",") + "\n" + json.dumps(record))
    return count


def _read(out: Path, samples: Sequence[Sample]) -> Iterator[tuple[Sample, list[Instance]]]:
    """Each image with the pieces of its mask."""
    for sample in samples:
        mask = decode_photo((out / mask_name(sample.file_name)).read_bytes(), mask_name(sample.file_name)).pixels
        yield sample, instances_of(np.ascontiguousarray(mask[:, :, 0]))
