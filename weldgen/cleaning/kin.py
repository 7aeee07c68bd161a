"""Strokes between others that the ink network missed, found by what the writing of their region has in common.

A dash that lies along the grain of brushed metal looks like the grain to the network, and the dots of a stencil look
like pores; but they are as dark and as wide as the digits beside them.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.morphology import connected, dilate, stroke_width

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# Pixels that are surely ink tell its colour.
_SURE = 0.8
# It is compared with bare metal within so many widths of a stroke, from which it differs by so much in L*a*b*, and by
# so many times what bare metal differs from itself.
_NEAR, _LEAST_CONTRAST, _LEAST_RATIO = 2.0, 12.0, 3.0
# A pixel with this share of that difference is inked, if it differs otherwise by no more than the second.
_INKED, _OTHERWISE = 0.55, 0.5
# At its soft rim it has this share at least.
_RIM = 0.25
# So wide is a stroke, in widths of those around it; and so many square widths at least is its area, as a dot's is.
_LEAST_WIDTH, _MOST_WIDTH, _LEAST_AREA = 0.6, 1.5, 0.55
# Around it, up to so many widths away, most of what is there has this share of the difference at most: it stands alone.
_AROUND, _BARE, _MOST = 0.6, 0.35, 0.75
# Where the network overlooks ink it has a faint idea of it still; on bare metal it has none (below 0.01).
_FAINT = 0.05


def kin_strokes(lab: Floats, probability: Floats, strokes: Mask, inside: Mask) -> Mask:
    """What looks like the strokes of a region and lies among them, (H, W) bool.

    Args:
        lab: (H, W, 3) float32, the photo's colours, L*a*b*.
        probability: (H, W) float32, of ink.
        strokes: (H, W) bool, those found in the region.
        inside: (H, W) bool, the region.
    """
    result = np.zeros(strokes.shape, bool)
    sure = strokes & (probability > _SURE)
    width = stroke_width(strokes) if sure.any() else 0.0
    metal = inside & ~dilate(strokes, max(1, round(width / 2)))
    if not sure.any() or metal.sum() < sure.sum() / 2 or probability[metal].max() < _FAINT:
        return result
    ink, usual = np.median(lab[sure], axis=0), np.median(lab[metal], axis=0)
    # what is nearer to the ink than to usual metal may be ink that was missed, and is no metal to compare with
    colours, plain = lab[metal], np.zeros_like(metal)
    plain[metal] = np.linalg.norm(colours - usual, axis=1) < np.linalg.norm(colours - ink, axis=1)
    off = lab - _metal_near(lab, plain, _NEAR * width, usual)
    towards = np.median(off[sure], axis=0)
    contrast = float(np.linalg.norm(towards))
    share = off @ towards / max(contrast, 1e-6) ** 2
    spread = 1.5 * float(np.median(np.abs(share[metal])))
    if contrast < _LEAST_CONTRAST or spread * _LEAST_RATIO > 1:
        return result
    otherwise = np.linalg.norm(off - share[..., None] * towards, axis=2)
    alike = inside & (share > _INKED) & (otherwise < _OTHERWISE * contrast) & ~dilate(strokes, 1)
    rim, soft, reach = dilate(~inside, 1), max(1, round(width / 4)), max(2, round(_AROUND * width))
    beside = dilate(strokes, soft)
    for window, mask in connected(alike):
        fits = mask.sum() >= _LEAST_AREA * width**2 and _LEAST_WIDTH <= _widest(mask) / width <= _MOST_WIDTH
        if not fits or (mask & rim[window]).any() or probability[window][mask].max() < _FAINT:
            continue
        piece = np.zeros(strokes.shape, bool)
        piece[window] = mask
        around = dilate(piece, soft + reach) & ~dilate(piece, soft) & ~beside
        if around.any() and (share[around] < _BARE).mean() >= _MOST:
            result |= piece | dilate(piece, soft) & (share > _RIM) & ~beside
    return result


def _metal_near(lab: Floats, metal: Mask, reach_px: float, usual: Floats) -> Floats:
    """Mean colour of the bare metal around each pixel, (H, W, 3); where there is none near, the usual one."""
    weight = metal.astype(np.float32)
    total = cv2.GaussianBlur(weight, (0, 0), reach_px)[..., None]
    blurred = cv2.GaussianBlur(lab * weight[..., None], (0, 0), reach_px)
    return np.asarray(np.where(total > 1e-3, blurred / np.maximum(total, 1e-3), usual), np.float32)


def _widest(mask: Mask) -> float:
    """Width in pixels where a stroke is widest; a dot's mean distance to its edge would make it look thin."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return 2 * float(cv2.distanceTransform(padded, cv2.DIST_L2, 5).max()) - 1
