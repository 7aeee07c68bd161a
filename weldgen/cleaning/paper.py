"""Fill holes in printed labels: paper is smooth, so its tones run on through the hole, with no more than its noise."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.crops import find_crops
from weldgen.cleaning.morphology import dilate
from weldgen.cleaning.shapes import spread

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# What is finer than this is noise.
_NOISE_SIGMA_PX = 2.0
# The edge of a label is paper only in part.
_EDGE_PX = 2
# Mean absolute deviation to standard deviation of normal noise.
_TO_DEVIATION = 1.2533
_SEED = 1


def fill_paper(image: RGB, holes: Mask, labels: Mask, context_px: int) -> RGB:
    """The image with the holes that lie on labels filled from the paper around them.

    Args:
        image: (H, W, 3) uint8 RGB.
        holes: (H, W) bool; what of them lies on no label stays as it is.
        labels: (H, W) bool.
        context_px: How much paper around a hole is looked at.

    Returns:
        (H, W, 3) uint8 RGB. A hole that leaves nothing of its label around it stays as it is.
    """
    result, rng = image, np.random.default_rng(_SEED)
    for crop in find_crops(holes & labels, context_px):
        inside = labels[crop.window]
        hole = holes[crop.window] & inside
        paper = ~dilate(~inside, _EDGE_PX) & ~hole
        if not paper.any():
            continue
        if result is image:
            result = image.copy()
        pixels = result[crop.window].astype(np.float32)
        tones = cv2.GaussianBlur(spread(pixels, paper), (0, 0), _NOISE_SIGMA_PX)
        deviation = _TO_DEVIATION * float(np.abs(pixels - tones)[paper].mean())
        made = tones + deviation * rng.standard_normal(hole.shape, np.float32)[:, :, None]
        result[crop.window][hole] = np.clip(np.rint(made[hole]), 0, 255).astype(np.uint8)
    return result
