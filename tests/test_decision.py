"""The rule that makes an answer of probabilities, and the views of a photo that vote."""

from __future__ import annotations

import json

import numpy as np
import pytest

from weldgen.classifier.preprocess import FILL, letterbox, photo_in_frame
from weldgen.decision import Decision, read_decision
from weldgen.tta import MAX_VIEWS, ask_views, views, vote

CLASSES = ("bad", "good", "pore")


def test_the_plain_rule_is_the_most_probable_class():
    assert Decision()(np.array([0.2, 0.5, 0.3]), CLASSES) == (1, False)
    assert Decision(confidence=0.6)(np.array([0.2, 0.5, 0.3]), CLASSES) == (1, True)


def test_a_threshold_decides_on_one_class_and_the_most_probable_of_the_others_is_next():
    decision = Decision("bad", 0.3, (0.25, 0.4))
    assert decision(np.array([0.3, 0.6, 0.1], np.float32), CLASSES)[0] == 0
    assert decision(np.array([0.31, 0.6, 0.09]), CLASSES) == (0, True)
    assert decision(np.array([0.45, 0.5, 0.05]), CLASSES) == (0, False)
    assert decision(np.array([0.28, 0.3, 0.42]), CLASSES) == (2, True)
    assert Decision("bad", 0.9)(np.array([0.8, 0.05, 0.15]), CLASSES) == (2, False)


def test_it_survives_the_metadata():
    decision = Decision("bad", 0.123456789012345, (0.1, 0.2), 0.4)
    record = json.dumps({**decision.record(), "tta": 3})
    assert read_decision({"threshold": "0.4", "operating": record}) == decision
    assert read_decision({"threshold": "0.7", "operating": record}).confidence == 0.7
    assert read_decision({"threshold": "0.0"}) == Decision()


@pytest.mark.parametrize("shape", [(60, 40), (7, 5), (1, 1), (333, 200)])
def test_views_are_distinct_and_deterministic(shape, make_metal):
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    made = list(views(image, MAX_VIEWS))
    assert len(made) == MAX_VIEWS
    assert np.array_equal(made[0], image)
    assert np.array_equal(made[3], image[::-1, ::-1])
    assert all(view.flags.c_contiguous and view.dtype == np.uint8 and min(view.shape) > 0 for view in made)
    assert all(np.array_equal(a, b) for a, b in zip(made, views(image, MAX_VIEWS), strict=True))
    if min(shape) > 20:
        assert len({view.tobytes() for view in made}) == MAX_VIEWS


def test_the_last_views_are_turned_and_letterboxed_after_that():
    image = np.random.default_rng(0).integers(0, 100, (90, 30, 3), dtype=np.uint8)
    left, right = list(views(image, MAX_VIEWS))[-2:]
    assert np.array_equal(left, np.rot90(image))
    assert np.array_equal(right, left[::-1, ::-1])
    for view in (left, right):
        framed = letterbox(view, (64, 96))
        top, _, height, width = photo_in_frame(view.shape, (64, 96))
        assert (height, width) == (32, 96), "the whole photo, lying"
        assert (framed[:, :top] == FILL).all()
        assert (framed[:, top : top + height] < 100).all()


def test_probabilities_are_averaged():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    rows = ask_views(lambda view: np.array([view[0, 0, 0], 1], np.float32), image, 4)
    assert rows[:, 0].tolist() == [0, 9, 36, 45]  # the four corners
    assert vote(rows).tolist() == [22.5, 1]
