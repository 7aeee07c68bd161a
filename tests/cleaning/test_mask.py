"""Holes cover the writing, grow with the photo, and spare what is no writing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from weldgen.cleaning.detectors import TextRegion
from weldgen.cleaning.mask import INK, scaled_px, text_mask
from weldgen.cleaning.morphology import dilate
from weldgen.cleaning.settings import EASYOCR, RAPIDOCR, MaskConfig
from weldgen.cleaning.surface import backdrop


def region(strokes, score=0.95, source=EASYOCR, margin=6):
    rows, columns = np.nonzero(strokes)
    left, top = columns.min() - margin, rows.min() - margin
    right, bottom = columns.max() + margin, rows.max() + margin
    return TextRegion(np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32), score, source)


def test_holes_cover_the_strokes_and_stay_near_them(marked_plate):
    _, marked, strokes = marked_plate
    found = text_mask(marked, [region(strokes)], MaskConfig())
    margin = scaled_px(24, marked.shape)
    assert found.holes[strokes].all()
    assert not found.holes[~dilate(strokes, margin + 4)].any()
    assert found.holes[dilate(strokes, margin - 3)].mean() > 0.97
    assert [r.source for r in found.regions] == [EASYOCR]


def test_no_region_no_hole(marked_plate):
    assert not text_mask(marked_plate[1], [], MaskConfig()).holes.any()


@pytest.mark.parametrize("asked", [20, 24, 30])
@pytest.mark.parametrize("factor", [1, 3])
def test_the_margin_scales_with_the_photo(marked_plate, asked, factor):
    _, marked, strokes = marked_plate
    marked = cv2.resize(marked, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    strokes = cv2.resize(strokes.astype(np.uint8), marked.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
    found = text_mask(marked, [region(strokes, margin=6 * factor)], MaskConfig(dilate_px=asked))
    wanted = asked * marked.shape[1] / 1500
    reach = cv2.distanceTransform((~strokes).astype(np.uint8), cv2.DIST_L2, 5)[found.holes].max()
    assert wanted - 1.5 * factor <= reach <= wanted + 3 * factor


def test_box_mode_takes_whole_regions(marked_plate):
    _, marked, strokes = marked_plate
    found = text_mask(marked, [region(strokes)], MaskConfig(mode="box"))
    rows, columns = np.nonzero(strokes)
    assert found.holes[rows.min() : rows.max(), columns.min() : columns.max()].all()


def test_a_detector_that_is_not_sure_is_not_believed_on_bare_metal(marked_plate):
    bare, _, strokes = marked_plate
    assert not text_mask(bare, [region(strokes, score=0.6)], MaskConfig()).regions
    assert not text_mask(bare, [region(strokes, score=0.5, source=RAPIDOCR)], MaskConfig()).holes.any()


def test_a_region_as_large_as_the_part_is_not_writing(marked_plate):
    _, marked, _ = marked_plate
    whole = np.zeros(marked.shape[:2], bool)
    whole[20:-20, 20:-20] = True
    assert not text_mask(marked, [region(whole)], MaskConfig()).holes.any()


def test_the_same_writing_found_twice_is_one_region(marked_plate):
    _, marked, strokes = marked_plate
    twice = [region(strokes), region(strokes, source=RAPIDOCR, margin=8)]
    assert len(text_mask(marked, twice, MaskConfig()).regions) == 1


def test_strokes_of_the_same_pen_become_regions_of_their_own(make_plate, write_on):
    marked, strokes = write_on(make_plate(5, 700, 400), "AS 58", (60, 60))
    _, lost = write_on(marked, "| |", (540, 250))
    marked[lost] = (25, 25, 32)
    with_ink = text_mask(marked, [region(strokes)], MaskConfig())
    without = text_mask(marked, [region(strokes)], MaskConfig(ink=False))
    assert with_ink.holes[lost].mean() > 0.9
    assert INK in {r.source for r in with_ink.regions}
    assert not without.holes[lost].any()


def test_the_margin_stops_at_a_dark_table(make_plate, write_on):
    plate = make_plate(6, 600, 400)
    marked, strokes = write_on(plate, "58", (375, 120))
    edge = int(np.nonzero(strokes)[1].max()) + 10
    marked[:, edge:] = 18
    found = text_mask(marked, [region(strokes)], MaskConfig(dilate_px=60))
    assert found.holes[strokes].all()
    assert not found.holes[:, edge + 2 :].any()
    assert backdrop(marked, strokes)[:, edge + 4 :].mean() > 0.95
    assert not backdrop(marked, strokes)[strokes].any()
