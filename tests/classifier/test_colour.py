"""One matrix changes brightness, contrast, saturation and hue as the four known steps do, one after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from weldgen.classifier.augment import augment
from weldgen.classifier.colour import colour_change
from weldgen.classifier.settings import AugmentationSettings

MEANS = (90.0, 120.0, 60.0)
GREY = np.array([0.299, 0.587, 0.114])
STILL = dict.fromkeys(AugmentationSettings.model_fields, 0)
RED, YELLOW, GREEN, CYAN = np.array([[200.0, 0, 0], [200, 200, 0], [0, 200, 0], [0, 200, 200]])


def changed(colour, brightness=1.0, contrast=1.0, saturation=1.0, hue_deg=0.0, means=MEANS):
    matrix, offset = colour_change(means, brightness, contrast, saturation, hue_deg)
    return matrix @ colour + offset


@pytest.mark.parametrize("hue_deg", [0.0, 360.0, -360.0])
def test_nothing_and_a_whole_turn_are_the_identity(hue_deg):
    matrix, offset = colour_change(MEANS, 1, 1, 1, hue_deg)
    assert matrix == pytest.approx(np.eye(3), abs=1e-9)
    assert offset == pytest.approx(np.zeros(3), abs=1e-9)


def test_turns_add_up():
    once, twice = (colour_change(MEANS, 1, 1, 1, angle)[0] for angle in (70, 140))
    assert once @ once == pytest.approx(twice, abs=1e-9)


@pytest.mark.parametrize("hue_deg", [-90.0, 10.0, 180.0])
@pytest.mark.parametrize("saturation", [0.0, 0.8, 1.2])
def test_grey_stays_grey_and_brightness_stays(saturation, hue_deg):
    assert changed([77.0] * 3, saturation=saturation, hue_deg=hue_deg) == pytest.approx([77.0] * 3, abs=1e-6)
    assert GREY @ changed(RED, saturation=saturation, hue_deg=hue_deg) == pytest.approx(GREY @ RED, abs=1e-6)


def test_no_saturation_is_the_grey_of_the_pixel():
    assert changed(RED, saturation=0) == pytest.approx([GREY @ RED] * 3, abs=1e-6)


def test_the_hue_turns_from_red_by_yellow_to_green():
    assert np.argmax(changed(RED, hue_deg=120)) == 1
    assert np.argmax(changed(GREEN, hue_deg=120)) == 2
    assert np.argmax(changed(GREEN, hue_deg=-120)) == 0
    # what it was made for are small turns: red goes towards yellow, as by way of HSV
    by_hsv = tv.adjust_hue(torch.tensor(RED).view(3, 1, 1) / 255, 10 / 360).flatten().numpy() * 255 - RED
    ours = changed(RED, hue_deg=10) - RED
    assert ours[1] > 0
    assert by_hsv[1] > 0


def test_opposite_colours_lie_half_a_turn_apart():
    assert changed(RED, hue_deg=180) - GREY @ RED == pytest.approx(GREY @ RED - RED, abs=1e-6)


@pytest.mark.parametrize(("brightness", "contrast", "saturation"), [(1.2, 0.8, 0.9), (0.85, 1.1, 1.15), (1, 0, 1)])
def test_equals_the_single_steps_where_nothing_is_cut_off(brightness, contrast, saturation):
    image = torch.rand(3, 9, 7, generator=torch.Generator().manual_seed(4)) * 0.4 + 0.3
    steps = tv.adjust_contrast(tv.adjust_brightness(image, brightness), contrast)
    steps = tv.adjust_saturation(steps, saturation)
    matrix, offset = colour_change(image.mean(dim=(1, 2)).tolist(), brightness, contrast, saturation, 0)
    ours = matrix @ image.numpy().reshape(3, -1) + offset[:, None]
    assert ours == pytest.approx(steps.numpy().reshape(3, -1), abs=2e-3)  # torchvision's grey has weights of 4 digits


def test_a_grey_image_stays_grey_when_its_hue_and_saturation_change():
    image = torch.randint(0, 256, (1, 40, 56), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    image = image.expand(3, -1, -1).contiguous()
    settings = AugmentationSettings(**{**STILL, "saturation": 0.9, "hue_deg": 180})
    assert all(torch.equal(augment(image, settings, seed), image) for seed in range(5))


def test_noise_has_the_strength_that_is_asked_for_and_no_colour_of_its_own():
    image = torch.full((3, 128, 128), 128, dtype=torch.uint8)
    settings = AugmentationSettings(**{**STILL, "noise": 0.1})
    spreads = [(augment(image, settings, seed).float() - 128).std().item() / 255 for seed in range(40)]
    assert max(spreads) < 0.102
    assert np.mean(spreads) == pytest.approx(0.05, abs=0.02)  # uniform from 0 to 0.1
    noisy = augment(image, settings, 3).float().flatten(1)
    assert noisy.mean(dim=1).sub(128).abs().max() < 0.5
    assert torch.corrcoef(noisy).fill_diagonal_(0).abs().max() < 0.05
