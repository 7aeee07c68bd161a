"""Find where ink ends, to the pixel: the rim of a hole that shows none stays as it is.

How much of a pixel is ink is how far it is on the way from the metal beside it to the ink's colour. Grain blurs that,
but hardly in colours that the metal has not, so differences are weighed by how usual they are among the metal's own (a
matched filter). Where no single pixel tells a breath of ink from grain, the pixels of a rim at one distance from the
ink do together. So the rim is judged ring by ring and a stretch at a time: in a blurred or compressed photo the first
rings are inked, in a sharp one none is.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.channels import dot, largest
from weldgen.cleaning.morphology import dilate
from weldgen.cleaning.shapes import spread

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# Lengths on a photo of 1500 px long side, and the least in pixels: how far from the strokes rings are judged, over
# what width the metal is averaged that they are compared with, and how long a stretch of ring is.
_RINGS_PX, _LEAST_RINGS = 6.0, 3
_METAL_PX, _LEAST_METAL_PX = 6.0, 2.0
_STRETCH_PX, _LEAST_STRETCH_PX = 8.0, 5.0
# The edges of a photo that is larger than this, against 1500 px, are blurred over so many pixels more each time that
# size: single pixels cannot tell where ink ends there.
_SHARP_SCALE, _BLUR_PX = 0.5, 2.0
# So deep inside of a stroke nothing is judged.
_DEPTH_PX = 2.5
# A pixel is ink if its share of ink is more than so many deviations of the share, within these limits. Rings are
# counted from those that are ink for certain.
_PIXEL_DEVIATIONS, _LEAST_SHARE, _MOST_SHARE = 1.5, 0.08, 0.5
_CORE_DEVIATIONS, _CORE_SHARE = 2.5, 0.2
# A stretch is inked if it is off by more than so many deviations, within these limits in grey levels.
_STRETCH_DEVIATIONS, _LEAST_OFF, _MOST_OFF = 0.5, 1.5, 5.0
# Beyond an inked ring, so much of that is enough.
_FADING = 0.4
# Or if it is off in whatever direction, by so many deviations of the grain within these limits: a shadow, or the bright
# rim that a camera's sharpening draws around ink.
_OTHERWISE_DEVIATIONS, _LEAST_OTHERWISE, _MOST_OTHERWISE = 1.0, 1.5, 10.0
# Ink that differs from metal by less, in grey levels and in deviations of the grain, cannot be told from it.
_LEAST_CONTRAST, _LEAST_DEVIATIONS = 16.0, 2.0
# Variance of a photo's numbers themselves, in squared grey levels.
_LEAST_VARIANCE = 1.0
# Pixels are looked up in rows of this length: OpenCV takes no picture wider than 32,766.
_ROW = 1024
# Share of what counts nearby that a mean needs.
_ENOUGH = 0.02


def trim(image: RGB, holes: Mask, ink: Mask, scale: float) -> Mask:
    """Holes without the rim that shows no ink, (H, W) bool.

    Args:
        image: (H, W, 3) uint8 RGB, holes and some metal around them.
        holes: (H, W) bool.
        ink: (H, W) bool, the strokes, up to a pixel or two.
        scale: Long side of the whole photo over 1500 px.
    """
    rings = max(_LEAST_RINGS, round(_RINGS_PX * scale))
    judged = holes & dilate(ink & holes, rings)
    if not judged.any() or holes.all():
        return holes
    ink_here = _Ink.on(image, holes, ink, scale)
    deep = cv2.distanceTransform(ink.astype(np.uint8), cv2.DIST_L2, 5) > _DEPTH_PX
    share = dot(ink_here.off, ink_here.filter)
    core = holes & (deep | (share > np.clip(_CORE_DEVIATIONS * ink_here.deviation, _CORE_SHARE, _MOST_SHARE)))
    ring = np.ceil(cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 5) - 0.5)
    rim = judged & ink_here.plain & ~core
    bare = rim & (share <= np.clip(_PIXEL_DEVIATIONS * ink_here.deviation, _LEAST_SHARE, _MOST_SHARE))
    stretch_px = max(_LEAST_STRETCH_PX, _STRETCH_PX * scale)
    most = np.clip(_STRETCH_DEVIATIONS * ink_here.deviation * ink_here.contrast, _LEAST_OFF, _MOST_OFF)
    otherwise = np.clip(_OTHERWISE_DEVIATIONS * ink_here.grain, _LEAST_OTHERWISE, _MOST_OTHERWISE)
    inked = np.zeros_like(holes)
    for index in range(1, rings + 1):
        here = np.nonzero(rim & (ring == index))
        if not len(here[0]):
            inked = np.zeros_like(holes)
            continue
        # of all that is there: those that a pixel's own share leaves are the lighter half
        tone = _mean_at(ink_here.off, here, stretch_px)
        towards = dot(tone, ink_here.filter[here][None])[0] * ink_here.contrast[here]
        allowed = np.where(dilate(inked, 2)[here], _FADING * most[here], most[here])
        inked = np.zeros_like(holes)
        inked[here] = (towards > allowed) | (largest(tone)[0] > otherwise)
        bare &= ~inked
    return np.asarray(holes & dilate(holes & ~bare, int(_BLUR_PX * max(0.0, scale - _SHARP_SCALE))))


@dataclass(frozen=True)
class _Ink:
    """What ink does to the pixels of a photo.

    Attributes:
        off: (H, W, 3) float32, pixels less the metal that belongs there.
        filter: (H, W, 3) float32; its product with `off` is the share of ink.
        deviation: (H, W) float32, the standard deviation of that share on bare metal.
        contrast: (H, W) float32, grey levels by which full ink is off, in its strongest channel.
        plain: (H, W) bool, where ink can be told from metal.
        grain: Grey levels, the standard deviation of bare metal.
    """

    off: Floats
    filter: Floats
    deviation: Floats
    contrast: Floats
    plain: Mask
    grain: float

    @staticmethod
    def on(image: RGB, holes: Mask, ink: Mask, scale: float) -> _Ink:
        sigma_px = max(_LEAST_METAL_PX, _METAL_PX * scale)
        off = np.asarray(image - _near(image.astype(np.float32), ~holes, sigma_px), np.float32)
        colour = _near(off, ink, 2 * sigma_px)
        grain = off[dilate(holes, round(4 * sigma_px)) & ~holes]
        usual = grain.T @ grain / max(len(grain), 1) + _LEAST_VARIANCE * np.eye(3, dtype=np.float32)
        weighed = np.asarray(colour @ np.linalg.inv(usual), np.float32)
        strength = np.maximum(dot(colour, weighed), np.float32(1e-6))
        deviation, contrast = np.asarray(1 / np.sqrt(strength), np.float32), largest(colour)
        plain = (contrast >= _LEAST_CONTRAST) & (deviation <= 1 / _LEAST_DEVIATIONS)
        matched = np.asarray(weighed / strength[:, :, None], np.float32)
        return _Ink(off, matched, deviation, contrast, plain, float(np.sqrt(usual.diagonal().max())))


def _near(values: Floats, where: Mask, sigma_px: float) -> Floats:
    """Means of what counts, (H, W, 3) float32, from further away where nothing near does."""
    total, weight = _sums(values, where, sigma_px)
    means = np.asarray(total / np.maximum(weight, 1e-6), np.float32)
    return _enlarged(spread(means, weight[:, :, 0] > _ENOUGH), where)


def _mean_at(values: Floats, places: tuple[npt.NDArray[np.intp], ...], sigma_px: float) -> Floats:
    """Means over those of some pixels that are near, for each of them, (1, N, 3) float32.

    Args:
        values: (H, W, 3) float32.
        places: Rows and columns (N,) of the pixels.
        sigma_px: What is near; what is much less apart is taken together.
    """
    coarse = max(1, int(sigma_px / 2))
    height, width = (-(-side // coarse) for side in values.shape[:2])
    rows, columns = places
    cells = rows // coarse * width + columns // coarse
    channels = [None, *values[places].T]
    sums = np.dstack([
        np.bincount(cells, channel, height * width).reshape(height, width).astype(np.float32) for channel in channels
    ])  # fmt: skip
    near = cv2.GaussianBlur(sums, (0, 0), sigma_px / coarse)
    means = near[:, :, 1:] / np.maximum(near[:, :, :1], 1e-6)
    x, y = (
        np.pad((place + 0.5) / coarse - 0.5, (0, -len(place) % _ROW)).astype(np.float32).reshape(-1, _ROW)
        for place in (columns, rows)
    )
    found = cv2.remap(means, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found.reshape(1, -1, 3)[:, : len(rows)], np.float32)


def _sums(values: Floats, where: Mask, sigma_px: float) -> tuple[Floats, Floats]:
    """Sums of what counts nearby, (h, w, 3), and its share, (h, w, 1), in pixels half as large as `sigma_px`."""
    coarse = max(1, int(sigma_px / 2))
    size = -(-where.shape[1] // coarse), -(-where.shape[0] // coarse)
    share = where.astype(np.float32)
    total, weight = (
        cv2.GaussianBlur(cv2.resize(part, size, interpolation=cv2.INTER_AREA), (0, 0), sigma_px / coarse)
        for part in (values * share[:, :, None], share)
    )
    return np.asarray(total, np.float32), np.asarray(weight, np.float32)[:, :, None]


def _enlarged(values: Floats, like: Mask) -> Floats:
    if values.shape[:2] == like.shape:
        return values
    return np.asarray(cv2.resize(values, like.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
