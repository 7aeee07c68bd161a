"""The margin around strokes: full on plain metal, stopped by an edge."""

from __future__ import annotations

import numpy as np
import pytest

from weldgen.cleaning.guard import guarded_growth
from weldgen.cleaning.morphology import dilate

NOTHING = np.zeros((280, 420), bool)


def bar(shape, columns):
    strokes = np.zeros(shape[:2], bool)
    strokes[100:180, columns] = True
    return strokes


def inked(plate, strokes):
    return np.where(strokes[:, :, None], 25, plate).astype(np.uint8)


@pytest.mark.parametrize("margin", [8, 24])
def test_on_plain_metal_the_margin_is_full(make_plate, margin):
    plate = make_plate(1)
    strokes = bar(plate.shape, slice(200, 212))
    grown = guarded_growth(inked(plate, strokes), strokes, NOTHING, margin)
    full = dilate(strokes, margin)
    assert not grown[~full].any()
    assert grown[full].mean() > (0.97 if margin == 24 else 0.9) and grown[strokes].all()


@pytest.mark.parametrize("gap", [10, 16])
def test_the_margin_stops_at_the_toe_of_a_weld(make_plate, gap):
    plate = make_plate(2)
    strokes = bar(plate.shape, slice(200, 212))
    toe = 212 + gap
    plate[:, toe:] = np.clip(plate[:, toe:].astype(int) - 70, 0, 255).astype(np.uint8)
    grown = guarded_growth(inked(plate, strokes), strokes, NOTHING, 24)
    assert not grown[:, toe + 2 :].any()
    away = dilate(strokes, 24) & (np.arange(plate.shape[1]) < 200)[None]
    assert grown[away].mean() > 0.95


def test_writing_across_an_edge_is_covered_with_its_rim(make_plate):
    plate = make_plate(3)
    plate[:, 205:] = np.clip(plate[:, 205:].astype(int) - 60, 0, 255).astype(np.uint8)
    strokes = np.zeros(plate.shape[:2], bool)
    strokes[130:142, 150:260] = True
    grown = guarded_growth(inked(plate, strokes), strokes, NOTHING, 24)
    assert grown[dilate(strokes, 5)].all()


def test_what_may_be_ink_too_does_not_stop_the_margin(make_plate):
    plate = make_plate(5)
    strokes, missed = bar(plate.shape, slice(200, 212)), bar(plate.shape, slice(222, 230))
    image = inked(plate, strokes | missed)
    assert not guarded_growth(image, strokes, NOTHING, 24)[missed].all()
    assert guarded_growth(image, strokes, missed, 24)[missed].all()


def test_no_margin_and_no_strokes(make_plate):
    plate = make_plate(4)
    strokes = bar(plate.shape, slice(200, 212))
    assert np.array_equal(guarded_growth(plate, strokes, NOTHING, 0), strokes)
    assert not guarded_growth(plate, np.zeros_like(strokes), NOTHING, 24).any()
