"""A closer look at writing on large photos: the look at the whole photo loses thin and faded strokes.

From so near scratches look like strokes too. So only regions of writing are looked at, and what is new there counts if
it is about as large as a character, or goes on from ink that was seen before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.detectors import TextRegion
from weldgen.cleaning.ink import InkMap, InkSegmenter
from weldgen.cleaning.morphology import dilate, window_of
from weldgen.cleaning.regions import LEAST_INK_SHARE, LIKELY_INK, SURE_IN_REGION, beyond_px, filled, height_px

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# So many times closer than at the whole photo.
_CLOSER = 2.0
# The network sees tiles of one size, because each new size costs as much again; it knows less at their rim.
_TILE_PX, _RIM_PX = 384, 32
# Writing of higher characters, in pixels of a tile, has broad strokes.
_MOST_HEIGHT_PX = 160
# A character is at least this high, as a share of its region.
_CHARACTER = 0.4


def look_closer(segmenter: InkSegmenter, image: RGB, seen: InkMap, regions: Sequence[TextRegion]) -> InkMap:
    """Add the thin and faint strokes of writing.

    Args:
        segmenter: The ink network.
        image: (H, W, 3) uint8 RGB.
        seen: What the network saw on it.
        regions: What text detectors saw.

    Returns:
        For a photo that the network saw reduced, with writing in it: the map at up to twice the size, with the higher
        probability of ink of both looks in the regions of writing. Else `seen`.
    """
    if segmenter.scale(image) >= 1:
        return seen
    closer = _CLOSER * segmenter.scale(image)
    wanted = [r for r in regions if height_px(r) * closer <= _MOST_HEIGHT_PX and _is_inked(r, seen, image)]
    if not wanted:
        return seen
    size = min(1.0, closer)  # of the map to the photo
    height, width = image.shape[:2]
    found = seen.resized((round(height * size), round(width * size)))
    small = np.asarray(cv2.resize(image, found.ink.shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    places = [dilate(filled(region, size, small.shape), beyond_px(region, size)) for region in wanted]
    near = _near(segmenter, small, np.logical_or.reduce(places), closer / size)
    for region, place in zip(wanted, places, strict=True):
        window = window_of(place, 0)
        least_px = _CHARACTER * height_px(region) * size
        new = _characters(near[window] * place[window], found.ink[window], least_px)
        found.ink[window] = np.maximum(found.ink[window], new)
    return found


def _is_inked(region: TextRegion, seen: InkMap, image: RGB) -> bool:
    inside = filled(region, seen.ink.shape[1] / image.shape[1], seen.ink.shape)
    return bool((seen.ink[inside] > SURE_IN_REGION).sum() >= max(1, LEAST_INK_SHARE * inside.sum()))


def _near(segmenter: InkSegmenter, image: RGB, writing: Mask, enlarged: float) -> Floats:
    """Probability of ink, seen from near, in the tiles that cover the writing, (H, W) float32; 0 elsewhere."""
    probability = np.zeros(writing.shape, np.float32)
    for rows, columns in _tiles(writing, int(_TILE_PX / enlarged), round(_RIM_PX / enlarged)):
        part = image[rows, columns]
        below, right = (int(_TILE_PX / enlarged) - side for side in part.shape[:2])
        padded = cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_REPLICATE)
        there = segmenter.segment_at(np.asarray(padded, np.uint8), enlarged).resized(padded.shape[:2])
        ink = np.where(there.ink > there.stamped, there.ink, 0)[: part.shape[0], : part.shape[1]]
        probability[rows, columns] = np.maximum(probability[rows, columns], ink)
    return probability


def _tiles(writing: Mask, side_px: int, rim_px: int) -> Iterator[tuple[slice, slice]]:
    """Squares, rows and columns, that cover all writing between their rims; those at the border may be smaller."""
    left = writing.astype(np.uint8)
    inner = side_px - 2 * rim_px
    while left.any():
        _, labels, stats, _ = cv2.connectedComponentsWithStats(left, connectivity=8)
        x, y, width, height, _ = stats[1].tolist()
        if width > inner:
            # of a piece that does not fit, what is around its first pixel: the corner of its box may be empty
            x, width = int((labels[y] == 1).argmax()), 1
        # what fits lies in the middle, with what is beside it
        top, start = (
            max(0, min(at - rim_px - max(0, inner - length) // 2, whole - side_px))
            for at, length, whole in ((y, height, writing.shape[0]), (x, width, writing.shape[1]))
        )
        yield slice(top, top + side_px), slice(start, start + side_px)
        bottom, end = (
            at + side_px - (rim_px if at + side_px < whole else 0)
            for at, whole in ((top, writing.shape[0]), (start, writing.shape[1]))
        )
        left[top + (rim_px if top else 0) : bottom, start + (rim_px if start else 0) : end] = 0


def _characters(near: Floats, before: Floats, least_px: float) -> Floats:
    """The pieces of a map that are as large as a character or touch ink that was seen before; the rest is 0."""
    likely = near > LIKELY_INK
    _, labels, stats, _ = cv2.connectedComponentsWithStats(likely.astype(np.uint8), connectivity=8)
    kept = np.maximum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]) >= least_px
    kept[np.unique(labels[likely & (before > LIKELY_INK)])] = True
    kept[0] = False
    return np.where(kept[labels], near, 0).astype(np.float32)
