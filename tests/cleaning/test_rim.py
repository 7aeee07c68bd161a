"""Where ink ends, to the pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from weldgen.cleaning.morphology import dilate
from weldgen.cleaning.rim import trim

DARK, RED, GREY = (25, 25, 30), (190, 60, 60), (128, 128, 128)


def letters(shape):
    mask = np.zeros(shape, np.uint8)
    cv2.putText(mask, "R36", (30, 110), cv2.FONT_HERSHEY_SIMPLEX, 2.2, 1, 6)
    return mask > 0


def inked(plate, ink, colour, blur_px):
    """A plate with writing, and the share of ink in each pixel, (H, W) float32."""
    share = ink.astype(np.float32)
    if blur_px:
        share = cv2.GaussianBlur(share, (0, 0), blur_px)
    mixed = plate + share[:, :, None] * (np.array(colour, np.float32) - plate)
    return np.rint(mixed).astype(np.uint8), share


@pytest.fixture
def plate(make_plate):
    grey = make_plate(4, 240, 160).mean(axis=2, keepdims=True)
    return np.repeat(np.clip(grey, 60, 230), 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("colour", [DARK, RED])
def test_sharp_ink_ends_where_it_ends(plate, colour):
    ink = letters(plate.shape[:2])
    marked, _ = inked(plate, ink, colour, 0)
    wide = dilate(ink, 2)
    holes = trim(marked, wide, dilate(ink, 1), 0.3)
    assert holes[ink].mean() > 0.99 and not holes[~wide].any()
    assert holes[wide & ~ink].mean() < 0.25


@pytest.mark.parametrize("colour", [DARK, RED])
def test_the_soft_rim_of_blurred_ink_stays_in_the_hole(plate, colour):
    ink = letters(plate.shape[:2])
    marked, share = inked(plate, ink, colour, 1.2)
    wide = dilate(ink, 5)
    holes = trim(marked, wide, ink, 0.3)
    assert holes[share > 0.1].mean() > 0.98
    beside = ~holes & dilate(holes, 1)
    assert np.abs((marked.astype(np.float32) - plate)[beside].mean(axis=0)).max() < 3.0, "an outline is left"


def test_ink_like_the_metal_is_not_judged(plate):
    ink = letters(plate.shape[:2])
    grey = tuple(int(value) for value in plate.reshape(-1, 3).mean(axis=0))
    marked, _ = inked(plate, ink, grey, 0)
    wide = dilate(ink, 3)
    assert trim(marked, wide, ink, 0.3)[wide].mean() > 0.9


def test_holes_without_ink_and_a_photo_that_is_all_hole_stay(plate):
    wide = dilate(letters(plate.shape[:2]), 3)
    nothing, everything = np.zeros_like(wide), np.ones_like(wide)
    assert np.array_equal(trim(plate, wide, nothing, 0.3), wide)
    assert trim(plate, everything, wide, 0.3).all()
    assert trim(np.zeros((1, 1, 3), np.uint8), np.ones((1, 1), bool), np.ones((1, 1), bool), 0.3).all()
