"""From a map of evidence to the rectangles in which the evidence lies.

What is notable: of all rectangles of the breadths and turns that come into question, the one with the most evidence
above a half is taken, whatever lies between its ends. So a weld that is interrupted is one weld, and a spot beside it
is none. For one turn and breadth the best ends are those of the largest sum of consecutive values (Kadane's algorithm;
Bentley, Programming Pearls, CACM 27(9), 1984), for all rows at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from weldgen.data.upright import Rectangle, least_turn

Floats = npt.NDArray[np.float32]

# A cell is a weld from this evidence on.
HALF = 0.5
# The map is looked at at so many times its resolution, and turned by such steps, then by finer ones.
_FINER = 2
_STEP_DEG = 4.0
_FINE_STEPS_DEG = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
# Points along each side of a cell that are asked whether they lie in a rectangle.
_POINTS = 8
# Taken away from the map before the next rectangle is looked for: the last one, made so much larger.
_CLEARED = 0.25


def best_rectangles(evidence: Floats, breadths: Sequence[float], *, turned: bool, most: int = 1) -> list[Rectangle]:
    """The clearest rectangles on a map, clearest first; in cells, from the map's top left corner.

    Args:
        evidence: (H, W) from 0 to 1.
        breadths: In cells; each is tried.
        turned: Whether rectangles may be turned; else all their sides are level or upright.
        most: Number of rectangles.

    Returns:
        At most so many; none where no cell has evidence above a half.
    """
    left, found = evidence.copy(), []
    for _ in range(most):
        best = _best(left, breadths, turned)
        if best is None:
            break
        found.append(best)
        left[covered((left.shape[0], left.shape[1]), best.grown(_CLEARED * best.breadth_px / best.length_px)) > 0] = 0
    return found


def evidence_in(evidence: Floats, rectangle: Rectangle) -> float:
    """Mean evidence in a rectangle, 0 to 1; what of it lies outside of the map has none."""
    cover = covered((evidence.shape[0], evidence.shape[1]), rectangle)
    return float((cover * evidence).sum() / max(1e-6, rectangle.length_px * rectangle.breadth_px))


def covered(shape: tuple[int, int], rectangle: Rectangle) -> Floats:
    """Share of each cell that lies in a rectangle, (H, W) float32, of 8 x 8 points in each."""
    rows, columns = (np.arange(side * _POINTS) / _POINTS + 0.5 / _POINTS for side in shape)
    points = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    along, across = rectangle.inside(points).T
    inside = (along > 0) & (along < rectangle.length_px) & (across > 0) & (across < rectangle.breadth_px)
    shares: Floats = inside.reshape(shape[0], _POINTS, shape[1], _POINTS).mean(axis=(1, 3), dtype=np.float32)
    return shares


def _best(evidence: Floats, breadths: Sequence[float], turned: bool) -> Rectangle | None:
    """The rectangle with the largest sum of evidence above a half."""
    if evidence.max() <= HALF:
        return None
    turns: Sequence[float] = np.arange(-90 + _STEP_DEG, 90 + _STEP_DEG / 2, _STEP_DEG).tolist() if turned else [0.0]
    _, coarse = max((_at_turn(evidence, breadths, turn) for turn in turns), key=lambda found: found[0])
    if not turned:
        return coarse
    fine = [_at_turn(evidence, breadths, coarse.turn_deg + step) for step in _FINE_STEPS_DEG]
    _, best = max(fine, key=lambda found: found[0])
    return replace(best, turn_deg=least_turn(best.turn_deg, 180))


def _at_turn(evidence: Floats, breadths: Sequence[float], turn_deg: float) -> tuple[float, Rectangle]:
    """The best rectangle of one turn, and its sum."""
    import cv2

    rows, columns = evidence.shape
    side = int(np.ceil(np.hypot(rows, columns))) * _FINER
    # from the turned picture's pixels to the map's cells: pixel and cell i are centred at i + 0.5
    turn = np.deg2rad(turn_deg)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / _FINER
    centre = np.array([columns, rows]) / 2
    shift = centre - rotation @ np.full(2, side / 2)
    warp = np.column_stack([rotation, rotation @ np.full(2, 0.5) + shift - 0.5])
    above = cv2.warpAffine(
        evidence - HALF, warp, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT, borderValue=-HALF,
    )  # fmt: skip
    best = (-np.inf, Rectangle(0, 0, 0, 0, 0))
    for breadth in breadths:
        across = cv2.filter2D(above, -1, _box(breadth * _FINER), borderType=cv2.BORDER_REPLICATE)
        total, row, start, end = _best_run(across)
        if total > best[0]:
            x, y = rotation @ np.array([(start + end) / 2, row + 0.5]) + shift
            best = (total, Rectangle(float(x), float(y), (end - start) / _FINER, breadth, turn_deg))
    return best


def _box(breadth: float) -> Floats:
    """A column whose entries sum to a breadth in pixels, its ends being parts of a pixel."""
    reach = int(np.ceil((breadth - 1) / 2)) if breadth > 1 else 0
    column = np.ones(2 * reach + 1, np.float32)
    if reach:
        column[[0, -1]] = (breadth - (2 * reach - 1)) / 2
    else:
        column[0] = breadth
    return column[:, None]


def _best_run(values: Floats) -> tuple[float, int, int, int]:
    """The largest sum of consecutive values in a row of (H, W): sum, row, first column, and the one behind the last."""
    sums = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1, dtype=np.float64)], axis=1)
    lowest = np.minimum.accumulate(sums, axis=1)[:, :-1]
    gains = sums[:, 1:] - lowest
    row, last = divmod(int(gains.argmax()), gains.shape[1])
    start = int(np.flatnonzero(sums[row, : last + 1] == lowest[row, last])[-1])
    return float(gains[row, last]), row, start, last + 1
