"""The look of a pen on one photo, and strokes that look like it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from weldgen.cleaning.lookalikes import lookalikes
from weldgen.cleaning.pen import pen_of, to_lab


@pytest.mark.parametrize("ink", [(25, 25, 32), (40, 50, 160), (245, 245, 240)])
def test_a_pen_is_known_by_its_strokes(make_plate, write_on, ink):
    marked, strokes = write_on(make_plate(1), "AS 58", (110, 90), ink=ink)
    lab = to_lab(marked)
    pen = pen_of(lab, strokes)
    assert pen is not None
    wanted = cv2.cvtColor(np.float32([[ink]]) / 255, cv2.COLOR_RGB2LAB)[0, 0]
    assert np.linalg.norm(pen.lab - wanted) < 8
    assert pen.dark == (ink[0] < 150) and 4 < pen.width_px < 14
    assert pen.separation > 3.5


def test_too_few_pixels_tell_no_pen(make_plate):
    speck = np.zeros((280, 420), bool)
    speck[100:103, 100:103] = True
    assert pen_of(to_lab(make_plate(1)), speck) is None


def test_a_lone_one_of_the_same_pen_is_found_but_pores_and_scratches_are_not(make_plate, write_on):
    marked, strokes = write_on(make_plate(4, width=700, height=400), "AS", (60, 60))
    _, far = write_on(marked, "|", (560, 60))
    marked[far] = (25, 25, 32)
    pores, scratches = np.zeros((400, 700), np.uint8), np.zeros((400, 700), np.uint8)
    for x in range(100, 400, 60):
        cv2.circle(pores, (x, 300), 7, 1, -1)
    cv2.line(scratches, (450, 250), (650, 380), 1, 2)
    marked[(pores > 0) | (scratches > 0)] = (20, 20, 22)
    lab = to_lab(marked)
    pen = pen_of(lab, strokes)
    assert pen is not None
    more = lookalikes(lab, [pen], strokes)
    assert (more & far).sum() / far.sum() > 0.8
    assert not more[pores > 0].any()
    assert not more[scratches > 0].any()
