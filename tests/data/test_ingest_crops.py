"""Crops lie in the photo, have their margin, and keep the photo's format and depth."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from weldgen.data.crops import CropsConfig, crop_window, cut
from weldgen.data.images import read_photo

SIZE_PX = (100, 60)


@pytest.mark.parametrize(
    ("box_px", "settings", "window"),
    [
        ((20, 20, 40, 30), {"margin": 0}, (20, 20, 40, 30)),
        ((20, 20, 40, 30), {"margin": 0.5}, (10, 15, 50, 35)),
        ((20.4, 20, 40.2, 30), {"margin": 0}, (20, 20, 41, 30)),
        ((0, 0, 20, 20), {"margin": 0.15}, (0, 0, 23, 23)),
        ((20, 20, 40, 30), {"margin": 0, "square": True}, (20, 15, 40, 35)),
        ((90, 0, 100, 40), {"margin": 0, "square": True}, (60, 0, 100, 40)),  # moved inwards, not cut
        ((0, 20, 100, 30), {"margin": 0, "square": True}, (0, 0, 100, 60)),  # no room for 100 rows
    ],
)
def test_windows(box_px, settings, window):
    assert crop_window(box_px, SIZE_PX, CropsConfig(**settings)) == window


def test_a_crop_is_never_too_small_to_be_read():
    with pytest.raises(ValidationError):
        CropsConfig(min_px=15)


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [(".png", "L"), (".png", "RGBA"), (".png", "I;16"), (".bmp", "RGB"), (".tif", "RGB"), (".webp", "RGB")],
)
def test_lossless_crops_keep_every_sample(tmp_path, make_metal, suffix, mode):
    pixels = make_metal(1)
    image = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 200) if mode == "I;16" else Image.fromarray(pixels)
    path = tmp_path / f"x{suffix}"
    (image if mode == "I;16" else image.convert(mode)).save(path)
    photo = read_photo(path)
    crop = tmp_path / f"crop{suffix}"
    crop.write_bytes(cut(photo, (5, 10, 45, 40)))
    made = read_photo(crop)
    assert (made.format, made.mode) == (photo.format, photo.mode)
    np.testing.assert_array_equal(made.native, photo.native[10:40, 5:45])


def test_jpeg_crops_have_quality_95_and_no_exif_of_the_whole_photo(tmp_path, make_metal):
    exif = Image.Exif()
    exif[0x010F] = "camera"
    Image.fromarray(make_metal(2)).save(tmp_path / "x.jpg", quality=60, exif=exif)
    data = cut(read_photo(tmp_path / "x.jpg"), (0, 0, 48, 32))
    with Image.open(io.BytesIO(data)) as made:
        assert (made.format, made.size, len(made.getexif())) == ("JPEG", (48, 32), 0)
        tables = made.quantization
    reference = io.BytesIO()
    Image.fromarray(make_metal(2)).save(reference, "JPEG", quality=95)
    with Image.open(reference) as expected:
        assert tables == expected.quantization
