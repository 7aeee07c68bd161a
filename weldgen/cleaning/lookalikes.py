"""Find strokes that neither the text detectors nor the network saw: those that look like the pens that were found.

What is notable: the strokes that were found say how this photo's pens look (colour, width, contrast), and only what
looks like them counts. A photo without writing therefore has no pen, and pores and cracks of a weld are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from weldgen.cleaning.morphology import band_width, dilate, edge_distance
from weldgen.cleaning.pen import Floats, Mask, Pen, contrast_map, kernel_for

# More of it means that the metal itself looks like the ink.
_MAX_SHARE = 0.02


def lookalikes(lab: Floats, pens: Sequence[Pen], known: Mask) -> Mask:
    """Strokes anywhere in the image that look like one of the pens.

    Args:
        lab: Whole image, (H, W, 3) float32.
        pens: Pens that were seen in regions.
        known: Strokes found there; what lies near them is judged less strictly.

    Returns:
        (H, W) bool, `known` not included.
    """
    result = np.zeros(known.shape, bool)
    for ink in _distinct([pen for pen in pens if pen.telling]):
        contrast = contrast_map(lab, kernel_for(ink.width_px), dark=ink.dark)
        distance = np.sqrt(((lab - ink.lab) ** 2 * np.array([0.5, 2.0, 2.0], np.float32)).sum(axis=2))
        alike = (distance < 0.35 * ink.contrast + 4) & (contrast > 0.55 * ink.contrast)
        found = _accepted(lab, alike, known, ink) & ~known
        if found.mean() <= _MAX_SHARE:
            result |= found
    return result


def _accepted(lab: Floats, alike: Mask, known: Mask, ink: Pen) -> Mask:
    """Components of `alike` that are strokes of the pen `ink`."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(alike.astype(np.uint8), connectivity=8)
    distance = edge_distance(alike)
    near = dilate(known, round(3 * ink.width_px))
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
        length: Least length over width; pores are round, a `1` is 5 or more.
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


_FAR = _Limits(width=(0.6, 1.6), length=4.2, colour=6.5, outline=1.18, sharpness=0.23, metal=0.45)
_NEAR = _Limits(width=(0.5, 2.0), length=1.8, colour=8.0, outline=1.25, sharpness=0.2, metal=0.45)


def _is_stroke(lab: Floats, piece: Mask, distance: Floats, ink: Pen, limits: _Limits) -> bool:
    """Whether one component has the pen's width, colour and smooth, sharp outline, with metal around it."""
    area = float(piece.sum())
    width = band_width(distance[piece])
    if not limits.width[0] < width / ink.width_px < limits.width[1] or area / width**2 < limits.length:
        return False
    core = piece & (distance > width / 4)
    if float(np.linalg.norm(np.median(lab[core], axis=0) - ink.lab)) > limits.colour:
        return False
    outlines, _ = cv2.findContours(piece.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outline = sum(cv2.arcLength(line, True) for line in outlines) / (2 * area / width + 2 * width)
    lightness = np.ascontiguousarray(lab[:, :, 0])
    gradient = np.hypot(*(cv2.Sobel(lightness, cv2.CV_32F, x, 1 - x, scale=0.125) for x in (1, 0)))
    edge = dilate(piece, 1) & ~(edge_distance(piece) > 1)
    sharpness = float(np.median(gradient[edge])) / ink.contrast
    ring = dilate(piece, round(1.2 * ink.width_px)) & ~dilate(piece, 3)
    tolerance = 0.45 * abs(float(ink.metal[0] - ink.lab[0])) + 4
    metal = float((np.abs(lightness[ring] - ink.metal[0]) < tolerance).mean())
    return outline <= limits.outline and sharpness >= limits.sharpness and metal >= limits.metal


def _distinct(pens: Sequence[Pen]) -> list[Pen]:
    """Pens that differ in colour, polarity or width; of each the one that stands out most."""
    kept: list[Pen] = []
    for ink in sorted(pens, key=lambda ink: -ink.separation):
        if not any(ink.same_pen(other) for other in kept):
            kept.append(ink)
    return kept
