"""Read any common photo as HWC uint8 RGB, and write it back in its own format.

What is notable: EXIF rotation is applied on reading and the tag reset on writing; alpha, grey, palette, CMYK and
16-bit samples survive, because only pixels that changed are written over the original samples; JPEGs keep their
quantisation tables, so that the untouched part does not lose a second generation of quality.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from weldgen.data.deep import encode_deep, image_of, read_deep
from weldgen.errors import DataError
from weldgen.runtime import write_atomic

RGB = npt.NDArray[np.uint8]

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
MIN_SIDE_PX = 16
# Largest image that is read: 400 megapixels take 1.2 GB as RGB.
MAX_PIXELS = 400_000_000
_DEFAULT_JPEG_QUALITY = 95
_KEPT_INFO = ("dpi", "icc_profile", "exif", "transparency")

ImageFile.LOAD_TRUNCATED_IMAGES = False
Image.MAX_IMAGE_PIXELS = MAX_PIXELS


@dataclass(frozen=True)
class Photo:
    """A decoded photo and what is needed to write it back.

    Attributes:
        pixels: Upright image, (H, W, 3) uint8 RGB.
        native: Upright samples as stored, (H, W) or (H, W, C), uint8 or uint16; colour order of `mode`.
        mode: Pillow's mode of `native` (`L`, `LA`, `RGB`, `RGBA`, `CMYK`), or `I;16`, `RGB;16`, `RGBA;16`.
        format: Pillow's name of the file format, e.g. `JPEG`.
        save_options: Keywords for Pillow's `save` that keep quality, EXIF, ICC profile and resolution.
    """

    pixels: RGB
    native: npt.NDArray[Any]
    mode: str
    format: str
    save_options: dict[str, Any] = field(default_factory=dict)


def is_image_name(path: Path) -> bool:
    """Whether a file's name says that it is an image, hidden files left out."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def image_size(path: Path) -> tuple[int, int]:
    """Upright (width, height) in pixels, read from the header alone.

    Raises:
        DataError: The file is no image.
    """
    with _reading(path), Image.open(path) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
        width, height = image.size
        return (height, width) if turned else (width, height)


def shrink(photo: RGB, long_px: int) -> RGB:
    """A photo, (H, W, 3) uint8, with a long side of at most `long_px`; pixels are averaged, not left out."""
    import cv2

    scale = long_px / max(photo.shape[:2])
    if scale >= 1:
        return photo
    size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def read_mask(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """A mask drawn on a photo of shape (H, W, ...): (H, W) uint8, 255 where it is white.

    Raises:
        DataError: It cannot be read, or is of another size than its photo.
    """
    mask = read_rgb(path)[:, :, 0]
    if mask.shape != shape[:2]:
        raise DataError(
            f"{path} is {mask.shape[1]} x {mask.shape[0]} pixels, its photo {shape[1]} x {shape[0]}",
            "draw the mask on the photo itself",
        )
    return mask


def read_rgb(path: Path) -> RGB:
    """Upright image as (H, W, 3) uint8 RGB; transparent parts are shown on black."""
    return read_photo(path).pixels


def read_photo(path: Path) -> Photo:
    """Decode a photo.

    Raises:
        DataError: The file is missing, no image, truncated, or smaller than 16 pixels a side.
    """
    with _reading(path):
        data = path.read_bytes()
    return decode_photo(data, path)


def decode_photo(data: bytes, name: Path | str) -> Photo:
    """Decode the bytes of a photo file.

    Args:
        data: The whole file.
        name: What errors call it.

    Raises:
        DataError: The bytes are no image, truncated, or an image smaller than 16 pixels a side.
    """
    with _reading(name), Image.open(io.BytesIO(data)) as image:
        if min(image.size) < MIN_SIDE_PX:
            raise DataError(
                f"{name}: {image.width} x {image.height} pixels; at least {MIN_SIDE_PX} a side are needed",
                "remove the file, or replace it by the full photo",
            )
        image_format = image.format or "PNG"
        deep = read_deep(data, image)  # first: reading EXIF data can decode a PNG and forget its raw mode
        options = _save_options(image)
        if deep is not None:
            native, mode = deep
        else:
            image.load()
            upright = ImageOps.exif_transpose(_plain_mode(image))
            native, mode = np.asarray(upright), upright.mode
    return Photo(_to_rgb(native, mode), native, mode, image_format, options)


def encode_photo(pixels: RGB, like: Photo) -> bytes:
    """Encode an edited image in the format of the photo it came from.

    Samples whose RGB value did not change are taken from `like.native`, so depth, alpha and CMYK separation of the
    untouched part are exact (but for the format's own loss).

    Args:
        pixels: (H, W, 3) uint8 RGB, the size of `like.pixels`.
        like: The photo that was read.
    """
    if pixels.shape != like.pixels.shape or pixels.dtype != np.uint8:
        raise ValueError(f"pixels must be {like.pixels.shape} uint8, but got {pixels.shape} {pixels.dtype}")
    changed = np.any(pixels != like.pixels, axis=2)
    native = like.native.copy()
    native[changed] = _from_rgb(pixels[changed], like)
    if like.mode.endswith(";16"):
        return encode_deep(native, like.format, like.save_options)
    stream = io.BytesIO()
    image_of(native, like.mode).save(stream, like.format, **like.save_options)
    return stream.getvalue()


def encode_rgb(pixels: RGB, suffix: str = ".png", quality: int = _DEFAULT_JPEG_QUALITY) -> bytes:
    """Encode (H, W, 3) uint8 RGB or (H, W) uint8 grey; the suffix names the format."""
    image_format = Image.registered_extensions()[suffix.lower()]
    if image_format == "PNG" and pixels.ndim == 3:
        return _encode_png(pixels)
    stream = io.BytesIO()
    options: dict[str, Any] = {"quality": quality} if image_format in ("JPEG", "WEBP") else {}
    Image.fromarray(pixels).save(stream, image_format, **options)
    return stream.getvalue()


def _encode_png(pixels: RGB) -> bytes:
    """A photo as PNG; the filter by averages makes the files no larger than Pillow does, in half the time."""
    import cv2

    options = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_AVG)
    return cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def write_rgb(path: Path, pixels: RGB) -> None:
    """Write an image whole or not at all; the suffix names the format."""
    write_atomic(path, encode_rgb(pixels, path.suffix))


@contextmanager
def _reading(path: Path | str) -> Iterator[None]:
    """Turn every way in which decoding fails into one sentence that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not an image, or of a kind that cannot be read") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: more than {MAX_PIXELS // 1_000_000} megapixels") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(f"{path}: damaged image ({error})", "copy the photo from the camera again") from error


def _plain_mode(image: Image.Image) -> Image.Image:
    """Pillow's many modes as one of L, LA, RGB, RGBA, CMYK; the rotation tag stays readable."""
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return image
    transparent = "transparency" in image.info or image.mode in ("PA", "La", "RGBa")
    if image.mode in ("1", "I", "F"):
        return image.convert("L")
    return image.convert("RGBA" if transparent else "RGB")


def _save_options(image: Image.Image) -> dict[str, Any]:
    options = {key: image.info[key] for key in _KEPT_INFO if image.info.get(key) and key != "transparency"}
    if len(image.getexif()):
        exif = Image.Exif()
        exif.load(image.getexif().tobytes())
        exif.pop(ExifTags.Base.Orientation, None)  # the pixels are written upright
        options["exif"] = exif.tobytes()
    if image.format == "JPEG":
        from PIL import JpegImagePlugin

        tables = getattr(image, "quantization", None)
        sampling = JpegImagePlugin.get_sampling(image)
        options |= {"qtables": tables} if tables else {"quality": _DEFAULT_JPEG_QUALITY}
        if sampling >= 0:
            options["subsampling"] = sampling
    elif image.format == "WEBP":
        options["quality"] = _DEFAULT_JPEG_QUALITY
    elif image.format == "TIFF" and image.info.get("compression"):
        options["compression"] = image.info["compression"]
    return options


def _to_rgb(native: npt.NDArray[Any], mode: str) -> RGB:
    if mode.endswith(";16"):
        native = (native >> 8).astype(np.uint8)
        mode = {"I;16": "L", "RGB;16": "RGB", "RGBA;16": "RGBA"}[mode]
    if mode in ("LA", "RGBA"):
        alpha = native[:, :, -1:].astype(np.float32) / 255.0
        shown = np.round(native[:, :, :-1] * alpha).astype(np.uint8)
        return np.ascontiguousarray(np.repeat(shown, 3, axis=2) if mode == "LA" else shown)
    if mode == "L":
        return np.ascontiguousarray(np.repeat(native[:, :, None], 3, axis=2))
    if mode == "CMYK":
        return np.asarray(image_of(native, "CMYK").convert("RGB"))
    return np.ascontiguousarray(native)


def _from_rgb(pixels: RGB, like: Photo) -> npt.NDArray[Any]:
    """Edited pixels, (N, 3) uint8 RGB, as samples of the photo's own mode, (N,) or (N, C)."""
    grey: npt.NDArray[np.uint8] = np.round(pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    mode = like.mode
    if mode == "L":
        return grey
    if mode == "CMYK":
        separated: npt.NDArray[np.uint8] = np.asarray(Image.fromarray(pixels[None]).convert("CMYK"))[0]
        return separated
    if mode == "I;16":
        return grey.astype(np.uint16) * 257
    colour: npt.NDArray[Any] = grey[:, None] if mode == "LA" else pixels
    if mode.endswith(";16"):
        colour = colour.astype(np.uint16) * 257
    if mode in ("LA", "RGBA", "RGBA;16"):
        opaque = np.full((len(pixels), 1), np.iinfo(colour.dtype).max, colour.dtype)
        colour = np.concatenate([colour, opaque], axis=1)
    return colour
