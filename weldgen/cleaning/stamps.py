"""Tell characters that are stamped into the metal from ink that the network takes for them.

A stamped character shows by its walls, one in light and one in shadow: on the whole it is about as bright as the metal
around it. Whatever has a colour of its own lies on the metal.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.ink import InkMap
from weldgen.cleaning.morphology import dilate

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

_SEEN = 0.3
# Difference in colour from the metal around, in CIE L*a*b* (L 0 to 100), that only ink has.
_OWN_COLOUR = 16.0
_BOTH_SIDES = 0.4
_AROUND_SHARE = 0.012  # metal around a character, as a share of the long side
# Pits and pores look pressed in and are dark, as painted characters are; but characters have others beside them, or
# this sure ink, within so many times their longer side.
_INK, _BESIDE = 0.5, 3.0


def ink_probability(image: RGB, seen: InkMap, *, stamped: bool) -> Floats:
    """Probability that a pixel is to go, (H, W) float32.

    Args:
        image: (H, W, 3) uint8 RGB.
        seen: What the network saw, at the size of the image.
        stamped: Whether stamped characters are to go too.
    """
    both = np.maximum(seen.ink, seen.stamped)
    if stamped:
        return both
    pressed = (seen.stamped > seen.ink) & (seen.stamped > _SEEN)
    probability = np.where(seen.stamped > seen.ink, 0, seen.ink).astype(np.float32)
    painted = _painted(image, pressed, both > _SEEN, probability > _INK)
    probability[painted] = both[painted]
    return probability


def _painted(image: RGB, pressed: Mask, marked: Mask, written: Mask) -> Mask:
    """The pieces of `pressed` that have a colour of their own and stand beside another one or something written."""
    if not pressed.any():
        return pressed
    count, labels, stats, _ = cv2.connectedComponentsWithStats(pressed.astype(np.uint8), connectivity=8)
    reach = max(3, round(_AROUND_SHARE * max(pressed.shape)))
    found = np.zeros_like(pressed)
    for index in range(1, count):
        window = _window(stats[index], reach)
        piece = labels[window] == index
        around = dilate(piece, reach) & ~dilate(marked[window], 2)
        if not around.any():
            continue
        lab = cv2.cvtColor(image[window].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        found[window] |= piece & _own_colour(lab, piece, np.median(lab[around], axis=0))
    writing, result = found | written, np.zeros_like(pressed)
    for index in np.unique(labels[found]):
        beside = _window(stats[index], round(_BESIDE * max(stats[index][2:4])))
        piece = labels[beside] == index
        if (writing[beside] & ~piece).any():
            result[beside] |= found[beside] & piece
    return result


def _window(stats: npt.NDArray[np.int32], margin_px: int) -> tuple[slice, slice]:
    """Rows and columns of a connected component, by OpenCV's statistics of it, and a margin."""
    left, top, width, height = (int(value) for value in stats[:4])
    rows = slice(max(0, top - margin_px), top + height + margin_px)
    return rows, slice(max(0, left - margin_px), left + width + margin_px)


def _own_colour(lab: Floats, piece: Mask, metal: Floats) -> Mask:
    """Pixels that are darker than the metal, or lighter, or of another hue; none where a piece is both dark and light.

    The network marks a stamped character with its surroundings, so the fifth that differs most decides.
    """
    lightness, hue = lab[:, :, 0] - metal[0], np.hypot(lab[:, :, 1] - metal[1], lab[:, :, 2] - metal[2])
    low, high = np.percentile(lightness[piece], [20, 80])
    tinted = float(np.percentile(hue[piece], 80))
    if tinted > _OWN_COLOUR:
        return np.asarray(hue > 0.5 * tinted)
    more, less = max(-low, high), min(-low, high)
    if more <= _OWN_COLOUR or less >= _BOTH_SIDES * more:
        return np.zeros_like(piece)
    return np.asarray((-lightness if -low > high else lightness) > 0.5 * more)
