"""Masks that a person gives: files of a folder, and boxes that are the same on all photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.morphology import dilate
from weldgen.cleaning.settings import Box
from weldgen.data.images import read_rgb
from weldgen.errors import DataError

Mask = npt.NDArray[np.bool_]

_WHITE = 127


def read_mask(path: Path, shape: Sequence[int], grow_px: int) -> Mask:
    """A mask file, (H, W) bool: white is to be replaced.

    Args:
        path: Image of the size of its photo.
        shape: (H, W, ...) of the photo.
        grow_px: By how much it is grown, or shrunk where negative, in pixels of the photo.

    Raises:
        DataError: It cannot be read, or is of another size.
    """
    mask = read_rgb(path)[:, :, 0] > _WHITE
    if mask.shape != tuple(shape[:2]):
        raise DataError(
            f"{path} is {mask.shape[1]} x {mask.shape[0]} pixels, its photo {shape[1]} x {shape[0]}",
            "draw the mask on the photo itself",
        )
    return dilate(mask, grow_px) if grow_px >= 0 else ~dilate(~mask, -grow_px)


def boxes_mask(boxes: Sequence[Box], shape: Sequence[int]) -> Mask:
    """(H, W) bool, True in boxes that are given in shares of the photo's width and height."""
    mask = np.zeros((shape[0], shape[1]), np.uint8)
    for left, top, right, bottom in boxes:
        corners = np.rint([left * shape[1], top * shape[0], right * shape[1], bottom * shape[0]]).astype(int)
        cv2.rectangle(mask, corners[:2].tolist(), (corners[2:] - 1).tolist(), 1, -1)
    return mask > 0
