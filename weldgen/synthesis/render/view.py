"""A real photo seen anew, with a level canvas over its weld on which things are drawn and from which they are put in.

The canvas follows the weld: where that wanders or swells, so does what is drawn for a straight band, and a toe of the
drawing is a toe of the photo.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from weldgen.synthesis.render.defect import Mask
from weldgen.synthesis.render.material import Canvas
from weldgen.synthesis.render.noise import Plane, Rng
from weldgen.synthesis.render.pose import BeadPose
from weldgen.synthesis.render.shot import Shot
from weldgen.synthesis.render.strip import Place

_MOST_ZOOM = 1.35
_MOST_TURN_DEG = 5.0
# The weld is followed where it is so many times narrower or wider than on average, and at most so many half widths
# beside its axis; what is finer than this share of its width is roughness of its outline.
_SWELL, _WANDER, _SMOOTH = (0.6, 1.6), 0.8, 0.35


@dataclass(frozen=True)
class View:
    """A photo seen anew, its weld level or nearly so.

    Attributes:
        picture: (H, W, 3) float32, 0..1.
        canvas: Canvas on which the weld lies level in the middle.
        to_picture: (2, 3) from canvas to picture, for a weld that is a straight band.
        reach: First and last column of the weld on the canvas.
        width_px: Of the weld.
        light: How much brighter the flank above the axis is.
        middles: (canvas width,) row of the weld's middle in each column, less that of the canvas.
        swells: (canvas width,) its width in each column, in `width_px`.
    """

    picture: Plane
    canvas: Canvas
    to_picture: Plane
    reach: tuple[float, float]
    width_px: float
    light: float
    middles: Plane
    swells: Plane

    def onto(self, plane: Plane) -> Plane:
        """What was drawn on the canvas, (h, w) or (h, w, channels), in the picture; 0 beyond the canvas."""
        return np.asarray(cv2.remap(plane, *self._origins, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT))

    def mask_onto(self, mask: Mask) -> Mask:
        """The same of a mask, whose values are not mixed."""
        return np.asarray(cv2.remap(mask, *self._origins, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT))

    @cached_property
    def _origins(self) -> tuple[Plane, Plane]:
        """Column and row of the canvas for each pixel of the picture, the weld followed."""
        height, width = self.picture.shape[:2]
        back = cv2.invertAffineTransform(self.to_picture)
        columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        x, y = (back[axis, 0] * columns + back[axis, 1] * rows + back[axis, 2] for axis in (0, 1))
        nearest = np.clip(np.round(x), 0, self.canvas.width - 1).astype(np.intp)
        middle = self.canvas.height / 2
        y = middle + (y - middle - self.middles[nearest]) / self.swells[nearest]
        return x.astype(np.float32), y.astype(np.float32)

    def cover(self) -> Mask:
        """255 on the weld, (H, W), taken as a band with round ends that follows it."""
        mask = np.zeros(self.canvas.shape, np.uint8)
        row, radius = self.canvas.height // 2, max(1, round(self.width_px / 2))
        first, last = (round(self.reach[0]) + radius, round(self.reach[1]) - radius)
        cv2.line(mask, (first, row), (max(last, first), row), 255, 2 * radius)
        return self.mask_onto(mask)

    def place(self, *, covering: bool = False) -> Place:
        """Where the weld lies in the picture, taken as a straight band.

        Args:
            covering: Whether the band is so wide that it covers all of a weld that wanders or swells.
        """
        middle = self.to_picture @ np.array([np.mean(self.reach), self.canvas.height / 2, 1.0])
        width_px = self.width_px
        if covering:
            low, high = (min(max(round(end), 0), self.canvas.width - 1) for end in self.reach)
            widths_px = 2 * np.abs(self.middles) + self.swells * width_px
            width_px = float(widths_px[low : high + 1].max(initial=width_px))
        return Place(middle, self.to_picture[:, 0], width_px, self.reach[1] - self.reach[0])

    def covered(self, picture: Plane, place: Place) -> View:
        """The view with another picture, whose weld is another, a straight band."""
        middle, half = 0.5 * (self.reach[0] + self.reach[1]), 0.5 * place.length_px
        middles, swells = np.zeros_like(self.middles), np.ones_like(self.swells)
        reach = (middle - half, middle + half)
        return replace(
            self, picture=picture, width_px=place.width_px, reach=reach, middles=middles, swells=swells
        )  # fmt: skip


def see(shot: Shot, size: tuple[int, int], rng: Rng) -> View:
    """A new view of a photo: mirrored, cut, turned a little.

    Args:
        shot: The photo, its weld's outline certain.
        size: Width and height of the view, transposed where the weld is upright.
        rng: Source of randomness.
    """
    pose, (width, height) = shot.pose, size
    level = pose.level(shot.pixels)
    tall, long = level.shape[:2]
    zoom = max(width / long, height / tall) * float(np.exp(rng.uniform(0, np.log(_MOST_ZOOM))))
    turn_deg = float(rng.uniform(-_MOST_TURN_DEG, _MOST_TURN_DEG))
    flip_x, flip_y = rng.random() < 0.5, rng.random() < 0.5
    shift = [float(rng.uniform(-0.5, 0.5)) * slack for slack in (long * zoom - width, tall * zoom - height)]
    matrix = cv2.getRotationMatrix2D((long / 2, tall / 2), turn_deg, zoom)
    matrix[:, 2] += [width / 2 - long / 2 + shift[0], height / 2 - tall / 2 + shift[1]]
    for axis, flipped in enumerate((flip_x, flip_y)):
        if flipped:
            matrix[axis] *= -1
            matrix[axis, 2] += size[axis] - 1
    source = level if zoom >= 0.5 else cv2.GaussianBlur(level, (0, 0), 0.35 / zoom)
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    seen = cv2.warpAffine(source, matrix, size, flags=method, borderMode=cv2.BORDER_REFLECT_101)
    unit = min(tall, long)
    slope = np.tan(np.deg2rad(pose.angle_deg))
    ends = np.array(
        [[long / 2 + x * unit, tall / 2 + (pose.offset + slope * x) * unit, 1] for x in (pose.start, pose.end)]
    )
    first, last = sorted((matrix @ end for end in ends), key=lambda end: float(end[0]))
    canvas, to_picture, reach = _level_canvas(first, last, size)
    width_px = pose.width * unit * zoom
    middles, swells = _course(pose, matrix, level.shape[1], (canvas, to_picture), (*reach, width_px))
    light = shot.light * (-1 if flip_y else 1)
    picture = np.asarray(seen).astype(np.float32) / 255
    return View(picture, canvas, to_picture, reach, width_px, light, middles, swells)


def _level_canvas(first: Plane, last: Plane, size: tuple[int, int]) -> tuple[Canvas, Plane, tuple[float, float]]:
    """A canvas that covers the picture with the axis from `first` to `last`, (2,) each, level in its middle.

    Returns:
        The canvas, the (2, 3) matrix from it to the picture, and the columns of both ends.
    """
    width, height = size
    along = (last - first) / max(float(np.hypot(*(last - first))), 1e-6)
    across = np.array([-along[1], along[0]])
    origin = first + along * float((np.array([width / 2, height / 2]) - first) @ along)
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) - origin
    half_x, half_y = (int(np.ceil(np.abs(corners @ axis).max())) + 2 for axis in (along, across))
    shift = origin - half_x * along - half_y * across
    matrix = np.column_stack([along, across, shift])
    steps = np.arange(-half_x, half_x + 1)
    points = origin[None] + steps[:, None] * along[None]
    inside = steps[(points >= 0).all(axis=1) & (points < [width, height]).all(axis=1)]
    ends = (float((first - origin) @ along) + half_x, float((last - origin) @ along) + half_x)
    low, high = (float(inside[0]) + half_x, float(inside[-1]) + half_x) if len(inside) else ends
    margin = 0.02 * (high - low)
    canvas = Canvas(2 * half_x, 2 * half_y, float(min(size)), (low + margin, high - margin))
    return canvas, matrix, ends


def _course(
    pose: BeadPose, matrix: Plane, long_px: int, drawn: tuple[Canvas, Plane], band: tuple[float, float, float]
) -> tuple[Plane, Plane]:
    """The course of a weld on its canvas: by how much its middle leaves the axis, and its width, in each column.

    Args:
        pose: Where it lies in the photo.
        matrix: (2, 3) from the level photo to the picture.
        long_px: Columns of the level photo.
        drawn: The canvas, and the matrix from it to the picture.
        band: First and last column of the weld on the canvas, and its width.

    Returns:
        (canvas width,) float32 each; 0 and 1 where hardly anything of the weld is in the picture.
    """
    (canvas, to_picture), (first, last, width_px) = drawn, band
    middles, swells = np.zeros(canvas.width, np.float32), np.ones(canvas.width, np.float32)
    scale = pose.cover.shape[1] / long_px
    squared = [np.vstack([part, [0, 0, 1]]) for part in (cv2.invertAffineTransform(matrix), to_picture)]
    to_cover = (np.diag([scale, scale, 1.0]) @ squared[0] @ squared[1])[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(pose.cover, to_cover, (canvas.width, canvas.height), flags=flags) > 127
    # the round ends say nothing of the width
    low, high = max(0, round(first + 0.5 * width_px)), min(canvas.width, round(last - 0.5 * width_px))
    columns = low + np.flatnonzero(seen[:, low:high].any(axis=0)) if high > low else np.empty(0, int)
    if len(columns) < 2:
        return middles, swells
    tops = np.argmax(seen[:, columns], axis=0)
    bottoms = canvas.height - 1 - np.argmax(seen[::-1, columns], axis=0)
    half_px = 0.5 * width_px
    every = np.arange(canvas.width)
    sigma_px = max(1.0, _SMOOTH * width_px)
    for course, values in (
        (middles, (tops + bottoms + 1 - canvas.height) / 2),
        (swells, (bottoms - tops + 1) / width_px),
    ):
        filled = np.interp(every, columns, values).astype(np.float32)
        course[:] = cv2.GaussianBlur(filled[None], (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE)[0]
    return np.clip(middles, -_WANDER * half_px, _WANDER * half_px), np.clip(swells, *_SWELL)
