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
import scipy.fft

from weldgen.cleaning.morphology import dilate, window_of
from weldgen.cleaning.shapes import shrunk, spread

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# Grain is what differs from the mean over this width.
_TONE_SIGMA_PX, _COARSER = 12.0, 3
# Pixels go together up to this distance: in every direction, and along brush lines. Further away an estimate from so few
# pixels is mostly chance.
_ACROSS_PX, _ALONG_PX = 20, 96
# Which way they run, and how surely, is told by pixels up to this distance that go together by this share at least.
_TELLING_PX, _TELLING = 32, 0.1
# Known grain within this distance of the hole counts.
_NEAR_PX = 12
# Share of the variance that goes together with nothing: the camera's noise.
_NOISE_SHARE = 0.05
_MOST_STEPS, _PRECISION = 30, 0.1
# Pairs of known pixels that a distance needs, as a share of the best one.
_LEAST_PAIRS = 0.02
# A grey level of noise is always there.
_LEAST_VARIANCE = 1.0
# Larger pictures are simulated at half their size; of the finest grain nothing can be known.
_MOST_PIXELS = 200_000
_FINE_CHANCE = 0.2
_SEED = 1
# Other metal: averaged over this width, its grey is off by more than this, or by this share.
_LIKE_SIGMA_PX, _LEAST_OFF, _OFF_SHARE = 3.0, 20.0, 0.3
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
    field = _Field(grain.detail, like, inside.shape)
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
    drawn = min(1.0, chance + _FINE_CHANCE) * fine.strength[window] * _Field(fine.detail, like, inside.shape).draw()
    made = grey.copy()
    made[window] = np.where(inside, whole[window] + drawn, grey[window])
    return Simulated(made, tone, strength, support)


def _like(grey: Floats, hole: Mask, smooth: Floats) -> Mask:
    """Known pixels of the metal that the hole is in: not a dark table, not a weld beside it."""
    expected = spread(smooth[:, :, None], hole)[:, :, 0]
    known = (~hole).astype(np.float32)
    weight = cv2.GaussianBlur(known, (0, 0), _LIKE_SIGMA_PX) + np.float32(1e-6)
    local = cv2.GaussianBlur(grey * known, (0, 0), _LIKE_SIGMA_PX) / weight
    return np.asarray(~hole & (np.abs(local - expected) <= np.maximum(_LEAST_OFF, _OFF_SHARE * expected)))


@dataclass(frozen=True)
class _Grain:
    """Tone, strength of the grain, support, and the grain at strength 1 (0 where it does not count), (H, W) float32."""

    tone: Floats
    strength: Floats
    support: Floats
    detail: Floats


def _grain_of(grey: Floats, like: Mask, smooth: Floats) -> _Grain:
    counts = like.astype(np.float32)
    support = _blur(counts)
    weight = support + np.float32(_LEAST_WEIGHT)
    tone: Floats = (_blur(grey * counts) + np.float32(_LEAST_WEIGHT) * smooth) / weight
    detail: Floats = (grey - tone) * counts
    usual = _ROBUST * float(np.median(np.abs(detail[like]))) if like.any() else 0.0
    most = np.float32(_MOST_DEVIATIONS * (usual + 1))
    detail = np.clip(detail, -most, most)  # a spatter or a mark is no grain
    energy = _blur(detail * detail) + np.float32(_LEAST_WEIGHT * usual**2)
    strength: Floats = np.sqrt(energy / weight + np.float32(_LEAST_VARIANCE))
    return _Grain(tone, strength, support, detail / strength)


def _blur(values: Floats) -> Floats:
    """Mean over `_TONE_SIGMA_PX`, from a picture of a third of the size, which takes a quarter of the time."""
    size = (max(1, values.shape[1] // _COARSER), max(1, values.shape[0] // _COARSER))
    small = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(small, (0, 0), _TONE_SIGMA_PX / _COARSER)
    return np.asarray(cv2.resize(smooth, values.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


class _Field:
    """A stationary Gaussian field with the covariance of what is known of an image, in a window of that.

    Args:
        detail: (H, W) float32 of mean 0, 0 where it is not known.
        known: (H, W) bool, where it is.
        shape: Size (h, w) of the window.
    """

    def __init__(self, detail: Floats, known: Mask, shape: tuple[int, ...]) -> None:
        self._shape = shape
        # nothing goes together across the seam of a periodic picture
        whole, self._padded = (
            tuple(cv2.getOptimalDFTSize(side + _ALONG_PX) for side in sides) for sides in (known.shape, shape)
        )
        rows, columns = (_steps(side) for side in self._padded)
        products, pairs = (
            _back(np.square(spectrum.real) + np.square(spectrum.imag), whole)
            for spectrum in (scipy.fft.rfft2(values, whole) for values in (detail, known.astype(np.float32)))
        )
        enough = _LEAST_PAIRS * float(pairs[0, 0])
        products, pairs = products[rows[:, None], columns], pairs[rows[:, None], columns]
        covariance = np.where(pairs > enough, products / np.maximum(pairs, 1), 0)
        covariance *= _taper(covariance, rows.astype(np.float32)[:, None], columns.astype(np.float32))
        # an estimate from few pixels may be no covariance; its nearest one has no negative power
        self._power = np.maximum(scipy.fft.rfft2(covariance.astype(np.float32)).real, 0)
        self._noise = _NOISE_SHARE * float(_back(self._power, self._padded)[0, 0])

    def draw(self) -> Floats:
        """One picture of the field, (H, W) float32; always the same."""
        white = np.random.default_rng(_SEED).standard_normal(self._padded, np.float32)
        height, width = self._shape
        return _back(scipy.fft.rfft2(white) * np.sqrt(self._power), self._padded)[:height, :width]

    def expect(self, values: Floats, seen: Floats) -> Floats:
        """The field everywhere, given its values where `seen` is 1, (H, W) float32.

        Conjugate gradients; preconditioned by the inverse that holds where everything is seen, they take a quarter of
        the steps.
        """
        # OpenCV's Fourier transform takes half of SciPy's time, but keeps its spectra packed
        covariance, inverse = (
            cv2.dft(_back(gain, self._padded))
            for gain in (self._power, 1 / np.maximum(self._power + self._noise, 1e-9))
        )
        rest = seen * values
        solution = np.zeros_like(rest)
        enough = _PRECISION**2 * float((rest**2).sum())
        direction: Floats = np.zeros_like(rest)
        size = 1.0
        for _ in range(_MOST_STEPS):
            if float((rest**2).sum()) <= enough:
                break
            guess = seen * self._filtered(rest, inverse)
            before, size = size, float((rest * guess).sum())
            direction = np.asarray(guess + np.float32(size / before) * direction, np.float32)
            changed = seen * self._filtered(direction, covariance) + self._noise * direction
            step = size / float((direction * changed).sum())
            solution += step * direction
            rest -= step * changed
        return self._filtered(solution, covariance)

    def _filtered(self, values: Floats, gain: Floats) -> Floats:
        """Values times a packed spectrum of real gains, (H, W) float32."""
        height, width = self._shape
        padded = np.zeros(self._padded, np.float32)
        padded[:height, :width] = values
        spectrum = cv2.mulSpectrums(cv2.dft(padded, nonzeroRows=height), gain, 0)
        back = cv2.dft(spectrum, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE, nonzeroRows=height)
        return np.asarray(back[:height, :width], np.float32)


def _taper(covariance: Floats, down: Floats, right: Floats) -> Floats:
    """How much of a covariance is believed, (H, W) float32, 0 to 1: further along brush lines than across them.

    Args:
        covariance: (H, W) float32, of pixels at each distance.
        down: (H, 1) float32, the distances in pixels.
        right: (W,) float32.
    """
    distance = np.hypot(down, right)
    together = (distance <= _TELLING_PX) & (distance > 0) & (covariance > _TELLING * covariance[0, 0])
    weight = np.where(together, covariance / np.maximum(distance, 1) ** 2, 0)
    # twice the angle: a line has no forward and backward
    cosine, sine = float((weight * (right**2 - down**2)).sum()), float((weight * 2 * down * right).sum())
    total = float((weight * distance**2).sum())
    directed = (np.hypot(cosine, sine) / total) ** 0.5 if total else 0.0
    angle = np.arctan2(sine, cosine) / 2
    along = right * np.cos(angle) + down * np.sin(angle)
    across = down * np.cos(angle) - right * np.sin(angle)
    share = np.hypot(along / (_ACROSS_PX + (_ALONG_PX - _ACROSS_PX) * directed), across / _ACROSS_PX)
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * np.minimum(share, 1)), np.float32)


def _steps(side: int) -> npt.NDArray[np.int32]:
    """Distances along one side of a periodic picture, (side,) int32: forward, then backward."""
    steps = np.arange(side, dtype=np.int32)
    return np.where(steps > side // 2, steps - side, steps).astype(np.int32)


def _back(spectrum: npt.NDArray[np.generic], shape: tuple[int, ...]) -> Floats:
    return np.asarray(scipy.fft.irfft2(spectrum, shape), np.float32)
