"""Grain for holes in metal: what the grain around a hole says of it, and chance for the rest.

Brushed, ground and cast metal looks like a Gaussian random field: what matters is how pixels at each distance and
direction go together, and that can be read off the metal around the hole. The expected grain in the hole given the
grain around it (kriging) carries brush lines across; what it cannot know is drawn at random with the same statistics
(conditional simulation; Galerne and Leclaire, "Texture inpainting using efficient Gaussian conditional simulation",
SIAM J. Imaging Sciences 2017). The linear system is solved by preconditioned conjugate gradients, each product with the
covariance being two Fourier transforms.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.field import Field
from weldgen.cleaning.morphology import dilate, window_of
from weldgen.cleaning.shapes import shrunk, spread

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# Grain is what differs from the mean over this width.
_TONE_SIGMA_PX, _COARSER = 12.0, 3
# Known grain within this distance of the hole counts.
_NEAR_PX = 12
# A grey level of noise is always there.
_LEAST_VARIANCE = 1.0
# Larger pictures are simulated at half their size; of the finest grain nothing can be known.
_MOST_PIXELS = 200_000
_FINE_CHANCE = 0.2
# Other metal: averaged over this width, its grey is off by more than this, or by this share.
_LIKE_SIGMA_PX, _LEAST_OFF, _OFF_SHARE = 3.0, 20.0, 0.3
# Metal counts as much as its grey is near, where grey changes by more than so many deviations of the grain: on the
# other side of an edge there is other metal. Greys are told apart in at most so many steps.
_LEAST_STEP, _STEP_DEVIATIONS, _MOST_STEPS_OF_GREY = 10.0, 3.0, 8
# In the hole, grey is that of the smooth filling, which is as fine as this.
_SMOOTH_SIGMA_PX = 1.5
# Where no metal of the kind is near, the smooth filling counts this much.
_LEAST_WEIGHT = 1e-3
# Median deviation to standard deviation; grain further off than so many of these is cut.
_ROBUST, _MOST_DEVIATIONS = 1.4826, 4.0


@dataclass(frozen=True)
class Simulated:
    """Metal with its hole filled.

    Attributes:
        grey: (H, W) float32, 0 to 255; outside the hole as it is.
        tone: (H, W) float32, the mean of the metal around each pixel.
        strength: (H, W) float32, the standard deviation of its grain in grey levels.
        support: (H, W) float32, 0 to 1: how much metal of this kind there is around each pixel to learn that from.
    """

    grey: Floats
    tone: Floats
    strength: Floats
    support: Floats


def simulate(grey: Floats, hole: Mask, smooth: Floats, chance: float) -> Simulated:
    """Fill a hole with tone and grain of the metal around it.

    Args:
        grey: (H, W) float32, 0 to 255; what is in the hole does not count.
        hole: (H, W) bool.
        smooth: (H, W) float32, about the tone that the hole should have; what differs from it outside of the hole is
            other metal, or none, and says nothing of the grain.
        chance: How much of what cannot be known is drawn at random: 0 for the expected grain, which is smoother than
            metal is, 1 for grain with all the variance of that around the hole.
    """
    if grey.size > _MOST_PIXELS:
        return _simulate_large(grey, hole, smooth, chance)
    like = _like(grey, hole, smooth)
    grain = _grain_of(grey, like, smooth)
    window = window_of(hole, _NEAR_PX)
    inside, detail = hole[window], grain.detail[window]
    field = Field(grain.detail, like, inside.shape)
    drawn = chance * field.draw() if chance else np.zeros_like(detail)
    seen = (dilate(inside, _NEAR_PX) & like[window]).astype(np.float32)
    filled = drawn + field.expect(detail - drawn, seen)
    made = grey.copy()
    made[window] = np.where(inside, grain.tone[window] + grain.strength[window] * filled, grey[window])
    return Simulated(made, grain.tone, grain.strength, grain.support)


def _simulate_large(grey: Floats, hole: Mask, smooth: Floats, chance: float) -> Simulated:
    """The same at half the size, where grain can be expected at all; the finest grain is drawn at random."""
    size = ((grey.shape[0] + 1) // 2, (grey.shape[1] + 1) // 2)
    halved, small_hole = shrunk(grey[:, :, None], hole, size)
    small = halved[:, :, 0]
    small_smooth = np.asarray(cv2.resize(smooth, size[::-1], interpolation=cv2.INTER_AREA), np.float32)
    coarse = simulate(small, small_hole, small_smooth, chance)
    whole, tone, strength, support, plain = (
        np.asarray(cv2.resize(values, grey.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
        for values in (
            coarse.grey,
            coarse.tone,
            coarse.strength,
            coarse.support,
            np.where(small_hole, coarse.tone, small),
        )
    )
    like = _like(grey, hole, smooth) & ~dilate(hole, 1)
    fine = _grain_of((grey - plain).astype(np.float32), like, np.zeros_like(grey))
    window = window_of(hole, 0)
    inside = hole[window]
    drawn = min(1.0, chance + _FINE_CHANCE) * fine.strength[window] * Field(fine.detail, like, inside.shape).draw()
    made = grey.copy()
    made[window] = np.where(inside, whole[window] + drawn, grey[window])
    return Simulated(made, tone, strength, support)


def _like(grey: Floats, hole: Mask, smooth: Floats) -> Mask:
    """Known pixels of the metal that the hole is in: not a dark table, not a weld beside it."""
    expected = spread(smooth[:, :, None], hole)[:, :, 0]
    local = _local(grey, (~hole).astype(np.float32))
    return np.asarray(~hole & (np.abs(local - expected) <= np.maximum(_LEAST_OFF, _OFF_SHARE * expected)))


def _local(grey: Floats, counts: Floats) -> Floats:
    """Mean of what counts right beside each pixel, (H, W) float32; `counts` is 1 where it does."""
    weight = cv2.GaussianBlur(counts, (0, 0), _LIKE_SIGMA_PX) + np.float32(1e-6)
    return np.asarray(cv2.GaussianBlur(grey * counts, (0, 0), _LIKE_SIGMA_PX) / weight, np.float32)


@dataclass(frozen=True)
class _Grain:
    """Tone, strength of the grain, support, and the grain at strength 1 (0 where it does not count), (H, W) float32."""

    tone: Floats
    strength: Floats
    support: Floats
    detail: Floats


def _grain_of(grey: Floats, like: Mask, smooth: Floats) -> _Grain:
    around = _Around(grey, like, smooth)
    tone = around.mean(grey, smooth)
    detail: Floats = (grey - tone) * like
    usual = _usual(detail[like])
    most = np.float32(_MOST_DEVIATIONS * (usual + 1))
    detail = np.clip(detail, -most, most)  # a spatter or a mark is no grain
    strength: Floats = np.sqrt(around.mean(detail * detail, usual**2) + np.float32(_LEAST_VARIANCE))
    return _Grain(tone, strength, around.support, detail / strength)


def _usual(detail: Floats) -> float:
    """Standard deviation of grain, whatever a few pixels show."""
    return _ROBUST * float(np.median(np.abs(detail))) if detail.size else 0.0


class _Around:
    """Means over the metal around each pixel that is about as grey as it.

    Compare the bilateral grid (Chen, Paris and Durand, SIGGRAPH 2007).

    Args:
        grey: (H, W) float32.
        like: (H, W) bool, what counts of it.
        smooth: (H, W) float32, how grey what does not count should be.

    Attributes:
        support: (H, W) float32, 0 to 1: how much metal counts around each pixel.
    """

    def __init__(self, grey: Floats, like: Mask, smooth: Floats) -> None:
        counts = like.astype(np.float32)
        local = _local(grey, counts)
        step = max(_LEAST_STEP, _STEP_DEVIATIONS * _usual((grey - local)[like]))
        place = np.where(like, local, cv2.GaussianBlur(smooth, (0, 0), _SMOOTH_SIGMA_PX)).astype(np.float32)
        self._shares = _steps_of_grey(place, step)
        self._weights = [counts * share for share in self._shares]
        self.support = self._total(counts)

    def mean(self, values: Floats, fallback: Floats | float) -> Floats:
        """Mean of values around each pixel, (H, W) float32; the fallback where nothing counts near it."""
        total = self._total(values) + np.float32(_LEAST_WEIGHT) * fallback
        return np.asarray(total / (self.support + np.float32(_LEAST_WEIGHT)), np.float32)

    def _total(self, values: Floats) -> Floats:
        total = np.zeros_like(values)
        for share, weight in zip(self._shares, self._weights, strict=True):
            total += share * _blur(values * weight)
        return total


def _steps_of_grey(values: Floats, step: float) -> list[Floats]:
    """How much each pixel belongs to each of several greys, (H, W) float32 of sum 1, about `step` apart."""
    low, high = (float(value) for value in np.percentile(values, [2, 98]))
    count = min(_MOST_STEPS_OF_GREY, int((high - low) / step) + 1)
    if count < 2:
        return [np.ones_like(values)]
    place = np.clip((values - low) / (high - low), 0, 1) * np.float32(count - 1)
    return [np.clip(1 - np.abs(place - index), 0, 1) for index in range(count)]


def _blur(values: Floats) -> Floats:
    """Mean over `_TONE_SIGMA_PX`, from a picture of a third of the size, which takes a quarter of the time."""
    size = (max(1, values.shape[1] // _COARSER), max(1, values.shape[0] // _COARSER))
    small = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(small, (0, 0), _TONE_SIGMA_PX / _COARSER)
    return np.asarray(cv2.resize(smooth, values.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
