"""From what the detectors and the ink network saw to holes: the strokes, and a margin that stops at edges.

A region of a text detector counts where the ink network sees ink in it, or where two detectors agree on it; ink that
lies in no region counts where there is enough of it. So neither a weld that looks like letters to a text detector nor
a crack that looks like a stroke to the network makes a hole of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.colour import to_lab
from weldgen.cleaning.detectors import TextRegion
from weldgen.cleaning.guard import guarded_growth
from weldgen.cleaning.ink import InkMap
from weldgen.cleaning.kin import kin_strokes
from weldgen.cleaning.lone import LONE_AREA_PX, LONE_PROBABILITY, lone_ink
from weldgen.cleaning.morphology import connected, dilate, hysteresis, window_of
from weldgen.cleaning.regions import LEAST_INK_SHARE, LIKELY_INK, SURE_IN_REGION, beyond_px, filled
from weldgen.cleaning.scale import REFERENCE_SIDE_PX, scaled_px
from weldgen.cleaning.settings import MaskConfig
from weldgen.cleaning.stamps import ink_probability
from weldgen.cleaning.stickers import Sticker, find_sticker
from weldgen.cleaning.surface import backdrop

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# Where the network is this sure there is ink.
_SURE = 0.5
# Where it is less sure than this, the rim of a stroke may be bare metal already.
_INKED = 0.4
# A large region of which its detector is less sure than this must be full of ink, as clear as where no region vouches.
_CLEAR_SCORE, _DOUBTED_INK_SHARE = 0.6, 0.06
# Two detectors that agree on a region in which there is no ink; on the ripple of a weld their scores add up to 1.4.
_AGREED_SCORES = 1.6
_SAME_REGION = 0.3
# Where the network is this sure there may be ink, which does not stop the margin.
_DOUBT = 0.3
# Strokes this close together are one piece of writing.
_GROUP_PX = 20
INK = "ink"
# A larger share of the photo is a weld or the whole part, not writing.
_MAX_BOX_SHARE = 0.06
_MAX_REGION_SHARE = 0.4
# The margin stops short of the part's edge, whose bright line would be lost.
_RIM_PX = 4
# Around print on a label: a camera's sharpening draws a bright rim; beyond the label there is none.
_PRINT_MARGIN_PX, _LEAST_PRINT_MARGIN_PX, _BEYOND_LABEL_PX = 8, 4, 2


@dataclass(frozen=True)
class TextMask:
    """What is to be removed from one photo.

    Attributes:
        holes: (H, W) bool, margin included.
        ink: (H, W) bool, the strokes alone, without their soft rim; where they are unclear, the whole region.
        labels: (H, W) bool, printed labels.
        prints: (H, W) bool, what is printed on them, margin included.
        regions: Regions that were believed to be writing; what looks like metal is not among them.
    """

    holes: Mask
    ink: Mask
    labels: Mask
    prints: Mask
    regions: list[TextRegion]


@dataclass(frozen=True)
class _Writing:
    """What text regions hold.

    Attributes:
        strokes: (H, W) bool, where the ink network saw ink.
        kin: (H, W) bool, what looks like these strokes and lies among them.
        boxes: (H, W) bool, regions whose strokes are unclear.
        regions: Those that are writing.
    """

    strokes: Mask
    kin: Mask
    boxes: Mask
    regions: list[TextRegion]


def text_mask(image: RGB, regions: Sequence[TextRegion], ink: InkMap, config: MaskConfig) -> TextMask:
    """Holes that cover the writing.

    Args:
        image: (H, W, 3) uint8 RGB.
        regions: What the text detectors found, in pixels of `image`.
        ink: What the ink network saw.
        config: Mode and margin.
    """
    height, width = image.shape[:2]
    scale = min(1.0, REFERENCE_SIDE_PX / max(height, width))
    small = image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    small = np.asarray(small, dtype=np.uint8)
    seen = ink.resized((small.shape[0], small.shape[1]))
    probability = ink_probability(small, seen, stamped=config.stamped)
    marks = _ink_regions(hysteresis(probability, LIKELY_INK, _SURE), scale) if config.ink else []
    # most photos carry no writing, and need no colours
    lab = to_lab(small) if len(regions) or (probability > _SURE).any() else np.zeros_like(small, np.float32)
    stickers: list[tuple[TextRegion, Sticker]] = []
    if config.mode != "box" or config.objects == "remove":
        stickers, regions = _stickers(lab, [*regions, *marks], scale)
    writing = _believe(probability, lab, regions, scale, config)
    strokes, boxes, believed = writing.strokes | writing.kin, writing.boxes, writing.regions
    labels, prints = np.zeros_like(strokes), np.zeros_like(strokes)
    for region, sticker in stickers:
        believed += [region] if region.source != INK else []
        labels |= sticker.area
        prints |= sticker.area if config.objects == "remove" else sticker.print
    lone = np.zeros_like(strokes)
    if config.ink and config.mode != "box":
        lone = lone_ink(probability, lab, strokes | boxes, LIKELY_INK, _SURE) & ~labels
        strokes |= lone
    if not strokes.any() and not boxes.any() and not prints.any():
        nothing = np.zeros((height, width), bool)
        return TextMask(nothing, nothing, nothing, nothing, [])
    doubtful = (np.maximum(seen.ink, seen.stamped) > _DOUBT) | writing.kin
    grown = guarded_growth(small, strokes, doubtful, scaled_px(config.dilate_px, small.shape))
    # a box already reaches beyond the ink
    grown |= dilate(boxes, scaled_px(config.dilate_px / 3, small.shape))
    # paper is flat: print needs no wide margin there, and must not get one that reaches beyond the label
    printed = dilate(prints, max(_LEAST_PRINT_MARGIN_PX, scaled_px(_PRINT_MARGIN_PX, small.shape)))
    printed &= dilate(prints, _BEYOND_LABEL_PX) | labels
    grown |= printed
    known = strokes | boxes | prints
    inked = strokes & (probability > _INKED) | writing.kin | boxes | prints
    dark = backdrop(small, known)
    grown &= ~dilate(dark, _RIM_PX) | strokes | prints
    holes, covered, papers, prints = (_enlarged(mask, width, height) for mask in (grown, inked, labels, printed))
    return TextMask(holes, covered, papers, prints, _unique(believed) + _ink_regions(lone, scale))


def _enlarged(mask: Mask, width: int, height: int) -> Mask:
    return np.asarray(cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0)


def _believe(
    probability: Floats, lab: Floats, regions: Sequence[TextRegion], scale: float, config: MaskConfig
) -> _Writing:
    """What is writing in the regions."""
    strokes, kin, boxes = (np.zeros(probability.shape, bool) for _ in range(3))
    believed = []
    for region in regions:
        inside = filled(region, scale, probability.shape)
        area = int(inside.sum())
        if area > _MAX_REGION_SHARE * inside.size:
            continue
        beyond = beyond_px(region, scale)
        window = window_of(inside, beyond)
        near = dilate(inside[window], beyond)
        small = area <= _MAX_BOX_SHARE * inside.size
        # a detector that takes much of a bead for writing is not sure, and pores there look like faint ink
        doubted = not small and region.score < _CLEAR_SCORE
        found = hysteresis(np.where(near, probability[window], 0), LIKELY_INK, _SURE if doubted else SURE_IN_REGION)
        inked = found.sum() >= (_DOUBTED_INK_SHARE if doubted else LEAST_INK_SHARE) * area
        if inked and doubted:
            inked = probability[window][found].mean() >= LONE_PROBABILITY
        if not inked and (config.mode == "stroke" or not small or not _agreed(region, regions)):
            continue
        believed.append(region)
        if config.mode == "box" or not inked:
            boxes |= inside
        else:
            strokes[window] |= found
            kin[window] |= kin_strokes(lab[window], probability[window], found, inside[window])
    return _Writing(strokes, kin, boxes, believed)


def _stickers(
    lab: Floats, regions: Sequence[TextRegion], scale: float
) -> tuple[list[tuple[TextRegion, Sticker]], list[TextRegion]]:
    """Regions that are print on a label, with the labels, and the other regions."""
    found, others = [], []
    for region in regions:
        inside = filled(region, scale, lab.shape)
        sticker = find_sticker(lab, inside) if inside.mean() <= _MAX_BOX_SHARE else None
        if sticker is None:
            others += [region] if region.source != INK else []
        else:
            found.append((region, sticker))
    return found, others


def _unique(regions: Sequence[TextRegion]) -> list[TextRegion]:
    """One region where two detectors found the same writing: the first."""
    kept: list[TextRegion] = []
    for region in regions:
        if all(_overlap(region.polygon, other.polygon) < _SAME_REGION for other in kept):
            kept.append(region)
    return kept


def _ink_regions(strokes: Mask, scale: float) -> list[TextRegion]:
    """Boxes around strokes that no detector found, one for each group of them, in pixels of the photo."""
    regions = []
    for window, group in connected(dilate(strokes, scaled_px(_GROUP_PX, strokes.shape))):
        rows, columns = np.nonzero(group & strokes[window])
        if len(rows) < LONE_AREA_PX * (max(strokes.shape) / REFERENCE_SIDE_PX) ** 2:
            continue  # the rest of a neighbour
        y, x = window[0].start, window[1].start
        left, top, right, bottom = x + columns.min(), y + rows.min(), x + columns.max() + 1, y + rows.max() + 1
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
        regions.append(TextRegion(corners / scale, LONE_PROBABILITY, INK))
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
