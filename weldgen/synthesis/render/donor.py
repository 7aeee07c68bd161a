"""Real defects: found in one photo by what sets it apart from a sound weld, and blended into another.

Both welds are straightened to a strip of the same width. What is darker than its surroundings by more than anything in
the sound weld is taken for a defect (pores, cracks, holes). It is blended in by solving Poisson's equation with the
donor's gradients (Perez, Gangnet and Blake, "Poisson image editing", SIGGRAPH 2003).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.synthesis.render.defect import Mask
from weldgen.synthesis.render.noise import Plane, Rng
from weldgen.synthesis.render.shot import Shot
from weldgen.synthesis.render.strip import Place, straighten

RGB = npt.NDArray[np.uint8]

# Width of a straightened weld.
_WIDTH_PX = 96
# Defects lie within so much of the half width; the toes themselves are dark on sound welds too.
_WITHIN = 0.92
# Surroundings that a defect is darker than, as a share of the weld's width.
_AROUND = 0.5
# Least darkness that counts, in L of 0..255, and how much more than the darkest of the sound weld it must be.
_LEAST_DARK, _MORE = 26.0, 1.15
_SOUND_QUANTILE = 0.999
_LEAST_PX = 14
# A defect goes on to where it is this share as dark; what then spreads to so many times its dark core is none.
_EDGE, _MOST_SPREAD = 0.6, 6
# More of the weld than this is no defect but a misjudged photo; less cannot be seen.
_LEAST_SHARE, _MOST_SHARE = 0.004, 0.45
_MARGIN_PX = 4


def compose(picture: RGB, place: Place, sound: Shot, donor: Shot, rng: Rng) -> tuple[RGB, Mask] | None:
    """Blend a donor's defects into a picture of a sound weld.

    Args:
        picture: (H, W, 3) uint8 RGB.
        place: Where the weld lies in the picture.
        sound: The photo that the picture shows.
        donor: A photo of a weld with defects.
        rng: Where along the weld, and whether mirrored.

    Returns:
        The picture and the mask of the defects, (H, W) uint8; None where the donor shows none.
    """
    if not donor.pose.outline or not sound.pose.outline:
        return None
    strip, mask = find_defects(donor, sound)
    if mask is None:
        return None
    if rng.random() < 0.5:
        strip, mask = strip[:, ::-1], mask[:, ::-1]
    if rng.random() < 0.5:
        strip, mask = strip[::-1], mask[::-1]
    matrix = _onto(mask, place, rng)
    size = picture.shape[1::-1]
    source = cv2.warpAffine(
        np.ascontiguousarray(strip), matrix, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
    )
    seen = cv2.warpAffine(np.ascontiguousarray(mask), matrix, size, flags=cv2.INTER_LINEAR)
    exact = np.where(seen > 127, 255, 0).astype(np.uint8)
    exact[[0, 1, -2, -1]] = 0
    exact[:, [0, 1, -2, -1]] = 0
    if np.count_nonzero(exact) < _LEAST_PX:
        return None
    kernel = np.ones((2 * _MARGIN_PX + 1,) * 2, np.uint8)
    wide = cv2.dilate(exact, kernel)
    wide[[0, 1, -2, -1]] = 0
    wide[:, [0, 1, -2, -1]] = 0
    x, y, width, height = cv2.boundingRect(wide)
    blended = cv2.seamlessClone(source, picture, wide, (x + width // 2, y + height // 2), cv2.NORMAL_CLONE)
    return np.asarray(blended), exact


def find_defects(donor: Shot, sound: Shot) -> tuple[RGB, Mask | None]:
    """The straightened weld of a photo, (144, L, 3), and its defects, (144, L), or None.

    They are those of the photo's own mask where it has one, else what no sound weld shows.
    """
    strip = straighten(donor.pixels, donor.pose, _WIDTH_PX)
    if donor.flaws is not None:
        given = straighten(donor.flaws, donor.pose, _WIDTH_PX)
        return strip, np.where(given > 127, 255, 0).astype(np.uint8) if np.count_nonzero(given > 127) else None
    dark, inside = _darkness(strip)
    sound_dark, sound_inside = _darkness(straighten(sound.pixels, sound.pose, _WIDTH_PX))
    limit = max(_LEAST_DARK, _MORE * float(np.quantile(sound_dark[sound_inside], _SOUND_QUANTILE)))
    mask = np.where((dark > _EDGE * limit) & inside, 255, 0).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, pieces, figures, _ = cv2.connectedComponentsWithStats(mask)
    certain = np.bincount(pieces[(dark > limit) & inside], minlength=count)
    kept = [
        index
        for index in range(1, count)
        if certain[index] >= _LEAST_PX and int(figures[index, cv2.CC_STAT_AREA]) < _MOST_SPREAD * int(certain[index])
    ]
    mask = np.where(np.isin(pieces, kept), 255, 0).astype(np.uint8)
    share = float(np.mean(mask[inside] > 0))
    return strip, mask if _LEAST_SHARE < share < _MOST_SHARE else None


def _darkness(strip: RGB) -> tuple[Plane, npt.NDArray[np.bool_]]:
    """How much darker each pixel is than what is around it, and which pixels are looked at."""
    light = cv2.cvtColor(strip, cv2.COLOR_RGB2LAB)[:, :, 0]
    around_px = 2 * round(0.5 * _AROUND * _WIDTH_PX) + 1
    dark = cv2.medianBlur(light, around_px).astype(np.float32) - cv2.GaussianBlur(light, (0, 0), 0.8).astype(np.float32)
    rows, columns = (np.arange(side) - side / 2 + 0.5 for side in strip.shape[:2])
    past = np.maximum(np.abs(columns) - (strip.shape[1] - _WIDTH_PX) / 2, 0)  # into the round caps at both ends
    return dark, np.hypot(rows[:, None], past[None]) < _WITHIN * 0.5 * _WIDTH_PX


def _onto(mask: Mask, place: Place, rng: Rng) -> Plane:
    """The (2, 3) matrix from the strip to the picture; the defects lie as far along as they fit."""
    along = place.along
    across = np.array([-along[1], along[0]])
    scale = place.width_px / _WIDTH_PX
    columns = np.flatnonzero(mask.any(axis=0))
    first, last = float(columns[0]) * scale, float(columns[-1] + 1) * scale
    room = place.length_px - (last - first)
    start = float(rng.uniform(0, room)) if room > 0 else 0.5 * room
    shift = place.middle + along * (start - 0.5 * place.length_px - first) - across * (scale * mask.shape[0] / 2)
    return np.column_stack([along * scale, across * scale, shift])
