"""What class names mean."""

from __future__ import annotations

import pytest

from weldgen.data.labels import BAD_WORDS, GOOD_WORDS, good_class, readings


@pytest.mark.parametrize(
    ("labels", "good"),
    [
        (["bad", "good"], "good"),
        (["bad_welds", "good_welds"], "good_welds"),
        (["def_front", "ok_front"], "ok_front"),
        (["no_rust", "rust"], "no_rust"),
        (["NOK", "OK"], "OK"),
        (["dandelion", "grass"], None),
    ],
)
def test_the_good_class(labels, good):
    assert good_class(labels) == good


def test_readings_forgive_spelling():
    assert "good" in readings("GoodWelds")
    assert "no defect" in readings("no-defects")
    assert "lack of fusion" in readings("Lack_of_fusion")


def test_no_word_means_both():
    assert not set(GOOD_WORDS) & set(BAD_WORDS)
