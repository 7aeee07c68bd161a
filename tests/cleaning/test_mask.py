"""Holes cover the writing, grow with the photo, and spare what is no writing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from weldgen.cleaning.detectors import TextRegion
from weldgen.cleaning.ink import InkMap
from weldgen.cleaning.mask import INK, text_mask
from weldgen.cleaning.morphology import dilate
from weldgen.cleaning.scale import scaled_px
from weldgen.cleaning.settings import EASYOCR, RAPIDOCR, MaskConfig
from weldgen.cleaning.surface import backdrop


def region(strokes, score=0.95, source=EASYOCR, margin=6):
    rows, columns = np.nonzero(strokes)
    left, top = columns.min() - margin, rows.min() - margin
    right, bottom = columns.max() + margin, rows.max() + margin
    return TextRegion(np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32), score, source)


def seen(strokes, probability=0.95, stamped=False):
    """What the network would say of these strokes."""
    soft = cv2.GaussianBlur(strokes.astype(np.float32) * probability, (0, 0), 0.8)
    nothing = np.zeros_like(soft)
    return InkMap(nothing, soft) if stamped else InkMap(soft, nothing)


def test_holes_cover_the_strokes_and_stay_near_them(marked_plate):
    _, marked, strokes = marked_plate
    found = text_mask(marked, [region(strokes)], seen(strokes), MaskConfig())
    margin = scaled_px(24, marked.shape)
    assert found.holes[strokes].all()
    assert not found.holes[~dilate(strokes, margin + 4)].any()
    assert found.holes[dilate(strokes, margin - 3)].mean() > 0.97
    assert [r.source for r in found.regions] == [EASYOCR]


def test_nothing_seen_no_hole(marked_plate):
    _, marked, strokes = marked_plate
    assert not text_mask(marked, [], seen(np.zeros_like(strokes)), MaskConfig()).holes.any()


@pytest.mark.parametrize("asked", [20, 24, 30])
@pytest.mark.parametrize("factor", [1, 3])
def test_the_margin_scales_with_the_photo(marked_plate, asked, factor):
    _, marked, strokes = marked_plate
    ink = seen(strokes)
    marked = cv2.resize(marked, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    strokes = cv2.resize(strokes.astype(np.uint8), marked.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
    found = text_mask(marked, [region(strokes, margin=6 * factor)], ink, MaskConfig(dilate_px=asked))
    wanted = asked * marked.shape[1] / 1500
    reach = cv2.distanceTransform((~strokes).astype(np.uint8), cv2.DIST_L2, 5)[found.holes].max()
    assert wanted - 1.5 * factor <= reach <= wanted + 3 * factor


def test_box_mode_takes_whole_regions(marked_plate):
    _, marked, strokes = marked_plate
    found = text_mask(marked, [region(strokes)], seen(strokes), MaskConfig(mode="box"))
    rows, columns = np.nonzero(strokes)
    assert found.holes[rows.min() : rows.max(), columns.min() : columns.max()].all()


def test_a_region_without_ink_is_not_believed_however_sure_its_detector_is(marked_plate):
    bare, _, strokes = marked_plate
    nothing = seen(np.zeros_like(strokes))
    assert not text_mask(bare, [region(strokes, score=1.0)], nothing, MaskConfig()).regions


def test_two_sure_detectors_are_believed_as_a_box(make_plate, write_on):
    marked, strokes = write_on(make_plate(7, 700, 400), "AS 58", (80, 90), size=40)
    nothing = seen(np.zeros_like(strokes))
    both = [region(strokes, 0.9), region(strokes, 0.9, RAPIDOCR)]
    assert text_mask(marked, both, nothing, MaskConfig()).holes[strokes].all()
    assert not text_mask(marked, both, nothing, MaskConfig(mode="stroke")).holes.any()
    unsure = [region(strokes, 0.7), region(strokes, 0.7, RAPIDOCR)]
    assert not text_mask(marked, unsure, nothing, MaskConfig()).holes.any()


def test_faint_ink_counts_in_a_region_only(marked_plate):
    _, marked, strokes = marked_plate
    faint = seen(strokes, probability=0.4)
    assert text_mask(marked, [region(strokes)], faint, MaskConfig()).holes[strokes].mean() > 0.9
    assert not text_mask(marked, [], faint, MaskConfig()).holes.any()


def test_a_region_as_large_as_the_part_is_not_writing(marked_plate):
    _, marked, strokes = marked_plate
    whole = np.zeros(marked.shape[:2], bool)
    whole[20:-20, 20:-20] = True
    assert not text_mask(marked, [region(whole)], seen(strokes, 0.4), MaskConfig()).holes.any()


def test_faint_ink_counts_in_a_large_region_if_its_detector_is_sure(marked_plate):
    """A detector that takes much of a bead for writing finds pores in it that look like faint ink."""
    _, marked, strokes = marked_plate
    wide = np.zeros_like(strokes)
    wide[20 : strokes.shape[0] // 2, 20 : strokes.shape[1] // 2] = True
    assert 0.06 < wide.mean() < 0.4 and strokes[wide].mean() > 0.03, "large, and enough of it is ink"

    def covered(score, probability):
        found = text_mask(marked, [region(wide, score, margin=0)], seen(strokes, probability), MaskConfig())
        return found.holes[strokes & wide].mean()

    assert covered(0.4, 0.48) == 0
    assert covered(0.9, 0.48) > 0.9
    assert covered(0.4, 0.95) > 0.9


def test_the_same_writing_found_twice_is_one_region(marked_plate):
    _, marked, strokes = marked_plate
    twice = [region(strokes), region(strokes, source=RAPIDOCR, margin=8)]
    assert len(text_mask(marked, twice, seen(strokes), MaskConfig()).regions) == 1


def test_ink_in_no_region_becomes_a_region_of_its_own_but_specks_do_not(marked_plate):
    _, marked, strokes = marked_plate
    specks = np.zeros_like(strokes)
    specks[20:22, 30:400:60] = True
    found = text_mask(marked, [], seen(strokes | specks), MaskConfig())
    assert found.holes[strokes].all() and not found.holes[specks].any()
    assert {r.source for r in found.regions} == {INK}
    assert not text_mask(marked, [], seen(strokes), MaskConfig(ink=False)).holes.any()


def test_stamped_characters_stay_unless_asked_for(make_plate, write_on):
    plate = make_plate(8)
    _, strokes = write_on(plate, "AS 58", (110, 90))
    walls = cv2.Sobel(strokes.astype(np.float32), cv2.CV_32F, 1, 0, ksize=7)
    pressed = np.clip(plate + 60 * np.sign(walls)[:, :, None], 0, 255).astype(np.uint8)
    stamped = seen(strokes, stamped=True)
    assert not text_mask(pressed, [region(strokes)], stamped, MaskConfig()).holes.any()
    assert text_mask(pressed, [region(strokes)], stamped, MaskConfig(stamped=True)).holes[strokes].all()


def test_ink_that_the_network_takes_for_stamped_goes_all_the_same(marked_plate):
    _, marked, strokes = marked_plate
    assert text_mask(marked, [region(strokes)], seen(strokes, stamped=True), MaskConfig()).holes[strokes].mean() > 0.95


def test_a_dark_pit_that_the_network_takes_for_a_stamped_character_stays(make_plate):
    plate = make_plate(3, 500, 400)
    pit, far, beside = (np.zeros(plate.shape[:2], bool) for _ in range(3))
    for mask, left, top in ((pit, 200, 180), (far, 400, 40), (beside, 230, 180)):
        mask[top : top + 40, left : left + 7] = True
    pitted = plate.copy()
    pitted[pit | far | beside] = 15
    alone = text_mask(pitted, [], seen(pit | far, stamped=True), MaskConfig())
    assert not alone.holes.any(), "nothing is written near either of them"
    assert text_mask(pitted, [], seen(pit | beside, stamped=True), MaskConfig()).holes[pit].mean() > 0.9, "two in a row"


def test_the_margin_stops_at_a_dark_table(make_plate, write_on):
    plate = make_plate(6, 600, 400)
    marked, strokes = write_on(plate, "58", (375, 120))
    edge = int(np.nonzero(strokes)[1].max()) + 10
    marked[:, edge:] = 18
    found = text_mask(marked, [region(strokes)], seen(strokes), MaskConfig(dilate_px=60))
    assert found.holes[strokes].all()
    assert not found.holes[:, edge + 2 :].any()
    assert backdrop(marked, strokes)[:, edge + 4 :].mean() > 0.95
    assert not backdrop(marked, strokes)[strokes].any()
