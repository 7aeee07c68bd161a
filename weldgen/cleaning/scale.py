"""Lengths are given for a photo of 1500 px long side, and scaled with the photo."""

from __future__ import annotations

from collections.abc import Sequence

# Values of a large photo, of 10 megapixels: it takes a gigabyte and more to clean.
LARGE = 30_000_000
REFERENCE_SIDE_PX = 1500


def scaled_px(pixels: float, shape: Sequence[int]) -> int:
    """A length given for a photo of 1500 px long side, on an image of shape (H, W, ...)."""
    return round(pixels * max(shape[:2]) / REFERENCE_SIDE_PX)
