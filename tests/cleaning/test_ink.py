"""Strokes are told from metal, and only the pens seen in the photo count as ink."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from weldgen.cleaning.ink import stroke_width, strokes_in, to_lab
from weldgen.cleaning.lookalikes import lookalikes


def box_around(strokes, margin=12):
    rows, columns = np.nonzero(strokes)
    inside = np.zeros(strokes.shape, bool)
    inside[rows.min() - margin : rows.max() + margin, columns.min() - margin : columns.max() + margin] = True
    return inside, rows.max() - rows.min()


@pytest.mark.parametrize("ink", [(25, 25, 32), (30, 40, 150), (250, 250, 250)])
def test_strokes_of_dark_blue_and_white_ink_are_found(make_plate, write_on, ink):
    metal = (make_plate(1) * 0.7).astype(np.uint8)
    marked, strokes = write_on(metal, "A7 R", (120, 90), ink=ink)
    inside, height = box_around(strokes)
    found, look = strokes_in(to_lab(marked), inside, height)
    assert (found & strokes).sum() / strokes.sum() > 0.9
    assert (found & ~cv2.dilate(strokes.astype(np.uint8), np.ones((5, 5))).astype(bool)).sum() < 0.05 * strokes.sum()
    assert look.dark == (ink[0] < 200)
    assert look.coloured == (ink == (30, 40, 150))


def test_bare_metal_has_no_telling_ink(make_plate):
    inside = np.zeros((280, 420), bool)
    inside[90:170, 100:300] = True
    _, look = strokes_in(to_lab(make_plate(2)), inside, 80)
    assert not look.telling


@pytest.mark.parametrize("width", [5, 9, 15])
def test_stroke_width_is_that_of_a_band(width):
    band = np.zeros((60, 200), bool)
    band[20 : 20 + width, 10:190] = True
    assert stroke_width(band) == pytest.approx(width, abs=1)


def test_the_same_pen_is_found_elsewhere_but_pores_and_scratches_are_not(make_plate, write_on):
    metal = make_plate(4, width=700, height=400)
    marked, strokes = write_on(metal, "AS", (60, 60))
    _, far = write_on(metal, "|", (560, 60))
    marked[far] = (25, 25, 32)
    pores, scratches = np.zeros((400, 700), np.uint8), np.zeros((400, 700), np.uint8)
    for x in range(100, 400, 60):
        cv2.circle(pores, (x, 300), 7, 1, -1)
    cv2.line(scratches, (450, 250), (650, 380), 1, 2)
    marked[(pores > 0) | (scratches > 0)] = (20, 20, 22)
    lab = to_lab(marked)
    inside, height = box_around(strokes)
    found, look = strokes_in(lab, inside, height)
    more = lookalikes(lab, [look], found)
    assert (more & far).sum() / far.sum() > 0.8
    assert not more[pores > 0].any()
    assert not more[scratches > 0].any()


def test_pores_in_a_region_are_no_strokes_of_a_blue_pen(make_plate, write_on):
    marked, strokes = write_on(make_plate(1), "A7 R", (120, 90), ink=(30, 40, 150))
    inside, height = box_around(strokes)
    pores = np.zeros(strokes.shape, np.uint8)
    for x in range(130, 290, 22):
        cv2.circle(pores, (x, int(np.nonzero(inside)[0].max()) - 8), 5, 1, -1)
    pores = (pores > 0) & ~strokes
    marked = np.where(pores[:, :, None], 12, marked).astype(np.uint8)
    found, _ = strokes_in(to_lab(marked), inside, height)
    assert (found & strokes).sum() / strokes.sum() > 0.85
    assert (found & pores).sum() / pores.sum() < 0.15
