"""Ink that lies in no region of a text detector: what of it is writing.

Alone it must be clear and drawn. Where other writing is known, ink of the same colour may be less clear, and broader
than a pen's stroke: a filled arrow, a word that was crossed out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.morphology import Window, connected, dilate, hysteresis, stroke_width, window_of
from weldgen.cleaning.scale import REFERENCE_SIDE_PX

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# At least so much of it, in square pixels of a photo of 1500 px, and so clearly; broad strokes more clearly, for stains
# have their shape.
LONE_AREA_PX = 160
LONE_PROBABILITY = 0.62
_BROAD_PX, _BROAD_PROBABILITY = 20, 0.75
# and only if it is drawn: longer than wide, which pores and glare are not, and no wider than a pen, which bars are.
_LENGTH = 2.5
_WIDTH_PX = 50
# Strokes this close together, as a share of the photo's long side, are one piece; so close to known ones, part of them.
_PIECE_SHARE, _BESIDE_SHARE = 0.008, 0.02
# What lies beside known strokes is part of them, however faint, if it is not much wider than they are: pores and glare
# are found beside writing too.
_BESIDE_WIDTH = 1.4
# The same of ink that is of a known colour; its width in that of the known strokes.
_ALIKE_AREA_PX, _ALIKE_PROBABILITY, _ALIKE_LENGTH, _ALIKE_WIDTH = 1600, 0.55, 2.0, 1.7
# Where the network is this sure, so many times wider: a filled arrow, a word that was crossed out.
_CERTAIN, _CERTAIN_WIDTH = 0.9, 3.0
# Beside known writing on the photo a long line as wide as its strokes is a pen's, though faded to the metal's colour.
_LINE_AREA_PX, _LINE_PROBABILITY, _LINE_LENGTH, _LINE_WIDTHS = 1500, 0.45, 12.0, (0.5, 1.6)
# Straight, within a box of so many widths, or bent, and little of its box.
_STRAIGHT_WIDTHS, _LINE_FILL = 2.5, 0.4
# It is this much nearer to the known ink than to the bare metal beside it, from which it differs clearly, in L*a*b*; to
# so many of the known pieces, for a faded one has the colour of many a stain.
_ALIKE_SHARE, _LEAST_CONTRAST, _SHARED_BY = 0.5, 10.0, 0.25
# Bare metal beside a stroke begins behind its soft edge.
_SOFT_EDGE_PX, _METAL_PX = 4, 15


@dataclass(frozen=True, eq=False)
class _Piece:
    """Strokes that are close together.

    Attributes:
        window: Rows and columns of the photo that hold them.
        mask: (h, w) bool, the strokes within the window.
        clear: Mean probability of ink, 0 to 1.
        pixels: How many they are.
        width_px: Their mean width.
    """

    window: Window
    mask: Mask
    clear: float
    pixels: int
    width_px: float


def lone_ink(probability: Floats, lab: Floats, known: Mask, likely: float, sure: float) -> Mask:
    """Strokes that lie in no region, (H, W) bool: clear ones, less clear ones beside known strokes, and known ink.

    Args:
        probability: (H, W) float32, of ink.
        lab: (H, W, 3) float32, the photo's colours.
        known: (H, W) bool, writing in regions.
        likely: Strokes reach as far as the probability, 0 to 1, is above this.
        sure: Somewhere in a stroke it is above this.
    """
    found = hysteresis(probability, likely, sure) & ~known
    result = np.zeros(found.shape, bool)
    if not found.any():
        return result
    side = max(probability.shape)
    near = dilate(known, round(_BESIDE_SHARE * side))
    usual = stroke_width(known) if known.any() else 0.0
    others = []
    for window, mask in _pieces(found):
        piece = _Piece(window, mask, float(probability[window][mask].mean()), int(mask.sum()), stroke_width(mask))
        beside = (mask & near[window]).any() and piece.width_px <= _BESIDE_WIDTH * usual
        if beside or _is_drawn(piece, side):
            result[window] |= mask
        else:
            others.append(piece)
    writing = known | result
    if not others or not writing.any():
        return result
    colours = [np.median(lab[window][mask], axis=0) for window, mask in _pieces(writing)]
    usual = stroke_width(writing)
    for piece in others:
        alike = _is_alike(piece, usual, side) and _is_of(colours, lab, found | known, piece)
        if alike or _is_line(piece, usual, side):
            result[piece.window] |= piece.mask
    return result


def _area(area_px: float, side: int) -> float:
    return area_px * (side / REFERENCE_SIDE_PX) ** 2


def _pieces(strokes: Mask) -> Iterator[tuple[Window, Mask]]:
    """Groups of strokes that are close together: a window, and which of its pixels belong to the group."""
    for window, group in connected(dilate(strokes, round(_PIECE_SHARE * max(strokes.shape)))):
        yield window, strokes[window] & group


def _is_drawn(piece: _Piece, side: int) -> bool:
    """Whether ink that lies alone is surely ink, and has the shape of a pen's stroke."""
    broad = piece.width_px > _BROAD_PX * side / REFERENCE_SIDE_PX
    least = _BROAD_PROBABILITY if broad else LONE_PROBABILITY
    enough = piece.clear >= least and piece.pixels >= _area(LONE_AREA_PX, side)
    return enough and _has_shape(piece, _LENGTH, _WIDTH_PX * side / REFERENCE_SIDE_PX)


def _is_line(piece: _Piece, usual_px: float, side: int) -> bool:
    """Whether ink is a long line, about as wide as the strokes of the writing are usually."""
    least, most = (share * usual_px for share in _LINE_WIDTHS)
    enough = piece.clear >= _LINE_PROBABILITY and piece.pixels >= _area(_LINE_AREA_PX, side)
    fits = piece.width_px >= least and _has_shape(piece, _LINE_LENGTH, most)
    return enough and fits and _is_thin(piece, usual_px)


def _is_thin(piece: _Piece, usual_px: float) -> bool:
    """Whether a piece is straight, or leaves most of the box around it free; a ragged stain does neither."""
    sides = cv2.minAreaRect(cv2.findNonZero(piece.mask.astype(np.uint8)))[1]
    box = max(1.0, sides[0]) * max(1.0, sides[1])
    return bool(min(sides) <= _STRAIGHT_WIDTHS * usual_px or piece.pixels <= _LINE_FILL * box)


def _is_alike(piece: _Piece, usual_px: float, side: int) -> bool:
    """Whether ink is large and clear enough to be part of the writing, if it has a colour of it."""
    widest = usual_px * (_CERTAIN_WIDTH if piece.clear >= _CERTAIN else _ALIKE_WIDTH)
    enough = piece.clear >= _ALIKE_PROBABILITY and piece.pixels >= _area(_ALIKE_AREA_PX, side)
    return enough and _has_shape(piece, _ALIKE_LENGTH, widest)


def _has_shape(piece: _Piece, length: float, most_px: float) -> bool:
    """Whether a piece is so many times longer than wide, and not too wide."""
    return piece.pixels >= length * piece.width_px**2 and piece.width_px <= most_px


def _is_of(colours: list[Floats], lab: Floats, inked: Mask, piece: _Piece) -> bool:
    """Whether a piece is much nearer to enough of the colours than to the bare metal around it."""
    side = max(inked.shape)
    whole = np.zeros(inked.shape, bool)
    whole[piece.window] = piece.mask
    soft, metal = (max(1, round(px * side / REFERENCE_SIDE_PX)) for px in (_SOFT_EDGE_PX, _METAL_PX))
    window = window_of(whole, soft + metal)
    own, near = whole[window], lab[window]
    around = dilate(own, soft + metal) & ~dilate(own | inked[window], soft)
    if not around.any():
        return False
    colour, bare = np.median(near[own], axis=0), np.median(near[around], axis=0)
    contrast = float(np.linalg.norm(colour - bare))
    off = np.array([np.linalg.norm(colour - known) for known in colours])
    return contrast >= _LEAST_CONTRAST and float((off <= _ALIKE_SHARE * contrast).mean()) >= _SHARED_BY
