from __future__ import annotations

import cv2
import numpy as np
import pytest

from weldgen.cleaning.shapes import fill_shapes, shrunk, spread


def two_tones(angle: float, bend: float = 0.0) -> np.ndarray:
    """A dark and a light half, (200, 300, 3) float32; the edge between them runs at an angle in degrees.

    It sinks by `bend` pixels from the middle of the hole to its ends.
    """
    y, x = np.mgrid[-100:100, -150:150].astype(np.float32)
    side = y - np.tan(np.radians(angle)) * x - bend * (x / 55) ** 2
    return np.repeat(np.where(side > 0, 180, 60)[:, :, None], 3, axis=2).astype(np.float32)


@pytest.fixture
def hole():
    mask = np.zeros((200, 300), np.uint8)
    cv2.ellipse(mask, (150, 100), (55, 30), 0, 0, 360, 1, -1)
    return mask > 0


@pytest.mark.parametrize("angle", [0, 12, -33, 70])
def test_an_edge_runs_on_straight_through_the_hole(hole, angle):
    truth = two_tones(angle)
    filled = fill_shapes(np.where(hole[:, :, None], 0, truth), hole)
    smooth = spread(truth, ~hole)
    wrong = np.abs(filled - truth)[hole].mean()
    assert wrong < 12
    assert wrong < 0.5 * np.abs(smooth - truth)[hole].mean()


def test_a_slightly_bent_edge_is_met_too(hole):
    truth = two_tones(0, bend=6)
    filled = fill_shapes(np.where(hole[:, :, None], 0, truth), hole)
    smooth = spread(truth, ~hole)
    assert np.abs(filled - truth)[hole].mean() < 0.75 * np.abs(smooth - truth)[hole].mean()


def test_shading_is_interpolated(hole):
    ramp = np.broadcast_to(np.linspace(40, 200, 300, dtype=np.float32)[None, :, None], (200, 300, 3))
    filled = fill_shapes(np.where(hole[:, :, None], 255, ramp).astype(np.float32), hole)
    assert np.abs(filled - ramp)[hole].max() < 12


def test_nothing_outside_changes_and_all_ends_may_be_missing(hole):
    truth = two_tones(5)
    filled = fill_shapes(truth, hole)
    assert np.array_equal(filled[~hole], truth[~hole])
    almost_all = np.ones((40, 60), bool)
    almost_all[:3] = False
    grey = np.full((40, 60, 3), 90, np.float32)
    assert np.allclose(
        fill_shapes(np.where(almost_all[:, :, None], 0, grey).astype(np.float32), almost_all), 90, atol=2
    )


def test_what_lies_in_a_hole_does_not_bleed_when_shrunk(hole):
    image = np.where(hole[:, :, None], 255, 50).astype(np.uint8) * np.ones((1, 1, 3), np.uint8)
    small, small_hole = shrunk(image, hole, (67, 100))
    assert small[~small_hole].max() <= 50.5
    assert small_hole.mean() >= hole.mean()
