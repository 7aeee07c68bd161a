"""Small operations on masks, (H, W) bool."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Window = tuple[slice, slice]


def dilate(mask: Mask, radius_px: int) -> Mask:
    """All pixels within `radius_px` of a mask, (H, W) bool."""
    if radius_px == 0 or not mask.any():
        return mask
    window = window_of(mask, radius_px)
    result = np.zeros(mask.shape, bool)
    outside = (~mask[window]).astype(np.uint8)
    np.less_equal(cv2.distanceTransform(outside, cv2.DIST_L2, 5), radius_px, out=result[window])
    return result


def window_of(mask: Mask, margin_px: int) -> Window:
    """Rows and columns that hold all of a mask and a margin; nothing of an empty one."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    if not width:
        return slice(0, 0), slice(0, 0)
    rows = slice(max(0, top - margin_px), min(mask.shape[0], top + height + margin_px))
    return rows, slice(max(0, left - margin_px), min(mask.shape[1], left + width + margin_px))


def stroke_width(strokes: Mask) -> float:
    """Mean width in pixels of strokes, (H, W) bool with at least one pixel; what lies beyond the image is no stroke."""
    padded = cv2.copyMakeBorder(strokes.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distances = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1][strokes]
    # the mean distance to the edge is a quarter of the width and half a pixel
    return max(1.0, 4 * float(distances.mean()) - 2)


def hysteresis(values: Floats, low: float, high: float) -> Mask:
    """Pixels above `low` that are connected to one above `high`, (H, W) bool."""
    certain, result = values > high, np.zeros(values.shape, bool)
    if not certain.any():
        return result
    likely = values > low
    window = window_of(likely, 0)
    count, labels = cv2.connectedComponents(likely[window].astype(np.uint8), connectivity=8)
    strong = np.zeros(count, bool)
    strong[labels[certain[window]]] = True
    strong[0] = False
    result[window] = strong[labels]
    return result


def connected(mask: Mask) -> Iterator[tuple[Window, Mask]]:
    """Connected pieces of a mask, corners count: the rows and columns of each, and which pixels there belong to it."""
    if not mask.any():
        return
    window = window_of(mask, 0)
    first_row, first_column = (part.start for part in window)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask[window].astype(np.uint8), connectivity=8)
    for index, (x, y, width, height, _) in enumerate(stats[1:].tolist(), 1):
        top, left = first_row + y, first_column + x
        place = slice(top, top + height), slice(left, left + width)
        yield place, labels[y : y + height, x : x + width] == index
