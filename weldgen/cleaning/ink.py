"""Where there is ink, pixel by pixel: a small network that this project trained on its own renderings.

Text detectors find words; the network finds the strokes themselves, single digits and arrows among them, and it knows
weld edges, cracks, pores and plate edges, which look like strokes to everything simpler. Training and figures:
`assets/ink`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from weldgen import weights
from weldgen.cleaning.settings import INK_WEIGHT, InkConfig
from weldgen.inference import Network, ranges_for

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# The network halves its input five times.
_MULTIPLE_PX = 32
# What a second look at half the size sees above this is believed where the first look saw it too, if only faintly, on
# average, or where the second is this sure: glare, pores and rust of a bead look like broad strokes from afar.
_SEEN, _FAINTLY, _CERTAIN = 0.3, 0.2, 0.75
# More than this the first look does not count for: a clear stroke is no reason to believe in what lies beside it.
_CLEARLY = 0.4
# Of a photo that was changed, so much around the changes is looked at, in pixels of the canvas; all of it, where that
# is more than this share.
_SIGHT_PX, _WORTHWHILE = 96, 0.85
# Small photos are enlarged by at most this.
_MAX_ENLARGEMENT = 1.5


@dataclass(frozen=True, eq=False)
class InkMap:
    """What the network saw on one photo.

    Attributes:
        ink: (h, w) float32, probability of ink; smaller than the photo where that is large.
        stamped: (h, w) float32, probability of characters pressed into the metal.
    """

    ink: Floats
    stamped: Floats

    def resized(self, shape: tuple[int, int]) -> InkMap:
        """The same at another size (H, W)."""
        size = (shape[1], shape[0])
        ink, stamped = (cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in (self.ink, self.stamped))
        return InkMap(np.asarray(ink, np.float32), np.asarray(stamped, np.float32))


class InkSegmenter:
    """The ink network.

    Args:
        config: Canvas and precision.
        device: `cpu` or `cuda`.

    Raises:
        BackendError: The network is missing or damaged.
    """

    def __init__(self, config: InkConfig, device: str = "cpu") -> None:
        self._canvas_px = config.canvas_px
        file = weights.require(INK_WEIGHT)
        ranges = ranges_for(INK_WEIGHT, file, config.precision)
        self._network = Network(file, device=device, precision=config.precision, ranges=ranges)

    def segment(self, image: RGB) -> InkMap:
        """Ink on a photo, (H, W, 3) uint8 RGB of any size."""
        return self.segment_at(image, self.scale(image))

    def segment_changed(self, image: RGB, seen: InkMap, changed: Mask) -> InkMap:
        """Ink on a photo that was changed in places since it was seen: only they, and what is near, are looked at.

        Args:
            image: (H, W, 3) uint8 RGB.
            seen: What `segment` saw before.
            changed: (H, W) bool.
        """
        scale = self.scale(image)
        height, width = seen.ink.shape
        spans = [_span(np.flatnonzero(changed.any(axis=1 - axis)), scale, (height, width)[axis]) for axis in (0, 1)]
        sides = [stop - start for (start, stop), _ in spans]
        if sides[0] * sides[1] > _WORTHWHILE * height * width:
            return self.segment_at(image, scale)
        if not min(sides):
            return seen
        rows, columns = (slice(*looked) for looked, _ in spans)
        found = self._see(self._on_canvas(image, scale)[rows, columns])
        planes = [seen.ink.copy(), seen.stamped.copy()]
        (top, below), (left, right) = (taken for _, taken in spans)
        for plane, fresh in zip(planes, (found.ink, found.stamped), strict=True):
            plane[top:below, left:right] = fresh[
                top - rows.start : below - rows.start, left - columns.start : right - columns.start
            ]
        return InkMap(*planes)

    def look_again(self, image: RGB, seen: InkMap) -> InkMap:
        """Add what a photo that was enlarged shows at half of that size, in which broad strokes are not too broad.

        For photos on which there is writing: two looks see twice as many things that are none. Only strokes of which
        `segment` saw something are added, and very clear ones.

        Args:
            image: (H, W, 3) uint8 RGB.
            seen: What `segment` saw on it.

        Returns:
            The higher probability of both looks, where the photo was enlarged; else `seen`.
        """
        scale = self.scale(image)
        if scale <= 1:
            return seen
        small = self.segment_at(image, scale / 2).resized((seen.ink.shape[0], seen.ink.shape[1]))
        return InkMap(_with_strokes(seen.ink, small.ink), _with_strokes(seen.stamped, small.stamped))

    def scale(self, image: RGB) -> float:
        """By how much a photo is enlarged for `segment`; below 1, reduced."""
        return float(min(self._canvas_px / max(image.shape[:2]), _MAX_ENLARGEMENT))

    def segment_at(self, image: RGB, scale: float) -> InkMap:
        """Ink on an image, (H, W, 3) uint8 RGB, that is enlarged so many times first."""
        return self._see(self._on_canvas(image, scale))

    @staticmethod
    def _on_canvas(image: RGB, scale: float) -> RGB:
        """The image at the size that the network sees."""
        height, width = image.shape[:2]
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)

    def _see(self, canvas: RGB) -> InkMap:
        """What the network says of a picture, at its size."""
        height, width = canvas.shape[:2]
        padded = cv2.copyMakeBorder(
            canvas, 0, -height % _MULTIPLE_PX, 0, -width % _MULTIPLE_PX, cv2.BORDER_REPLICATE
        )  # fmt: skip
        ink, stamped = (probability(logits, padded.shape) for logits in self._network(padded[None])[0][0])
        return InkMap(*(np.ascontiguousarray(plane[:height, :width]) for plane in (ink, stamped)))


def _span(changed: npt.NDArray[np.intp], scale: float, side: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Along one side of the canvas: what is looked at, and the part of it of which all that matters is in sight.

    Args:
        changed: Rows or columns of the photo, in order.
        scale: Of the canvas.
        side: Of the canvas, in pixels.

    Returns:
        First and last but one, each.
    """
    if not len(changed):
        return (0, 0), (0, 0)
    first, last = int(changed[0] * scale), int(np.ceil((changed[-1] + 1) * scale))
    # the network's grid stays where it was
    start = max(0, first - _SIGHT_PX) // _MULTIPLE_PX * _MULTIPLE_PX
    stop = min(side, -(-(last + _SIGHT_PX) // _MULTIPLE_PX) * _MULTIPLE_PX)
    taken = (0 if start == 0 else start + _SIGHT_PX // 2, side if stop == side else stop - _SIGHT_PX // 2)
    return (start, stop), taken


def probability(logits: Floats, shape: tuple[int, ...]) -> Floats:
    """Probability (H, W) of logits (H/2, W/2)."""
    exponent = -cv2.resize(np.asarray(logits, np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(1 / (1 + cv2.exp(exponent)), np.float32)


def _with_strokes(near: Floats, far: Floats) -> Floats:
    """The higher probability of two looks, (h, w) each, of the second only where it can be believed."""
    count, labels = cv2.connectedComponents((far > _SEEN).astype(np.uint8), connectivity=8)
    place = labels.ravel()
    sizes = np.bincount(place, minlength=count)
    first, second = (
        np.bincount(place, plane.ravel(), count) / np.maximum(sizes, 1) for plane in (np.minimum(near, _CLEARLY), far)
    )
    believed = (first >= _FAINTLY) | (second >= _CERTAIN)
    believed[0] = False
    return np.asarray(np.where(believed[labels], np.maximum(near, far), near), np.float32)
