"""Colours in which distances are about as large as they look."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

RGB = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def to_lab(image: RGB) -> Floats:
    """CIE L*a*b* of an image, (H, W, 3) float32, L 0 to 100, lightly smoothed against sensor noise."""
    smooth = cv2.GaussianBlur(image, (0, 0), 0.8)
    return np.asarray(cv2.cvtColor(smooth.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), dtype=np.float32)
