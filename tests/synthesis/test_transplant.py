"""Rendered defects in photos: where the weld is, what changes, and what stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from weldgen.synthesis.render.defects import DEFECTS, IRREGULAR
from weldgen.synthesis.render.palette import match_photo
from weldgen.synthesis.render.pose import find_bead
from weldgen.synthesis.render.scene import render_scene
from weldgen.synthesis.render.style import PHOTO, sample_scene
from weldgen.synthesis.render.transplant import transplant

SIZE = (288, 160)


def straight_weld(seed: int, offset: float = 0.0, width: float = 0.3):
    """A render with its weld level and where it is asked to be, (160, 288, 3) uint8 RGB."""
    scene = sample_scene(seed, (), SIZE[0] / SIZE[1], PHOTO)
    camera = replace(scene.camera, roll_deg=0.0, tilt=(0.0, 0.0))
    bead = replace(scene.bead, offset=offset, width=width, start=-2.0, end=2.0)
    return render_scene(replace(scene, bead=bead, camera=camera), *SIZE).image


@pytest.mark.parametrize("offset", [-0.15, 0.0, 0.12])
def test_the_weld_is_found_in_most_photos(offset):
    errors = []
    for seed in range(8):
        pose = find_bead(straight_weld(seed, offset))
        assert not pose.upright
        errors.append(abs(pose.offset - offset))
    assert np.median(errors) < 0.06 and 0.1 < pose.width < 0.75


def test_an_upright_weld_is_found_upright():
    level = straight_weld(3, 0.1)
    upright = np.ascontiguousarray(np.swapaxes(level, 0, 1))
    assert find_bead(upright).upright
    assert find_bead(upright).offset == pytest.approx(find_bead(level).offset, abs=0.02)


def test_a_picture_of_one_colour_has_no_contrast():
    assert find_bead(np.full((80, 120, 3), 90, np.uint8)).contrast == 0


@pytest.mark.parametrize("kind", list(DEFECTS))
def test_a_defect_changes_the_photo_at_its_mask_and_leaves_the_rest(kind):
    inside, outside = [], []
    for seed in range(4):
        photo = straight_weld(seed)
        flawed = transplant(photo, seed, [(kind, 0.8)], SIZE)
        sound = transplant(photo, seed, [], SIZE)
        mask = flawed.defect_masks[kind] > 0
        assert flawed.image.shape == (SIZE[1], SIZE[0], 3) and mask.any()
        change = np.abs(flawed.image.astype(int) - sound.image).mean(axis=2)
        inside.append(change[mask].mean())
        outside.append(change[~mask].mean())
        assert flawed.boxes[0].area_px == mask.sum()
    assert np.mean(inside) > 10 and np.mean(inside) > 5 * np.mean(outside)


def test_an_irregular_weld_bends_and_the_plate_stays():
    photo = straight_weld(1, width=0.25)
    bent, straight = transplant(photo, 5, [(IRREGULAR, 0.9)], SIZE), transplant(photo, 5, [], SIZE)
    change = np.abs(bent.image.astype(int) - straight.image).mean(axis=2)
    middle, rim = change[60:100].mean(), change[[*range(6), *range(154, 160)]].mean()
    assert middle > 5 and rim < 0.5 * middle


@pytest.mark.parametrize("size", [(160, 288), (96, 96), (300, 80)])
def test_any_shape_is_made_of_any_photo(size):
    for photo in (straight_weld(2), np.ascontiguousarray(np.swapaxes(straight_weld(2), 0, 1))):
        made = transplant(photo, 9, [("porosity", 0.9), (IRREGULAR, 0.5)], size)
        assert made.image.shape == (size[1], size[0], 3) and made.image.dtype == np.uint8
        assert made.defect_masks["porosity"].shape == (size[1], size[0])


def test_the_same_seed_gives_the_same_view_and_another_one_another():
    photo = straight_weld(4)
    first, again, other = (transplant(photo, seed, [], SIZE).image for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 3


def test_a_rendering_takes_over_the_colours_of_a_photo():
    render = straight_weld(6)
    photo = np.clip(straight_weld(7).astype(int) * [0.9, 0.6, 0.3], 0, 255).astype(np.uint8)
    half, full = match_photo(render, photo, 0.5), match_photo(render, photo, 1.0)
    wanted = photo.mean(axis=(0, 1))
    gaps = [np.abs(image.mean(axis=(0, 1)) - wanted).sum() for image in (render, half, full)]
    assert gaps[2] < 0.25 * gaps[0] and gaps[2] < gaps[1] < gaps[0]


def test_a_rendering_is_made_no_sharper_than_the_photo():
    import cv2

    render = straight_weld(6)
    soft = cv2.GaussianBlur(straight_weld(7), (0, 0), 2.0)

    def detail(image):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float)
        return (grey - cv2.GaussianBlur(grey, (0, 0), 1.0)).std()

    assert detail(match_photo(render, soft, 0.0)) < 0.7 * detail(render)
