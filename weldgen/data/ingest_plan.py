"""Plan what annotated photos become: photos of one class each, or crops of their boxes; nothing is written here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from weldgen.config import Config
from weldgen.data.crops import CropsConfig, Window, crop_window
from weldgen.data.dataset import SIDE_FOLDERS, SPLIT_FOLDERS, Failure, Sample
from weldgen.data.formats.paths import relative
from weldgen.data.formats.records import Annotated, Annotations, Box
from weldgen.data.images import image_size
from weldgen.data.upright import Rectangle, rectangle_around
from weldgen.errors import DataError
from weldgen.runtime import content_hash, file_hash, track

# The field of a metadata line that says where a photo came from; `source` is the stage clean's.
INGESTED = "ingested"


class PresenceConfig(Config):
    """How the boxes of a photo become its class."""

    positive: tuple[str, ...] = Field((), description="classes whose boxes count; none named: all")
    present: str = Field("defect", min_length=1, description="class of photos with such a box")
    absent: str = Field("no_defect", min_length=1, description="class of photos without one")
    by_class: bool = Field(False, description="the class of the largest such box instead of `present`")

    @model_validator(mode="after")
    def _check(self) -> PresenceConfig:
        if self.present == self.absent:
            raise ValueError(f"present and absent are both '{self.present}'")
        return self


@dataclass(frozen=True)
class Item:
    """One file to be made: its line, and the part of the photo that is cut out (None: the file as it is)."""

    sample: Sample
    part: Window | Rectangle | None = None

    @property
    def key(self) -> str:
        """What the file and its line depend on."""
        sample, part = self.sample, self.part
        where = astuple(part) if isinstance(part, Rectangle) else part
        return content_hash(json.dumps([self.photo, sample.label, sample.split, sample.group, where]).encode())

    @property
    def file(self) -> str:
        """The photo's path below the source."""
        return str(self.sample.extra[INGESTED]["file"])

    @property
    def photo(self) -> str:
        """Hash of the photo."""
        return str(self.sample.extra[INGESTED]["photo"])


@dataclass(frozen=True)
class Plan:
    """What a source becomes.

    Attributes:
        photos: Each photo with its files.
        failures: Photos and annotations that cannot be used.
        notes: Sentences for the user.
    """

    photos: tuple[tuple[Path, tuple[Item, ...]], ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]

    @property
    def items(self) -> list[Item]:
        """The files of all photos."""
        return [item for _, items in self.photos for item in items]


def make_plan(found: Annotations, origin: str, how: PresenceConfig | CropsConfig) -> Plan:
    """Look at every photo's header and hash; photos whose boxes do not fit them are failures.

    Args:
        found: What the source says.
        origin: Name of the source.
        how: Settings of what boxes become: the class of their photo, or crops.

    Raises:
        DataError: A class cannot be a folder of a dataset.
    """
    min_px = how.min_px if isinstance(how, CropsConfig) else 0
    photos, failures, small = [], list(found.failures), 0
    first: dict[str, Annotated] = {}
    for image in track(found.images, total=len(found.images), description="look"):
        try:
            whole = _look(image, found.root, origin)
            same = first.setdefault(whole.id, image)
            if same.split != image.split:
                raise DataError(f"the same photo as {same.name}, which lies in split '{same.split}'")
            if isinstance(how, CropsConfig):
                items = _crops(whole, image, how)
            else:
                items = [_presence(whole, image, how, found.boxed)]
        except DataError as error:
            failures.append(Failure(relative(found.root, image.path), error.message))
            continue
        kept = [item for item in items if min(item.sample.width, item.sample.height) >= min_px]
        small += len(items) - len(kept)
        photos.append((image.path, tuple(kept)))
    made = [item.sample for _, items in photos for item in items]
    check_class_names({sample.label for sample in made})
    skipped = [f"{small} crops with a side below {min_px} pixels were skipped (crops.min_px)"] if small else []
    if isinstance(how, CropsConfig) and not how.upright and any(b.outline for i in found.images for b in i.boxes):
        skipped.append("there are turned boxes or polygons: crops.upright=true cuts along them")
    return Plan(tuple(photos), tuple(failures), (*skipped, *_notes(made)))


def check_class_names(names: Iterable[str]) -> None:
    """Refuse classes that cannot be a folder of a dataset.

    Raises:
        DataError: A name is a path, is hidden, or means something else in a dataset.
    """
    for name in sorted(names):
        reserved = name in SIDE_FOLDERS or name.lower() in SPLIT_FOLDERS
        if reserved or name.startswith(".") or name != name.strip() or re.search(r'[/\\:*?"<>|\x00-\x1f]', name):
            raise DataError(
                f"class '{name}' cannot be a folder's name in a dataset", "give it another name in the annotations"
            )


def _look(image: Annotated, root: Path, origin: str) -> Sample:
    """The line of a photo, but for its name; its size must be the one that the boxes were drawn on."""
    width, height = image_size(image.path)
    if image.size_px and image.size_px != (width, height):
        raise DataError(
            f"{image.where}: annotated at {image.size_px[0]} x {image.size_px[1]} pixels, "
            f"but the photo has {width} x {height}"
        )
    digest = file_hash(image.path)
    extra = {INGESTED: {"from": origin, "file": relative(root, image.path), "photo": digest}}
    return Sample("", digest, image.label, image.split, group=image.group, width=width, height=height, extra=extra)


def _presence(whole: Sample, image: Annotated, config: PresenceConfig, boxed: bool) -> Item:
    """The photo as it is, with one class."""
    label = image.label
    if boxed:
        areas = []
        for box in image.boxes:
            left, top, right, bottom = box.pixels((whole.width, whole.height))
            if not config.positive or box.label in config.positive:
                areas.append(((right - left) * (bottom - top), box.label))
        present = max(areas, key=lambda area: area[0])[1] if areas and config.by_class else config.present
        label = present if areas else config.absent
    return Item(replace(whole, file_name=f"{label}/{image.name}", label=label))


def _crops(whole: Sample, image: Annotated, config: CropsConfig) -> list[Item]:
    """A crop for each box; those of one photo are one group, so that they never straddle a split."""
    items = []
    name, size_px = PurePosixPath(image.name), (whole.width, whole.height)
    for index, box in enumerate(image.boxes):
        part, about = _part(box, size_px, config)
        width, height = part.size_px() if isinstance(part, Rectangle) else (part[2] - part[0], part[3] - part[1])
        sample = replace(
            whole,
            file_name=f"{box.label}/{name.with_name(f'{name.stem}_{index}{name.suffix}')}",
            label=box.label,
            group=whole.group or whole.id,
            width=width,
            height=height,
            extra={INGESTED: {**whole.extra[INGESTED], **about}},
        )
        items.append(Item(sample, part))
    return items


def _part(box: Box, size_px: tuple[int, int], config: CropsConfig) -> tuple[Window | Rectangle, dict[str, Any]]:
    """What is cut out for a box, and what its line says of that."""
    box_px = box.pixels(size_px)
    about: dict[str, Any] = {"box": [round(edge, 2) for edge in box_px]}
    if config.upright and box.outline:
        try:
            part = rectangle_around(box.outline_px(size_px)).grown(config.margin)
        except ValueError as error:
            raise DataError(f"{box.where}: {error}") from error
        return part, about | {"turned": np.round(part.corners(), 2).tolist()}
    window = crop_window(box_px, size_px, config)
    return window, about | {"window": list(window)}


def _notes(samples: Sequence[Sample]) -> list[str]:
    notes = []
    splits = {sample.split for sample in samples}
    if splits and not splits & {"test", ""}:
        notes.append("the source has no test photos: weldgen evaluate --split val measures on those for validation")
    labels = {sample.label for sample in samples}
    if len(labels) == 1:
        notes.append(f"all photos are of one class, '{labels.pop()}'; a classifier needs two")
    return notes
