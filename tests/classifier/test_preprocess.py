"""The letterbox keeps the aspect ratio and equals a known resize; augmentation depends on its seed alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from weldgen.classifier.augment import augment
from weldgen.classifier.preprocess import FILL, frame_for, letterbox
from weldgen.classifier.settings import AugmentationSettings

OF_BATCHES = ("mixup", "cutmix", "mix_prob")


def smooth(height, width, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 12 + 2, width // 12 + 2, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("frame", [(96, 96), (64, 160), (128, 96)])
@pytest.mark.parametrize(("height", "width"), [(100, 150), (150, 100), (64, 64), (40, 30), (33, 130)])
def test_equals_the_antialiased_bilinear_resize_of_torch_and_pillow(height, width, frame):
    image = smooth(height, width)
    framed = letterbox(image, frame)
    assert framed.shape == (3, *frame)
    scale = min(frame[0] / height, frame[1] / width)
    rows, columns = (max(1, int(x * scale + 0.5)) for x in (height, width))
    top, left = (frame[0] - rows) // 2, (frame[1] - columns) // 2
    inside = framed[:, top : top + rows, left : left + columns].transpose(1, 2, 0).astype(int)
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    ours = F.interpolate(tensor, (rows, columns), mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
    pillow = np.asarray(Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(inside - ours).max() <= 0.51
    assert np.abs(inside - pillow).max() <= 1
    border = framed.copy()
    border[:, top : top + rows, left : left + columns] = FILL
    assert (border == FILL).all()


@pytest.mark.parametrize("scale", [1, 3, 9])
def test_a_disc_stays_round_however_large_the_photo(scale):
    height, width, radius = 120 * scale, 200 * scale, 40 * scale
    y, x = np.mgrid[:height, :width]
    disc = (y - height / 2) ** 2 + (x - width / 2) ** 2 < radius**2
    framed = letterbox(np.repeat((disc * 255).astype(np.uint8)[:, :, None], 3, axis=2), (128, 128))[0]
    seen = framed > 200
    tall, wide = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    assert abs(np.ptp(tall) - np.ptp(wide)) <= 1
    assert np.ptp(wide) + 1 == pytest.approx(128 * 80 / 200, abs=2)
    assert abs(wide.mean() - 63.5) <= 0.5
    assert abs(tall.mean() - 63.5) <= 1


def test_a_grey_photo_keeps_its_grey():
    for grey in (0, 77, 255):
        framed = letterbox(np.full((90, 160, 3), grey, np.uint8), (64, 64))
        assert (framed[:, 14:50] == grey).all()


@pytest.mark.parametrize(
    ("shapes", "frame"),
    [
        ([(300, 100)] * 3 + [(100, 100)], (224, 672)),
        ([(100, 300)] * 3 + [(300, 100)], (672, 224)),
        ([(100, 110), (100, 100), (90, 100)], (384, 384)),
        ([(2000, 100)], (192, 768)),
        ([], (384, 384)),
    ],
)
def test_the_frame_has_the_middle_shape_of_the_photos(shapes, frame):
    assert frame_for(shapes, 384) == frame
    assert 0.8 < frame[0] * frame[1] / 384**2 < 1.2


def test_augmentation_is_a_function_of_the_seed():
    image = torch.from_numpy(letterbox(smooth(60, 90), (64, 64)))
    settings = AugmentationSettings()
    first, again, other = (augment(image, settings, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.dtype == torch.uint8
    assert first.shape == image.shape


def test_augmentation_can_be_switched_off():
    image = torch.from_numpy(letterbox(smooth(60, 90), (64, 64)))
    off = AugmentationSettings(**dict.fromkeys(AugmentationSettings.model_fields, 0))
    assert torch.equal(augment(image, off, 5), image)


@pytest.mark.parametrize("name", [n for n in AugmentationSettings.model_fields if n not in OF_BATCHES])
def test_every_augmentation_changes_something(name):
    image = torch.from_numpy(letterbox(smooth(60, 90), (64, 64)))
    off = dict.fromkeys(AugmentationSettings.model_fields, 0)
    largest = {"hflip": 1, "vflip": 1, "blur": 1, "rotate_deg": 90, "hue_deg": 90}.get(name, 0.5)
    assert not torch.equal(augment(image, AugmentationSettings(**{**off, name: largest}), 5), image)
