"""Fill holes with metal from beside them, moved there whole: grain, brushing and edges run on, nothing is averaged.

What is notable: a hole is cut into pieces; each piece takes its pixels from one place of the same photo, the one
whose surroundings fit the piece's own best (compare image quilting, Efros and Freeman 2001), and the difference at the
rim is spread smoothly over the piece, as in Poisson image editing (Perez et al. 2003). Places are chosen on an image of
at most 512 pixels and copied at full resolution. It is deterministic and needs no weights.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.morphology import dilate
from weldgen.cleaning.pieces import AROUND_PX, RIM_PX, Piece, cut, rim_of
from weldgen.cleaning.surface import backdrop

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

MATCH_SIDE_PX = 512
_PIECE_PX = 72
_SMALLEST_PIECE_PX = 10
_EDGE_PX = 5
_OVERLAP_PX = 6
# Shading is evened out afterwards, so it counts less than structure when a place is chosen.
_SHADING_SIGMA_PX = 14.0
_SHADING_WEIGHT = 0.35
# Cost, in squared grey levels, of a place that is 100 pixels away, and of grain of another strength.
_DISTANCE_COST = 60.0
_ACTIVITY_COST = 4.0
_FEATURE_COST = 1.0
# Cost of a place whose lightness, and whose hue, is another than around the piece: a weld is no plate.
_TONE_COST = 0.5
_HUE_COST = 5.0
# Cost of a place that is all of another kind, as a weld is beside a plate.
_FOREIGN_COST = 6000.0
# A rim's pixel whose grain (in grey levels) or lightness is further than this from the rim's median is something else.
_GRAIN_SIGMA_PX = 4.0
_GRAIN_RATIO, _GRAIN_MARGIN = 1.8, 4.0
_TONE_MARGIN = 25.0
_MAX_CORRECTION = 18.0
_MAX_TINT = 5.0


def fill(image: RGB, hole: Mask) -> RGB:
    """Fill a hole from the rest of the image.

    Args:
        image: (H, W, 3) uint8 RGB: the hole and the metal around it.
        hole: (H, W) bool, True where pixels are to be made.

    Returns:
        (H, W, 3) uint8 RGB; outside the hole nothing changes. What finds no metal to copy is filled smoothly.
    """
    if not hole.any() or hole.all():
        return image
    scale = min(1.0, MATCH_SIDE_PX / max(hole.shape))
    size = (max(1, round(hole.shape[1] * scale)), max(1, round(hole.shape[0] * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    small_hole = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    filled = _Filling(image, hole, small, small_hole).run()
    return np.where(hole[:, :, None], np.clip(np.round(filled), 0, 255), image).astype(np.uint8)


def spread(values: Floats, known: Mask) -> Floats:
    """Known values spread over an image: each pixel takes the mean at the finest scale that has one near (push-pull).

    Args:
        values: (H, W, C) float32.
        known: (H, W) bool, where `values` counts.
    """
    weight = known.astype(np.float32)[:, :, None]
    if known.all() or min(known.shape) < 4:
        mean = (values * weight).sum(axis=(0, 1)) / max(float(weight.sum()), 1e-6)
        return np.where(known[:, :, None], values, mean).astype(np.float32)
    size = ((known.shape[1] + 1) // 2, (known.shape[0] + 1) // 2)
    small_weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)[:, :, None]
    small = cv2.resize(values * weight, size, interpolation=cv2.INTER_AREA) / np.maximum(small_weight, 1e-6)
    coarse = spread(small, small_weight[:, :, 0] > 0)
    rough = cv2.resize(coarse, known.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(known[:, :, None], values, cv2.GaussianBlur(rough, (0, 0), 1.0)).astype(np.float32)


class _Filling:
    """One hole being filled: the image at matching size and at its own size, and what of it is there by now."""

    def __init__(self, image: RGB, hole: Mask, small: RGB, small_hole: Mask) -> None:
        self.full = image.astype(np.float32)
        self.small = small.astype(np.float32)
        self.hole = small_hole
        self.foreign = backdrop(small, small_hole) & ~small_hole
        # the part's edge belongs to neither side: its bright line would be taken for grain
        self.usable = ~small_hole & ~dilate(self.foreign, _EDGE_PX)
        self.ratio = image.shape[0] / small.shape[0], image.shape[1] / small.shape[1]
        shading = _masked_blur(self.small, self.usable, _SHADING_SIGMA_PX)
        detail = np.where(self.usable[:, :, None], self.small - shading, 0)
        self.activity = (detail**2).sum(axis=2).astype(np.float32)
        self.grain = np.sqrt(_masked_blur(detail**2, self.usable, _GRAIN_SIGMA_PX).sum(axis=2))
        smooth = spread(self.small, self.usable)
        self.small = np.where(self.hole[:, :, None], smooth, self.small)
        whole = cv2.resize(smooth, (hole.shape[1], hole.shape[0]), interpolation=cv2.INTER_CUBIC)
        self.full = np.where(hole[:, :, None], whole, self.full).astype(np.float32)
        self.shading = spread(shading, self.usable)
        tone = self.shading.mean(axis=2, keepdims=True)
        hue = (self.shading - tone)[:, :, ::2]  # red and blue against grey; green follows from them
        self.colour = np.concatenate([tone * _TONE_COST**0.5, hue * _HUE_COST**0.5], axis=2).astype(np.float32)
        self.done = self.usable.copy()

    def run(self) -> Floats:
        """The filled image at its own size, (H, W, 3) float32."""
        waiting = cut(self.hole, _PIECE_PX)
        while waiting:
            waiting.sort(key=lambda piece: -self._support(piece))
            piece = waiting.pop(0)
            place = self._best_place(piece)
            if place is not None:
                self._copy(piece, *place)
            elif max(piece.inside.shape) - 2 * RIM_PX > _SMALLEST_PIECE_PX:
                waiting += self._halves(piece)
            else:
                self.done[piece.window] |= piece.inside
        return self.full

    def _support(self, piece: Piece) -> float:
        """Share of a piece's rim that is there already."""
        rim = rim_of(piece.inside)
        return float(self.done[piece.window][rim].mean()) if rim.any() else 0.0

    def _around(self, piece: Piece) -> Mask:
        """Metal that says what is usual where a piece is, (H, W) bool.

        It is what surrounds the piece, or the whole hole where most of the piece's surroundings are hole themselves.
        """
        inside = np.zeros(self.hole.shape, bool)
        inside[piece.window] = piece.inside
        ring = dilate(inside, AROUND_PX) & ~inside
        near = ring & self.usable
        return near if 2 * near.sum() > ring.sum() else (piece.shore & self.usable) | near

    def _rim(self, piece: Piece) -> Mask:
        """Pixels around a piece that are there already and show what is usual there, window-sized.

        Where writing touches the weld, a part of the rim is weld; fitted as well, it would draw weld into the plate.
        """
        rim = rim_of(piece.inside) & self.done[piece.window]
        around = self._around(piece)
        if not around.any():
            return rim
        return np.asarray(rim & ~self._strange(around)[piece.window], dtype=bool)

    def _strange(self, around: Mask) -> Mask:
        """What is coarser, lighter or darker than the metal around a piece, (H, W) bool."""
        tone = self.shading.mean(axis=2)
        coarser = self.grain > _GRAIN_RATIO * np.median(self.grain[around]) + _GRAIN_MARGIN
        lighter = np.abs(tone - np.median(tone[around])) > _TONE_MARGIN
        return np.asarray(self.usable & (coarser | lighter), dtype=bool)

    def _best_place(self, piece: Piece) -> tuple[int, int] | None:
        """Shift (down, right) of the place whose surroundings fit the piece's rim best, or None."""
        rim = self._rim(piece)
        if rim.sum() < RIM_PX:
            return None
        features = self.small - (1 - _SHADING_WEIGHT) * self.shading
        template = np.ascontiguousarray(features[piece.window])
        weights = np.repeat(rim[:, :, None], 3, axis=2).astype(np.float32)
        cost = cv2.matchTemplate(features, template, cv2.TM_SQDIFF, mask=weights) / rim.sum()
        wanted = (piece.inside | rim).astype(np.float32)
        bad = cv2.matchTemplate((~self.usable).astype(np.float32), wanted, cv2.TM_CCORR)
        cost = cost + self._strangeness(piece, wanted / wanted.sum())
        down, right = np.mgrid[0 : cost.shape[0], 0 : cost.shape[1]]
        distance = np.hypot(down - piece.top, right - piece.left)
        cost = np.where(bad < 0.5, cost + _DISTANCE_COST * distance / 100, np.inf)
        best = int(np.argmin(cost))
        if not np.isfinite(cost.flat[best]):
            return None
        return best // cost.shape[1] - piece.top, best % cost.shape[1] - piece.left

    def _strangeness(self, piece: Piece, share: Floats) -> Floats:
        """How little the content of each place is like the metal around a piece, as a cost, (rows, columns) float32.

        Grain of another strength, single features that stand out, and another colour count.
        """
        around = self._around(piece)
        if not around.any():
            height, width = piece.inside.shape
            return np.zeros((self.hole.shape[0] - height + 1, self.hole.shape[1] - width + 1), np.float32)

        def mean(values: Floats) -> Floats:
            return np.asarray(cv2.matchTemplate(values.astype(np.float32), share, cv2.TM_CCORR))

        activity = np.sqrt(np.maximum(mean(self.activity), 0))
        expected = float(np.sqrt(np.median(self.activity[around]) * 2.2))  # of a normal distribution
        limit = float(np.percentile(self.activity[around], 90))
        excess = np.maximum(self.activity - limit, 0)
        features = np.maximum(0, mean(excess) - 1.5 * float(excess[around].mean()))
        # the median: where a hole touches the weld, most of its rim is still plate
        usual = np.median(self.colour[around], axis=0)
        colour = mean((self.colour**2).sum(axis=2) - 2 * self.colour @ usual) + float(usual @ usual)
        strange = self._strange(around)
        foreign = np.maximum(0, mean(strange.astype(np.float32)) - float(strange[around].mean()))
        cost = _ACTIVITY_COST * (activity - expected) ** 2 + _FEATURE_COST * features + colour
        return np.asarray(cost + _FOREIGN_COST * foreign, np.float32)

    def _copy(self, piece: Piece, down: int, right: int) -> None:
        """Copy a piece and its overlap with what is filled already, its shading bent to meet the rim."""
        rows, columns = piece.window
        source = slice(rows.start + down, rows.stop + down), slice(columns.start + right, columns.stop + right)
        rim = self._rim(piece)
        difference = self.small[piece.window] - self.small[source]
        grey = difference.mean(axis=2, keepdims=True)
        tint = np.clip(difference - grey, -_MAX_TINT, _MAX_TINT)  # a stain at the rim must not colour the fill
        usual = float(np.median(grey[rim]))
        # a rim that lies partly on something else, a weld or a stain, must not shade the whole piece
        difference = np.clip(grey, usual - _MAX_CORRECTION, usual + _MAX_CORRECTION) + tint
        correction = cv2.GaussianBlur(spread(np.where(rim[:, :, None], difference, 0), rim), (0, 0), 2.0)
        # the seam to pieces that are filled already is blended; the seam to real metal is the caller's
        made = self.done[piece.window] & self.hole[piece.window]
        outside = cv2.distanceTransform((~piece.inside).astype(np.uint8), cv2.DIST_L2, 3)
        weight = np.where(piece.inside, 1.0, np.where(made, np.clip(1 - outside / _OVERLAP_PX, 0, 1), 0.0))
        self._blend(self.small, piece.window, self.small[source] + correction, weight.astype(np.float32))
        self._copy_full(piece, (down, right), correction, weight.astype(np.float32))
        self.done[piece.window] |= piece.inside

    def _copy_full(self, piece: Piece, shift: tuple[int, int], correction: Floats, weight: Floats) -> None:
        """The same at the image's own size."""
        height, width = self.full.shape[:2]
        rows, columns = piece.window
        top, bottom = round(rows.start * self.ratio[0]), min(height, round(rows.stop * self.ratio[0]))
        left, right = round(columns.start * self.ratio[1]), min(width, round(columns.stop * self.ratio[1]))
        down, across = round(shift[0] * self.ratio[0]), round(shift[1] * self.ratio[1])
        from_rows = np.clip(np.arange(top, bottom) + down, 0, height - 1)
        from_columns = np.clip(np.arange(left, right) + across, 0, width - 1)
        size = (right - left, bottom - top)
        bend = cv2.resize(correction, size, interpolation=cv2.INTER_LINEAR)
        share = cv2.resize(weight, size, interpolation=cv2.INTER_LINEAR)
        new = self.full[np.ix_(from_rows, from_columns)] + bend
        self._blend(self.full, (slice(top, bottom), slice(left, right)), new, share)

    @staticmethod
    def _blend(target: Floats, window: tuple[slice, slice], new: Floats, weight: Floats) -> None:
        target[window] += weight[:, :, None] * (new - target[window])

    def _halves(self, piece: Piece) -> list[Piece]:
        whole = np.zeros(self.hole.shape, bool)
        whole[piece.window] = piece.inside
        smaller = cut(whole, (max(piece.inside.shape) - 2 * RIM_PX + 1) // 2)
        return [replace(part, shore=piece.shore) for part in smaller]


def _masked_blur(image: Floats, known: Mask, sigma: float) -> Floats:
    """Gaussian blur of the known pixels alone."""
    weight = cv2.GaussianBlur(known.astype(np.float32), (0, 0), sigma)[:, :, None]
    total = cv2.GaussianBlur(image * known[:, :, None], (0, 0), sigma)
    return np.asarray(total / np.maximum(weight, 1e-6), dtype=np.float32)
