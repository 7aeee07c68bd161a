"""Images of 16 bits a sample, which Pillow would cut to 8."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from weldgen.data.png import with_png_chunks
from weldgen.errors import DataError


def read_deep(data: bytes, image: Image.Image) -> tuple[npt.NDArray[Any], str] | None:
    """Samples of a 16-bit PNG or TIFF, which Pillow would cut to 8 bits, or None for all other images."""
    deep_grey = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    # Pillow opens 48-bit colour as plain RGB; only its decoder's raw mode still tells.
    raw_modes = str([tile.args for tile in getattr(image, "tile", [])])
    if not deep_grey and ";16" not in raw_modes:
        return None
    import cv2

    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    samples = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if samples is None or samples.dtype != np.uint16:
        return None
    samples = _upright(samples, image.getexif().get(ExifTags.Base.Orientation, 1))
    if samples.ndim == 2:
        return np.ascontiguousarray(samples), "I;16"
    order, mode = ((2, 1, 0), "RGB;16") if samples.shape[2] == 3 else ((2, 1, 0, 3), "RGBA;16")
    return np.ascontiguousarray(samples[:, :, order]), mode


def _upright(samples: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Undo an EXIF orientation (1 to 8) on an array."""
    if orientation in (5, 6, 7, 8):
        samples = np.swapaxes(samples, 0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples


def encode_deep(native: npt.NDArray[Any], image_format: str, options: Mapping[str, Any]) -> bytes:
    """A 16-bit PNG or TIFF.

    Args:
        native: (H, W) or (H, W, 3 or 4) uint16.
        image_format: `PNG` or `TIFF`.
        options: What Pillow's `save` is given: profile, EXIF data, compression.

    Raises:
        DataError: It could not be encoded.
    """
    import cv2

    if native.ndim == 2:
        stream = io.BytesIO()
        image_of(native, "I;16").save(stream, image_format, **options)
        return stream.getvalue()
    order = (2, 1, 0) if native.shape[2] == 3 else (2, 1, 0, 3)
    done, data = cv2.imencode(".tif" if image_format == "TIFF" else ".png", np.ascontiguousarray(native[:, :, order]))
    if not done:
        raise DataError(f"a 16-bit {image_format} could not be encoded")
    return with_png_chunks(bytes(data), options) if image_format == "PNG" else bytes(data)


def image_of(samples: npt.NDArray[Any], mode: str) -> Image.Image:
    """A Pillow image of samples whose mode their shape alone does not tell."""
    return Image.frombytes(mode, (samples.shape[1], samples.shape[0]), np.ascontiguousarray(samples).tobytes())
