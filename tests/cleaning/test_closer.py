"""A closer look at writing on large photos."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from weldgen.cleaning.closer import look_closer
from weldgen.cleaning.detectors import TextRegion
from weldgen.cleaning.ink import InkSegmenter
from weldgen.cleaning.settings import InkConfig


@pytest.fixture(scope="module")
def segmenter():
    return InkSegmenter(InkConfig())


def region(left, top, right, bottom):
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
    return TextRegion(corners, 0.9, "rapidocr")


@pytest.fixture
def faded(make_plate):
    """A plate, a clear and a faded character in one region of it; elsewhere there is a scratch like the faded one."""
    image = make_plate(5, 1500, 700).astype(np.float32)
    clear, faint, scratch = np.zeros((3, 700, 1500), np.uint8)
    cv2.putText(clear, "H7", (400, 330), cv2.FONT_HERSHEY_SIMPLEX, 1.6, 255, 5, cv2.LINE_AA)
    cv2.ellipse(faint, (385, 310), (14, 34), 0, 100, 260, 255, 2, cv2.LINE_AA)
    cv2.ellipse(scratch, (885, 310), (14, 34), 0, 100, 260, 255, 2, cv2.LINE_AA)
    cover = (0.9 * clear + 0.16 * faint + 0.16 * scratch)[:, :, None] / 255
    photo = np.clip(image * (1 - cover) + 25 * cover, 0, 255).astype(np.uint8)
    return photo, clear > 128, faint > 128


def test_faded_strokes_beside_clear_ones_are_found(segmenter, faded):
    photo, clear, faint = faded
    once = segmenter.segment(photo)
    found = look_closer(segmenter, photo, once, [region(355, 270, 500, 350)]).resized(clear.shape).ink
    before = once.resized(clear.shape).ink
    assert (before[faint] > 0.4).mean() < 0.3
    assert (found[faint] > 0.4).mean() > 0.8
    assert (found[clear] > 0.4).mean() >= (before[clear] > 0.4).mean() > 0.8
    assert ((found > 0.4) == (before > 0.4))[:, 800:].all(), "no region there"


def test_where_no_ink_is_seen_in_any_region_nothing_changes(segmenter, faded):
    photo, *_ = faded
    once = segmenter.segment(photo)
    assert look_closer(segmenter, photo, once, []) is once
    assert look_closer(segmenter, photo, once, [region(1000, 400, 1200, 480)]) is once


def test_a_small_photo_was_seen_closely_already(segmenter, faded):
    photo = np.ascontiguousarray(faded[0][:600, :900])
    once = segmenter.segment(photo)
    assert look_closer(segmenter, photo, once, [region(355, 270, 500, 350)]) is once


@pytest.mark.parametrize("shape", [(1700, 90), (120, 1600), (1030, 1030)])
def test_writing_at_the_border_of_any_photo(segmenter, shape):
    height, width = shape
    photo = np.full((height, width, 3), 150, np.uint8)
    cv2.putText(photo, "8", (width - 45, height - 12), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (20, 20, 20), 6, cv2.LINE_AA)
    once = segmenter.segment(photo)
    corner = region(width - 60, height - 60, width - 1, height - 1)
    found = look_closer(segmenter, photo, once, [corner]).resized(shape).ink
    ink = photo[:, :, 0] < 80
    assert (found[ink] > 0.4).mean() > 0.8 and (found[~ink] > 0.4).mean() < 0.1


def test_long_writing_along_a_diagonal(segmenter, make_plate, write_on):
    photo, ink = make_plate(7, 1500, 1100), np.zeros((1100, 1500), bool)
    for number, (x, y) in enumerate(zip(range(220, 1240, 85), range(970, 70, -75), strict=False)):
        photo, strokes = write_on(photo, "AS58K"[number % 5], (x, y), 64)
        ink |= strokes
    once = segmenter.segment(photo)
    strip = np.array([(200, 1000), (1200, 110), (1290, 180), (290, 1070)], np.float32)
    found = look_closer(segmenter, photo, once, [TextRegion(strip, 0.9, "rapidocr")])
    assert found is not once
    whole = found.resized(ink.shape).ink
    assert (whole[ink] > 0.4).mean() > 0.9 and (whole[~ink] > 0.4).mean() < 0.02
