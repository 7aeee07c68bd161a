"""Simulated grain: what is known is used, what is not known looks like the rest."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from weldgen.cleaning import conditional
from weldgen.cleaning.conditional import simulate


def brushed(seed, size=(200, 260), grey=130.0):
    """Grain that runs down the picture, of a deviation of about 8."""
    rng = np.random.default_rng(seed)
    lines = cv2.GaussianBlur(rng.normal(size=size).astype(np.float32), (0, 0), sigmaX=0.7, sigmaY=25)
    field = 7 * lines / lines.std() + rng.normal(0, 3, size)
    return (grey + field).astype(np.float32)


@pytest.fixture
def hole():
    mask = np.zeros((200, 260), np.uint8)
    cv2.line(mask, (60, 80), (200, 110), 1, 14)
    cv2.line(mask, (120, 50), (120, 150), 1, 10)
    return mask > 0


def smooth_of(grey, hole):
    return np.full_like(grey, grey[~hole].mean())


def test_brush_lines_run_on(hole):
    truth = brushed(0)
    marked = np.where(hole, 20, truth).astype(np.float32)
    expected = simulate(marked, hole, smooth_of(truth, hole), 0.0).grey
    flat = ((truth - truth[~hole].mean())[hole] ** 2).mean()
    assert ((expected - truth)[hole] ** 2).mean() < 0.5 * flat
    assert np.array_equal(expected[~hole], marked[~hole])


def test_chance_brings_the_deviation_back(hole):
    truth = brushed(1)
    marked = np.where(hole, 20, truth).astype(np.float32)
    shares = []
    for chance in (0.0, 1.0):
        made = simulate(marked, hole, smooth_of(truth, hole), chance).grey
        fine = [(image - cv2.GaussianBlur(image, (0, 0), 2))[hole].std() for image in (made, truth)]
        shares.append(fine[0] / fine[1])
    assert shares[0] < 0.75 and shares[0] + 0.1 < shares[1] < 1.15


def test_a_dark_table_beside_the_plate_says_nothing(hole):
    truth = brushed(2)
    truth[:, 215:] = 12  # close to the end of the stroke
    marked = np.where(hole, 20, truth).astype(np.float32)
    smooth = np.where(np.arange(260) < 215, 130.0, 12.0).astype(np.float32) * np.ones((200, 1), np.float32)
    made = simulate(marked, hole, smooth, 1.0)
    edge = hole.copy()
    edge[:, :180] = False
    assert np.abs(made.tone[edge] - 130).max() < 12
    assert made.strength[edge].max() < 14 and made.grey[edge].min() > 80


def test_calm_metal_stays_calm_beside_rough_metal(hole):
    dark = np.arange(260) < 130
    calm = (110 + np.random.default_rng(6).normal(0, 1, hole.shape)).astype(np.float32)
    truth = np.where(dark, calm, brushed(6, grey=175.0)).astype(np.float32)
    smooth = np.where(dark, 110.0, 175.0).astype(np.float32) * np.ones((200, 1), np.float32)
    made = simulate(np.where(hole, 20, truth).astype(np.float32), hole, smooth, 1.0).grey
    columns = np.arange(260)
    assert (made - 110)[hole & (columns > 95) & (columns < 124)].std() < 2  # 9 where the edge counts as grain
    rough = hole & (columns > 136)
    assert 0.7 < (made - 175)[rough].std() / (truth - 175)[rough].std() < 1.3


def test_twice_is_the_same_and_another_size_too(hole, monkeypatch):
    truth = brushed(3)
    marked = np.where(hole, 20, truth).astype(np.float32)
    job = marked, hole, smooth_of(truth, hole), 0.9
    whole = simulate(*job).grey
    assert np.array_equal(whole, simulate(*job).grey)
    monkeypatch.setattr(conditional, "_MOST_PIXELS", 10_000)
    halved = simulate(*job).grey
    assert np.array_equal(halved[~hole], marked[~hole])
    ratio = halved[hole].std() / truth[hole].std()
    assert 0.7 < ratio < 1.3
    tones = [cv2.GaussianBlur(image, (0, 0), 6)[hole] for image in (halved, truth)]
    assert np.abs(tones[0] - tones[1]).max() < 12


def test_nothing_known_is_filled_smoothly():
    hole = np.ones((40, 50), bool)
    hole[0, 0] = False
    made = simulate(np.zeros((40, 50), np.float32), hole, np.full((40, 50), 90, np.float32), 1.0)
    assert np.isfinite(made.grey).all() and np.abs(made.grey[hole] - 90).max() < 10
