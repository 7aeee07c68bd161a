"""Make holes no wider than they must be: the bare metal of their margin stays as it is.

A hole reaches far around the strokes, so that neither an edge that was missed nor a shadow of the ink is left. But most
of that margin is bare metal, and nothing looks more like it than itself. It stays wherever the photo has the tone that
the metal around the hole leads to expect; where it has another, something lies on it. What is left of the margin ends
where the ink does, see `rim`.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.channels import dot, largest
from weldgen.cleaning.crops import find_crops
from weldgen.cleaning.morphology import dilate
from weldgen.cleaning.rim import trim
from weldgen.cleaning.scale import REFERENCE_SIDE_PX
from weldgen.cleaning.shapes import reduced_size, shrunk, spread

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# Lengths on a photo of 1500 px long side. What lies this close to a stroke is taken for its soft edge.
_CLOSE_PX, _LEAST_CLOSE_PX = 4.0, 1
# Tones are compared over this width, which evens out the grain; in pixels as large as half of it.
_TONE_PX, _LEAST_TONE_PX = 10.0, 4.0
# Metal around a hole that is looked at.
_CONTEXT_PX, _LEAST_CONTEXT_PX = 64, 24
_MATCH_SIDE_PX = 192
# Grey levels by which the tone of bare metal may be off: at least the first, at most the second, between them so many
# deviations of the tones beside the hole.
_LEAST_OFF, _MOST_OFF = 5.0, 14.0
_DEVIATIONS = 3.0
# Ink of another colour than the strokes beside it, or a bright rim, is off by so many times that.
_OTHERWISE = 4.0


def tighten(image: RGB, holes: Mask, ink: Mask) -> Mask:
    """Holes without the bare metal of their margin, (H, W) bool.

    Args:
        image: (H, W, 3) uint8 RGB.
        holes: (H, W) bool.
        ink: (H, W) bool, the strokes themselves; they stay holes.
    """
    scale = max(image.shape[:2]) / REFERENCE_SIDE_PX
    result = np.zeros_like(holes)
    for crop in find_crops(holes, max(_LEAST_CONTEXT_PX, round(_CONTEXT_PX * scale))):
        window = crop.window
        tight = _tight(image[window], holes[window], ink[window] & holes[window], scale)
        result[window][crop.inner] |= tight[crop.inner]
    return result


def _tight(image: RGB, holes: Mask, ink: Mask, scale: float) -> Mask:
    close_px = max(_LEAST_CLOSE_PX, round(_CLOSE_PX * scale))
    close = dilate(ink, close_px)
    bare = holes & ~close
    if not bare.any():
        return holes
    tone_px = max(_LEAST_TONE_PX, _TONE_PX * scale)
    covered = bare & _covered(image, holes, ink, bare, tone_px)
    tight = np.asarray(holes & (close | dilate(covered, max(1, close_px // 2))))
    return trim(image, tight, ink, scale)


def _covered(image: RGB, holes: Mask, ink: Mask, bare: Mask, tone_px: float) -> Mask:
    """Where the tone is not that of bare metal, (H, W) bool; looked at in pixels half as large as a tone is wide."""
    size = reduced_size(holes.shape, max(1, round(max(holes.shape) / max(1.0, tone_px / 2))))
    sigma_px = tone_px * size[0] / holes.shape[0]
    pixels, expected = image.astype(np.float32), _expected(image, holes, size)
    beside = dilate(holes, round(4 * tone_px)) & ~holes
    plain, share = _means(pixels, beside, size)
    usual = largest(_smoothed(plain, share, sigma_px) - _smoothed(plain, share, 4 * sigma_px))[share > 0.5]
    allowed = np.clip(_DEVIATIONS * float(np.sqrt((usual**2).mean())) if usual.size else 0.0, _LEAST_OFF, _MOST_OFF)
    margin, share = _means(pixels, bare, size)
    tone = _smoothed(margin - expected, share, sigma_px)
    strokes, share = _means(pixels, ink, size)
    colour = spread(strokes - expected, share > 0.5)
    off = np.maximum(_towards(tone, colour), largest(tone) / _OTHERWISE)
    return np.asarray(cv2.resize(off, holes.shape[::-1], interpolation=cv2.INTER_LINEAR) > allowed)


def _means(pixels: Floats, where: Mask, size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Means of what counts at a smaller size, (h, w, 3), and the share that counts, (h, w), both float32."""
    weight = where.astype(np.float32)
    share = cv2.resize(weight, size[::-1], interpolation=cv2.INTER_AREA)
    total = cv2.resize(pixels * weight[:, :, None], size[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(total / np.maximum(share, 1e-6)[:, :, None], np.float32), np.asarray(share, np.float32)


def _smoothed(values: Floats, share: Floats, sigma_px: float) -> Floats:
    """Values averaged over what is near and counts, (h, w, 3) float32."""
    weight = cv2.GaussianBlur(share, (0, 0), sigma_px)[:, :, None]
    return np.asarray(cv2.GaussianBlur(values * share[:, :, None], (0, 0), sigma_px) / np.maximum(weight, 1e-3))


def _towards(tone: Floats, colour: Floats) -> Floats:
    """How far a tone is off towards a colour, (h, w) float32, as its largest channel is."""
    strength = np.maximum(dot(colour, colour), 1e-3)
    return np.asarray(dot(tone, colour) / strength * largest(colour), np.float32)


def _expected(image: RGB, holes: Mask, size: tuple[int, int]) -> Floats:
    """The image with its holes filled smoothly, at another size, (h, w, 3) float32."""
    small, small_holes = shrunk(image, holes, reduced_size(holes.shape, _MATCH_SIDE_PX))
    return np.asarray(cv2.resize(spread(small, ~small_holes), size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
