"""Cut a turned rectangle out of a photo, with its long side level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen.data.crops import encode_part
from weldgen.data.images import Photo

Points = npt.NDArray[np.float64]

# With sides as alike as that, which is longer says nothing: such a rectangle is turned as little as possible.
_ALIKE = 0.85


@dataclass(frozen=True)
class Rectangle:
    """A turned rectangle on a photo.

    Attributes:
        x_px: Of its centre, from the left.
        y_px: Of its centre, from the top.
        length_px: Of the side that lies level once it is upright.
        breadth_px: Of the other one.
        turn_deg: From the photo's rows to the level side, clockwise as seen on the photo, above -90 to 90.
    """

    x_px: float
    y_px: float
    length_px: float
    breadth_px: float
    turn_deg: float

    def corners(self) -> Points:
        """Corners in pixels, (4, 2): those of the upright picture from its top left one, clockwise."""
        along, across = self._axes()
        centre = np.array([self.x_px, self.y_px])
        return np.array(
            [centre - along - across, centre + along - across, centre + along + across, centre - along + across]
        )

    def grown(self, margin: float) -> Rectangle:
        """The rectangle with a share of its longer side added on each of its four sides."""
        added = 2 * margin * max(self.length_px, self.breadth_px)
        return replace(self, length_px=self.length_px + added, breadth_px=self.breadth_px + added)

    def inside(self, points: npt.ArrayLike) -> Points:
        """Where points of the photo, (N, 2) in pixels, lie on the upright picture."""
        along, across = self._axes()
        half = np.array([self.length_px, self.breadth_px]) / 2
        away = np.asarray(points, np.float64) - [self.x_px, self.y_px]
        return np.column_stack([away @ along / half[0], away @ across / half[1]]) + half

    def size_px(self) -> tuple[int, int]:
        """Width and height of what is cut out along it, at least 1."""
        return max(1, round(self.length_px)), max(1, round(self.breadth_px))

    def _axes(self) -> tuple[Points, Points]:
        """From the centre to the middle of the right and of the lower side."""
        turn = np.deg2rad(self.turn_deg)
        unit = np.array([np.cos(turn), np.sin(turn)])
        return unit * self.length_px / 2, np.array([-unit[1], unit[0]]) * self.breadth_px / 2


def rectangle_around(points: Sequence[tuple[float, float]]) -> Rectangle:
    """The smallest rectangle around points, in pixels; its longer side is the level one.

    Raises:
        ValueError: The points lie on a line.
    """
    import cv2

    (x, y), (one, other), angle = cv2.minAreaRect(np.array(points, np.float32))
    if min(one, other) < 1e-3:
        raise ValueError("the points lie on a line")
    alike = min(one, other) > _ALIKE * max(one, other)
    if other > one and not alike:
        one, other, angle = other, one, angle + 90
    # a turn by 180 degrees more would only set it on its head; one by 90 degrees exchanges the sides
    period = 90 if alike else 180
    turn = least_turn(angle, period)
    if alike and round((angle - turn) / 90) % 2:
        one, other = other, one
    return Rectangle(float(x), float(y), float(one), float(other), turn)


def least_turn(turn_deg: float, period_deg: float) -> float:
    """The turn that differs by whole periods and lies above minus half a period, up to half a period; in degrees."""
    return float(turn_deg - period_deg * np.ceil(turn_deg / period_deg - 0.5))


def cut_upright(photo: Photo, rectangle: Rectangle) -> bytes:
    """Encode what lies in a turned rectangle, as `cut` does it for a window.

    What would lie outside of the photo continues its edge.
    """
    pixels = upright(photo.pixels, rectangle)
    return encode_part(photo, pixels, upright(photo.native, rectangle))


def upright(samples: npt.NDArray[Any], rectangle: Rectangle) -> npt.NDArray[Any]:
    """The part of an image in a turned rectangle, at the photo's own resolution.

    Args:
        samples: (H, W) or (H, W, C), uint8 or uint16.
        rectangle: Where.

    Returns:
        (height, width) or (height, width, C) as `Rectangle.size_px` says, of the same dtype.
    """
    import cv2

    width, height = rectangle.size_px()
    corners = rectangle.corners()[[0, 1, 3]].astype(np.float32)
    # pixel i reaches from i to i + 1 in the rectangle's coordinates, and from i - 0.5 to i + 0.5 in OpenCV's
    target = np.array([[0, 0], [width, 0], [0, height]], np.float32) - 0.5
    warp = cv2.getAffineTransform(corners - 0.5, target)
    cut = cv2.warpAffine(samples, warp, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, samples.dtype)
