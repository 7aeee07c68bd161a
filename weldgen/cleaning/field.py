"""Stationary Gaussian random fields: what grain looks like, at random or given some of it; see `conditional`."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# Pixels go together up to this distance: in every direction, and along brush lines. Further away an estimate from so
# few pixels is mostly chance.
_ACROSS_PX, _ALONG_PX = 20, 96
# Which way they run, and how surely, is told by pixels up to this distance that go together by this share at least.
_TELLING_PX, _TELLING = 32, 0.1
# Share of the variance that goes together with nothing: the camera's noise.
_NOISE_SHARE = 0.05
_MOST_STEPS, _PRECISION = 30, 0.1
# Pairs of known pixels that a distance needs, as a share of the best one.
_LEAST_PAIRS = 0.02
_SEED = 1


class Field:
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
