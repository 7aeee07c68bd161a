"""A first guess for a hole: carry the lines of the metal around it straight through.

Brushing, milling, grooves and the plate's edges run on through a hole; a smooth fill would interrupt them.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

_ANGLES = 16
_LENGTHS_PX = (6, 14, 32, 72)
# Below this coherence of the gradients the metal has no direction.
_MIN_COHERENCE = 0.2
# An angle that fewer of the hole's pixels have is left to the smooth fill.
_MIN_ANGLE_SHARE = 0.02


def directional_fill(image: Floats, hole: Mask) -> Floats:
    """Fill a hole along the local direction of the metal; smoothly where it has none.

    Args:
        image: (H, W, 3) float32.
        hole: (H, W) bool.
    """
    known = ~hole
    result = np.where(hole[:, :, None], spread(image, known), image)
    angle, coherence = _directions(image, known)
    directed = hole & (coherence > _MIN_COHERENCE)
    numbers = np.round(angle / np.pi * _ANGLES).astype(int) % _ANGLES
    for number in range(_ANGLES):
        chosen = directed & (numbers == number)
        if chosen.mean() <= _MIN_ANGLE_SHARE * hole.mean():
            continue
        along = _along(image, known, number * np.pi / _ANGLES, result)
        result = np.where(chosen[:, :, None], along, result)
    return np.asarray(result, dtype=np.float32)


def spread(values: Floats, known: Mask) -> Floats:
    """Known values spread over an image: each pixel takes the mean at the finest scale that has one near (push-pull).

    Args:
        values: (H, W, C) float32.
        known: (H, W) bool, where `values` counts.
    """
    weight = known.astype(np.float32)[:, :, None]
    if known.all() or min(known.shape) < 4:
        mean = (values * weight).sum(axis=(0, 1)) / max(float(weight.sum()), 1e-6)
        return np.where(known[:, :, None], values, mean).astype(np.float32)
    size = ((known.shape[1] + 1) // 2, (known.shape[0] + 1) // 2)
    small_weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)[:, :, None]
    small = cv2.resize(values * weight, size, interpolation=cv2.INTER_AREA) / np.maximum(small_weight, 1e-6)
    coarse = spread(small, small_weight[:, :, 0] > 0)
    rough = cv2.resize(coarse, known.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(known[:, :, None], values, cv2.GaussianBlur(rough, (0, 0), 1.0)).astype(np.float32)


def _directions(image: Floats, known: Mask) -> tuple[Floats, Floats]:
    """Direction of the lines, 0 to pi from the x axis, and how clear it is, 0 to 1; from the structure tensor."""
    grey = cv2.cvtColor(np.where(known[:, :, None], image, 0).astype(np.float32), cv2.COLOR_RGB2GRAY)
    inner = cv2.erode(known.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    tensor = np.stack([across * across, down * down, across * down], axis=2)
    smooth = cv2.GaussianBlur(tensor * inner[:, :, None], (0, 0), 8)
    weight = cv2.GaussianBlur(inner.astype(np.float32), (0, 0), 8)
    tensor = spread(smooth / np.maximum(weight, 1e-6)[:, :, None], weight > 0.05)
    xx, yy, xy = (cv2.GaussianBlur(tensor[:, :, i], (0, 0), 6) for i in range(3))
    gradient = 0.5 * np.arctan2(2 * xy, xx - yy)
    coherence = np.hypot(xx - yy, 2 * xy) / np.maximum(xx + yy, 1e-6)
    return np.mod(gradient + np.pi / 2, np.pi).astype(np.float32), coherence.astype(np.float32)


def _along(image: Floats, known: Mask, angle: float, fallback: Floats) -> Floats:
    """Means of the known pixels on a line through each pixel; the shortest line that meets enough of them counts."""
    result = fallback
    weight = known.astype(np.float32)
    for length in reversed(_LENGTHS_PX):
        kernel = _line_kernel(length, angle)
        total = cv2.filter2D(image * weight[:, :, None], cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT)
        amount = cv2.filter2D(weight, cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT)
        trust = np.clip(amount / 0.08, 0, 1)[:, :, None]
        mean = total / np.maximum(amount, 1e-6)[:, :, None]
        result = trust * mean + (1 - trust) * result
    return np.asarray(result, dtype=np.float32)


def _line_kernel(length_px: int, angle: float) -> Floats:
    """A Gaussian line of the given half length, one pixel wide, with sum 1."""
    reach = 2 * length_px
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = -x * np.sin(angle) + y * np.cos(angle)
    kernel = np.exp(-0.5 * (along / length_px) ** 2 - 0.5 * (across / 0.6) ** 2)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)
