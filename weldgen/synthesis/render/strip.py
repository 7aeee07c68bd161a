"""The weld of a photo as a level strip of a known width, and where a weld lies in a picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.synthesis.render.noise import Plane
from weldgen.synthesis.render.pose import BeadPose

RGB = npt.NDArray[np.uint8]

# How far a strip goes beyond the toes, in widths from the axis.
REACH = 0.75
_LONGEST = 25  # widths


@dataclass(frozen=True)
class Place:
    """Where a weld lies in a picture.

    Attributes:
        middle: (2,) its middle, x and y in pixels.
        along: (2,) unit vector along it.
        width_px: Its width.
        length_px: Its length.
    """

    middle: Plane
    along: Plane
    width_px: float
    length_px: float


def straighten(pixels: RGB, pose: BeadPose, width_px: int) -> RGB:
    """A photo's weld, level and `width_px` wide, with a little plate on both sides.

    Args:
        pixels: (H, W, 3) or (H, W) uint8: the photo, or a mask of it.
        pose: Where its weld lies.
        width_px: Width of the weld in the strip.

    Returns:
        (1.5 width_px, L, 3) or (1.5 width_px, L) uint8.
    """
    level = pose.level(pixels)
    tall, long = level.shape[:2]
    unit = min(tall, long)
    scale = pose.width * unit / width_px  # photo pixels for one of the strip
    angle = np.deg2rad(pose.angle_deg)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    length_px = (pose.end - pose.start) * unit / float(np.cos(angle)) / scale
    length_px = int(min(_LONGEST * width_px, max(width_px, length_px)))
    middle_x = 0.5 * (pose.start + pose.end)
    middle = np.array([long / 2 + middle_x * unit, tall / 2 + (pose.offset + np.tan(angle) * middle_x) * unit])
    half = np.array([0.5 * length_px, REACH * width_px])
    matrix = np.column_stack([along * scale, across * scale, middle - scale * (along * half[0] + across * half[1])])
    source = level if scale < 1.5 else cv2.GaussianBlur(level, (0, 0), 0.35 * scale)
    size = (length_px, round(2 * REACH * width_px))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(source, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8)
