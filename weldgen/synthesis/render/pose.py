"""Where the weld lies in a real photo, from colour and texture alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.synthesis.render.noise import Plane

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]

_ROWS = 48
_LONG_PX = 256
# Bands that are tried, as shares of the picture's height.
_WIDTHS = (0.15, 0.72)
# A weld is mostly in the middle of its photo: the middle of a band this far from it costs as much as half the contrast.
_OFF_CENTRE = 0.35
# One orientation of an almost square photo must be so much clearer than the other to be taken.
_SQUARE = 1.15
# Share of the picture at each side that is taken for plate.
_RIM = 0.14
# An outline counts as a weld's where it is so many times longer than wide, fills its own band and is not the plate.
_SLENDER, _FILLED, _LARGEST = 2.4, 0.62, 0.75
_MOST_ANGLE_DEG = 25.0


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
        contrast: How much the band differs from what is beside it; 0 where nothing was found.
        outline: Whether its outline was found, so that all of this can be relied upon.
        cover: (h, w) uint8, 255 on the weld, of a small copy of the (transposed) photo.
    """

    upright: bool
    angle_deg: float
    offset: float
    width: float
    start: float
    end: float
    contrast: float
    outline: bool
    cover: Mask = field(repr=False, compare=False)

    def level(self, picture: RGB) -> RGB:
        """The photo, or a mask of it, with the weld level: transposed where it is upright."""
        return np.ascontiguousarray(np.swapaxes(picture, 0, 1)) if self.upright else picture


def find_bead(image: RGB) -> BeadPose:
    """The weld in a photo, (H, W, 3) uint8 RGB.

    First the band that differs most from what lies on both sides of it is looked for: a long photo shows its weld
    lengthwise; of an almost square one both directions are tried. From there the weld is cut out by colour,
    brightness and texture (GrabCut: Rother, Kolmogorov and Blake, SIGGRAPH 2004).
    """
    height, width = image.shape[:2]
    if width >= _SQUARE * height:
        band = _find_lengthwise(image, upright=False)
    elif height >= _SQUARE * width:
        band = _find_lengthwise(image, upright=True)
    else:
        level, upright = _find_lengthwise(image, upright=False), _find_lengthwise(image, upright=True)
        band = upright if upright.contrast > _SQUARE * level.contrast else level
    return _outlined(image, band) if band.contrast else band


@dataclass(frozen=True)
class _Line:
    """Where an outline lies: axis row = `row` + `slope` * (column - middle); half width; first and last column."""

    slope: float
    row: float
    half_px: float
    first_px: float
    last_px: float


def _outlined(image: RGB, band: BeadPose) -> BeadPose:
    """The band with the weld's own outline, where it has one that looks like a weld's."""
    small = _small(image, upright=band.upright)
    cover = _cut_out(small, band)
    line = _line_of(cover)
    if line is None:
        return band
    height, width = cover.shape
    unit = float(min(height, width))
    length_px = line.last_px - line.first_px
    filled = np.count_nonzero(cover) / max(length_px * 2 * line.half_px, 1.0)
    weldlike = (
        length_px > _SLENDER * 2 * line.half_px
        and filled > _FILLED
        and np.count_nonzero(cover) < _LARGEST * cover.size
        and abs(np.rad2deg(np.arctan(line.slope))) < _MOST_ANGLE_DEG
    )
    if not weldlike:
        return band
    angle_deg = float(np.rad2deg(np.arctan(line.slope)))
    return BeadPose(
        band.upright,
        angle_deg,
        (line.row - height / 2) / unit,
        2 * line.half_px * float(np.cos(np.deg2rad(angle_deg))) / unit,
        (line.first_px - width / 2) / unit,
        (line.last_px - width / 2) / unit,
        band.contrast,
        True,
        cover,
    )


def _cut_out(small: RGB, band: BeadPose) -> Mask:
    """The largest piece that is more like the band than like the rim, (h, w) uint8."""
    height, width = small.shape[:2]
    unit = min(height, width)
    away = np.abs(np.arange(height)[:, None] - (height / 2 + band.offset * unit)) * np.ones((1, width))
    half_px = band.width * unit / 2
    middle = np.abs(np.arange(width)[None] - width / 2) < 0.25 * width
    labels = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    labels[away < half_px] = cv2.GC_PR_FGD
    labels[(away < 0.35 * half_px) & middle] = cv2.GC_FGD
    labels[away > half_px + 0.18 * height] = cv2.GC_BGD
    labels[[0, 1, -2, -1]] = cv2.GC_BGD
    cv2.setRNGSeed(0)  # the clusters of colour start at random
    models = np.zeros((2, 1, 65))
    cv2.grabCut(_appearance(small), labels, None, models[0], models[1], 4, cv2.GC_INIT_WITH_MASK)
    cover = np.where((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), 255, 0).astype(np.uint8)
    cover = cv2.morphologyEx(cover, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    cover = cv2.morphologyEx(cover, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    count, pieces, figures, _ = cv2.connectedComponentsWithStats(cover)
    if count < 2:
        return np.zeros_like(labels)
    return np.where(pieces == 1 + int(np.argmax(figures[1:, cv2.CC_STAT_AREA])), 255, 0).astype(np.uint8)


def _appearance(small: RGB) -> RGB:
    """Brightness, fine texture and warmth of a picture as three channels, (h, w, 3) uint8."""
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    light = cv2.GaussianBlur(lab[:, :, 0], (0, 0), 1.0)
    fine = np.abs(lab[:, :, 0] - cv2.GaussianBlur(lab[:, :, 0], (0, 0), 1.5))
    texture = 40 * np.log1p(cv2.GaussianBlur(fine, (0, 0), 4))
    warmth = cv2.GaussianBlur(lab[:, :, 2] + 0.5 * lab[:, :, 1], (0, 0), 1.5)
    channels = []
    for plane, least, weight in ((light, 30, 1.0), (texture, 25, 0.6), (warmth, 20, 0.9)):
        low, high = np.percentile(plane, (1, 99))
        channels.append(np.clip((plane - low) / max(high - low, least) * 255 * weight, 0, 255))
    return np.stack(channels, axis=2).astype(np.uint8)


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


def _find_lengthwise(image: RGB, *, upright: bool) -> BeadPose:
    rows = _row_features(np.swapaxes(image, 0, 1) if upright else image)
    rim = max(2, round(_RIM * _ROWS))
    plates = np.stack([rows[:rim].mean(axis=0), rows[-rim:].mean(axis=0)])
    # how unlike the plate a row is, whichever side's plate it is more like; light and dark flanks of a weld both are
    unlike = np.sqrt(((rows[:, None] - plates[None]) ** 2).sum(axis=2)).min(axis=1)
    sums = np.concatenate([[0.0], np.cumsum(unlike)])
    best = (0.0, 0, 0)
    for size in range(round(_WIDTHS[0] * _ROWS), round(_WIDTHS[1] * _ROWS) + 1):
        for start in range(1, _ROWS - size):
            inside = (sums[start + size] - sums[start]) / size
            beside = (sums[-1] - sums[start + size] + sums[start]) / (_ROWS - size)
            between = size * (_ROWS - size) / _ROWS**2 * max(0.0, inside - beside) ** 2
            off = abs((start + size / 2) / _ROWS - 0.5)
            score = float(between * np.exp2(-((off / _OFF_CENTRE) ** 2)))
            if score > best[0]:
                best = (score, start, size)
    score, start, size = best
    along, across = image.shape[:2] if upright else image.shape[1::-1]
    unit = min(across, along)
    if not size:  # one colour all over
        start, size = round(0.35 * _ROWS), round(0.3 * _ROWS)
    offset, width = ((start + size / 2) / _ROWS - 0.5) * across / unit, size / _ROWS * across / unit
    reach = 0.5 * along / unit
    return BeadPose(
        upright, 0.0, offset, width, -0.9 * reach, 0.9 * reach, score, False, _band(image, upright, offset, width)
    )


def _band(image: RGB, upright: bool, offset: float, width: float) -> Mask:
    """The cover of a straight band."""
    height, long = _small(image, upright=upright).shape[:2]
    unit = min(height, long)
    inside = np.abs(np.arange(height) - height / 2 - offset * unit) < width * unit / 2
    return np.repeat(np.where(inside, 255, 0).astype(np.uint8)[:, None], long, axis=1)


def _small(image: RGB, *, upright: bool) -> RGB:
    """A copy of a picture 256 pixels long, its weld level."""
    level = np.swapaxes(image, 0, 1) if upright else image
    scale = _LONG_PX / max(level.shape[:2])
    size = (max(8, round(level.shape[1] * scale)), max(8, round(level.shape[0] * scale)))
    return np.asarray(cv2.resize(np.ascontiguousarray(level), size, interpolation=cv2.INTER_AREA), np.uint8)


def _row_features(image: RGB) -> Plane:
    """Colour and texture of each row of a picture with a level weld, each of unit deviation, (48, 5)."""
    scale = _LONG_PX / max(image.shape[:2])
    small = cv2.resize(image, (max(8, round(image.shape[1] * scale)), _ROWS), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    middle = lab[:, round(0.15 * lab.shape[1]) : round(0.85 * lab.shape[1])]
    texture = np.log1p(np.abs(np.diff(middle[:, :, 0], axis=1)).mean(axis=1))
    rows = np.column_stack([np.median(middle, axis=1), middle[:, :, 0].std(axis=1), 20 * texture])
    rows = cv2.GaussianBlur(rows.astype(np.float32), (1, 5), 0)
    return np.asarray((rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), 2.0))
