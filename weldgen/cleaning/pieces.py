"""Cut a hole into pieces that are small enough to be filled from one place each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.morphology import dilate

Mask = npt.NDArray[np.bool_]

# What a piece is fitted to.
RIM_PX = 9


@dataclass(frozen=True)
class Piece:
    """A part of a hole within the window of its bounding box and rim.

    Attributes:
        top: First row of the window.
        left: First column of the window.
        inside: (h, w) bool, the part within the window.
    """

    top: int
    left: int
    inside: Mask

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the window in the whole image."""
        height, width = self.inside.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def cut(hole: Mask, side_px: int) -> list[Piece]:
    """A hole cut along a grid, each connected part on its own.

    Args:
        hole: (H, W) bool.
        side_px: Largest side of a piece, in pixels.
    """
    pieces = []
    count, labels, stats, _ = cv2.connectedComponentsWithStats(hole.astype(np.uint8), connectivity=8)
    for index in range(1, count):
        left, top, width, height, _ = stats[index].tolist()
        part = labels == index
        for first_row, last_row in _cuts(top, height, side_px):
            for first_column, last_column in _cuts(left, width, side_px):
                cell = np.zeros(hole.shape, bool)
                cell[first_row:last_row, first_column:last_column] = True
                cell &= part
                if cell.any():
                    pieces += [_piece(cell)]
    return pieces


def _cuts(start: int, length: int, side_px: int) -> list[tuple[int, int]]:
    count = max(1, -(-length // side_px))
    edges = [start + round(index * length / count) for index in range(count + 1)]
    return list(pairwise(edges))


def _piece(cell: Mask) -> Piece:
    rows, columns = np.flatnonzero(cell.any(axis=1)), np.flatnonzero(cell.any(axis=0))
    top, left = max(0, int(rows[0]) - RIM_PX), max(0, int(columns[0]) - RIM_PX)
    bottom, right = int(rows[-1]) + 1 + RIM_PX, int(columns[-1]) + 1 + RIM_PX
    return Piece(top, left, cell[top:bottom, left:right])


def rim_of(inside: Mask) -> Mask:
    """The band of `RIM_PX` pixels around a part of a hole, (h, w) bool."""
    return dilate(inside, RIM_PX) & ~inside
