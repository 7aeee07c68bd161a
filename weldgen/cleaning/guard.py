"""Grow strokes by a margin that stops at edges of the weld, the plate and whatever else has structure.

The margin is there for the halo of the ink. On plain metal it may be wide, for what fills the hole is metal again; at
the toe of a weld every pixel of margin is a pixel of weld that has to be invented. So the growth spreads from the
strokes over metal only, and where an edge stands in its way only the strokes and their immediate rim are touched.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.morphology import dilate, window_of

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# The rim of a stroke that is always covered: a mixture of ink and metal, as a share of the margin.
_CORE_SHARE = 0.3
# Structure this many times as strong as is usual around the writing stops the growth, if it is twice as long as the
# margin; single grains of the metal and specks of ink do not.
_STRUCTURE = 2.8
_FEATURE_SHARE = 0.12  # size of the structure that is looked for, as a share of the margin


def guarded_growth(image: RGB, strokes: Mask, doubtful: Mask, margin_px: int) -> Mask:
    """The strokes with a margin.

    Args:
        image: (H, W, 3) uint8 RGB.
        strokes: (H, W) bool.
        doubtful: (H, W) bool, what may be ink too: its edges do not stop the growth.
        margin_px: Growth on plain metal.
    """
    if margin_px == 0 or not strokes.any():
        return strokes
    core = dilate(strokes, max(1, round(_CORE_SHARE * margin_px)))
    full = dilate(strokes, margin_px)
    window = window_of(full, margin_px)
    inner, outer = core[window], full[window]
    hidden = inner | dilate(doubtful[window], 2)
    structure = _structure(image[window], hidden, max(1.0, _FEATURE_SHARE * margin_px))
    around = dilate(outer, margin_px) & ~hidden
    usual = float(np.median(structure[around])) if around.any() else 0.0
    blocked = _long(outer & ~hidden & (structure > _STRUCTURE * max(usual, 1.0)), 2 * margin_px)
    free = outer & ~blocked
    _, labels = cv2.connectedComponents(free.astype(np.uint8), connectivity=4)
    reached = np.unique(labels[inner])
    grown = np.zeros_like(strokes)
    grown[window] = np.isin(labels, reached[reached > 0]) & free
    return np.asarray(grown)


def _long(mask: Mask, least_px: int) -> Mask:
    """The connected parts whose bounding box is at least so long."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    sides = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
    keep = sides >= least_px
    keep[0] = False
    return np.asarray(keep[labels])


def _structure(image: RGB, hidden: Mask, size_px: float) -> Floats:
    """Strength of edges, in grey levels over about `size_px`, without those of the ink, (H, W) float32."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    seen = (~hidden).astype(np.float32)
    smooth = cv2.GaussianBlur(grey * seen, (0, 0), size_px) / np.maximum(cv2.GaussianBlur(seen, (0, 0), size_px), 1e-3)
    along, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return np.asarray(cv2.magnitude(along, down) * np.float32(size_px / 8), np.float32)
