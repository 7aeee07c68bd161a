"""Tell ink from metal inside a region of writing: its strokes, and how the pen looks.

All lengths are pixels of the image given, which should have a long side of at most `REFERENCE_SIDE_PX`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.morphology import dilate, edge_distance, odd, shrunk

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

REFERENCE_SIDE_PX = 1500
# A marker's stroke is narrower than this share of the height of what it writes.
_STROKE_SHARE = 0.55
MAX_KERNEL_PX = 71
_MIN_CONTRAST = 14.0
_COLOURED = 14.0
_MAX_RIM_SHARE = 0.2
_CROWDED_SHARE = 0.3
# Colour separates ink from metal better than lightness does, so it weighs more.
_COLOUR_WEIGHT = 1.6
# Pixels further than this from the pen's colour, in CIE L*a*b*, are something else; more where the pen is uneven.
_PEN_DISTANCE = 20.0
_PEN_SPREAD = 2.5
_MIN_PEN_PX = 12
_CLEAREST_PERCENTILE = 70
_RUST_HUE_DEG = (30.0, 78.0)
# Marker is mostly dark, so light strokes must stand out more.
_LIGHT_PENALTY = 2.0


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
        return float(np.hypot(*(self.lab[1:] - self.metal[1:]))) > _COLOURED

    @property
    def telling(self) -> bool:
        """Whether the look of the ink is enough to know it elsewhere.

        A crack is as dark as the line of a fine black pen; broad or coloured strokes are told from it.
        """
        return self.separation >= 3.5 and self.contrast >= 25 and (self.coloured or self.width_px >= 7)

    def same_pen(self, other: Ink) -> bool:
        """Whether two regions were written with one pen: the same colour, width and polarity."""
        return (
            self.dark == other.dark
            and float(np.linalg.norm(self.lab - other.lab)) < 10
            and 0.6 < self.width_px / other.width_px < 1.6
        )


def to_lab(image: RGB) -> Floats:
    """CIE L*a*b* of an image, (H, W, 3) float32, L 0 to 100, lightly smoothed against sensor noise."""
    smooth = cv2.GaussianBlur(image, (0, 0), 0.8)
    return np.asarray(cv2.cvtColor(smooth.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), dtype=np.float32)


def contrast_map(lab: Floats, kernel_px: int, *, dark: bool) -> Floats:
    """Contrast of thin structures to what surrounds them, (H, W) float32, about 0 to 100.

    Black-hat (or white top-hat) of the lightness, plus the distance in colour from the surroundings.

    Args:
        lab: (H, W, 3) float32.
        kernel_px: Structures wider than this have no contrast.
        dark: Look for ink darker than the metal, else lighter.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (kernel_px, kernel_px))
    operation = cv2.MORPH_BLACKHAT if dark else cv2.MORPH_TOPHAT
    lightness = cv2.morphologyEx(np.ascontiguousarray(lab[:, :, 0]), operation, kernel)
    around = cv2.blur(lab[:, :, 1:], (3 * kernel_px, 3 * kernel_px))
    colour = np.hypot(lab[:, :, 1] - around[:, :, 0], lab[:, :, 2] - around[:, :, 1])
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
    dark, light = candidates
    rim = inside & ~(edge_distance(inside) > max(2.0, 0.1 * height_px))
    beside = np.median(lab[rim], axis=0)
    return light if _prominence(light[1], beside) > _LIGHT_PENALTY * _prominence(dark[1], beside) else dark


def _prominence(ink: Ink, beside: Floats) -> float:
    """How much strokes look like ink: clear, long, and not of the colour of the metal at the region's rim.

    The metal between dark letters looks like light strokes, but for that colour.
    """
    other = min(1.0, float(np.linalg.norm(ink.lab - beside)) / max(ink.contrast, 1.0))
    return ink.separation * min(1.0, ink.length / 6) * other


def _strokes(lab: Floats, inside: Mask, height_px: float, dark: bool) -> tuple[Mask, Ink]:
    kernel = odd(np.clip(_STROKE_SHARE * height_px, 7, MAX_KERNEL_PX))
    contrast = contrast_map(lab, kernel, dark=dark)
    level = max(_MIN_CONTRAST, _otsu(contrast[inside]))
    strokes = _hysteresis(contrast, 0.6 * level, level) & inside
    if strokes.sum() > _CROWDED_SHARE * inside.sum():  # stains beside the ink: take the upper of two levels
        level = max(level, _otsu(contrast[strokes]))
        strokes = _hysteresis(contrast, 0.75 * level, level) & inside
    strokes = _without_specks(strokes, max(6, (0.04 * height_px) ** 2))
    strokes = _without_passing(lab, strokes, inside)
    strokes = _of_one_pen(lab, contrast, strokes, inside)
    return strokes, _appearance(lab, contrast, strokes, inside, dark)


def _appearance(lab: Floats, contrast: Floats, strokes: Mask, inside: Mask, dark: bool) -> Ink:
    near = cv2.dilate(strokes.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    metal = inside & ~near
    if strokes.sum() < 6 or metal.sum() < 6:
        zero = np.zeros(3, np.float32)
        return Ink(zero, zero, 1.0, 0.0, 0.0, 0.0, 0.0, float(strokes.sum() / max(1, inside.sum())), dark)
    width = stroke_width(strokes)
    core = strokes & (edge_distance(strokes) > width / 4)
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
    return band_width(edge_distance(strokes)[strokes])


def band_width(distances: Floats) -> float:
    """Width of a band from its pixels' distances to the edge; the mean is a quarter of the width and half a pixel."""
    return max(1.0, 4 * float(distances.mean()) - 2)


def _hysteresis(values: Floats, low: float, high: float) -> Mask:
    """Pixels above `low` that are connected to one above `high`."""
    _, labels = cv2.connectedComponents((values > low).astype(np.uint8), connectivity=8)
    strong = np.unique(labels[values > high])
    return np.isin(labels, strong[strong > 0])


def _without_specks(mask: Mask, min_area_px: float) -> Mask:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] >= min_area_px)
    return np.isin(labels, keep[keep > 0]) if count > 1 else mask


def _without_passing(lab: Floats, strokes: Mask, inside: Mask) -> Mask:
    """Leave out what runs through a region or along its rim: edges of the plate and of the weld, grooves.

    Coloured strokes are kept: no edge of metal is blue.
    """
    rim = inside & ~shrunk(shrunk(inside))
    around = np.median(lab[inside], axis=0)
    count, labels = cv2.connectedComponents(strokes.astype(np.uint8), connectivity=8)
    keep = np.zeros(count, bool)
    for index in range(1, count):
        piece = labels == index
        contact = (piece & rim).astype(np.uint8)
        crossings = cv2.connectedComponents(contact, connectivity=8)[0] - 1
        coloured = float(np.hypot(*(np.median(lab[piece], axis=0) - around)[1:])) > _COLOURED
        keep[index] = coloured or (crossings < 2 and contact.sum() <= _MAX_RIM_SHARE * piece.sum())
    return np.asarray(keep[labels])


def _of_one_pen(lab: Floats, contrast: Floats, strokes: Mask, inside: Mask) -> Mask:
    """Leave out what has not the colour of the clearest strokes in the middle of a region.

    A text detector's box often reaches onto a weld; the weld's shadow, highlights and pores are no writing.
    """
    depth = edge_distance(inside)
    middle = strokes & (depth > 0.5 * depth.max()) & ~_rusty(lab)
    if middle.sum() < _MIN_PEN_PX:
        return strokes
    middle &= contrast >= np.percentile(contrast[middle], _CLEAREST_PERCENTILE)
    pen = np.median(lab[middle], axis=0)
    distance = np.linalg.norm(lab - pen, axis=2)
    limit = max(_PEN_DISTANCE, _PEN_SPREAD * float(np.median(distance[middle])))
    kept = _without_specks(strokes & (distance < limit), _MIN_PEN_PX / 2)
    return dilate(kept, 2) & strokes  # the edge of a stroke is a mixture of ink and metal


def _rusty(lab: Floats) -> Mask:
    """Pixels of rust's colour, which stands out from steel as ink does; nobody writes in it."""
    hue_deg = np.degrees(np.arctan2(lab[:, :, 2], lab[:, :, 1]))
    chroma = np.hypot(lab[:, :, 1], lab[:, :, 2])
    low, high = _RUST_HUE_DEG
    return np.asarray((chroma > _COLOURED) & (hue_deg > low) & (hue_deg < high), dtype=bool)


def _otsu(values: Floats) -> float:
    """Otsu's threshold of contrasts between 0 and 100."""
    bytes_ = np.clip(values * 2.55, 0, 255).astype(np.uint8).reshape(-1, 1)
    level, _ = cv2.threshold(bytes_, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return float(level) / 2.55
