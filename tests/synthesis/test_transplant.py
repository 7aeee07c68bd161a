"""Rendered defects in photos: where the weld is, what changes, and what stays."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from weldgen.synthesis.render.defects import DEFECTS, IRREGULAR
from weldgen.synthesis.render.donor import find_defects
from weldgen.synthesis.render.likeness import light_from, match_photo, pose_like
from weldgen.synthesis.render.pose import find_bead
from weldgen.synthesis.render.scene import render_scene
from weldgen.synthesis.render.shot import look_of, measure, octaves_of, to_lab
from weldgen.synthesis.render.style import PHOTO, sample_scene
from weldgen.synthesis.render.transplant import Others, transplant

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


@cache
def bare_strip(turn_deg: float):
    """A rendered weld of 40 x 220 px without tint, and its cover."""
    scene = sample_scene(3, (), SIZE[0] / SIZE[1], PHOTO)
    camera = replace(scene.camera, roll_deg=turn_deg, tilt=(0.0, 0.0), vignette=0.0, depth_blur_px=0.0)
    bead = replace(
        scene.bead, offset=0.0, width=0.25, start=-0.5625, end=0.5625, wander=0.0, soot=0.0, bloom=0.0, silica=0.0,
        slag=0.0, heat=replace(scene.bead.heat, strength=0.0),
    )  # fmt: skip
    surface = replace(scene.surface, kind="brushed", wear=0.0, plate=None)
    made = render_scene(replace(scene, bead=bead, camera=camera, surface=surface), *SIZE)
    return made.image.mean(axis=2), made.cover.astype(np.float32) / 255


def strip(turn_deg: float = 0.0, pores: bool = False, weld: int = 150, plate: int = 70):
    """A light weld of 40 x 220 px, with dark pores, on a darker plate, (160, 288, 3) uint8 RGB, and its pores."""
    import cv2

    grey, cover = bare_strip(turn_deg)
    holes = np.zeros((160, 288), np.float32)
    for x, y in ((90, 76), (104, 86), (118, 79)) if pores else ():
        cv2.circle(holes, (x, y), 5, 1.0, -1)
    holes = cv2.warpAffine(holes, cv2.getRotationMatrix2D((144, 80), -turn_deg, 1.0), (288, 160))
    grain = [np.clip(grey / np.median(grey[part > 0.5]), 0.6, 1.4) for part in (1 - cover, cover)]
    levels = plate * grain[0], weld * grain[1]
    grey = levels[0] + cover * (levels[1] - levels[0])
    grey = np.where(holes > 0.5, 18, grey)
    return np.clip(np.stack([grey, grey * 0.97, grey * 0.94], 2), 0, 255).astype(np.uint8), holes > 0.5


@pytest.mark.parametrize("turn_deg", [-9.0, 0.0, 6.0])
def test_the_outline_gives_turn_width_and_ends(turn_deg):
    pose = find_bead(strip(turn_deg)[0])
    assert pose.outline and pose.angle_deg == pytest.approx(turn_deg, abs=1.5)
    assert pose.width == pytest.approx(0.25, abs=0.04) and pose.offset == pytest.approx(0.0, abs=0.03)
    assert pose.end - pose.start == pytest.approx(1.375 * np.cos(np.deg2rad(turn_deg)), abs=0.12)


def test_what_is_not_slender_is_no_weld():
    plate = np.full((160, 200, 3), 60, np.uint8)
    plate[30:130, 40:160] = 190
    assert not find_bead(plate).outline


def test_an_upright_weld_is_found_upright():
    level, _ = strip(5.0)
    pose, turned = find_bead(level), find_bead(np.ascontiguousarray(np.swapaxes(level, 0, 1)))
    assert turned.upright and not pose.upright
    assert turned.angle_deg == pytest.approx(pose.angle_deg, abs=1.5)
    assert (turned.offset, turned.width) == pytest.approx((pose.offset, pose.width), abs=0.03)


def test_in_a_picture_of_one_colour_there_is_no_weld():
    pose = find_bead(np.full((80, 120, 3), 90, np.uint8))
    assert not pose.outline and pose.cover.shape == (171, 256)


def test_the_light_is_on_the_side_of_the_brighter_flank():
    image, _ = strip()
    lit = image.astype(float)
    lit[60:80] *= 1.3
    above = measure(np.clip(lit, 0, 255).astype(np.uint8), 288)
    below = measure(np.clip(lit, 0, 255).astype(np.uint8)[::-1].copy(), 288)
    assert above.light > 0.08 and below.light == pytest.approx(-above.light, abs=0.03)
    scene = light_from(sample_scene(1).light, above.light, np.random.default_rng(0))
    assert scene.lamps[0].direction[1] < 0  # y runs down the picture


def test_a_rendering_lies_where_the_photos_weld_does():
    shot = measure(strip()[0], 288)
    errors = []
    for seed in range(12):
        scene = pose_like(sample_scene(seed), shot, 1.0, np.random.default_rng(seed), portrait=False)
        errors.append((scene.bead.width - 0.25, scene.bead.offset, scene.bead.end - scene.bead.start - 1.125))
        assert pose_like(sample_scene(seed), shot, 0.0, np.random.default_rng(seed), portrait=False) == sample_scene(
            seed
        )
    assert np.abs(np.mean(errors, axis=0)).max() < 0.06


def test_defects_are_found_by_what_no_sound_weld_shows():
    flawed, pores = strip(pores=True)
    sound = measure(strip()[0], 288)
    _, mask = find_defects(measure(flawed, 288), sound)
    assert mask is not None and cv2_pieces(mask, 300) == 3, "and hardly anything else"
    assert cv2_pieces(mask, 0) <= 4
    assert find_defects(sound, sound)[1] is None
    made = transplant(
        measure(strip(weld=130, plate=90)[0], 288),
        3,
        [("crack", 0.5)],
        SIZE,
        Others(donor=measure(flawed, 288), kind="porosity"),
    )
    assert set(made.defect_masks) == {"porosity"}
    where = made.defect_masks["porosity"] > 0
    around = made.cover > 0
    around &= ~where
    assert 0.6 < where.sum() / pores.sum() < 2.6
    assert made.image[where].mean() < 0.7 * made.image[around].mean()


def test_marked_defects_are_taken_as_they_are():
    image, _ = strip()
    flaws = np.zeros(image.shape[:2], np.uint8)
    flaws[74:86, 100:124] = 255  # nothing is to be seen there
    donor, sound = measure(image, 288, flaws), measure(strip(weld=130, plate=90)[0], 288)
    made = transplant(sound, 3, [("crack", 0.5)], SIZE, Others(donor=donor, kind="crack"))
    assert 0.7 < np.count_nonzero(made.defect_masks["crack"]) / np.count_nonzero(flaws) < 2.2
    none = measure(image, 288, np.zeros_like(flaws))
    assert find_defects(none, sound)[1] is None


def test_a_donor_without_visible_defects_leaves_the_rendered_ones():
    sound = measure(strip()[0], 288)
    made = transplant(sound, 3, [("porosity", 0.9)], SIZE, Others(donor=sound))
    assert set(made.defect_masks) == {"porosity"}


def test_a_sound_weld_covers_the_weld_of_another_photo():
    plate, weld = measure(strip(plate=30, pores=True)[0], 288), measure(strip(weld=200, plate=120)[0], 288)
    for seed in range(4):
        plain, made = (transplant(plate, seed, [], SIZE, others) for others in (Others(), Others(weld=weld)))
        on_weld = cv2_dilated(255 - plain.cover, 3) == 0  # its rough outline left out
        assert plain.image[on_weld].min() < 40 and np.median(plain.image[on_weld]) > 90  # it has pores
        assert np.quantile(made.image[on_weld], 0.005) > 85  # the pores were 3 % of it
        beside = cv2_dilated(made.cover, 12) == 0
        assert (made.image[beside] == plain.image[beside]).mean() > 0.9
        assert np.count_nonzero(made.cover) > 1.1 * np.count_nonzero(plain.cover)


def test_a_weld_that_does_not_fit_is_not_laid_over():
    plate = measure(strip()[0], 288)
    small = measure(strip()[0][::4, ::4].copy(), 288)  # it would have to be enlarged
    assert small.pose.outline and transplant(plate, 1, [], SIZE, Others(weld=small)) is None
    shapeless = measure(np.full((80, 120, 3), 90, np.uint8), 288)
    assert transplant(plate, 1, [], SIZE, Others(weld=shapeless)) is None


def test_pores_that_would_peep_out_beside_the_weld_are_seen():
    image, _ = strip(plate=90)
    for x in range(70, 220, 12):
        image[108:113, x : x + 5] = 5  # beside the outline
    plate, weld = measure(image, 288), measure(strip(weld=200, plate=120)[0], 288)
    assert plate.pose.outline
    assert all(transplant(plate, seed, [], SIZE, Others(weld=weld)) is None for seed in range(3))


def cv2_dilated(mask, radius_px: int):
    import cv2

    return cv2.dilate(mask, np.ones((2 * radius_px + 1,) * 2, np.uint8))


def cv2_pieces(mask, least_px: int) -> int:
    import cv2

    figures = cv2.connectedComponentsWithStats(mask)[2]
    return int(np.count_nonzero(figures[1:, cv2.CC_STAT_AREA] > least_px))


@cache
def shot_and_sound(seed: int):
    """The measures of a weld, and it without a defect; the same for every kind of defect."""
    shot = measure(straight_weld(seed), 288)
    return shot, transplant(shot, seed, [], SIZE)


@pytest.mark.parametrize("kind", list(DEFECTS))
def test_a_defect_changes_the_photo_at_its_mask_and_leaves_the_rest(kind):
    inside, outside = [], []
    for seed in range(4):
        shot, sound = shot_and_sound(seed)
        flawed = transplant(shot, seed, [(kind, 0.8)], SIZE)
        mask = flawed.defect_masks[kind] > 0
        assert flawed.image.shape == (SIZE[1], SIZE[0], 3) and mask.any()
        change = np.abs(flawed.image.astype(int) - sound.image).mean(axis=2)
        inside.append(change[mask].mean())
        outside.append(change[~mask].mean())
        assert flawed.boxes[0].area_px == mask.sum()
    assert np.mean(inside) > 10 and np.mean(inside) > 5 * np.mean(outside)


def test_an_irregular_weld_bends_and_the_plate_stays():
    photo = straight_weld(1, width=0.25)
    bent, straight = (
        transplant(measure(photo, 288), 5, [(IRREGULAR, 0.9)], SIZE),
        transplant(measure(photo, 288), 5, [], SIZE),
    )
    change = np.abs(bent.image.astype(int) - straight.image).mean(axis=2)
    middle, rim = change[60:100].mean(), change[[*range(6), *range(154, 160)]].mean()
    assert middle > 5 and rim < 0.5 * middle


@pytest.mark.parametrize("size", [(160, 288), (96, 96), (300, 80)])
def test_any_shape_is_made_of_any_photo(size):
    for photo in (straight_weld(2), np.ascontiguousarray(np.swapaxes(straight_weld(2), 0, 1))):
        made = transplant(measure(photo, 288), 9, [("porosity", 0.9), (IRREGULAR, 0.5)], size)
        assert made.image.shape == (size[1], size[0], 3) and made.image.dtype == np.uint8
        assert made.defect_masks["porosity"].shape == (size[1], size[0])


def test_the_same_seed_gives_the_same_view_and_another_one_another():
    photo = straight_weld(4)
    first, again, other = (transplant(measure(photo, 288), seed, [], SIZE).image for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 3


def scene_and_photo():
    """A rendering with its weld's mask, and the measures of a soft, warm photo of another."""
    scene = sample_scene(6, (), SIZE[0] / SIZE[1], PHOTO)
    made = render_scene(scene, *SIZE)
    tinted = np.clip(straight_weld(7).astype(int) * [0.9, 0.6, 0.3], 0, 255).astype(np.uint8)
    return made, tinted


def test_a_rendering_takes_over_the_colours_of_a_photo():
    made, photo = scene_and_photo()
    shot, none = measure(photo, 288), np.zeros_like(made.cover)
    images = [match_photo(made.image, made.cover, none, shot, share) for share in (0.0, 0.5, 1.0)]
    on_plate = made.cover == 0
    gaps = [np.abs(to_lab(image)[on_plate].mean(axis=0) - shot.plate.mean).sum() for image in images]
    assert gaps[2] < 0.35 * gaps[0] and gaps[2] < gaps[1] < gaps[0]
    assert np.abs(images[0].astype(int) - made.image).max() <= 2


def test_a_rendering_takes_over_the_detail_of_a_photo():
    import cv2

    made, photo = scene_and_photo()
    none = np.zeros_like(made.cover)
    details = []
    for sigma_px in (2.0, 0.0):
        soft = cv2.GaussianBlur(photo, (0, 0), sigma_px) if sigma_px else photo
        image = match_photo(made.image, made.cover, none, measure(soft, 288), 1.0)
        details.append(look_of(to_lab(image), octaves_of(to_lab(image)[:, :, 0]), made.cover == 0).octaves[0])
    assert details[0] < 0.85 * details[1]
