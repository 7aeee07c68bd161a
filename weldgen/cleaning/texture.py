"""Fill holes with metal like that of the same photo: shapes first, then the grain.

On plain metal the grain is simulated, see `conditional`. Elsewhere it is copied: what belongs into a hole (edges,
shading) is worked out first and smoothly, see `shapes`; the photo itself says how its metal looks. The hole is cut into
pieces; each takes its fine detail from the place of the same photo that looks most like the piece and its surroundings
(compare image quilting, Efros and Freeman 2001), and its tones from the smooth filling, so that nothing is averaged and
no patch is of another colour. Places are chosen on an image of at most 192 pixels and copied at full resolution. It is
deterministic and needs no weights; what its tones lack is put right afterwards, see `tones`.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.channels import mean
from weldgen.cleaning.conditional import simulate
from weldgen.cleaning.morphology import dilate
from weldgen.cleaning.pieces import RIM_PX, Piece, cut, rim_of
from weldgen.cleaning.shapes import fill_shapes, reduced_size, shrunk, spread

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

MATCH_SIDE_PX = 192
_PIECE_PX = 48
# A piece of this size takes the best place there is, whatever it shows.
_SMALLEST_PIECE_PX = 10
_OVERLAP_PX = 5
# How far from a piece its grain is looked for.
_REACH_PX, _REACH_SHARE = 130, 2
# Finer than this is grain and is copied; coarser is tone and comes from the smooth filling.
_TONE_SIGMA_PX = 4.5
# The smooth filling is compared with the photo without its grain.
_SHAPE_SIGMA_PX = 1.5
_INSIDE_WEIGHT = 0.7
_GRAIN_SIGMA_PX = 5.0
# What a grey level of grain counts against one of tone: a weld is no plate, even where it is of the same grey.
_GRAIN_WEIGHT = 3.0
# A place that is further off than this, in squared grey levels, is other metal; a smaller piece may find a place.
_TONE_MISFIT, _GRAIN_MISFIT = 300.0, 45.0
# Rust and scale are uneven themselves: so many times the local variance, and this share of the grain, is no misfit.
_UNEVEN_MISFIT, _GRAIN_SHARE = 6.0, 0.6
_UNEVEN_SIDE_PX = 9
# Cost, in squared grey levels, of a place that is 100 pixels away.
_DISTANCE_COST = 25.0
# How much of the unknown grain is drawn at random: less is nearer to the truth, more looks more like metal.
_CHANCE = 0.75
# Grey levels by which shapes may differ from shading.
_ALLOWED = 3.0
# Share of metal of the kind around a pixel that its grain can be learned from.
_LEAST_SUPPORT = 0.1


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
    small, small_hole = shrunk(image, hole, reduced_size(hole.shape, MATCH_SIDE_PX))
    seen = np.dstack([small, _grain(small, small_hole)])
    shapes = fill_shapes(seen, small_hole)
    smooth = cv2.resize(np.ascontiguousarray(shapes[:, :, :3]), hole.shape[::-1], interpolation=cv2.INTER_CUBIC)
    filled, plain = _simulated(image, hole, smooth)
    uneven = hole & (plain < 1)
    if uneven.any():
        _, small_uneven = shrunk(image, uneven, small_hole.shape)
        # large photos have large holes: as few copies as possible
        begun = image.astype(np.float32)
        begun[hole] = filled[hole]
        begun[uneven] = smooth[uneven]
        del smooth
        copied = _Filling(begun, small_hole, np.ascontiguousarray(shapes[:, :, 3]), small_uneven).run()
        filled -= copied
        filled *= plain[:, :, None]
        filled += copied
    result = image.copy()
    result[hole] = np.clip(np.round(filled[hole]), 0, 255).astype(np.uint8)
    return result


def _simulated(image: RGB, hole: Mask, smooth: Floats) -> tuple[Floats, Floats]:
    """The hole filled with simulated grain in the smooth filling's colours, and where it may be used, (H, W) 0..1.

    Where an edge runs through the hole the metal is not one and the same, and its grain no single field.
    """
    grey = mean(smooth)
    made = simulate(mean(image.astype(np.float32)), hole, grey, _CHANCE)
    filled = smooth - grey[:, :, None]
    cv2.GaussianBlur(filled, (0, 0), _SHAPE_SIGMA_PX, dst=filled)
    filled += made.grey[:, :, None]
    apart = np.abs(cv2.GaussianBlur(grey - made.tone, (0, 0), _TONE_SIGMA_PX)) / (made.strength + _ALLOWED)
    plain = (np.clip(2 - apart, 0, 1) * np.clip(made.support / _LEAST_SUPPORT, 0, 1)).astype(np.float32)
    return filled, cv2.GaussianBlur(plain, (0, 0), _TONE_SIGMA_PX)


class _Filling:
    """A part of a hole being filled: the image at matching size and at its own, and what of it is there by now.

    Args:
        image: (H, W, 3) float32, the hole filled: smoothly where grain is to be copied, else with simulated grain;
            changed in place.
        hole: (h, w) bool, at matching size; no place in it is copied.
        grain: (h, w) float32, how strong the grain should be.
        uneven: (h, w) bool, the part of the hole that is to be filled.
    """

    def __init__(self, image: Floats, hole: Mask, grain: Floats, uneven: Mask) -> None:
        self.full = image
        self.small = cv2.resize(self.full, hole.shape[::-1], interpolation=cv2.INTER_AREA)
        self.grain, self.hole, self.uneven = grain, hole, uneven
        self.ratio = image.shape[0] / hole.shape[0], image.shape[1] / hole.shape[1]
        self.usable = ~hole
        self.done = ~uneven
        self.shapes = _shapes(self.small, self.grain)
        side = (_UNEVEN_SIDE_PX, _UNEVEN_SIDE_PX)
        grey = self.shapes[:, :, 1]
        self.unevenness = np.maximum(cv2.blur(grey * grey, side) - cv2.blur(grey, side) ** 2, 0)

    def run(self) -> Floats:
        """The filled image at its own size, (H, W, 3) float32."""
        waiting = cut(self.uneven, _PIECE_PX)
        while waiting:
            waiting.sort(key=lambda piece: -self._support(piece))
            piece = waiting.pop(0)
            small = max(piece.inside.shape) - 2 * RIM_PX <= _SMALLEST_PIECE_PX
            shift = self._nearest(piece) if small else self._best_shift(piece)
            if shift is not None:
                self._copy(piece, *shift)
            elif small:
                self.done[piece.window] |= piece.inside
            else:
                waiting += self._halves(piece)
        return self.full

    def _support(self, piece: Piece) -> float:
        """Share of a piece's rim that is there already."""
        rim = rim_of(piece.inside)
        return float(self.done[piece.window][rim].mean()) if rim.any() else 0.0

    def _best_shift(self, piece: Piece) -> tuple[int, int] | None:
        """Shift (down, right) to a place that looks like the piece in its surroundings, or None."""
        shift = self._nearest(piece)
        return shift if shift and self._fits(piece, *shift) else None

    def _fits(self, piece: Piece, down: int, right: int) -> bool:
        """Whether a place shows the same kind of metal: in a crowded photo the best place may still be the weld."""
        rows, columns = piece.window
        there = self.shapes[rows.start + down : rows.stop + down, columns.start + right : columns.stop + right]
        misfit = ((there - self.shapes[piece.window]) ** 2)[piece.inside].mean(axis=0)
        rim = rim_of(piece.inside) & self.usable[piece.window]
        # the median: where the weld's edge crosses the rim, most of it is still one metal
        uneven = float(np.median(self.unevenness[piece.window][rim])) if rim.any() else 0.0
        strength = float(self.grain[piece.window][piece.inside].mean())
        tone = max(_TONE_MISFIT, _UNEVEN_MISFIT * uneven)
        return bool(misfit[1] + misfit[2] <= tone and misfit[3] <= max(_GRAIN_MISFIT, (_GRAIN_SHARE * strength) ** 2))

    def _nearest(self, piece: Piece) -> tuple[int, int] | None:
        """Shift to the place within reach that looks most like the piece in its surroundings; None: all is hole."""
        rows, columns = piece.window
        # a small piece finds its like nearby
        reach = min(_REACH_PX, _REACH_SHARE * max(piece.inside.shape))
        top, left = max(0, rows.start - reach), max(0, columns.start - reach)
        area = np.s_[top : rows.stop + reach, left : columns.stop + reach]
        rim = (rim_of(piece.inside) & self.done[piece.window]).astype(np.float32)
        wanted = piece.inside + rim
        # grain cannot be compared where it is not yet there, tones can
        tones = rim + np.float32(_INSIDE_WEIGHT) * piece.inside
        weights = np.dstack([rim, tones, tones, tones])
        template = np.ascontiguousarray(self.shapes[piece.window])
        cost = cv2.matchTemplate(np.ascontiguousarray(self.shapes[area]), template, cv2.TM_SQDIFF, mask=weights)
        cost = cost / max(float(tones.sum()), 1.0)
        bad = cv2.matchTemplate(self.hole[area].astype(np.float32), wanted, cv2.TM_CCORR)
        down, right = np.mgrid[0 : cost.shape[0], 0 : cost.shape[1]]
        down, right = down + top - piece.top, right + left - piece.left
        cost = cost + _DISTANCE_COST * np.hypot(down, right) / 100
        cost = np.where(bad < 0.5, cost, np.inf)
        best = int(np.argmin(cost))
        return (int(down.flat[best]), int(right.flat[best])) if np.isfinite(cost.flat[best]) else None

    def _copy(self, piece: Piece, down: int, right: int) -> None:
        """Copy a piece and its overlap with what is filled already, its tones bent to those that are wanted."""
        rows, columns = piece.window
        source = slice(rows.start + down, rows.stop + down), slice(columns.start + right, columns.stop + right)
        known = piece.inside | (rim_of(piece.inside) & self.done[piece.window])
        share = known.astype(np.float32)[:, :, None]
        difference = (self.small[piece.window] - self.small[source]) * share
        weight = cv2.GaussianBlur(share, (0, 0), _TONE_SIGMA_PX)[:, :, None]
        bend = cv2.GaussianBlur(difference, (0, 0), _TONE_SIGMA_PX) / np.maximum(weight, 1e-3)
        made = self.done[piece.window] & self.uneven[piece.window]
        outside = cv2.distanceTransform((~piece.inside).astype(np.uint8), cv2.DIST_L2, 3)
        cover = np.where(piece.inside, 1.0, np.where(made, np.clip(1 - outside / _OVERLAP_PX, 0, 1), 0.0))
        cover = cover.astype(np.float32)
        new = self.small[source] + bend
        self._blend(self.small, piece.window, new, cover)
        self.shapes[piece.window] = _shapes(self.small[piece.window], self.grain[piece.window])
        self._copy_full(piece, (down, right), bend, cover)
        self.done[piece.window] |= piece.inside

    def _copy_full(self, piece: Piece, shift: tuple[int, int], bend: Floats, cover: Floats) -> None:
        """The same at the image's own size."""
        height, width = self.full.shape[:2]
        rows, columns = piece.window
        top, bottom = round(rows.start * self.ratio[0]), min(height, round(rows.stop * self.ratio[0]))
        left, right = round(columns.start * self.ratio[1]), min(width, round(columns.stop * self.ratio[1]))
        down, across = round(shift[0] * self.ratio[0]), round(shift[1] * self.ratio[1])
        from_rows = np.clip(np.arange(top, bottom) + down, 0, height - 1)
        from_columns = np.clip(np.arange(left, right) + across, 0, width - 1)
        size = (right - left, bottom - top)
        new = self.full[np.ix_(from_rows, from_columns)] + cv2.resize(bend, size, interpolation=cv2.INTER_LINEAR)
        window = slice(top, bottom), slice(left, right)
        self._blend(self.full, window, new, cv2.resize(cover, size, interpolation=cv2.INTER_LINEAR))

    @staticmethod
    def _blend(target: Floats, window: tuple[slice, slice], new: Floats, weight: Floats) -> None:
        target[window] += weight[:, :, None] * (new - target[window])

    def _halves(self, piece: Piece) -> list[Piece]:
        whole = np.zeros(self.hole.shape, bool)
        whole[piece.window] = piece.inside
        return cut(whole, (max(piece.inside.shape) - 2 * RIM_PX + 1) // 2)


def _grain(image: Floats, hole: Mask) -> Floats:
    """How strong the grain around each pixel is, (H, W) float32, times a weight against grey levels; 0 in the hole."""
    grey = mean(image)
    detail = np.where(hole, 0, grey - cv2.GaussianBlur(grey, (0, 0), _SHAPE_SIGMA_PX))
    # what is blurred from within the hole is no grain
    known = (~dilate(hole, round(2 * _SHAPE_SIGMA_PX))).astype(np.float32)
    weight = cv2.GaussianBlur(known, (0, 0), _GRAIN_SIGMA_PX)
    energy = cv2.GaussianBlur(detail**2 * known, (0, 0), _GRAIN_SIGMA_PX) / np.maximum(weight, 1e-3)
    near = spread(energy[:, :, None].astype(np.float32), weight > 0.1)[:, :, 0]
    return np.asarray(np.where(hole, 0, _GRAIN_WEIGHT * np.sqrt(np.maximum(near, 0))), np.float32)


def _shapes(image: Floats, grain: Floats) -> Floats:
    """What places are compared by, (H, W, 4) float32: grey with its grain, grey without it, red against blue, grain."""
    smooth = cv2.GaussianBlur(image, (0, 0), _SHAPE_SIGMA_PX)
    # grey counts for three channels, as it would in RGB
    grey = np.float32(3**0.5) * mean(smooth)
    return np.asarray(np.dstack([mean(image), grey, smooth[:, :, 0] - smooth[:, :, 2], grain]), np.float32)
