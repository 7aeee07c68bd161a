"""Fill holes with the right shapes, without grain: edges of welds and plates run on through the hole.

A pixel of a hole lies on many straight lines that cross the hole. A line whose two ends show the same metal says what
lies between them; a line from weld to plate does not. So each pixel takes the mean of the ends of the lines through it,
those that agree and are short weighing most: an edge that enters on one side meets its other end (compare the
interpolation of elevations along many sections, and coherence transport, Bornemann and Maerz 2007).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.morphology import dilate

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

_LINES = 24
# Grey levels by which the ends of a line may differ more than those of the best line before it counts e times less.
_AGREEMENT = 5.0
# Metal at the end of a line is averaged over this radius, so that its grain draws no streaks.
_END_SIGMA_PX = 1.5
# Counted as difference: a line that ends at the border of the picture has one end, which is no agreement.
_ONE_END, _NO_END = 25.0, 1000.0
_FINEST_SIDE_PX = 256


def fill_shapes(image: Floats, hole: Mask) -> Floats:
    """The image with its hole filled smoothly, edges running on.

    Args:
        image: (H, W, C) float32, up to four channels, 0 to 255: RGB, or whatever else tells metal from metal.
        hole: (H, W) bool, True where pixels are to be made.

    Returns:
        (H, W, C) float32; outside the hole nothing changes.
    """
    if not hole.any():
        return image
    smooth = spread(image, ~hole)
    pixels, small_hole = shrunk(smooth, hole, reduced_size(hole.shape, _FINEST_SIDE_PX))
    joined = _join_ends(pixels, small_hole)
    change = cv2.resize(joined - pixels, hole.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(hole[:, :, None], np.clip(smooth + change, 0, 255), image).astype(np.float32)


def reduced_size(shape: tuple[int, ...], most_px: int) -> tuple[int, int]:
    """Size (h, w) of an image of shape (H, W, ...) when its long side is reduced to `most_px`; no image grows."""
    scale = min(1.0, most_px / max(shape[:2]))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def shrunk(image: npt.NDArray[np.generic], hole: Mask, size: tuple[int, int]) -> tuple[Floats, Mask]:
    """Image (H, W, C) float32 and hole at another size (h, w); a pixel that holds any of the hole belongs to it.

    What is in the hole does not bleed into the pixels beside it.
    """
    if hole.shape == size:
        return image.astype(np.float32), hole
    known = (~hole).astype(np.float32)
    weight = cv2.resize(known, size[::-1], interpolation=cv2.INTER_AREA)
    pixels = image.astype(np.float32)
    # OpenCV drops the axis of a single channel
    inside, beside = (
        cv2.resize(values, size[::-1], interpolation=cv2.INTER_AREA).reshape(*size, -1)
        for values in (pixels, pixels * known[:, :, None])
    )
    clean = np.where(weight[:, :, None] > 0, beside / np.maximum(weight, 1e-6)[:, :, None], inside)
    return np.asarray(clean, np.float32), np.asarray(weight < 0.999)


def spread(values: Floats, known: Mask) -> Floats:
    """Known values spread over an image: each pixel takes the mean at the finest scale that has one near (push-pull).

    Args:
        values: (H, W, C) float32.
        known: (H, W) bool, where `values` counts.
    """
    weight = known.astype(np.float32)[:, :, None]
    if known.all() or min(known.shape) < 4:
        mean = (values * weight).sum(axis=(0, 1)) / max(float(weight.sum()), 1e-6)
        return np.where(known[:, :, None], values, mean).astype(np.float32)
    size = ((known.shape[1] + 1) // 2, (known.shape[0] + 1) // 2)
    small_weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)[:, :, None]
    total = cv2.resize(values * weight, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
    coarse = spread(total / np.maximum(small_weight, 1e-6), small_weight[:, :, 0] > 0)
    rough = cv2.resize(coarse, known.shape[::-1], interpolation=cv2.INTER_LINEAR).reshape(values.shape)
    smooth = cv2.GaussianBlur(rough, (0, 0), 1.0).reshape(values.shape)
    return np.where(known[:, :, None], values, smooth).astype(np.float32)


def _join_ends(pixels: Floats, hole: Mask) -> Floats:
    """The hole filled along lines, (H, W, C) float32; `pixels` holds a smooth fill for what no line reaches."""
    rows, columns = np.nonzero(dilate(hole, 4))
    window = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    known = (~hole[window]).astype(np.float32)
    weight = cv2.GaussianBlur(known, (0, 0), _END_SIGMA_PX)[:, :, None]
    ends = cv2.GaussianBlur(pixels[window] * known[:, :, None], (0, 0), _END_SIGMA_PX) / np.maximum(weight, 1e-3)
    lines = [_along(ends, known, np.pi * index / _LINES) for index in range(_LINES)]
    least = np.min([difference for _, difference, _ in lines], axis=0)
    total, weights = np.zeros_like(ends), np.full(known.shape, 1e-9, np.float32)
    for value, difference, length in lines:
        share = (difference < _NO_END / 2) * np.exp((least - difference) / _AGREEMENT) / np.maximum(length, 1)
        total += share[:, :, None] * value
        weights += share
    filled = np.where((weights > 1e-7)[:, :, None], total / weights[:, :, None], pixels[window])
    result = pixels.copy()
    result[window] = np.where(hole[window][:, :, None], filled, pixels[window])
    return result


def _along(ends: Floats, known: Floats, angle: float) -> tuple[Floats, Floats, Floats]:
    """What the line of one direction says about each pixel.

    Returns:
        Value between its two ends (H, W, C), difference of the ends (H, W), in grey levels, and its length (H, W).
    """
    height, width = known.shape
    side = int(np.ceil(np.hypot(height, width))) + 2
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), np.degrees(angle), 1.0)
    turn[:, 2] += (side - width) / 2, (side - height) / 2
    seen = cv2.warpAffine(known, turn, (side, side), flags=cv2.INTER_LINEAR, borderValue=0.0) > 0.99
    colours = cv2.warpAffine(ends, turn, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    column = np.broadcast_to(np.arange(side), (side, side))
    left = np.maximum.accumulate(np.where(seen, column, -1), axis=1)
    right = np.minimum.accumulate(np.where(seen, column, side)[:, ::-1], axis=1)[:, ::-1]
    row = np.arange(side)[:, None]
    first, last = colours[row, np.maximum(left, 0)], colours[row, np.minimum(right, side - 1)]
    before, after = column - left + 1e-3, right - column + 1e-3
    no_first, no_last = left < 0, right >= side
    first, last = np.where(no_first[:, :, None], last, first), np.where(no_last[:, :, None], first, last)
    value = (first * after[:, :, None] + last * before[:, :, None]) / (before + after)[:, :, None]
    difference = np.abs(first - last).mean(axis=2) + _ONE_END * (no_first | no_last) + _NO_END * (no_first & no_last)
    answers = value, difference, before + after
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    between, apart, length = (
        cv2.warpAffine(answer.astype(np.float32), turn, (width, height), flags=flags) for answer in answers
    )
    return between, apart, length
