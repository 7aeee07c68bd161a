"""Where the weld lies in a real photo, from colour and texture alone."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.synthesis.render.noise import Plane

RGB = npt.NDArray[np.uint8]

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


@dataclass(frozen=True)
class BeadPose:
    """A weld in a photo, taken as a straight band.

    Attributes:
        upright: Whether it runs from top to bottom.
        offset: Middle of the band across the weld, from the photo's middle, in short sides of the photo.
        width: Width of the band, in short sides of the photo.
        contrast: How much the band differs from what is beside it; 0 where nothing was found.
    """

    upright: bool
    offset: float
    width: float
    contrast: float


def find_bead(image: RGB) -> BeadPose:
    """The band of a photo, (H, W, 3) uint8 RGB, that differs most from what lies on both sides of it.

    A long photo shows its weld lengthwise; of an almost square one both directions are tried.
    """
    height, width = image.shape[:2]
    if width >= _SQUARE * height:
        return _find_lengthwise(image, upright=False)
    if height >= _SQUARE * width:
        return _find_lengthwise(image, upright=True)
    level, upright = _find_lengthwise(image, upright=False), _find_lengthwise(image, upright=True)
    return upright if upright.contrast > _SQUARE * level.contrast else level


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
    if not size:  # one colour all over
        return BeadPose(upright, 0.0, 0.3, 0.0)
    across, along = (image.shape[1], image.shape[0]) if upright else image.shape[:2]
    unit = across / min(across, along)
    return BeadPose(upright, ((start + size / 2) / _ROWS - 0.5) * unit, size / _ROWS * unit, score)


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
