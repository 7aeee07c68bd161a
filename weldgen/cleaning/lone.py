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

# At least so much of it, in square pixels of a photo of 1500 px, and so clearly. It must be clearer if nothing else is
# written on the photo, for two cracks that meet look like a letter, and a little most of all, for pores are small and
# scratches thin; and broad strokes must, most of all those that are not many times longer, as stains are. Thin strokes
# may be less clear where something else is written.
LONE_AREA_PX = 400
LONE_PROBABILITY, _COMPANY_PROBABILITY = 0.62, 0.54
_ALONE_PROBABILITY = 0.66
_LITTLE_PX, _LITTLE_PROBABILITY = 1200, 0.72
_BROAD_PX, _BROAD_PROBABILITY, _LONG = 20, 0.72, 15.0
# Broad strokes shorter than so many times their width must be this clear; the second where nothing else is written.
# One stroke longer than `_LONG` times its width, which stains and glare are not, need be no clearer than a thin one.
_STAIN, _LONE_STAIN = (6.0, 0.75), (8.0, 0.8)
# and only if it is drawn: longer than wide, which pores and glare are not, and no wider than a pen, which bars are.
_LENGTH = 2.5
_WIDTH_PX, _CERTAIN_WIDTH_PX = 50, 75
# A pen's stroke that the photo cuts shows there as wide as it is; what lies along the photo's border for so many times
# its width is what can be seen beyond the part's edge.
_CUT_WIDTHS = 4.0
# Strokes this close together, as a share of the photo's long side, are one piece; so close to known ones, part of them.
_PIECE_SHARE, _BESIDE_SHARE = 0.008, 0.02
# What lies beside known strokes is part of them, however faint, if it is not much wider than they are: pores and glare
# are found beside writing too.
_BESIDE_WIDTH = 1.4
# The same of ink that is of a known colour; its width in that of the known strokes.
_ALIKE_AREA_PX, _ALIKE_PROBABILITY, _ALIKE_LENGTH, _ALIKE_WIDTH = 1600, 0.55, 2.0, 1.7
# Where the network is this sure, so many times wider: a filled arrow, a word that was crossed out.
_CERTAIN, _CERTAIN_WIDTH = 0.86, 4.0
# Beside known writing on the photo a long line as wide as its strokes is a pen's, though faded to the metal's colour.
_LINE_AREA_PX, _LINE_PROBABILITY, _LINE_LENGTH, _LINE_WIDTHS = 1500, 0.45, 12.0, (0.5, 1.6)
# Straight, within a box of so many widths, or bent, and little of its box; most of it hangs together, which stains do
# not.
_STRAIGHT_WIDTHS, _LINE_FILL, _TOGETHER = 2.5, 0.4, 0.6
# It is this much nearer to the known ink than to the bare metal beside it, from which it differs clearly, in L*a*b*; to
# so many of the known pieces, for a faded one has the colour of many a stain.
_ALIKE_SHARE, _LEAST_CONTRAST, _SHARED_BY = 0.5, 10.0, 0.25
# Where the ink stands out by this much, what differs from the metal in the other direction by half of it is no ink.
_STRONG_CONTRAST, _BEYOND_METAL = 12.0, -0.5
# Ink ends at its edge. Something this broad and large that goes on as half of itself around more than this share of its
# edge is a shadow, if it can be told from what is around it at all.
_SHADE_WIDTH_PX, _SHADE_AREA_PX, _SHADE_AROUND = 24, 8000, 0.22
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
        cut_px: How many of them lie on the photo's border.
    """

    window: Window
    mask: Mask
    clear: float
    pixels: int
    width_px: float
    cut_px: int


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
    side, inked = max(probability.shape), found | known
    near = dilate(known, round(_BESIDE_SHARE * side))
    usual = stroke_width(known) if known.any() else 0.0
    others = []
    for window, mask in _pieces(found):
        piece = _measured(probability, window, mask)
        beside = (mask & near[window]).any() and piece.width_px <= _BESIDE_WIDTH * usual
        drawn = beside or _is_drawn(piece, side, company=bool(known.any()))
        if drawn and not _is_shade(lab, inked, piece):
            result[window] |= mask
        else:
            # a letter beside a stain is judged with it and alone
            others += [piece, *(_measured(probability, *part) for part in _parts(window, mask, side))]
    writing = known | result
    if not others or not writing.any():
        return result
    colours = [np.median(lab[window][mask], axis=0) for window, mask in _pieces(writing)]
    usual = stroke_width(writing)
    for piece in others:
        drawn = _is_drawn(piece, side, company=True) or _is_line(piece, usual, side)
        if not drawn and not _is_alike(piece, usual, side):
            continue
        if _is_shade(lab, inked, piece):
            continue
        bare = _metal_beside(lab, inked, piece)
        if drawn or (bare is not None and _is_of(colours, lab, piece, bare)):
            result[piece.window] |= piece.mask if bare is None else _without_glare(lab, piece, bare)
    return result


def _area(area_px: float, side: int) -> float:
    return area_px * (side / REFERENCE_SIDE_PX) ** 2


def _pieces(strokes: Mask) -> Iterator[tuple[Window, Mask]]:
    """Groups of strokes that are close together: a window, and which of its pixels belong to the group."""
    for window, group in connected(dilate(strokes, round(_PIECE_SHARE * max(strokes.shape)))):
        yield window, strokes[window] & group


def _parts(window: Window, mask: Mask, side: int) -> Iterator[tuple[Window, Mask]]:
    """The strokes of a group that has several, each in a window of its own; not those too small to be ink alone."""
    parts = list(connected(mask))
    for inner, part in parts:
        if len(parts) > 1 and part.sum() >= _area(LONE_AREA_PX, side):
            rows, columns = (slice(o.start + i.start, o.start + i.stop) for o, i in zip(window, inner, strict=True))
            yield (rows, columns), part


def _measured(probability: Floats, window: Window, mask: Mask) -> _Piece:
    """Strokes within a window of a photo whose probability of ink is (H, W)."""
    height, width = probability.shape
    rows, columns = window
    cut = [
        mask[0].sum() * (rows.start == 0), mask[-1].sum() * (rows.stop == height),
        mask[:, 0].sum() * (columns.start == 0), mask[:, -1].sum() * (columns.stop == width),
    ]  # fmt: skip
    clear = float(probability[window][mask].mean())
    return _Piece(window, mask, clear, int(mask.sum()), stroke_width(mask), int(sum(cut)))


def _is_drawn(piece: _Piece, side: int, *, company: bool) -> bool:
    """Whether ink that lies alone is surely ink, and has the shape of a pen's stroke; other writing is company."""
    least = _COMPANY_PROBABILITY if company and _is_thin(piece, piece.width_px) else LONE_PROBABILITY
    if piece.width_px > _BROAD_PX * side / REFERENCE_SIDE_PX:
        length, stain = _STAIN if company else _LONE_STAIN
        if piece.pixels < length * piece.width_px**2:
            least = stain
        elif piece.pixels < _LONG * piece.width_px**2 or not _is_whole(piece):
            least = _BROAD_PROBABILITY
    if not company:
        least = max(least, _ALONE_PROBABILITY)
        if piece.pixels < _area(_LITTLE_PX, side):
            least = max(least, _LITTLE_PROBABILITY)
    enough = piece.clear >= least and piece.pixels >= _area(LONE_AREA_PX, side)
    inside = piece.cut_px <= _CUT_WIDTHS * piece.width_px
    widest = (_CERTAIN_WIDTH_PX if piece.clear >= _CERTAIN else _WIDTH_PX) * side / REFERENCE_SIDE_PX
    return enough and inside and _has_shape(piece, _LENGTH, widest)


def _is_line(piece: _Piece, usual_px: float, side: int) -> bool:
    """Whether ink is a long line, about as wide as the strokes of the writing are usually."""
    least, most = (share * usual_px for share in _LINE_WIDTHS)
    enough = piece.clear >= _LINE_PROBABILITY and piece.pixels >= _area(_LINE_AREA_PX, side)
    fits = piece.width_px >= least and _has_shape(piece, _LINE_LENGTH, most)
    return enough and fits and _is_thin(piece, usual_px) and _is_whole(piece)


def _is_whole(piece: _Piece) -> bool:
    """Whether most of a piece is one stroke."""
    sizes = [int(part.sum()) for _, part in connected(piece.mask)]
    return max(sizes) >= _TOGETHER * piece.pixels


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


def _metal_beside(lab: Floats, inked: Mask, piece: _Piece) -> Floats | None:
    """Usual colour of the bare metal around a piece, L*a*b*."""
    around = _around(lab, inked, piece)
    return np.asarray(np.median(around, axis=0), np.float32) if len(around) else None


def _around(lab: Floats, inked: Mask, piece: _Piece) -> Floats:
    """Colours of what is not inked close around a piece, (N, 3) L*a*b*."""
    side = max(inked.shape)
    whole = np.zeros(inked.shape, bool)
    whole[piece.window] = piece.mask
    soft, metal = (max(1, round(px * side / REFERENCE_SIDE_PX)) for px in (_SOFT_EDGE_PX, _METAL_PX))
    window = window_of(whole, soft + metal)
    around = dilate(whole[window], soft + metal) & ~dilate(whole[window] | inked[window], soft)
    return np.asarray(lab[window][around], np.float32)


def _is_shade(lab: Floats, inked: Mask, piece: _Piece) -> bool:
    """Whether a broad piece fades into what is around it, as the shadow of a part on a table does."""
    side = max(inked.shape)
    if piece.width_px <= _SHADE_WIDTH_PX * side / REFERENCE_SIDE_PX or piece.pixels < _area(_SHADE_AREA_PX, side):
        return False
    around = _around(lab, inked, piece)
    if not len(around):
        return False
    usual = np.median(around, axis=0)
    towards = np.median(lab[piece.window][piece.mask], axis=0) - usual
    contrast = float(np.linalg.norm(towards))
    if contrast < _STRONG_CONTRAST:
        return False
    return bool(((around - usual) @ towards > contrast**2 / 2).mean() > _SHADE_AROUND)


def _is_of(colours: list[Floats], lab: Floats, piece: _Piece, bare: Floats) -> bool:
    """Whether a piece is much nearer to enough of the colours than to the bare metal around it."""
    colour = np.median(lab[piece.window][piece.mask], axis=0)
    contrast = float(np.linalg.norm(colour - bare))
    off = np.array([np.linalg.norm(colour - known) for known in colours])
    return contrast >= _LEAST_CONTRAST and float((off <= _ALIKE_SHARE * contrast).mean()) >= _SHARED_BY


def _without_glare(lab: Floats, piece: _Piece, bare: Floats) -> Mask:
    """A piece without what differs from the metal in the other direction, (h, w): glare that touches dark ink."""
    towards = np.median(lab[piece.window][piece.mask], axis=0) - bare
    contrast = float(np.linalg.norm(towards))
    if contrast < _STRONG_CONTRAST:
        return piece.mask
    share = (lab[piece.window] - bare) @ towards / contrast**2
    return piece.mask & (share > _BEYOND_METAL)
