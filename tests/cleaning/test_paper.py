"""Holes in labels."""

from __future__ import annotations

import numpy as np

from weldgen.cleaning.paper import fill_paper


def label_on_metal(make_plate):
    """A shaded, noisy label on a dark plate, and where it is."""
    plate = (make_plate(6, 300, 200) * 0.4).astype(np.uint8)
    label = np.zeros(plate.shape[:2], bool)
    label[40:160, 50:250] = True
    shade = 190 + 40 * np.linspace(0, 1, 300)[None, :, None] + np.random.default_rng(2).normal(0, 2, plate.shape)
    return np.where(label[:, :, None], np.clip(shade, 0, 255), plate).astype(np.uint8), label


def test_paper_keeps_its_shading_and_its_noise(make_plate):
    image, label = label_on_metal(make_plate)
    hole = np.zeros_like(label)
    hole[70:130, 120:150] = True
    marked = np.where(hole[:, :, None], 0, image).astype(np.uint8)
    filled = fill_paper(marked, hole, label, 40)
    off = filled[hole].astype(float) - image[hole]
    assert abs(off.mean()) < 1 and off.std() < 4
    assert 1.2 < np.diff(filled[80:120, 125:145].astype(float), axis=0).std() / 2**0.5 < 3
    assert np.array_equal(filled[~hole], marked[~hole])


def test_metal_and_a_label_that_is_all_hole_stay(make_plate):
    image, label = label_on_metal(make_plate)
    beside = np.zeros_like(label)
    beside[5:20, 5:30] = True
    assert fill_paper(image, beside, label, 40) is image
    assert fill_paper(image, label, label, 40) is image
