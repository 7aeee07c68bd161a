"""Printed labels on the metal: paper is told by its even brightness, and what is printed on it by its contrast.

The ink network learned ink on metal. On paper there is nothing to learn: it is flat and pale, and all that is dark on
it is print.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.morphology import dilate, window_of
from weldgen.cleaning.scale import scaled_px

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# CIE L*a*b* of paper, in a region of writing: pale (lamps make it bluish), even, much lighter than its print.
# Measured: 0.7 to 1.8 uneven and 0.14 to 0.30 of grain on labels, from 1.6 and from 0.38 on smooth metal; print that
# glare has faded differs by 14.
_LEAST_LIGHTNESS, _MOST_COLOUR, _MOST_UNEVEN, _MOST_GRAIN, _LEAST_CONTRAST = 52.0, 30.0, 2.2, 0.28, 11.0
# Under black print that was photographed sharply the soft edges of the letters count as grain.
_BLACK_CONTRAST, _MOST_GRAIN_UNDER_BLACK = 25.0, 0.36
_GRAIN_SIGMA_PX, _EDGE_PX = 2.0, 3
# Share of the region that is paper, and that is print.
_LEAST_PAPER, _LEAST_PRINT = 0.45, 0.04
# The label reaches as far as lightness and colour stay this close; gaps narrower than this many heights of a line of
# writing belong to it.
_NEAR_LIGHTNESS, _NEAR_COLOUR, _GAP = 14.0, 12.0, 0.5
# and narrower than this, on an image of 1500 px long side, or two sheets would become one with the metal between them.
_MOST_GAP_PX = 12.0
_MOST_SHARE = 0.25
_RIM_PX = 6
# Print is darker than paper by this share of its contrast.
_PRINT_SHARE, _SOLID_SHARE = 0.25, 0.6
_LEAST_ON_LABEL = 0.6


@dataclass(frozen=True)
class Sticker:
    """A label.

    Attributes:
        area: (H, W) bool, all of it.
        print: (H, W) bool, what is printed on it.
    """

    area: Mask
    print: Mask


def find_sticker(lab: Floats, inside: Mask) -> Sticker | None:
    """The label that a region of writing lies on, or None where it lies on metal.

    Args:
        lab: (H, W, 3) float32 CIE L*a*b*, L 0 to 100.
        inside: (H, W) bool, the region.
    """
    window = window_of(inside, 0)
    pixels = lab[window][inside[window]]
    if len(pixels) < 16:
        return None
    lightness = pixels[:, 0]
    levels = np.clip(np.rint(lightness * 2.55), 0, 255).astype(np.uint8)
    cut, _ = cv2.threshold(levels[None], 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    pale = levels > cut
    if not _LEAST_PAPER <= pale.mean() <= 1 - _LEAST_PRINT:
        return None
    paper, print_ = np.median(pixels[pale], axis=0), np.median(pixels[~pale], axis=0)
    # the median deviation: the soft edges of the letters are pale too
    uneven = float(np.median(np.abs(lightness[pale] - paper[0])))
    contrast = float(paper[0] - print_[0])
    most_grain = _MOST_GRAIN_UNDER_BLACK if contrast >= _BLACK_CONTRAST else _MOST_GRAIN
    if (
        paper[0] < _LEAST_LIGHTNESS
        or float(np.hypot(paper[1], paper[2])) > _MOST_COLOUR
        or uneven > _MOST_UNEVEN
        or _grain(lab, inside, cut / 2.55) > most_grain
        or contrast < _LEAST_CONTRAST
    ):
        return None
    area = _area(lab, inside, paper)
    if area.mean() > _MOST_SHARE:
        area = inside
    local = cv2.dilate(cv2.medianBlur(np.clip(lab[:, :, 0], 0, 100).astype(np.uint8), 3), np.ones((15, 15), np.uint8))
    darker = local.astype(np.float32) - lab[:, :, 0] > _PRINT_SHARE * contrast
    darker |= lab[:, :, 0] < paper[0] - _SOLID_SHARE * contrast  # solids are wider than what was compared
    print_area = _apart(darker & area, ~dilate(~area, _RIM_PX))
    # what is dark in the region must lie on the label: a blank one is taken for writing too, together with its metal
    dark = inside & (lab[:, :, 0] <= cut / 2.55)
    if not print_area.any() or (dark & area).sum() < _LEAST_ON_LABEL * dark.sum():
        return None
    return Sticker(area, print_area)


def _apart(print_: Mask, inner: Mask) -> Mask:
    """Connected pieces that lie mostly within the label; its edge, a little dark, is no print."""
    _, labels = cv2.connectedComponents(print_.astype(np.uint8), connectivity=8)
    whole = np.bincount(labels.ravel())
    within = np.bincount(labels[inner], minlength=len(whole))
    kept = within > 0.5 * whole
    kept[0] = False
    return np.asarray(kept[labels])


def _grain(lab: Floats, inside: Mask, cut: float) -> float:
    """How strong the grain of the paper is, in units of L; the edges of letters do not count."""
    window = window_of(inside, 0)
    lightness = np.ascontiguousarray(lab[window][:, :, 0])
    core = inside[window] & ~dilate(lightness <= cut, _EDGE_PX)
    fine = np.abs(lightness - cv2.GaussianBlur(lightness, (0, 0), _GRAIN_SIGMA_PX))
    return float(np.median(fine[core])) if core.any() else np.inf


def _area(lab: Floats, inside: Mask, paper: Floats) -> Mask:
    """What is paper like that of the region and hangs together with it, its print included."""
    near = np.abs(lab[:, :, 0] - paper[0]) < _NEAR_LIGHTNESS
    near &= np.hypot(lab[:, :, 1] - paper[1], lab[:, :, 2] - paper[2]) < _NEAR_COLOUR
    _, labels = cv2.connectedComponents(near.astype(np.uint8), connectivity=4)
    counts = np.bincount(labels[inside & near].ravel(), minlength=2)
    counts[0] = 0
    sheet = (labels == int(counts.argmax())) | (inside & near)
    rows, columns = np.nonzero(inside)
    corners = np.stack([columns, rows], axis=1).astype(np.float32)
    height = min(cv2.minAreaRect(corners)[1])
    radius = max(2, min(round(_GAP * height), scaled_px(_MOST_GAP_PX, inside.shape)))
    # closing: letters are gaps in the sheet, solids are holes in it
    closed = ~dilate(~dilate(sheet, radius), radius) | sheet
    outlines, _ = cv2.findContours(closed.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(np.zeros(inside.shape, np.uint8), outlines, -1, 1, -1) > 0)
