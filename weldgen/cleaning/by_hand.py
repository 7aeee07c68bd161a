"""Masks that a person gives, and boxes that are the same on all photos."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.morphology import dilate
from weldgen.cleaning.settings import Box

Mask = npt.NDArray[np.bool_]


def grown(mask: Mask, grow_px: int) -> Mask:
    """A mask, (H, W) bool, grown by so many pixels, or shrunk where negative."""
    return dilate(mask, grow_px) if grow_px >= 0 else ~dilate(~mask, -grow_px)


def boxes_mask(boxes: Sequence[Box], shape: Sequence[int]) -> Mask:
    """(H, W) bool, True in boxes that are given in shares of the photo's width and height."""
    mask = np.zeros((shape[0], shape[1]), np.uint8)
    for left, top, right, bottom in boxes:
        corners = np.rint([left * shape[1], top * shape[0], right * shape[1], bottom * shape[0]]).astype(int)
        cv2.rectangle(mask, corners[:2].tolist(), (corners[2:] - 1).tolist(), 1, -1)
    return mask > 0
