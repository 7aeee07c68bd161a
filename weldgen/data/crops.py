"""Cut boxes out of photos, with a margin, in the photo's own format."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy.typing as npt
from pydantic import Field

from weldgen.config import Config
from weldgen.data.images import MIN_SIDE_PX, RGB, Photo, encode_photo

JPEG_QUALITY = 95
# A crop keeps what describes its colours; EXIF data describes the whole photo and may hold a thumbnail of it.
_KEPT_OPTIONS = ("icc_profile", "dpi", "subsampling")
# Formats that lose quality, and how they are written; all others are lossless.
_OPTIONS: dict[str, dict[str, Any]] = {"JPEG": {"quality": JPEG_QUALITY}, "WEBP": {"lossless": True}}

Window = tuple[int, int, int, int]


class CropsConfig(Config):
    """What is cut out around a box."""

    margin: float = Field(0.15, ge=0, le=2, description="added on each side, as a share of the box's side")
    min_px: int = Field(16, ge=MIN_SIDE_PX, description="crops with a shorter side are skipped and counted")
    square: bool = Field(False, description="widen the shorter side to the longer one, where the photo has room")
    upright: bool = Field(False, description="cut along turned boxes and polygons, their longer side level")


def crop_window(box_px: tuple[float, float, float, float], size_px: tuple[int, int], config: CropsConfig) -> Window:
    """Left, top, right, bottom of the crop of a box, in whole pixels inside the photo.

    Args:
        box_px: Left, top, right, bottom, clipped to the photo.
        size_px: Width and height of the photo.
        config: Margin and shape.
    """
    left, top, right, bottom = box_px
    width, height = (right - left) * (1 + 2 * config.margin), (bottom - top) * (1 + 2 * config.margin)
    side = max(width, height)
    columns = _span((left + right) / 2, width, side if config.square else None, size_px[0])
    rows = _span((top + bottom) / 2, height, side if config.square else None, size_px[1])
    return columns[0], rows[0], columns[1], rows[1]


def cut(photo: Photo, window: Window) -> bytes:
    """Encode a part of a photo: JPEG at quality 95, all other formats without loss, depth and alpha as in the photo."""
    left, top, right, bottom = window
    return encode_part(photo, photo.pixels[top:bottom, left:right], photo.native[top:bottom, left:right])


def encode_part(photo: Photo, pixels: RGB, native: npt.NDArray[Any]) -> bytes:
    """Encode what was cut out of a photo as `cut` does.

    Args:
        photo: Where it comes from.
        pixels: (H, W, 3) uint8 RGB.
        native: The same part of the photo's native samples.
    """
    image_format = "JPEG" if photo.format == "MPO" else photo.format  # a camera's JPEG with a second image in it
    options = {name: value for name, value in photo.save_options.items() if name in _KEPT_OPTIONS}
    options |= _OPTIONS.get(image_format, {})
    return encode_photo(pixels, replace(photo, pixels=pixels, native=native, format=image_format, save_options=options))


def _span(centre: float, length: float, square: float | None, limit: int) -> tuple[int, int]:
    """Start and end along one axis; a square's is moved into the photo instead of cut at its edge."""
    if square is None:
        # rounded first, so that an edge that is whole but for the last binary digit stays where it is
        start, end = round(centre - length / 2, 3), round(centre + length / 2, 3)
        return max(0, math.floor(start)), min(limit, math.ceil(end))
    side = min(limit, math.ceil(round(square, 3)))
    start = min(max(0, round(centre - side / 2)), limit - side)
    return start, start + side
