"""Ink in no region: clear strokes, and what is of the colour of ink that is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from weldgen.cleaning.colour import to_lab
from weldgen.cleaning.lone import lone_ink

DARK, GREY = 25, 110


@pytest.fixture
def marked(make_plate):
    """A plate with a word in dark ink; what is added to it, and the mask of the word."""
    metal = make_plate(3, 900, 600)
    word, blob = np.zeros((2, 600, 900), np.uint8)
    cv2.putText(word, "W7", (120, 300), cv2.FONT_HERSHEY_SIMPLEX, 5, 1, 32)
    cv2.rectangle(blob, (600, 260), (750, 292), 1, -1)  # a bar, broader than a pen's stroke on this photo

    def look(tone, known=True, probability=0.8):
        image = np.where(word[:, :, None] > 0, DARK, metal) if known else metal
        image = np.where(blob[:, :, None] > 0, tone, image).astype(np.uint8)
        seen = cv2.GaussianBlur((blob * probability + word * 0.95 * known).astype(np.float32), (0, 0), 0.8)
        return lone_ink(seen, to_lab(image), (word > 0) & known, 0.25, 0.5)[blob > 0].mean()

    return look


def test_broad_ink_of_a_known_colour_is_writing(marked):
    assert marked(DARK) > 0.9


def test_of_another_colour_or_alone_it_is_not(marked):
    assert marked(GREY) == 0, "nearer to the metal than to the ink"
    assert marked(DARK, known=False) == 0
    assert marked(DARK, probability=0.52) == 0, "hardly seen"
