"""From regions of writing to holes: the strokes, what looks like them, and a margin around all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.detectors import TextRegion
from weldgen.cleaning.ink import REFERENCE_SIDE_PX, Ink, strokes_in, to_lab
from weldgen.cleaning.lookalikes import lookalikes
from weldgen.cleaning.morphology import dilate
from weldgen.cleaning.settings import EASYOCR, RAPIDOCR, MaskConfig
from weldgen.cleaning.surface import backdrop

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# Strokes count as found where they cover a plausible share of the region and stand out from the metal.
_SHARE = (0.02, 0.5)
_MIN_SEPARATION = 2.6
_MIN_LENGTH = 3.0
# A region is believed as it is where its detector is this sure, or two agree on it; else its strokes must be clearer.
_SURE = {EASYOCR: 0.88, RAPIDOCR: 0.8}
_CLEAR = {EASYOCR: 0.5, RAPIDOCR: 0.65}
_CLEAR_SEPARATION = 3.0
_CLEAR_SHARE = 0.35
_CLEAR_UNEVENNESS = 8.0
_CLEAR_LENGTH = 14.0  # a single pore measures 2 to 9
# Two detectors together; on the ripple of a weld their scores add up to 1.4.
_AGREED_SCORES = 1.5
_SAME_REGION = 0.3
# Strokes that look like the ink of other regions, found without a text detector.
INK = "ink"
_INK_SCORE = 0.5
# A larger share of the photo is a weld or the whole part, not writing.
_MAX_BOX_SHARE = 0.06
_MAX_REGION_SHARE = 0.4
# The margin stops short of the part's edge, whose bright line would be lost.
_RIM_PX = 4


@dataclass(frozen=True)
class TextMask:
    """What is to be removed from one photo.

    Attributes:
        holes: (H, W) bool, margin included.
        regions: Regions that were believed to be writing; what looks like metal is not among them.
    """

    holes: Mask
    regions: list[TextRegion]


def text_mask(image: RGB, regions: Sequence[TextRegion], config: MaskConfig) -> TextMask:
    """Holes that cover the writing in the given regions.

    Args:
        image: (H, W, 3) uint8 RGB.
        regions: What the detectors found, in pixels of `image`.
        config: Mode and margin.
    """
    height, width = image.shape[:2]
    if not regions:
        return TextMask(np.zeros((height, width), bool), [])
    scale = min(1.0, REFERENCE_SIDE_PX / max(height, width))
    small = image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    small = np.asarray(small, dtype=np.uint8)
    lab = to_lab(small)
    believed = _believe(lab, regions, scale)
    strokes = np.zeros(lab.shape[:2], bool)
    boxes = strokes.copy()
    for found in believed:
        if _as_box(found, config.mode):
            boxes |= found.inside
        else:
            strokes |= found.strokes
    inks = [found.ink for found in believed if found.reliable]
    found_regions = _unique([found.region for found in believed])
    if config.ink and inks and config.mode != "box":
        more = lookalikes(lab, inks, strokes)
        strokes |= more
        found_regions += _ink_regions(more, scale)
    dark = backdrop(small, strokes | boxes)
    # a box already reaches beyond the ink
    grown = dilate(strokes, scaled_px(config.dilate_px, lab.shape)) | dilate(
        boxes, scaled_px(config.dilate_px / 3, lab.shape)
    )
    grown &= ~dilate(dark, _RIM_PX) | strokes
    holes = cv2.resize(grown.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    return TextMask(holes, found_regions if holes.any() else [])


def scaled_px(pixels: float, shape: Sequence[int]) -> int:
    """A length given for a photo of 1500 px long side, on an image of shape (H, W, ...)."""
    return round(pixels * max(shape[:2]) / REFERENCE_SIDE_PX)


@dataclass(frozen=True, eq=False)
class _Found:
    region: TextRegion
    inside: Mask
    strokes: Mask
    ink: Ink

    @property
    def sure(self) -> bool:
        return self.region.score >= _SURE[self.region.source]

    @property
    def reliable(self) -> bool:
        ink = self.ink
        return _SHARE[0] <= ink.share <= _SHARE[1] and ink.separation >= _MIN_SEPARATION and ink.length >= _MIN_LENGTH

    @property
    def clear(self) -> bool:
        ink = self.ink
        return (
            self.reliable
            and ink.dark
            and self.region.score >= _CLEAR[self.region.source]
            and ink.separation >= _CLEAR_SEPARATION
            and ink.share <= _CLEAR_SHARE
            and ink.unevenness <= _CLEAR_UNEVENNESS
            and (ink.coloured or ink.length >= _CLEAR_LENGTH)
        )


def _region_strokes(lab: Floats, region: TextRegion, scale: float) -> _Found:
    """Strokes of one region, searched a little beyond its polygon, as full-size masks."""
    shape, polygon = lab.shape[:2], region.polygon * scale
    _, size, _ = cv2.minAreaRect(polygon)
    height_px = max(4.0, min(size))
    margin = round(0.35 * height_px) + 4
    left, top = np.maximum(np.floor(polygon.min(axis=0)).astype(int) - 2 * margin, 0)
    right, bottom = np.minimum(np.ceil(polygon.max(axis=0)).astype(int) + 2 * margin, shape[::-1])
    window = np.s_[top:bottom, left:right]
    box = np.zeros((bottom - top, right - left), np.uint8)
    cv2.fillPoly(box, [np.round(polygon - [left, top]).astype(np.int32)], 1)
    wide = dilate(box > 0, round(0.15 * height_px))
    strokes, ink = strokes_in(lab[window], wide, height_px)
    full_box, full_strokes = np.zeros(shape, bool), np.zeros(shape, bool)
    full_box[window] = box > 0
    full_strokes[window] = strokes
    return _Found(region, full_box, full_strokes, ink)


def _believe(lab: Floats, regions: Sequence[TextRegion], scale: float) -> list[_Found]:
    """The regions that are writing.

    First those of which a detector is sure, on which two agree, or whose strokes are clear; then those that were
    written with the pen of one of them.
    """
    found = [_region_strokes(lab, region, scale) for region in regions]
    found = [f for f in found if f.inside.mean() <= _MAX_REGION_SHARE]
    sure = [f for f in found if _agreed(f.region, regions) or f.sure or f.clear]
    doubtful = [f for f in found if f not in sure]
    pens = [f.ink for f in sure if f.reliable and f.ink.telling]
    return sure + [f for f in doubtful if f.reliable and any(f.ink.same_pen(pen) for pen in pens)]


def _as_box(found: _Found, mode: str) -> bool:
    if mode == "auto":
        return not found.reliable and bool(found.inside.mean() <= _MAX_BOX_SHARE)
    return mode == "box"


def _unique(regions: Sequence[TextRegion]) -> list[TextRegion]:
    """One region where two detectors found the same writing: the first."""
    kept: list[TextRegion] = []
    for region in regions:
        if all(_overlap(region.polygon, other.polygon) < _SAME_REGION for other in kept):
            kept.append(region)
    return kept


def _ink_regions(strokes: Mask, scale: float) -> list[TextRegion]:
    """Boxes around strokes that no detector found, one for each group of them, in pixels of the photo."""
    groups = dilate(strokes, scaled_px(20, strokes.shape)).astype(np.uint8)
    count, labels = cv2.connectedComponents(groups, connectivity=8)
    regions = []
    for index in range(1, count):
        rows, columns = np.nonzero((labels == index) & strokes)
        left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
        regions.append(TextRegion(corners / scale, _INK_SCORE, INK))
    return regions


def _agreed(region: TextRegion, regions: Sequence[TextRegion]) -> bool:
    """Whether another detector found about the same region, and the two are sure enough together."""
    return any(
        other.source != region.source
        and other.score + region.score >= _AGREED_SCORES
        and _overlap(region.polygon, other.polygon) >= _SAME_REGION
        for other in regions
    )


def _overlap(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    """Area of the intersection over that of the union."""
    hulls = cv2.convexHull(one), cv2.convexHull(other)
    shared, _ = cv2.intersectConvexConvex(*hulls)
    return float(shared / max(cv2.contourArea(hulls[0]) + cv2.contourArea(hulls[1]) - shared, 1e-6))
