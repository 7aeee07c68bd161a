"""Where the part ends: large dark areas beside the metal, such as a table or a sheet of paper under it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.morphology import dilate

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

# Darker than this share of the metal is something else, if it is larger than any stroke.
_DARK_SHARE = 0.45
_AROUND_SHARE = 0.015
_OPENING_SHARE = 0.02


def backdrop(image: RGB, marked: Mask) -> Mask:
    """Large areas that are much darker than the metal around the marked pixels.

    Args:
        image: (H, W, 3) uint8 RGB.
        marked: (H, W) bool, strokes or holes.

    Returns:
        (H, W) bool; empty where nothing is marked.
    """
    if not marked.any():
        return marked
    # half the size is exact enough for areas so large
    size = (marked.shape[1] + 1) // 2, (marked.shape[0] + 1) // 2
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
    near = cv2.resize(marked.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    dark = _backdrop(cv2.medianBlur(grey, 3), near)
    return np.asarray(cv2.resize(dark.astype(np.uint8), marked.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0)


def _backdrop(lightness: npt.NDArray[np.uint8], marked: Mask) -> Mask:
    side = max(marked.shape)
    around = dilate(marked, round(_AROUND_SHARE * side) + 3) & ~dilate(marked, 2)
    metal = float(np.percentile(lightness[around], 60)) if around.any() else 0.0
    dark = (lightness < _DARK_SHARE * metal) & ~dilate(marked, 1)
    radius = round(_OPENING_SHARE * side) + 2
    opened = dilate(~dilate(~dark, radius), radius)
    # the opening rounds corners off; what is as dark and touches it belongs to it
    return np.asarray(opened | dilate(opened, radius) & dark)
