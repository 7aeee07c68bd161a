"""Plain augmentation of letterboxed images; what is drawn depends on the seed of the image alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from weldgen.classifier.preprocess import FILL
from weldgen.classifier.settings import AugmentationSettings

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
    generator = torch.Generator().manual_seed(seed)
    # All numbers are drawn at once: switching one change off leaves the others as they were.
    draw = torch.rand(12, generator=generator).tolist()
    if draw[0] < settings.hflip:
        image = tv.horizontal_flip(image)
    if draw[1] < settings.vflip:
        image = tv.vertical_flip(image)
    image = _move(image, settings, draw[2:6])
    pixels = _recolour(image.float() / 255, settings, draw[6:10])
    if draw[10] < settings.blur:
        sigma = max(0.3, draw[11] * _BLUR_SIGMA * math.sqrt(image.shape[-2] * image.shape[-1]))
        pixels = tv.gaussian_blur(pixels, [2 * math.ceil(3 * sigma) + 1] * 2, [sigma, sigma])
    if settings.noise:
        deviation = settings.noise * float(torch.rand(1, generator=generator))
        pixels = pixels + deviation * torch.randn(pixels.shape, generator=generator)
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8)


def _move(image: Tensor, settings: AugmentationSettings, draw: list[float]) -> Tensor:
    """Rotate, shift and scale in one interpolation."""
    angle, dx, dy, size = (2 * value - 1 for value in draw)
    if not (settings.rotate_deg or settings.shift or settings.scale):
        return image
    height, width = image.shape[-2:]
    moved: Tensor = tv.affine(
        image,
        angle=angle * settings.rotate_deg,
        translate=[dx * settings.shift * width, dy * settings.shift * height],
        scale=1 + size * settings.scale,
        shear=[0.0, 0.0],
        interpolation=InterpolationMode.BILINEAR,
        fill=[float(FILL)] * 3,
    )
    return moved


def _recolour(pixels: Tensor, settings: AugmentationSettings, draw: list[float]) -> Tensor:
    """Change brightness, contrast, saturation and hue of (3, H, W) float RGB from 0 to 1."""
    brightness, contrast, saturation, hue = (2 * value - 1 for value in draw)
    if settings.brightness:
        pixels = tv.adjust_brightness(pixels, 1 + brightness * settings.brightness)
    if settings.contrast:
        pixels = tv.adjust_contrast(pixels, 1 + contrast * settings.contrast)
    if settings.saturation:
        pixels = tv.adjust_saturation(pixels, 1 + saturation * settings.saturation)
    if settings.hue_deg:
        pixels = tv.adjust_hue(pixels, hue * settings.hue_deg / 360)
    return pixels
