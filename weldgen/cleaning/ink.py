"""Tell ink from metal: strokes inside a region of writing, and strokes elsewhere that look like the same pen.

What is notable: there is no fixed idea of what ink looks like. The strokes that lie in regions of a text detector say
how this photo's pens look (colour, width, contrast), and only what looks like them counts as ink elsewhere. A photo
without writing therefore has no ink, and pores and cracks of a weld are left alone.

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
_COLOURED = 14.0
_MAX_RIM_SHARE = 0.2
_CROWDED_SHARE = 0.3
_MAX_LOOKALIKE_SHARE = 0.02
# Colour separates ink from metal better than lightness does, so it weighs more.
_COLOUR_WEIGHT = 1.6
# Marker is mostly dark, so light strokes must stand out more.
_LIGHT_PENALTY = 1.3


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
    beside = np.median(lab[~inside], axis=0) if not inside.all() else None
    return light if _prominence(light[1], beside) > _LIGHT_PENALTY * _prominence(dark[1], beside) else dark


def _prominence(ink: Ink, beside: Floats | None) -> float:
    """How much strokes look like ink: clear, long, and not of the colour of the metal beside the region.

    The metal between dark letters looks like light strokes, but for that colour.
    """
    other = 1.0 if beside is None else min(1.0, float(np.linalg.norm(ink.lab - beside)) / max(ink.contrast, 1.0))
    return ink.separation * min(1.0, ink.length / 6) * other


def _strokes(lab: Floats, inside: Mask, height_px: float, dark: bool) -> tuple[Mask, Ink]:
    kernel = _odd(np.clip(_STROKE_SHARE * height_px, 7, _MAX_KERNEL_PX))
    contrast = contrast_map(lab, kernel, dark=dark)
    level = max(_MIN_CONTRAST, _otsu(contrast[inside]))
    strokes = _hysteresis(contrast, 0.6 * level, level) & inside
    if strokes.sum() > _CROWDED_SHARE * inside.sum():  # stains beside the ink: take the upper of two levels
        level = max(level, _otsu(contrast[strokes]))
        strokes = _hysteresis(contrast, 0.75 * level, level) & inside
    strokes = _without_specks(strokes, max(6, (0.04 * height_px) ** 2))
    strokes = _without_passing(lab, strokes, inside)
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
    for ink in _distinct([ink for ink in inks if ink.telling]):
        kernel = _odd(np.clip(3.5 * ink.width_px, 15, _MAX_KERNEL_PX))
        contrast = contrast_map(lab, kernel, dark=ink.dark)
        distance = np.sqrt(((lab - ink.lab) ** 2 * np.array([0.5, 2.0, 2.0], np.float32)).sum(axis=2))
        alike = (distance < 0.35 * ink.contrast + 4) & (contrast > 0.55 * ink.contrast)
        found = _accepted(lab, alike, known, ink)
        if found.mean() <= _MAX_LOOKALIKE_SHARE:  # more of it means that the metal itself looks like this ink
            result |= found
    return result & ~known


def _accepted(lab: Floats, alike: Mask, known: Mask, ink: Ink) -> Mask:
    """Components of `alike` that are strokes of the pen `ink`."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(alike.astype(np.uint8), connectivity=8)
    distance = _distance(alike)
    near = _grown(known, round(3 * ink.width_px))
    result = np.zeros(alike.shape, bool)
    pad = round(2 * ink.width_px)
    for index in range(1, count):
        left, top, width, height, area = stats[index]
        if area < 1.5 * ink.width_px**2:
            continue
        window = np.s_[max(0, top - pad) : top + height + pad, max(0, left - pad) : left + width + pad]
        piece = labels[window] == index
        limits = _NEAR if near[window][piece].any() else _FAR
        if _is_stroke(lab[window], piece, distance[window], ink, limits):
            result[window] |= piece
    return result


@dataclass(frozen=True)
class _Limits:
    """What a component must keep to count as a stroke of a known pen; measured on photos of marked plates.

    Attributes:
        width: Accepted range of its width over the pen's.
        length: Least length over width; pores are round, a `1` is 4 or more.
        colour: Largest distance to the pen's colour, CIE76.
        outline: Largest length of its outline over that of a smooth band; crevices and stains are ragged.
        sharpness: Least gradient along its outline over the pen's contrast; shadows and grooves are soft.
        metal: Least share of its surroundings that is as light as the metal around the pen.
    """

    width: tuple[float, float]
    length: float
    colour: float
    outline: float
    sharpness: float
    metal: float


_FAR = _Limits(width=(0.6, 1.6), length=3.5, colour=6.5, outline=1.18, sharpness=0.23, metal=0.45)
_NEAR = _Limits(width=(0.5, 2.0), length=1.8, colour=8.0, outline=1.25, sharpness=0.2, metal=0.45)


def _is_stroke(lab: Floats, piece: Mask, distance: Floats, ink: Ink, limits: _Limits) -> bool:
    """Whether one component has the pen's width, colour and smooth, sharp outline, with metal around it."""
    area = float(piece.sum())
    width = max(1.0, 4 * float(distance[piece].mean()) - 1)
    if not limits.width[0] < width / ink.width_px < limits.width[1] or area / width**2 < limits.length:
        return False
    core = piece & (distance > width / 4)
    if float(np.linalg.norm(np.median(lab[core], axis=0) - ink.lab)) > limits.colour:
        return False
    outlines, _ = cv2.findContours(piece.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outline = sum(cv2.arcLength(line, True) for line in outlines) / (2 * area / width + 2 * width)
    lightness = np.ascontiguousarray(lab[:, :, 0])
    gradient = np.hypot(*(cv2.Sobel(lightness, cv2.CV_32F, x, 1 - x, scale=0.125) for x in (1, 0)))
    edge = _grown(piece, 1) & ~_shrunk(piece)
    sharpness = float(np.median(gradient[edge])) / ink.contrast
    ring = _grown(piece, round(1.2 * ink.width_px)) & ~_grown(piece, 3)
    tolerance = 0.45 * abs(float(ink.metal[0] - ink.lab[0])) + 4
    metal = float((np.abs(lightness[ring] - ink.metal[0]) < tolerance).mean())
    return outline <= limits.outline and sharpness >= limits.sharpness and metal >= limits.metal


def _grown(mask: Mask, radius_px: int) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)


def _shrunk(mask: Mask) -> Mask:
    return np.asarray(cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)


def _distinct(inks: Sequence[Ink]) -> list[Ink]:
    """Pens that differ in colour, polarity or width; of each the one that stands out most."""
    kept: list[Ink] = []
    for ink in sorted(inks, key=lambda ink: -ink.separation):
        if not any(ink.same_pen(other) for other in kept):
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


def _without_passing(lab: Floats, strokes: Mask, inside: Mask) -> Mask:
    """Leave out what runs through a region or along its rim: edges of the plate and of the weld, grooves.

    Coloured strokes are kept: no edge of metal is blue.
    """
    rim = inside & ~_shrunk(_shrunk(inside))
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
