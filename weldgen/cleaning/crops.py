"""Cut out the surroundings of holes, and paste back the pixels of the holes alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.morphology import connected

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Inpaint = Callable[[Sequence[RGB], Sequence[Mask]], list[RGB]]


@dataclass(frozen=True)
class Crop:
    """A rectangle of a photo with holes in its middle.

    Attributes:
        window: Rows and columns of the rectangle, metal included.
        inner: Rows and columns of the holes that belong to it, relative to the rectangle; holes of other crops may
            reach into the rest.
    """

    window: tuple[slice, slice]
    inner: tuple[slice, slice]


def find_crops(holes: Mask, context_px: int) -> list[Crop]:
    """Rectangles around the holes, with metal on all sides where the photo has it.

    Args:
        holes: (H, W) bool.
        context_px: Metal around a hole; holes that lie closer than a quarter of it share a crop.
    """
    near = cv2.dilate(holes.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    boxes = [(columns.start, rows.start, columns.stop, rows.stop) for (rows, columns), _ in connected(near)]
    height, width = holes.shape
    crops = []
    for x0, y0, x1, y1 in _joined(boxes, context_px // 4):
        left, top = max(0, x0 - context_px), max(0, y0 - context_px)
        window = slice(top, min(height, y1 + context_px)), slice(left, min(width, x1 + context_px))
        crops.append(Crop(window, (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))))
    return crops


def fill_holes(image: RGB, holes: Mask, inpaint: Inpaint, context_px: int, feather_px: int) -> RGB:
    """Inpaint a photo crop by crop, at full resolution; only pixels of the holes change.

    Args:
        image: (H, W, 3) uint8 RGB.
        holes: (H, W) bool.
        inpaint: Fills a list of crops, given with their holes.
        context_px: Metal around a hole that the inpainter sees.
        feather_px: Width of the blended seam inside the hole.
    """
    crops = find_crops(holes, context_px)
    filled = inpaint([image[crop.window] for crop in crops], [holes[crop.window] for crop in crops])
    result = image.copy()
    for crop, made in zip(crops, filled, strict=True):
        own = np.zeros(made.shape[:2], bool)
        own[crop.inner] = holes[crop.window][crop.inner]
        blended = paste(image[crop.window], made, own, feather_px)
        result[crop.window][own] = blended[own]
    return result


def paste(image: RGB, filled: RGB, hole: Mask, feather_px: int) -> RGB:
    """The image with its hole replaced; the seam is blended inside the hole.

    Args:
        image: (H, W, 3) uint8 RGB.
        filled: The same size, as the inpainter made it.
        hole: (H, W) bool.
        feather_px: Width of the blended seam; 0 for none.
    """
    if feather_px <= 0:
        return np.where(hole[:, :, None], filled, image)
    padded = cv2.copyMakeBorder(hole.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    weight = np.clip(depth / (feather_px + 1), 0, 1)[:, :, None]
    blended = weight * filled + (1 - weight) * image
    return np.where(hole[:, :, None], np.round(blended), image).astype(np.uint8)


def _joined(boxes: list[tuple[int, int, int, int]], gap_px: int) -> list[tuple[int, int, int, int]]:
    """Boxes that lie closer than a gap become one, until none do."""
    boxes = sorted(boxes)
    changed = True
    while changed:
        changed = False
        kept: list[tuple[int, int, int, int]] = []
        for box in boxes:
            for index, other in enumerate(kept):
                if (
                    box[0] <= other[2] + gap_px
                    and other[0] <= box[2] + gap_px
                    and box[1] <= other[3] + gap_px
                    and other[1] <= box[3] + gap_px
                ):
                    kept[index] = (
                        min(box[0], other[0]), min(box[1], other[1]), max(box[2], other[2]), max(box[3], other[3]),
                    )  # fmt: skip
                    changed = True
                    break
            else:
                kept.append(box)
        boxes = kept
    return boxes
