"""Make holes no wider than they must be: the bare metal of their margin stays as it is.

A hole reaches far around the strokes, so that neither an edge that was missed nor a shadow of the ink is left. But most
of that margin is bare metal, and nothing looks more like it than itself. It stays wherever the photo has the tone that
the metal around the hole leads to expect; where it has another, something lies on it.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.crops import find_crops
from weldgen.cleaning.morphology import dilate
from weldgen.cleaning.scale import REFERENCE_SIDE_PX
from weldgen.cleaning.shapes import reduced_size, shrunk, spread

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# Lengths on a photo of 1500 px long side. What lies this close to a stroke is taken for its soft edge.
_CLOSE_PX, _LEAST_CLOSE_PX = 4.0, 1
# Tones are compared over this width, which evens out the grain.
_TONE_PX, _LEAST_TONE_PX = 4.0, 1.5
# Metal around a hole that is looked at.
_CONTEXT_PX, _LEAST_CONTEXT_PX = 64, 24
_MATCH_SIDE_PX = 192
# Grey levels by which the tone of bare metal may be off: at least the first, at most the second, between them so many
# deviations of the tones beside the hole.
_LEAST_OFF, _MOST_OFF = 5.0, 14.0
_DEVIATIONS = 2.5


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
    close_px, tone_px = max(_LEAST_CLOSE_PX, round(_CLOSE_PX * scale)), max(_LEAST_TONE_PX, _TONE_PX * scale)
    close = dilate(ink, close_px)
    bare = holes & ~close
    if not bare.any():
        return holes
    expected = _expected(image, holes)
    margin = _tone(image.astype(np.float32) - expected, bare, tone_px)
    beside = dilate(holes, round(4 * tone_px)) & ~holes
    usual = _tone(image.astype(np.float32) - _smoothed(image, tone_px), beside, tone_px)[beside]
    allowed = _DEVIATIONS * float(np.sqrt((usual**2).mean())) if usual.size else 0.0
    covered = bare & (margin > np.clip(allowed, _LEAST_OFF, _MOST_OFF))
    return np.asarray(holes & (close | dilate(covered, max(1, close_px // 2))))


def _tone(difference: Floats, where: Mask, sigma_px: float) -> Floats:
    """Largest difference over the channels, (H, W) float32, averaged over what is near and counts."""
    weight = where.astype(np.float32)[:, :, None]
    share = cv2.GaussianBlur(weight, (0, 0), sigma_px)[:, :, None]
    tone = np.abs(cv2.GaussianBlur(difference * weight, (0, 0), sigma_px)) / np.maximum(share, 1e-3)
    return np.asarray(tone.max(axis=2), np.float32)


def _smoothed(image: RGB, tone_px: float) -> Floats:
    """The image blurred over four times the width of the tone, (H, W, 3) float32; at a quarter of its size."""
    size = max(1, image.shape[1] // 4), max(1, image.shape[0] // 4)
    small = cv2.GaussianBlur(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (0, 0), tone_px)
    whole = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(whole, np.float32)


def _expected(image: RGB, holes: Mask) -> Floats:
    """The image with its holes filled smoothly, (H, W, 3) float32."""
    small, small_holes = shrunk(image, holes, reduced_size(holes.shape, _MATCH_SIDE_PX))
    filled = spread(small, ~small_holes)
    return np.asarray(cv2.resize(filled, holes.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
