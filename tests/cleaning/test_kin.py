"""Strokes that the ink network misses among those that it finds."""

import cv2
import numpy as np
import pytest

from weldgen.cleaning.colour import to_lab
from weldgen.cleaning.detectors import TextRegion
from weldgen.cleaning.ink import InkMap
from weldgen.cleaning.kin import kin_strokes
from weldgen.cleaning.mask import text_mask
from weldgen.cleaning.settings import MaskConfig

_HEIGHT, _WIDTH = 80, 200
_DIGITS = ((20, 20), (20, 60), (60, 20), (140, 20), (140, 60), (175, 60))  # ends of strokes that the network finds


def plate() -> np.ndarray:
    """Brushed metal that gets brighter to the right, (H, W, 3) uint8."""
    rng = np.random.default_rng(0)
    grain = cv2.GaussianBlur(rng.normal(0, 30, (_HEIGHT, _WIDTH)).astype(np.float32), (0, 0), sigmaX=15, sigmaY=0.8)
    grey = 150 + 2 * grain + np.linspace(-20, 20, _WIDTH)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def digits() -> np.ndarray:
    mask = np.zeros((_HEIGHT, _WIDTH), np.uint8)
    cv2.polylines(mask, [np.array(_DIGITS[:3])], False, 1, 9)
    cv2.polylines(mask, [np.array(_DIGITS[3:])], False, 1, 9)
    return mask > 0


def dash(*, colour: tuple[int, int, int] = (40, 40, 40), thick: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A plate with two strokes that are found and a dash between them, where the dash is, and the network's answer."""
    found, missed = digits(), np.zeros((_HEIGHT, _WIDTH), np.uint8)
    cv2.line(missed, (85, 40), (115, 40), 1, thick)
    image = plate()
    image[found], image[missed > 0] = (40, 40, 40), colour
    probability = np.where(found, 0.98, 0.001).astype(np.float32)
    probability[missed > 0] = 0.08
    return image, missed > 0, probability


def region(image: np.ndarray) -> np.ndarray:
    inside = np.zeros(image.shape[:2], bool)
    inside[4:-4, 4:-4] = True
    return inside


def test_a_dash_among_digits_is_found_by_its_colour() -> None:
    image, missed, probability = dash()
    found = kin_strokes(to_lab(image), probability, digits(), region(image))
    assert (found & missed).sum() > 0.9 * missed.sum()
    assert not (found & ~cv2.dilate(missed.astype(np.uint8), np.ones((5, 5))).astype(bool)).any()


def test_a_dot_as_wide_as_the_strokes_is_found() -> None:
    image, _, probability = dash(colour=(150, 150, 150))
    dot = np.zeros((_HEIGHT, _WIDTH), np.uint8)
    cv2.circle(dot, (100, 40), 5, 1, -1)
    image, probability = np.where(dot[..., None] > 0, np.uint8(40), image), np.where(digits(), 0.98, 0.001)
    probability[dot > 0] = 0.1
    found = kin_strokes(to_lab(image), probability.astype(np.float32), digits(), region(image))
    assert (found & (dot > 0)).sum() > 0.9 * dot.sum()


@pytest.mark.parametrize(
    "change", [{"colour": (150, 60, 40)}, {"colour": (110, 110, 110)}, {"thick": 2}, {"thick": 24}]
)
def test_rust_shade_scratches_and_broad_stains_are_not(change: dict) -> None:
    image, _, probability = dash(**change)
    assert not kin_strokes(to_lab(image), probability, digits(), region(image)).any()


def test_where_the_network_is_certain_of_metal_nothing_is_taken() -> None:
    image, missed, probability = dash()
    probability[missed] = 0.004
    assert not kin_strokes(to_lab(image), probability, digits(), region(image)).any()


def test_a_line_that_runs_out_of_the_region_is_no_stroke_of_it() -> None:
    image, _, probability = dash()
    inside = region(image)
    inside[:, 100:110] = False
    assert not kin_strokes(to_lab(image), probability, digits(), inside).any()


def test_faded_writing_and_a_region_without_metal_tell_nothing() -> None:
    image, _, probability = dash()
    faded = np.where(image < 60, np.uint8(140), image)
    assert not kin_strokes(to_lab(faded), probability, digits(), region(image)).any()
    full = np.ones(image.shape[:2], bool)
    assert not kin_strokes(to_lab(image), np.ones(full.shape, np.float32), full, full).any()


def test_the_mask_of_a_photo_has_the_dash() -> None:
    part, missed, probability = dash()
    around = ((100, 100), (100, 100))
    image = np.pad(part, (*around, (0, 0)), mode="reflect")
    image[:100], image[-100:], image[:, :100], image[:, -100:] = 150, 150, 150, 150
    left, top, right, bottom = 104, 104, 96 + _WIDTH, 96 + _HEIGHT
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
    seen = InkMap(np.pad(probability, around), np.zeros(image.shape[:2], np.float32))
    mask = text_mask(image, [TextRegion(corners, 0.9, "easyocr")], seen, MaskConfig())
    missed = np.pad(missed, around)
    assert (mask.ink & missed).sum() > 0.9 * missed.sum()
    assert mask.holes[missed].all()
