"""Tell ink from metal: strokes inside a region of writing, and strokes elsewhere that look like the same pen.

What is notable: there is no fixed idea of what ink looks like. The strokes that lie in regions of a text detector say how
this photo's pens look (colour, width, contrast, evenness), and only what looks like them counts as ink elsewhere. A
photo without writing therefore has no ink, and pores and cracks of a weld are left alone.

All lengths are pixels of the image given, which should have a long side of at most `REFERENCE_SIDE_PX`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

REFERENCE_SIDE_PX = 1500
# A marker's stroke is narrower than this share of the height of what it writes.
_STROKE_SHARE = 0.55
_MAX_KERNEL_PX = 71
_MIN_CONTRAST = 14.0
# Colour separates ink from metal better than lightness does, so it weighs more.
_COLOUR_WEIGHT = 1.6


@dataclass(frozen=True)
class Ink:
    """How one pen looks in one region.

    Attributes:
        lab: Median colour of its strokes, CIE L*a*b* (L 0 to 100).
        metal: Median colour of the metal around them.
        width_px: Mean width of the strokes.
        contrast: Mean contrast of the strokes to the metal.
        unevenness: Standard deviation of L inside the strokes.
        separation: Contrast of the strokes over the spread of the metal's own contrast.
        length: Total length of the strokes over their width.
        share: Share of the region that the strokes cover.
        dark: Whether the ink is darker than the metal.
    """

    lab: Floats
    metal: Floats
    width_px: float
    contrast: float
    unevenness: float
    separation: float
    length: float
    share: float
    dark: bool

    @property
    def coloured(self) -> bool:
        """Whether the hue alone tells the ink from the metal."""
        return float(np.hypot(*(self.lab[1:] - self.metal[1:]))) > 14


def to_lab(image: RGB) -> Floats:
    """CIE L*a*b* of an image, (H, W, 3) float32, L 0 to 100, lightly smoothed against sensor noise."""
    smooth = cv2.GaussianBlur(image, (0, 0), 0.8)
    return np.asarray(cv2.cvtColor(smooth.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), dtype=np.float32)


def contrast_map(lab: Floats, kernel_px: int, *, dark: bool) -> Floats:
    """Contrast of thin structures to what surrounds them, (H, W) float32, about 0 to 100.

    Black-hat (or white top-hat) of the lightness, plus the distance in colour from the surroundings' median.

    Args:
        lab: (H, W, 3) float32.
        kernel_px: Structures wider than this have no contrast.
        dark: Look for ink darker than the metal, else lighter.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (kernel_px, kernel_px))
    operation = cv2.MORPH_BLACKHAT if dark else cv2.MORPH_TOPHAT
    lightness = cv2.morphologyEx(np.ascontiguousarray(lab[:, :, 0]), operation, kernel)
    around = np.median(lab[:, :, 1:].reshape(-1, 2), axis=0)
    colour = np.hypot(lab[:, :, 1] - around[0], lab[:, :, 2] - around[1])
    return np.asarray(np.hypot(lightness, _COLOUR_WEIGHT * np.maximum(0, colour - 4)), dtype=np.float32)


def strokes_in(lab: Floats, inside: Mask, height_px: float) -> tuple[Mask, Ink]:
    """The strokes inside a region, and how their ink looks.

    Args:
        lab: Cut-out around the region, (H, W, 3) float32.
        inside: Where the region is, (H, W) bool.
        height_px: Height of the writing.

    Returns:
        Strokes, (H, W) bool, and their appearance; the polarity that stands out more is taken.
    """
    candidates = [_strokes(lab, inside, height_px, dark) for dark in (True, False)]
    return max(candidates, key=lambda found: found[1].separation * min(1.0, found[1].length / 6))


def _strokes(lab: Floats, inside: Mask, height_px: float, dark: bool) -> tuple[Mask, Ink]:
    kernel = _odd(np.clip(_STROKE_SHARE * height_px, 7, _MAX_KERNEL_PX))
    contrast = contrast_map(lab, kernel, dark=dark)
    level = max(_MIN_CONTRAST, _otsu(contrast[inside]))
    strokes = _hysteresis(contrast, 0.6 * level, level) & inside
    strokes = _without_specks(strokes, max(6, (0.04 * height_px) ** 2))
    return strokes, _appearance(lab, contrast, strokes, inside, dark)


def _appearance(lab: Floats, contrast: Floats, strokes: Mask, inside: Mask, dark: bool) -> Ink:
    near = cv2.dilate(strokes.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    metal = inside & ~near
    if strokes.sum() < 6 or metal.sum() < 6:
        zero = np.zeros(3, np.float32)
        return Ink(zero, zero, 1.0, 0.0, 0.0, 0.0, 0.0, float(strokes.sum() / max(1, inside.sum())), dark)
    width = stroke_width(strokes)
    core = strokes & (_distance(strokes) > width / 4)
    core = core if core.sum() >= 6 else strokes
    spread = max(2.0, float(np.percentile(contrast[metal], 84)))
    mean = float(contrast[strokes].mean())
    return Ink(
        lab=np.median(lab[core], axis=0).astype(np.float32),
        metal=np.median(lab[metal], axis=0).astype(np.float32),
        width_px=width,
        contrast=mean,
        unevenness=float(lab[:, :, 0][core].std()),
        separation=mean / spread,
        length=float(strokes.sum() / width**2),
        share=float(strokes.sum() / inside.sum()),
        dark=dark,
    )


def stroke_width(strokes: Mask) -> float:
    """Mean width in pixels: four times the mean distance to the edge, which is exact for a long band."""
    return max(1.0, 4 * float(_distance(strokes)[strokes].mean()) - 1)


def lookalikes(lab: Floats, inks: Sequence[Ink], known: Mask) -> Mask:
    """Strokes anywhere in the image that look like one of the pens.

    Args:
        lab: Whole image, (H, W, 3) float32.
        inks: Pens that were seen in regions.
        known: Strokes found there; what lies near them is judged less strictly.

    Returns:
        (H, W) bool, `known` not included.
    """
    result = np.zeros(known.shape, bool)
    for ink in _distinct(inks):
        reach = _odd(np.clip(8 * ink.width_px, 31, 121))
        near = cv2.dilate(known.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))) > 0
        kernel = _odd(np.clip(3.5 * ink.width_px, 15, _MAX_KERNEL_PX))
        contrast = contrast_map(lab, kernel, dark=ink.dark)
        distance = np.sqrt(((lab - ink.lab) ** 2 * np.array([0.5, 2.0, 2.0], np.float32)).sum(axis=2))
        alike = (distance < 0.5 * ink.contrast + 4) & (contrast > 0.5 * ink.contrast)
        result |= _accepted(lab, alike & ~known, near, ink)
    return result


def _accepted(lab: Floats, alike: Mask, near: Mask, ink: Ink) -> Mask:
    """Components of `alike` that are strokes of the pen `ink`."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(alike.astype(np.uint8), connectivity=8)
    distance = _distance(alike)
    result = np.zeros(alike.shape, bool)
    for index in range(1, count):
        left, top, width, height, area = stats[index]
        if area < 1.5 * ink.width_px**2:
            continue
        window = np.s_[top : top + height, left : left + width]
        piece = labels[window] == index
        if _is_stroke(lab[window], piece, distance[window], ink, close=bool(near[window][piece].any())):
            result[window] |= piece
    return result


def _is_stroke(lab: Floats, piece: Mask, distance: Floats, ink: Ink, *, close: bool) -> bool:
    width = max(1.0, 4 * float(distance[piece].mean()) - 1)
    relative = width / ink.width_px
    length = float(piece.sum()) / width**2
    uneven = float(lab[:, :, 0][piece].std())
    if close:
        return 0.4 < relative < 2.2 and length > 1.5 and uneven < 2.5 * ink.unevenness + 4
    # A crack is as dark as a black pen's line; only broad or coloured strokes are told from it with certainty.
    telling = ink.coloured or ink.width_px >= 7
    return telling and 0.6 < relative < 1.7 and length > 4.5 and uneven < 1.5 * ink.unevenness + 2


def _distinct(inks: Sequence[Ink]) -> list[Ink]:
    """Pens that differ in colour, polarity or width; of each the one that stands out most."""
    kept: list[Ink] = []
    for ink in sorted(inks, key=lambda ink: -ink.separation):
        same = [
            other
            for other in kept
            if other.dark == ink.dark
            and float(np.linalg.norm(other.lab - ink.lab)) < 10
            and 0.67 < other.width_px / ink.width_px < 1.5
        ]
        if not same:
            kept.append(ink)
    return kept


def _hysteresis(values: Floats, low: float, high: float) -> Mask:
    """Pixels above `low` that are connected to one above `high`."""
    _, labels = cv2.connectedComponents((values > low).astype(np.uint8), connectivity=8)
    strong = np.unique(labels[values > high])
    return np.isin(labels, strong[strong > 0])


def _without_specks(mask: Mask, min_area_px: float) -> Mask:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] >= min_area_px)
    return np.isin(labels, keep[keep > 0]) if count > 1 else mask


def _distance(mask: Mask) -> Floats:
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1], dtype=np.float32)


def _otsu(values: Floats) -> float:
    """Otsu's threshold of contrasts between 0 and 100."""
    bytes_ = np.clip(values * 2.55, 0, 255).astype(np.uint8).reshape(-1, 1)
    level, _ = cv2.threshold(bytes_, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return float(level) / 2.55


def _odd(value: float) -> int:
    return int(value) // 2 * 2 + 1
