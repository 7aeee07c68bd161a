"""Where the weld lies in a real photo, by a small network that this project trained on its own renderings.

Colour and texture alone take heat tint, glare or the shadow beside a weld for its outline. Training and figures:
`assets/bead`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from weldgen import weights
from weldgen.inference import Network
from weldgen.synthesis.render.noise import Plane

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]

BEAD_WEIGHT = "bead"
# Long side of the copy of a photo that the network sees; it halves its input four times.
_LONG_PX, _MULTIPLE_PX = 256, 32
# A piece of less than this share of the photo is no weld that anything could be said of.
_LEAST = 0.004
# An outline counts as a weld's where it is so many times longer than wide, fills its own band, is not the plate, and
# where the network is so sure of its pixels on average.
_SLENDER, _FILLED, _LARGEST, _CERTAIN = 1.8, 0.62, 0.85, 0.8
# And where it is as long as this share of the photo's long side: from afar, labels and edges look like welds.
_LEAST_LENGTH = 0.4
# Where none was found: width and offset that a weld usually has.
_USUAL_WIDTH, _USUAL_REACH = 0.3, 0.9


@dataclass(frozen=True)
class BeadPose:
    """A weld in a photo, taken as a straight band. Lengths are in short sides of the photo, from its middle.

    Attributes:
        upright: Whether it runs from top to bottom; what follows is then said of the transposed photo.
        angle_deg: Turn of its axis, positive where it falls from left to right.
        offset: Where its axis crosses the photo's middle column.
        width: Width of the band.
        start: Column of its left end.
        end: Column of its right end.
        outline: Whether its outline was found, so that all of this can be relied upon.
        cover: (h, w) uint8, 255 on the weld, of a small copy of the (transposed) photo; nowhere where none was found.
    """

    upright: bool
    angle_deg: float
    offset: float
    width: float
    start: float
    end: float
    outline: bool
    cover: Mask = field(repr=False, compare=False)

    def level(self, picture: RGB) -> RGB:
        """The photo, or a mask of it, with the weld level: transposed where it is upright."""
        return np.ascontiguousarray(np.swapaxes(picture, 0, 1)) if self.upright else picture


def find_bead(image: RGB) -> BeadPose:
    """The weld in a photo, (H, W, 3) uint8 RGB: the largest piece that the network takes for one.

    It sees the photo twice, the second time turned by half a turn; where it is not of one mind, it is not certain.

    Raises:
        BackendError: The network is missing or damaged.
    """
    turned = weld_probability(np.ascontiguousarray(image[::-1, ::-1]))[::-1, ::-1]
    likely = (weld_probability(image) + turned) / 2
    cover = _largest_piece(likely)
    if np.count_nonzero(cover) < _LEAST * cover.size:
        return _not_found(
            image, np.zeros((min(cover.shape), max(cover.shape)), np.uint8), upright=cover.shape[0] > cover.shape[1]
        )
    upright = _runs_down(cover)
    if upright:
        likely, cover = np.ascontiguousarray(likely.T), np.ascontiguousarray(cover.T)
    line = _line_of(cover)
    if line is None:
        return _not_found(image, cover, upright=upright)
    height, width = cover.shape
    unit = float(min(height, width))
    angle = float(np.arctan(line.slope))
    length_px = line.last_px - line.first_px
    filled = np.count_nonzero(cover) / max(length_px * 2 * line.half_px, 1.0)
    weldlike = bool(
        length_px > max(_SLENDER * 2 * line.half_px, _LEAST_LENGTH * max(cover.shape))
        and filled > _FILLED
        and np.count_nonzero(cover) < _LARGEST * cover.size
        and float(likely[cover > 0].mean()) > _CERTAIN
    )
    return BeadPose(
        upright,
        float(np.rad2deg(angle)),
        (line.row - height / 2) / unit,
        2 * line.half_px * float(np.cos(angle)) / unit,
        (line.first_px - width / 2) / unit,
        (line.last_px - width / 2) / unit,
        weldlike,
        cover,
    )


def weld_probability(image: RGB) -> Plane:
    """How likely each pixel belongs to a weld.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (h, w) float32, 0..1, of a copy whose long side is 256 px.

    Raises:
        BackendError: The network is missing or damaged.
    """
    height, width = image.shape[:2]
    scale = _LONG_PX / max(height, width)
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    below, right = -size[1] % _MULTIPLE_PX, -size[0] % _MULTIPLE_PX
    padded = cv2.copyMakeBorder(small, 0, below, 0, right, cv2.BORDER_REPLICATE)
    logits = np.asarray(_network()(padded[None])[0][0, 0], np.float32)
    whole = cv2.resize(logits, padded.shape[1::-1], interpolation=cv2.INTER_LINEAR)[: size[1], : size[0]]
    return np.asarray(1 / (1 + np.exp(-whole)), np.float32)


@lru_cache(1)
def _network() -> Network:
    return Network(weights.require(BEAD_WEIGHT), threads=1)  # several processes make images side by side


def _largest_piece(likely: Plane) -> Mask:
    """The piece of most certain pixels, without thin arms and small gaps, (h, w) uint8."""
    cover = np.where(likely > 0.5, 255, 0).astype(np.uint8)
    cover = cv2.morphologyEx(cover, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    cover = cv2.morphologyEx(cover, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    count, pieces = cv2.connectedComponents(cover)
    if count < 2:
        return np.zeros_like(cover)
    sums = np.bincount(pieces.ravel(), weights=likely.ravel(), minlength=count)
    return np.where(pieces == 1 + int(np.argmax(sums[1:])), 255, 0).astype(np.uint8)


def _runs_down(cover: Mask) -> bool:
    """Whether a piece is longer from top to bottom than across."""
    spread = np.cov(np.stack(np.nonzero(cover)).astype(float))
    return bool(spread[0, 0] > spread[1, 1])


def _not_found(image: RGB, cover: Mask, *, upright: bool) -> BeadPose:
    """Where a weld usually lies."""
    sides = sorted(image.shape[:2])
    reach = _USUAL_REACH * 0.5 * sides[1] / sides[0]
    return BeadPose(upright, 0.0, 0.0, _USUAL_WIDTH, -reach, reach, False, cover)


@dataclass(frozen=True)
class _Line:
    """Where an outline lies: axis row = `row` + `slope` * (column - middle); half width; first and last column."""

    slope: float
    row: float
    half_px: float
    first_px: float
    last_px: float


def _line_of(cover: Mask) -> _Line | None:
    """Axis, half width and ends of an outline; None where there is hardly anything."""
    columns = np.flatnonzero(cover.any(axis=0))
    if len(columns) < 12:
        return None
    tops = np.argmax(cover[:, columns] > 0, axis=0)
    bottoms = cover.shape[0] - 1 - np.argmax(cover[::-1, columns] > 0, axis=0)
    inner = slice(len(columns) // 8, -(len(columns) // 8))  # the caps say little of the axis
    middles, halves = (tops + bottoms)[inner] / 2, (bottoms - tops + 1)[inner] / 2
    x = columns[inner].astype(float)
    pairs = np.linspace(0, len(x) - 1, min(len(x), 60)).astype(int)
    first, second = np.triu_indices(len(pairs), len(pairs) // 3)
    steps = (middles[pairs][second] - middles[pairs][first]) / (x[pairs][second] - x[pairs][first])
    slope = float(np.median(steps))  # Theil and Sen: a bulge of the outline does not turn the axis
    row = float(np.median(middles - slope * (x - cover.shape[1] / 2)))
    return _Line(slope, row, float(np.median(halves)), float(columns[0]), float(columns[-1] + 1))
