"""Who looks when: the detectors and the network on the photo, and on the result."""

from __future__ import annotations

import numpy as np
import pytest

from weldgen.cleaning import cleaner as module
from weldgen.cleaning.cleaner import Cleaner
from weldgen.cleaning.detectors import TextRegion
from weldgen.cleaning.ink import InkSegmenter
from weldgen.cleaning.inpainters import OpenCvInpainter
from weldgen.cleaning.settings import EASYOCR, RAPIDOCR, InkConfig, InpaintConfig, MaskConfig


class Looker:
    """A detector that knows where the writing is, and counts how often it is asked."""

    def __init__(self, name, boxes=()):
        self.name, self.boxes, self.asked = name, boxes, 0

    def detect(self, images):
        self.asked += 1
        corners = [np.array([(a, b), (c, b), (c, d), (a, d)], np.float32) for a, b, c, d in self.boxes]
        return [[TextRegion(polygon, 0.9, self.name) for polygon in corners] for _ in images]


def cleaner(*detectors):
    segmenter = InkSegmenter(InkConfig())
    return Cleaner(detectors, segmenter, OpenCvInpainter(InpaintConfig()), MaskConfig(), InpaintConfig(), 2)


@pytest.fixture
def marked(make_plate, write_on):
    return write_on(make_plate(1), "AS 58", (110, 90))


def test_the_slow_detector_looks_once_at_a_photo_with_writing(marked):
    photo, strokes = marked
    quick, slow = Looker(RAPIDOCR), Looker(EASYOCR)
    result = cleaner(quick, slow).clean(photo)
    assert (quick.asked, slow.asked) == (1, 1)
    assert result.holes[strokes].all() and result.residual == 0


def test_both_look_at_a_photo_on_which_nothing_is_seen(make_plate):
    photo = make_plate(1)
    quick, slow = Looker(RAPIDOCR), Looker(EASYOCR)
    result = cleaner(quick, slow).clean(photo)
    assert (quick.asked, slow.asked) == (1, 1)
    assert not result.holes.any() and (result.pixels == photo).all()


def test_what_the_two_agree_on_goes_also_where_the_network_sees_no_ink(marked):
    photo, strokes = marked
    away = (300, 220, 380, 250)
    assert not strokes[away[1] : away[3], away[0] : away[2]].any()
    alone = cleaner(Looker(RAPIDOCR, [away]), Looker(EASYOCR)).clean(photo)
    assert not alone.holes[225:245, 305:375].any(), "one detector alone is not believed"
    result = cleaner(Looker(RAPIDOCR, [away]), Looker(EASYOCR, [away])).clean(photo)
    assert result.holes[225:245, 305:375].mean() > 0.5


def test_a_single_detector_looks_at_photo_and_result(marked):
    photo, _ = marked
    only = Looker(EASYOCR)
    cleaner(only).clean(photo)
    assert only.asked == 2


@pytest.mark.parametrize(("large", "times"), [(1000, 1), (10**9, 0)])
def test_after_the_filling_of_a_large_photo_memory_is_given_back(marked, monkeypatch, large, times):
    """Or the networks' look at the result would come on top of what the filling took."""
    given = []
    monkeypatch.setattr(module, "LARGE", large)
    monkeypatch.setattr(module, "give_back_memory", lambda: given.append(1))
    cleaner(Looker(RAPIDOCR), Looker(EASYOCR)).clean(marked[0])
    assert len(given) == times
