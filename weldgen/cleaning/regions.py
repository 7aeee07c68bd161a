"""Where the writing of a region may lie: its polygon as a mask, and how far strokes reach beyond it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.detectors import TextRegion

Mask = npt.NDArray[np.bool_]

# Strokes reach as far as the ink network is this sure of ink; in a region of a text detector somewhere this sure.
LIKELY_INK, SURE_IN_REGION = 0.25, 0.4
# A region with this share of ink is writing.
LEAST_INK_SHARE = 0.02


def filled(region: TextRegion, scale: float, shape: Sequence[int]) -> Mask:
    """The polygon, (H, W) bool, on an image of that shape that is `scale` times as large as the photo."""
    mask = np.zeros(tuple(shape[:2]), np.uint8)
    cv2.fillPoly(mask, [np.round(region.polygon * scale).astype(np.int32)], 1)
    return np.asarray(mask > 0)


def height_px(region: TextRegion) -> float:
    """Height of the writing in pixels of the photo: the short side of the region."""
    return max(4.0, float(min(cv2.minAreaRect(region.polygon)[1])))


def beyond_px(region: TextRegion, scale: float) -> int:
    """How far strokes reach beyond the polygon of a detector, on an image `scale` times as large as the photo."""
    return round(0.15 * height_px(region) * scale) + 2
