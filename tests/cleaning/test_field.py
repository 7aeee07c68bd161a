"""Gaussian fields: how far a covariance is believed, and that what is drawn has it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from weldgen.cleaning import field
from weldgen.cleaning.field import Field


@pytest.mark.parametrize("angle_deg", [0, 40, 90, 130])
def test_brush_lines_are_believed_further_along_than_across(angle_deg):
    steps = np.arange(-60, 60, dtype=np.float32)
    turn = np.deg2rad(angle_deg)
    along = steps * np.cos(turn) + steps[:, None] * np.sin(turn)
    across = steps[:, None] * np.cos(turn) - steps * np.sin(turn)
    covariance = np.exp(-np.abs(along) / 20 - np.abs(across) / 2).astype(np.float32)
    believed = np.fft.ifftshift(field._taper(np.fft.ifftshift(covariance), *_lags(steps)))
    ahead, beside = (
        believed[60 + round(30 * down), 60 + round(30 * right)]
        for down, right in ((np.sin(turn), np.cos(turn)), (np.cos(turn), -np.sin(turn)))
    )
    assert ahead > 0.5 and beside == 0


def _lags(steps):
    lags = np.fft.ifftshift(steps)
    return lags[:, None], lags


def test_grain_without_a_direction_is_believed_the_same_all_around():
    lags = _lags(np.arange(-60, 60, dtype=np.float32))
    believed = field._taper(np.exp(-np.hypot(*lags) / 4).astype(np.float32), *lags)
    assert believed[0, 0] == 1
    assert believed[10, 0] == pytest.approx(believed[0, 10], abs=0.02)
    assert 0 < believed[10, 0] < 1 and believed[0, 40] == 0


def test_what_is_drawn_goes_together_as_what_is_known():
    noise = np.random.default_rng(0).standard_normal((160, 160)).astype(np.float32)
    known = cv2.GaussianBlur(noise, (0, 0), sigmaX=0.5, sigmaY=12)
    known /= known.std()
    drawn = Field(known, np.ones(known.shape, bool), known.shape).draw()
    assert drawn.std() == pytest.approx(1, abs=0.15)
    together = [[(image * np.roll(image, 6, axis)).mean() for axis in (0, 1)] for image in (known, drawn)]
    assert together[0][0] > 0.7 and together[1][0] == pytest.approx(together[0][0], abs=0.15)
    assert abs(together[1][1]) < 0.15
