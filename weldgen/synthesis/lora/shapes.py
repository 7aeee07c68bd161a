"""From a photo of any shape to one that the UNet takes: resized to cover it, cut in the middle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from weldgen.synthesis.requests import RGB

_MAX_ASPECT = 4.0  # as in synth


@dataclass(frozen=True)
class Fit:
    """How a photo becomes a training image.

    Attributes:
        original_px: Height and width of the photo.
        resized_px: Height and width after resizing.
        corner_px: Top and left edge of the cut in the resized photo.
        target_px: Height and width of the training image.
    """

    original_px: tuple[int, int]
    resized_px: tuple[int, int]
    corner_px: tuple[int, int]
    target_px: tuple[int, int]

    def time_ids(self, *, mirrored: bool) -> tuple[int, ...]:
        """SDXL's size conditioning (Podell et al. 2023): original size, corner of the cut, target size."""
        top, left = self.corner_px
        if mirrored:
            left = self.resized_px[1] - self.target_px[1] - left
        return (*self.original_px, top, left, *self.target_px)


def fit_photo(height: int, width: int, size_px: int, multiple_px: int) -> Fit:
    """The training image whose shape is nearest to a photo's.

    Args:
        height: Of the photo, pixels.
        width: Of the photo, pixels.
        size_px: Long side of the training image; floored to the multiple.
        multiple_px: Both sides are multiples of it: what autoencoder and UNet together divide by.
    """
    aspect = min(max(width / height, 1 / _MAX_ASPECT), _MAX_ASPECT)
    long_px = max(multiple_px, size_px // multiple_px * multiple_px)
    short_px = max(multiple_px, round(long_px / max(aspect, 1 / aspect) / multiple_px) * multiple_px)
    target_h, target_w = (short_px, long_px) if aspect >= 1 else (long_px, short_px)
    scale = max(target_h / height, target_w / width)
    resized_h, resized_w = max(target_h, round(height * scale)), max(target_w, round(width * scale))
    corner = ((resized_h - target_h) // 2, (resized_w - target_w) // 2)
    return Fit((height, width), (resized_h, resized_w), corner, (target_h, target_w))


def cut_photo(photo: RGB, fit: Fit) -> RGB:
    """The training image of a photo, (H, W, 3) uint8."""
    (resized_h, resized_w), (top, left), (height, width) = fit.resized_px, fit.corner_px, fit.target_px
    resized = np.asarray(Image.fromarray(photo).resize((resized_w, resized_h), Image.Resampling.LANCZOS))
    return np.ascontiguousarray(resized[top : top + height, left : left + width])
