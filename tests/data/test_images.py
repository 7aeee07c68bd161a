"""Photos of every common kind keep format, depth and metadata."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from weldgen.data.images import encode_photo, image_size, read_photo, read_rgb
from weldgen.errors import DataError


def edited(photo):
    pixels = photo.pixels.copy()
    pixels[10:20, 10:20] = (200, 30, 90)
    return pixels


def reread(tmp_path: Path, photo, name: str):
    path = tmp_path / name
    path.write_bytes(encode_photo(edited(photo), photo))
    return read_photo(path)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("RGB", ".png"),
        ("L", ".png"),
        ("LA", ".png"),
        ("RGBA", ".png"),
        ("CMYK", ".tif"),
        ("RGB", ".bmp"),
        ("RGB", ".tif"),
    ],
)
def test_only_changed_pixels_differ_and_the_mode_is_kept(tmp_path, make_metal, mode, suffix):
    path = tmp_path / f"in{suffix}"
    image = Image.fromarray(make_metal(1)).convert(mode)
    image.save(path)
    photo = read_photo(path)
    again = reread(tmp_path, photo, f"out{suffix}")
    assert again.mode == mode
    assert again.format == photo.format
    untouched = np.ones(photo.pixels.shape[:2], bool)
    untouched[10:20, 10:20] = False
    assert np.array_equal(again.native[untouched], photo.native[untouched])
    assert not np.array_equal(again.pixels[~untouched], photo.pixels[~untouched])


def test_sixteen_bit_grey_keeps_its_depth(tmp_path):
    samples = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
    Image.fromarray(samples, "I;16").save(tmp_path / "in.png")
    photo = read_photo(tmp_path / "in.png")
    assert photo.pixels.max() == samples.max() >> 8
    again = reread(tmp_path, photo, "out.png")
    assert again.native.dtype == np.uint16
    assert np.array_equal(again.native[30:], samples[30:])


def test_sixteen_bit_colour_keeps_its_depth_order_and_profile(tmp_path):
    samples = np.random.default_rng(0).integers(0, 65535, (40, 50, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "plain.png"), samples[:, :, ::-1])
    photo = read_photo(tmp_path / "plain.png")
    assert np.array_equal(photo.native, samples)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo.save_options["icc_profile"] = profile
    again = reread(tmp_path, photo, "out.png")
    assert np.array_equal(again.native[25:], samples[25:])
    assert Image.open(tmp_path / "out.png").info["icc_profile"] == profile


def test_exif_rotation_is_applied_and_reset_and_the_rest_is_kept(tmp_path, make_metal):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "weld camera"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(make_metal(2, 96, 64)).save(tmp_path / "in.jpg", exif=exif, icc_profile=profile, quality=90)
    photo = read_photo(tmp_path / "in.jpg")
    assert photo.pixels.shape == (96, 64, 3)
    assert image_size(tmp_path / "in.jpg") == (64, 96)
    again = reread(tmp_path, photo, "out.jpg")
    assert again.pixels.shape == (96, 64, 3)
    with Image.open(tmp_path / "out.jpg") as written:
        assert written.getexif().get(ExifTags.Base.Orientation, 1) == 1
        assert written.getexif()[ExifTags.Base.Make] == "weld camera"
        assert written.info["icc_profile"] == profile


def test_jpeg_keeps_its_quantisation_so_the_rest_hardly_changes(tmp_path, make_metal):
    Image.fromarray(make_metal(3)).save(tmp_path / "in.jpg", quality=80, subsampling=0)
    photo = read_photo(tmp_path / "in.jpg")
    again = reread(tmp_path, photo, "out.jpg")
    with Image.open(tmp_path / "in.jpg") as first, Image.open(tmp_path / "out.jpg") as second:
        assert first.quantization == second.quantization
    difference = np.abs(again.pixels.astype(int) - photo.pixels)[32:]
    assert difference.max() <= 3


def test_cmyk_jpeg_and_palette_are_read_as_colour(tmp_path, make_metal):
    colour = make_metal(4)
    colour[:, :, 0] //= 2
    Image.fromarray(colour).convert("CMYK").save(tmp_path / "in.jpg", quality=95)
    assert np.abs(read_rgb(tmp_path / "in.jpg").astype(int) - colour).mean() < 12
    Image.fromarray(colour).quantize(64).save(tmp_path / "in.png")
    assert np.abs(read_rgb(tmp_path / "in.png").astype(int) - colour).mean() < 6


@pytest.mark.parametrize("case", ["truncated", "text", "tiny", "missing"])
def test_bad_files_are_named_in_one_sentence(tmp_path, make_metal, case):
    path = tmp_path / f"{case}.jpg"
    if case == "truncated":
        stream = io.BytesIO()
        Image.fromarray(make_metal(5)).save(stream, "JPEG")
        path.write_bytes(stream.getvalue()[:900])
    elif case == "text":
        path.write_text("no image")
    elif case == "tiny":
        Image.new("RGB", (1, 1)).save(path)
    with pytest.raises(DataError, match=case) as raised:
        read_photo(path)
    assert "\n" not in raised.value.message
