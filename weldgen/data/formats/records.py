"""What annotations say: a box, an image with its boxes or class, and all images of a source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weldgen.data.dataset import Failure
from weldgen.errors import DataError

FOLDER, YOLO, COCO, CSV = "folder", "yolo", "coco", "csv"

Corners = tuple[float, float, float, float]
Outline = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Box:
    """A labelled rectangle of an image.

    Attributes:
        label: Its class.
        corners: Left, top, right, bottom; of the upright image.
        relative: Whether the corners are shares of the image's sides instead of pixels.
        where: Where it was read, for messages.
        outline: Points of the polygon or turned box that it is the bounding box of, in the units of the corners; empty
            for a plain box.

    Raises:
        ValueError: It has no area.
    """

    label: str
    corners: Corners
    relative: bool
    where: str
    outline: Outline = ()

    def __post_init__(self) -> None:
        left, top, right, bottom = self.corners
        if left >= right or top >= bottom:
            raise ValueError(f"the box from ({left:g}, {top:g}) to ({right:g}, {bottom:g}) has no area")

    def pixels(self, size_px: tuple[int, int]) -> Corners:
        """Left, top, right, bottom in pixels, clipped to an image of (width, height).

        Raises:
            DataError: Nothing of the box lies in the image.
        """
        (width, height), (left, top, right, bottom) = size_px, self.corners
        scale_x, scale_y = (width, height) if self.relative else (1, 1)
        left, right = max(0.0, left * scale_x), min(float(width), right * scale_x)
        top, bottom = max(0.0, top * scale_y), min(float(height), bottom * scale_y)
        if left >= right or top >= bottom:
            raise DataError(f"{self.where}: the box lies outside the image of {width} x {height} pixels")
        return left, top, right, bottom

    def outline_px(self, size_px: tuple[int, int]) -> list[tuple[float, float]]:
        """Points of the outline on an image of (width, height), in pixels, not clipped; empty for a plain box."""
        scale_x, scale_y = size_px if self.relative else (1, 1)
        return [(x * scale_x, y * scale_y) for x, y in self.outline]


@dataclass(frozen=True)
class Annotated:
    """One image and what is said of it.

    Attributes:
        path: The file.
        name: Its path below the source, without folders called `images`, with forward slashes; unique.
        boxes: Its boxes in the order of the file.
        label: Its class where whole images are labelled, else empty.
        split: `train`, `val`, `test`, or empty where the source does not say.
        group: Name of what must stay in one split, or empty.
        size_px: Width and height that the annotation was made for, where it says so.
        where: Where it was read, for messages.
    """

    path: Path
    name: str = ""
    boxes: tuple[Box, ...] = ()
    label: str = ""
    split: str = ""
    group: str = ""
    size_px: tuple[int, int] | None = None
    where: str = ""


@dataclass(frozen=True)
class Annotations:
    """What a reader found.

    Attributes:
        root: Folder that names are relative to.
        images: Sorted by name.
        classes: Names of all classes, in the source's order.
        boxed: Whether boxes are labelled; else whole images are.
        failures: Images and annotations that cannot be used.
        notes: Sentences for the user.
    """

    root: Path
    images: tuple[Annotated, ...]
    classes: tuple[str, ...]
    boxed: bool
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()


def bounds(points: Sequence[tuple[float, float]]) -> Corners:
    """Left, top, right, bottom of points."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def number(value: object) -> float:
    """A finite number.

    Raises:
        ValueError: It is none.
    """
    try:
        found = float(str(value))
    except ValueError as error:
        raise ValueError(f"'{value}' is no number") from error
    if not math.isfinite(found):
        raise ValueError(f"'{value}' is no finite number")
    return found
