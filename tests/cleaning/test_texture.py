"""Copied metal keeps its grain, its shading and its lines."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from weldgen.cleaning.texture import fill


def detail(image):
    grey = image.astype(np.float32).mean(axis=2)
    return grey - cv2.GaussianBlur(grey, (0, 0), 3)


@pytest.fixture
def hole():
    mask = np.zeros((280, 420), np.uint8)
    cv2.ellipse(mask, (200, 140), (60, 30), 20, 0, 360, 1, -1)
    return mask > 0


def test_grain_survives_where_a_smooth_fill_loses_it(make_plate, hole):
    metal = make_plate(7)
    marked = np.where(hole[:, :, None], 20, metal).astype(np.uint8)
    filled = fill(marked, hole)
    smooth = cv2.inpaint(marked, hole.astype(np.uint8), 5, cv2.INPAINT_TELEA)
    truth = detail(metal)[hole].std()
    assert 0.75 < detail(filled)[hole].std() / truth < 1.25
    assert detail(smooth)[hole].std() / truth < 0.6


def test_lines_run_on_through_the_hole(make_plate, hole):
    metal = make_plate(7)
    filled = fill(np.where(hole[:, :, None], 20, metal).astype(np.uint8), hole)
    error = np.abs(filled.astype(float) - metal)[hole].mean()
    flat = np.abs(np.median(metal[~hole], axis=0) - metal)[hole].mean()
    assert error < 0.85 * flat


def test_shading_meets_the_metal_around(make_plate, hole):
    ramp = np.linspace(-60, 60, 420)[None, :, None]
    metal = np.clip(make_plate(8) + ramp, 0, 255).astype(np.uint8)
    filled = fill(np.where(hole[:, :, None], 20, metal).astype(np.uint8), hole)
    difference = cv2.GaussianBlur(filled.astype(np.float32) - metal, (0, 0), 6)
    assert np.abs(difference[hole]).max() < 16


def test_nothing_outside_the_hole_changes_and_twice_is_the_same(make_plate, hole):
    metal = make_plate(9)
    first, second = fill(metal, hole), fill(metal, hole)
    assert np.array_equal(first[~hole], metal[~hole])
    assert np.array_equal(first, second)


def test_a_large_photo_is_filled_at_its_own_resolution(make_plate):
    metal = make_plate(10, 1400, 900)
    hole = np.zeros((900, 1400), bool)
    hole[350:520, 500:800] = True
    filled = fill(np.where(hole[:, :, None], 20, metal).astype(np.uint8), hole)
    assert 0.75 < detail(filled)[hole].std() / detail(metal)[hole].std() < 1.25


def test_a_hole_without_enough_metal_around_is_filled_smoothly(make_plate):
    metal = make_plate(11, 60, 40)
    hole = np.ones((40, 60), bool)
    hole[:4] = False
    filled = fill(np.where(hole[:, :, None], 0, metal).astype(np.uint8), hole)
    assert np.array_equal(filled[:4], metal[:4])
    assert np.abs(filled[hole].astype(float) - 150).mean() < 25


def test_a_hole_in_the_plate_that_touches_the_weld_is_filled_from_the_plate():
    rng = np.random.default_rng(3)
    plate = np.array((120.0, 90.0, 70.0)) + rng.normal(0, 5, (160, 260, 3))
    plate[40:80] = rng.normal(0, 30, (40, 260, 1)) + 170  # the weld: grey, lighter, coarser
    image = np.clip(plate, 0, 255).astype(np.uint8)
    hole = np.zeros(image.shape[:2], bool)
    hole[80:112, 90:170] = True
    filled = fill(image, hole)[hole].astype(float)
    assert np.abs(filled.mean(axis=0) - (120, 90, 70)).max() < 12
    assert filled.std(axis=0).max() < 14
