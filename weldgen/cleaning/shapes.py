"""Fill holes with the right shapes, without grain: edges of welds and plates run on through the hole.

A pixel of a hole lies on many straight lines that cross the hole. A line whose two ends show the same metal says what
lies between them; a line from weld to plate does not. So each pixel takes the mean of the ends of the lines through it,
those that agree, are short and run as the edges around do weighing most: an edge that enters on one side meets its
other end (compare the interpolation of elevations along many sections, and coherence transport, Bornemann and Maerz
2007).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.morphology import window_of

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
_LEAST_TOTAL = 1e-12
# Lines across the edges around count e to twice this times less than those along them; and what "around" means.
_LENGTHWISE = 8.0
_EDGE_SIGMA_PX, _EDGE_REACH_PX = 4.0, 12


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
    window = window_of(hole, _EDGE_REACH_PX)
    known = ~hole[window]
    counts = known.astype(np.float32)
    weight = cv2.GaussianBlur(counts, (0, 0), _END_SIGMA_PX)[:, :, None]
    ends = cv2.GaussianBlur(pixels[window] * counts[:, :, None], (0, 0), _END_SIGMA_PX) / np.maximum(weight, 1e-3)
    rows, columns = np.nonzero(~known)
    places = rows, columns
    angles = np.pi * np.arange(_LINES) / _LINES
    lines = [_along(ends, known, places, angle) for angle in angles.tolist()]
    values, differences, lengths = (np.stack(column) for column in zip(*lines, strict=True))
    agreement = np.exp((differences.min(axis=0) - differences) / _AGREEMENT)
    shares = (differences < _NO_END / 2) * agreement / np.maximum(lengths, 1)  # (lines, N)
    edges = _edges(ends, known)[places]
    lengthwise = np.stack([np.cos(2 * angles), np.sin(2 * angles)], axis=1).astype(np.float32) @ edges.T
    shares *= np.exp(_LENGTHWISE * (lengthwise - np.linalg.norm(edges, axis=1)))
    total = shares.sum(axis=0)
    joined = (shares[:, :, None] * values).sum(axis=0) / np.maximum(total, _LEAST_TOTAL)[:, None]
    result = pixels.copy()
    target = result[window]
    target[places] = np.where((total > _LEAST_TOTAL)[:, None], joined, target[places])
    return result


def _edges(ends: Floats, known: Mask) -> Floats:
    """The direction of the edges around each pixel, (H, W, 2) float32, at twice its angle, as long as they agree on it.

    That of the structure tensor of the known pixels (Bigun and Granlund 1987), carried into the hole.
    """
    grey = np.ascontiguousarray(ends[:, :, :3].mean(axis=2))
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    sure = (cv2.erode(known.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0).astype(np.float32)
    # an edge runs at a right angle to its gradient
    tensor = np.dstack([down * down - across * across, -2 * across * down, across * across + down * down])
    weight = cv2.GaussianBlur(sure, (0, 0), _EDGE_SIGMA_PX)[:, :, None]
    local = cv2.GaussianBlur(tensor * sure[:, :, None], (0, 0), _EDGE_SIGMA_PX) / np.maximum(weight, 1e-6)
    local = spread(local.astype(np.float32), weight[:, :, 0] > 0.02)
    return local[:, :, :2] / (local[:, :, 2:] + 1e-3)


def _along(
    ends: Floats, known: Mask, places: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]], angle: float
) -> tuple[Floats, Floats, Floats]:
    """What the line of one direction says about each of N pixels.

    The image is sheared so that the lines become its rows, and only the pixels that are asked for are looked up.

    Returns:
        Value between its two ends (N, C), difference of the ends (N,), in grey levels, and its length (N,).
    """
    rows, columns = places
    across, down = np.cos(angle), np.sin(angle)
    if abs(across) < abs(down):
        ends, known, rows, columns, across, down = ends.swapaxes(0, 1), known.T, columns, rows, down, across
    slope = down / across
    height, width = known.shape
    column = np.arange(width, dtype=np.int32)
    offset = np.rint(-slope * column).astype(np.int32)
    offset -= offset.min()
    sheared = np.zeros((height + offset.max(), width), bool)
    sheared[np.arange(height)[:, None] + offset, column] = known
    left = np.maximum.accumulate(np.where(sheared, column, -1), axis=1)
    right = np.minimum.accumulate(np.where(sheared, column, width)[:, ::-1], axis=1)[:, ::-1]
    line = rows + offset[columns]
    before, after = left[line, columns], right[line, columns]
    no_first, no_last = before < 0, after >= width
    first, last = (
        ends[np.clip(line - offset[end], 0, height - 1), end]
        for end in (
            np.clip(np.where(no_first, after, before), 0, width - 1),
            np.clip(np.where(no_last, before, after), 0, width - 1),
        )
    )
    stretch = np.float32(np.hypot(1, slope))
    to_first, to_last = stretch * (columns - before) + 1e-3, stretch * (after - columns) + 1e-3
    length = (to_first + to_last).astype(np.float32)
    value = (first * to_last[:, None] + last * to_first[:, None]) / length[:, None]
    difference = np.abs(first - last).mean(axis=1) + _ONE_END * (no_first | no_last) + _NO_END * (no_first & no_last)
    return value.astype(np.float32), difference.astype(np.float32), length
