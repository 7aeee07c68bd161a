"""From regions of writing to holes: the strokes, what looks like them, and a margin around all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.detectors import TextRegion
from weldgen.cleaning.ink import REFERENCE_SIDE_PX, Ink, lookalikes, strokes_in, to_lab
from weldgen.cleaning.settings import MaskConfig

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# Strokes count as found where they cover a plausible share of the region and stand out from the metal.
_SHARE = (0.02, 0.5)
_MIN_SEPARATION = 2.6
_MIN_LENGTH = 3.0
# A region whose strokes are unclear is believed where a detector is this sure, or two agree on it.
_SURE = 0.88
# A larger share of the photo is a weld or the whole part, not writing.
_MAX_BOX_SHARE = 0.06
_MAX_STROKE_REGION_SHARE = 0.4


@dataclass(frozen=True)
class TextMask:
    """What is to be removed from one photo.

    Attributes:
        holes: (H, W) bool, margin included.
        regions: Regions that were believed.
        dropped: Regions that look like metal, not writing.
    """

    holes: Mask
    regions: list[TextRegion]
    dropped: list[TextRegion]


def text_mask(image: RGB, regions: Sequence[TextRegion], config: MaskConfig) -> TextMask:
    """Holes that cover the writing in the given regions.

    Args:
        image: (H, W, 3) uint8 RGB.
        regions: What the detectors found, in pixels of `image`.
        config: Mode and margin.
    """
    height, width = image.shape[:2]
    if not regions:
        return TextMask(np.zeros((height, width), bool), [], [])
    scale = min(1.0, REFERENCE_SIDE_PX / max(height, width))
    small = image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    lab = to_lab(np.asarray(small, dtype=np.uint8))
    strokes = np.zeros(lab.shape[:2], bool)
    boxes = strokes.copy()
    inks, believed, dropped = [], [], []
    for region in regions:
        found = _region_strokes(lab, region.polygon * scale)
        agreed = _agreed(region, regions)
        use = _judge(found, region, agreed, config.mode)
        (believed if use else dropped).append(region)
        if use == "box":
            boxes |= found.inside
        elif use == "stroke":
            strokes |= found.strokes
            inks.append(found.ink)
    if config.ink and inks:
        strokes |= lookalikes(lab, inks, strokes)
    # a box already reaches beyond the ink
    grown = dilate(strokes, scaled_px(config.dilate_px, lab.shape)) | dilate(
        boxes, scaled_px(config.dilate_px / 3, lab.shape)
    )
    holes = cv2.resize(grown.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    return TextMask(holes, believed, dropped)


def scaled_px(pixels: float, shape: Sequence[int]) -> int:
    """A length given for a photo of 1500 px long side, on an image of shape (H, W, ...)."""
    return round(pixels * max(shape[:2]) / REFERENCE_SIDE_PX)


def dilate(mask: Mask, radius_px: int) -> Mask:
    """All pixels within `radius_px` of a mask, (H, W) bool."""
    if radius_px == 0 or not mask.any():
        return mask
    return np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5) <= radius_px)


@dataclass(frozen=True)
class _Found:
    inside: Mask
    strokes: Mask
    ink: Ink

    @property
    def reliable(self) -> bool:
        ink = self.ink
        return _SHARE[0] <= ink.share <= _SHARE[1] and ink.separation >= _MIN_SEPARATION and ink.length >= _MIN_LENGTH


def _region_strokes(lab: Floats, polygon: npt.NDArray[np.float32]) -> _Found:
    """Strokes of one region, searched a little beyond its polygon, as full-size masks."""
    shape = lab.shape[:2]
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
    return _Found(full_box, full_strokes, ink)


def _judge(found: _Found, region: TextRegion, agreed: bool, mode: str) -> str:
    """`stroke`, `box`, or nothing where the region is no writing."""
    share = found.inside.mean()
    sure = agreed or region.score >= _SURE
    if mode == "box":
        return "box" if (sure or found.reliable) and share <= _MAX_STROKE_REGION_SHARE else ""
    if found.reliable and share <= _MAX_STROKE_REGION_SHARE:
        return "stroke"
    if not sure or share > _MAX_BOX_SHARE:
        return ""
    return "stroke" if mode == "stroke" else "box"


def _agreed(region: TextRegion, regions: Sequence[TextRegion]) -> bool:
    """Whether another detector found half of the same region."""
    return any(
        other.source != region.source and _overlap(region.polygon, other.polygon) >= 0.5 for other in regions
    )


def _overlap(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    """Area of the intersection over that of the smaller polygon."""
    shared, _ = cv2.intersectConvexConvex(cv2.convexHull(one), cv2.convexHull(other))
    smaller = min(cv2.contourArea(cv2.convexHull(one)), cv2.contourArea(cv2.convexHull(other)))
    return float(shared / max(smaller, 1e-6))
