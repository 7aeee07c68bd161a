"""Arrange images: strips of one photo's states, contact sheets of many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

RGB = npt.NDArray[np.uint8]

_GAP_PX = 6
_GROUND = 245


def fit(image: RGB, width_px: int, height_px: int) -> RGB:
    """Shrink or enlarge an image into a box, keeping its aspect ratio, on a light ground."""
    scale = min(width_px / image.shape[1], height_px / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    resized = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    box = np.full((height_px, width_px, 3), _GROUND, np.uint8)
    top, left = (height_px - size[1]) // 2, (width_px - size[0]) // 2
    box[top : top + size[1], left : left + size[0]] = resized
    return box


def strip(images: Sequence[RGB], height_px: int = 420) -> RGB:
    """Images side by side at one height, (height_px, W, 3)."""
    scaled = [fit(image, max(1, round(image.shape[1] * height_px / image.shape[0])), height_px) for image in images]
    gap = np.full((height_px, _GAP_PX, 3), _GROUND, np.uint8)
    parts = [part for image in scaled for part in (image, gap)][:-1]
    return np.concatenate(parts, axis=1)


def contact_sheet(images: Sequence[RGB], columns: int = 6, cell_px: int = 220) -> RGB:
    """A grid of images; the cells take the images' own median aspect ratio, so that little ground shows."""
    aspect = float(np.median([image.shape[1] / image.shape[0] for image in images]))
    cell_height_px = max(1, round(cell_px / aspect))
    rows = -(-len(images) // columns)
    step_x, step_y = cell_px + _GAP_PX, cell_height_px + _GAP_PX
    sheet = np.full((rows * step_y - _GAP_PX, min(columns, len(images)) * step_x - _GAP_PX, 3), _GROUND, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * step_y, index % columns * step_x
        sheet[top : top + cell_height_px, left : left + cell_px] = fit(image, cell_px, cell_height_px)
    return sheet
