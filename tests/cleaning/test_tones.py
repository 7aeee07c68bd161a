"""The shipped tones network on welds that it was not trained on."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from weldgen import weights
from weldgen.cleaning.inpainters import INPAINTERS
from weldgen.cleaning.settings import TEXTURE, TONES_WEIGHT, InpaintConfig
from weldgen.cleaning.texture import fill
from weldgen.cleaning.tones import ToneNetwork
from weldgen.errors import BackendError
from weldgen.synthesis.render.scene import render_scene
from weldgen.synthesis.render.style import PHOTO, sample_scene

FIRST_SEED = 910_000  # its training welds have seeds from 50,000 on


@pytest.fixture(scope="module")
def tones():
    return ToneNetwork()


def stroke(shape, start, end, width):
    mask = np.zeros(shape, np.uint8)
    cv2.line(mask, start, end, 1, width)
    return mask > 0


def test_tones_of_strokes_across_welds_come_nearer_to_the_truth(tones):
    before = after = 0.0
    for seed in range(FIRST_SEED, FIRST_SEED + 15):
        weld = render_scene(sample_scene(seed, style=PHOTO), 330, 220).image
        hole = stroke(weld.shape[:2], (150, 20), (190, 200), 16)
        filled = fill(np.where(hole[:, :, None], 0, weld), hole)
        wrong, less = (
            cv2.GaussianBlur(made.astype(np.float32) - weld, (0, 0), 3)[hole]
            for made in (filled, tones.correct(filled, hole))
        )
        before, after = before + float((wrong**2).mean()), after + float((less**2).mean())
    assert after < 0.9 * before


@pytest.mark.parametrize("size", [(1, 2), (7, 300), (130, 90), (1400, 300)])
def test_any_size_changes_in_the_hole_alone_and_twice_the_same(tones, make_plate, size):
    image = make_plate(3, *size)
    hole = np.zeros(image.shape[:2], bool)
    hole[image.shape[0] // 3 :, size[0] // 2 :] = True
    hole[0, 0] = False
    first, second = tones.correct(image, hole), tones.correct(image, hole)
    assert first.shape == image.shape and first.dtype == np.uint8
    assert np.array_equal(first[~hole], image[~hole])
    assert np.array_equal(first, second)


def test_nothing_to_fill_and_nothing_to_see_change_nothing(tones, make_plate):
    metal = make_plate(6, 60, 40)
    for hole in (np.zeros((40, 60), bool), np.ones((40, 60), bool)):
        assert np.array_equal(tones.correct(metal, hole), metal)


def test_a_missing_network_stops_the_inpainter(monkeypatch):
    monkeypatch.setitem(weights.WEIGHTS, TONES_WEIGHT, replace(weights.get(TONES_WEIGHT), file="inpaint/gone.onnx"))
    with pytest.raises(BackendError, match=r"'tones'.*not on this machine"):
        INPAINTERS[TEXTURE](InpaintConfig(), "cpu")
