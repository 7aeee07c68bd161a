"""Plain augmentation of letterboxed images; what is drawn depends on the seed of the image alone.

It runs between the steps of a training, on the cores that the network wants. So pixels are touched as seldom as can be:
one interpolation for all that moves, one matrix for all colours, and no conversion before the last step.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from weldgen.classifier.colour import colour_change
from weldgen.classifier.preprocess import FILL
from weldgen.classifier.settings import AugmentationSettings

# (H, W, 3) RGB, as OpenCV wants it.
Pixels = npt.NDArray[np.uint8]

# Widest blur, relative to the side of a square of as many pixels: 1.5 px at 384 px, so that fine pores stay.
_BLUR_SIGMA = 0.004


def augment(image: Tensor, settings: AugmentationSettings, seed: int) -> Tensor:
    """Change a training image at random.

    Args:
        image: (3, H, W) uint8 RGB, letterboxed.
        settings: What may change, and by how much.
        seed: Seed of this image in this epoch.

    Returns:
        (3, H, W) uint8.
    """
    # All numbers are drawn at once: switching one change off leaves the others as they were.
    draw = torch.rand(13, generator=torch.Generator().manual_seed(seed)).tolist()
    pixels = np.asarray(cv2.merge(list(image.numpy())), np.uint8)
    if draw[0] < settings.hflip:
        pixels = np.asarray(cv2.flip(pixels, 1), np.uint8)
    if draw[1] < settings.vflip:
        pixels = np.asarray(cv2.flip(pixels, 0), np.uint8)
    pixels = _move(pixels, settings, draw[2:6])
    if draw[10] < settings.blur:
        sigma = max(0.3, draw[11] * _BLUR_SIGMA * math.sqrt(pixels.shape[0] * pixels.shape[1]))
        side = 2 * math.ceil(3 * sigma) + 1
        pixels = np.asarray(cv2.GaussianBlur(pixels, (side, side), sigma), np.uint8)
    return _recolour(pixels, settings, draw[6:10], (draw[12], seed))


def _move(pixels: Pixels, settings: AugmentationSettings, draw: list[float]) -> Pixels:
    """Rotate, shift and scale in one interpolation."""
    angle, dx, dy, size = (2 * value - 1 for value in draw)
    if not (settings.rotate_deg or settings.shift or settings.scale):
        return pixels
    height, width = pixels.shape[:2]
    middle = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(middle, -angle * settings.rotate_deg, 1 + size * settings.scale)
    matrix[:, 2] += dx * settings.shift * width, dy * settings.shift * height
    moved = cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(FILL,) * 3)
    return np.asarray(moved, np.uint8)


def _recolour(pixels: Pixels, settings: AugmentationSettings, draw: list[float], grain: tuple[float, int]) -> Tensor:
    """Change brightness, contrast, saturation and hue, and add noise.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        settings: By how much.
        draw: From 0 to 1, one for each of the four.
        grain: Strength of the noise from 0 to 1, and its seed.

    Returns:
        (3, H, W) uint8.
    """
    brightness, contrast, saturation, hue = (2 * value - 1 for value in draw)
    matrix, offset = colour_change(
        cv2.mean(pixels)[:3],
        1 + brightness * settings.brightness,
        1 + contrast * settings.contrast,
        1 + saturation * settings.saturation,
        hue * settings.hue_deg,
    )
    planes = np.stack(cv2.split(pixels)).reshape(3, -1)
    changed = matrix.astype(np.float32) @ planes.astype(np.float32)
    changed += offset.astype(np.float32)[:, None]
    noise = np.zeros_like(changed)
    if settings.noise:
        cv2.setRNGSeed(grain[1] & 0x7FFFFFFF)  # of this thread alone
        cv2.randn(noise, 0, 255 * settings.noise * grain[0])
    # one pass adds, rounds and keeps within 0 to 255
    done = np.asarray(cv2.add(changed, noise, dtype=cv2.CV_8U), np.uint8)
    return torch.from_numpy(done.reshape(3, *pixels.shape[:2]))
