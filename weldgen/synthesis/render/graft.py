"""Lay the sound weld of one photo over the weld of another, so that every plate of a shop is seen with a sound weld."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.synthesis.render.noise import Plane, Rng
from weldgen.synthesis.render.shot import Shot
from weldgen.synthesis.render.strip import Place, straighten

RGB = npt.NDArray[np.uint8]

# Straightened width of the weld that is laid over, in pixels. It is so much wider than the other weld, and so many
# widths longer at each end: what a porous start looks like, its outline often leaves out.
_WIDTH_PX = 160
_OVER, _PAST_END = 1.14, 0.45
# Ripples may be stretched by so much along the weld; of a weld that is longer, a part is taken.
_MOST_STRETCH = 1.5
_MOST_ENLARGED = 1.5
# What is so much darker than its surroundings, in L of 0..255, and shows beside the weld that was laid over, belongs to
# the other weld: so much of the margin, which is so wide, may be dark.
_DARK, _DARK_SHARE, _MARGIN = 45, 0.003, 0.4
_SOFT_PX = 2.5


def graft(picture: Plane, place: Place, weld: Shot, light: float, rng: Rng) -> tuple[Plane, Place] | None:
    """Cover the weld of a picture with another one.

    Args:
        picture: (H, W, 3) float32, 0..1.
        place: Where its weld lies.
        weld: Photo of the other weld.
        light: How much brighter the flank above the axis is in the picture.
        rng: Whether the weld is turned end for end, and its brightness.

    Returns:
        The picture and where its weld lies now; None where the other weld's outline is unknown, its shape is too
        different, or something of the weld below would still be seen.
    """
    own_px = weld.pose.width * min(weld.pixels.shape[:2])
    if not weld.pose.outline or _OVER * place.width_px > _MOST_ENLARGED * own_px:
        return None
    strip = straighten(weld.pixels, weld.pose, _WIDTH_PX)
    across = _OVER * place.width_px / _WIDTH_PX
    wanted_px = (place.length_px + 2 * _PAST_END * place.width_px) / across
    if wanted_px > _MOST_STRETCH * strip.shape[1]:
        return None
    if wanted_px < strip.shape[1]:
        first = int(rng.integers(0, strip.shape[1] - int(wanted_px) + 1))
        strip = strip[:, first : first + int(wanted_px)]
    along = across * wanted_px / strip.shape[1]
    if rng.random() < 0.5:
        strip = strip[:, ::-1]
    if weld.light * light < 0:
        strip = strip[::-1]
    height, length = strip.shape[:2]
    down = np.array([-place.along[1], place.along[0]])
    shift = place.middle - place.along * (along * length / 2) - down * (across * height / 2)
    matrix = np.column_stack([place.along * along, down * across, shift])
    size = picture.shape[1::-1]
    seen = cv2.warpAffine(
        np.ascontiguousarray(strip), matrix, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
    )
    cover = cv2.warpAffine(_capsule(height, length, across / along), matrix, size, flags=cv2.INTER_LINEAR)
    alpha = cv2.GaussianBlur(cover, (0, 0), _SOFT_PX)[:, :, None]
    gain = np.float32(np.exp(rng.normal(0, 0.08)))
    laid = np.clip(seen.astype(np.float32) / 255 * gain, 0, 1)
    result = np.clip(picture + alpha * (laid - picture), 0, 1).astype(np.float32)  # rounding leaves a little below 0
    covered = Place(place.middle, place.along, _OVER * place.width_px, along * length)
    return None if _peeps_out(result, cover > 0.5, covered.width_px) else (result, covered)


def _peeps_out(picture: Plane, covered: npt.NDArray[np.bool_], width_px: float) -> bool:
    """Whether dark spots lie beside a weld, as they do where a porous weld is not covered whole."""
    light = cv2.cvtColor(np.asarray(picture * 255, np.uint8), cv2.COLOR_RGB2LAB)[:, :, 0]
    around_px = 2 * max(2, round(0.25 * width_px)) + 1
    dark = cv2.medianBlur(light, min(around_px, 255)).astype(np.int16) - light
    reach = np.ones((2 * max(1, round(_MARGIN * width_px)) + 1,) * 2, np.uint8)
    margin = (cv2.dilate(covered.astype(np.uint8), reach) > 0) & ~covered
    margin &= cv2.dilate(covered.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0  # the toe's own shadow
    return bool(np.mean(dark[margin] > _DARK) > _DARK_SHARE) if margin.any() else False


def _capsule(height: int, length: int, stretch: float) -> Plane:
    """1 on the weld of a strip, its round ends such that they are round again after it was stretched."""
    rows, columns = (np.arange(side, dtype=np.float32) - np.float32(side / 2 - 0.5) for side in (height, length))
    half = _WIDTH_PX / 2
    past = np.maximum(np.abs(columns) - (length / 2 - half * stretch), 0) / np.float32(half * stretch)
    return np.asarray(np.hypot(rows[:, None] / np.float32(half), past[None]) < 1, np.float32)
