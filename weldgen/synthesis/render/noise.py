"""Random fields: the grain, mottling and streaks that surfaces are made of. float32 throughout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from weldgen.runtime import derive_seed

# A plane of float32 values, (H, W) or (H, W, C).
Plane = npt.NDArray[Any]
Rng = np.random.Generator

# How many octaves below the coarsest a fractal field may have; finer ones are below a pixel.
_MAX_OCTAVES = 6
# Pixels to a feature that cubic interpolation needs to draw it smoothly; octaves as coarse are made smaller.
_SMOOTH_PX = 4
_COARSE = (4, 2, 1)
# Pixels of a band.
_BAND_PX = 8192
# Deviation of cubically interpolated random numbers, inverted.
_UNIT = 1.35
# The normal distribution's quantiles at 2^16 probabilities: a look-up takes a fifth of the time of drawing.
_NORMAL = np.asarray(ndtri((np.arange(2**16) + 0.5) / 2**16), np.float32)


def f32(values: Sequence[Any]) -> Plane:
    """A float32 array of numbers."""
    return np.asarray(values, np.float32)


def stream(seed: int, name: str) -> Rng:
    """A random stream of its own for one part of a scene, so that changing one part leaves the others as they are."""
    return np.random.default_rng(derive_seed(seed, name))


def gaussian(rng: Rng, shape: tuple[int, ...]) -> Plane:
    """Normally distributed numbers of zero mean and unit deviation, float32, to 16 bits (so within 4.2 deviations)."""
    return np.asarray(np.take(_NORMAL, rng.integers(0, 2**16, shape, np.uint16)))


def value_noise(rng: Rng, shape: tuple[int, int], cell_px: float, stretch: float = 1.0) -> Plane:
    """Smooth noise of about zero mean and unit deviation, (H, W).

    Args:
        rng: Source of randomness.
        shape: (H, W).
        cell_px: Size of a feature down the image.
        stretch: How much longer than high a feature is.
    """
    return _scaled_noise(rng, shape, cell_px, stretch, 1.0)


def _scaled_noise(rng: Rng, shape: tuple[int, int], cell_px: float, stretch: float, deviation: float) -> Plane:
    """`value_noise` of another deviation."""
    height, width = shape
    down, along = _shrink(cell_px), _shrink(cell_px * stretch)
    small = (-(-height // down), -(-width // along))
    grown = _grown(rng, small, max(cell_px, 1.0) / down, max(cell_px * stretch, 1.0) / along, deviation)
    if small == shape:
        return grown
    return np.asarray(cv2.resize(grown, (width, height), interpolation=cv2.INTER_CUBIC))


def _shrink(cell_px: float) -> int:
    """By how much smaller noise can be made without loss, before it is enlarged to its size."""
    return max(1, int(cell_px / _SMOOTH_PX))


def _grown(rng: Rng, shape: tuple[int, int], cell_y: float, cell_x: float, deviation: float) -> Plane:
    """Cubic interpolation of random numbers on a grid, (H, W)."""
    height, width = shape
    rows, columns = max(2, round(height / cell_y)) + 3, max(2, round(width / cell_x)) + 3
    coarse = gaussian(rng, (rows, columns)) * np.float32(_UNIT * deviation)
    cell_y, cell_x = height / (rows - 3), width / (columns - 3)
    # One cell more on each side than the image shows, or cubic interpolation would flatten the border.
    grown = cv2.resize(
        coarse, (round(columns * cell_x), round(rows * cell_y)), interpolation=cv2.INTER_CUBIC
    )  # (>=H, >=W)
    top, left = round(cell_y), round(cell_x)
    return np.asarray(grown[top : top + height, left : left + width])


def fractal_noise(rng: Rng, shape: tuple[int, int], cell_px: float, gain: float = 0.5, stretch: float = 1.0) -> Plane:
    """Several octaves of `value_noise`, about zero mean and unit deviation, (H, W)."""
    height, width = shape
    cells = [cell_px]
    while len(cells) < _MAX_OCTAVES and cells[-1] >= 2:
        cells.append(cells[-1] / 2)
    weights = gain ** np.arange(len(cells))
    weights /= np.sqrt(np.sum(weights**2))
    total: Plane | None = None
    for factor in _COARSE:  # coarse octaves are summed up small
        small = (-(-height // factor), -(-width // factor))
        if total is not None and total.shape != small:
            total = np.asarray(cv2.resize(total, small[::-1], interpolation=cv2.INTER_CUBIC))
        for cell, weight in zip(cells, weights, strict=True):
            if factor != next(one for one in _COARSE if one == 1 or cell >= one * _SMOOTH_PX):
                continue
            octave = _scaled_noise(rng, small, cell / factor, stretch, float(weight))
            total = octave if total is None else cv2.add(total, octave, dst=total)
    return np.asarray(total)


def line_noise(rng: Rng, length: int, cell_px: float) -> Plane:
    """Smooth noise along a line, about zero mean and unit deviation, (length,)."""
    return np.asarray(value_noise(rng, (1, length), 1.0, stretch=max(cell_px, 1.0))[0])


def streaks(rng: Rng, shape: tuple[int, int], angle_deg: float, length_px: float, cell_px: float = 1.0) -> Plane:
    """Fine parallel scratches, about zero mean and unit deviation, (H, W)."""
    height, width = shape
    if abs(angle_deg) < 0.5:
        return value_noise(rng, shape, cell_px, stretch=length_px / cell_px)
    c, s = abs(np.cos(np.deg2rad(angle_deg))), abs(np.sin(np.deg2rad(angle_deg)))
    tall, long = int(height * c + width * s) + 4, int(width * c + height * s) + 4
    level = value_noise(rng, (tall, long), cell_px, stretch=length_px / cell_px)
    turn = cv2.getRotationMatrix2D((long / 2, tall / 2), angle_deg, 1.0)
    turn[:, 2] += [(width - long) / 2, (height - tall) / 2]
    turned = cv2.warpAffine(level, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(turned)


def blur(plane: Plane, sigma_px: float) -> Plane:
    """Gaussian blur; a large sigma is done on a smaller copy."""
    if sigma_px < 0.2:
        return plane
    if sigma_px > 6:
        factor = sigma_px / 3
        height, width = plane.shape[:2]
        small = cv2.resize(
            plane, (max(2, round(width / factor)), max(2, round(height / factor))), interpolation=cv2.INTER_AREA
        )
        small = cv2.GaussianBlur(small, (0, 0), 3)
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma_px))


def row_bands(shape: tuple[int, ...]) -> Iterator[slice]:
    """Rows of an (H, W, ...) plane, a few at a time: where many planes meet, those of a band stay in the cache."""
    step = max(1, _BAND_PX // shape[1])
    for top in range(0, shape[0], step):
        yield slice(top, min(top + step, shape[0]))


def smoothstep(plane: Plane, low: float, high: float) -> Plane:
    """0 below `low`, 1 above `high`, smooth between."""
    x = np.clip((plane - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    return np.asarray(x * x * (np.float32(3) - np.float32(2) * x))


def triple(plane: Plane) -> Plane:
    """A plane three times, (H, W, 3): NumPy is slow over an inner axis of one."""
    return np.asarray(cv2.cvtColor(np.asarray(plane, np.float32), cv2.COLOR_GRAY2RGB))


def coloured(plane: Plane, colour: Sequence[float] | Plane) -> Plane:
    """A plane times the three channels of a colour, (H, W, 3)."""
    return np.asarray(cv2.merge([plane * np.float32(channel) for channel in colour]))
