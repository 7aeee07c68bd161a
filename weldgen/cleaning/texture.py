"""Fill a hole with the metal around it: exemplar-based inpainting that keeps grain and sharpness.

What is notable: where metal comes from is decided coarsely and copied finely. Patches are matched on an image of at most
512 pixels (PatchMatch, Barnes et al. 2009, inside the coarse-to-fine scheme of Wexler et al. 2007, on a few principal
components of each patch); their weighted mean gives shading and edges, and the fine grain, which a mean would blur, is
copied at full resolution from the place that each pixel was matched with. It is deterministic and needs no weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.grain import directional_fill, spread

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_RADIUS = 3  # patches of 7 x 7 pixels
_SIDE = 2 * _RADIUS + 1
_COMPONENTS = 20
_MATCH_SIDE_PX = 512
_COARSEST_SIDE_PX = 40
_MIN_SOURCES = 64
_ROUNDS = 4
# How much of a patch's usual difference one pixel of distance costs: metal looks most like the metal beside it.
_NEARNESS = 0.003
# Grain is what a blur of this radius takes away, on the image that patches are matched on.
_GRAIN_SIGMA_PX = 4.0
# A match is kept together with its neighbours' although another is better by this share: fewer seams in the grain.
_COHERENCE = 0.25
_MAX_CORRECTION = 30.0


@dataclass(frozen=True)
class _Matches:
    """For each target pixel, the source pixel whose patch it takes; all (N,) int64."""

    rows: Ints
    columns: Ints
    from_rows: Ints
    from_columns: Ints


def fill(image: RGB, hole: Mask, match_px: int = _MATCH_SIDE_PX) -> RGB:
    """Fill a hole from the rest of the image.

    Args:
        image: (H, W, 3) uint8 RGB: the hole and the metal around it.
        hole: (H, W) bool, True where pixels are to be made.
        match_px: Long side at which patches are matched.

    Returns:
        (H, W, 3) uint8 RGB; outside the hole nothing changes. Where too little metal is left to copy from, the
        hole is filled smoothly.
    """
    if not hole.any():
        return image
    scale = min(1.0, match_px / max(hole.shape))
    small, small_hole = _resized(image, hole, scale)
    start = directional_fill(small.astype(np.float32), small_hole)
    matched = _coarse_to_fine(start, small_hole)
    if matched is None:
        return smooth_fill(image, hole)
    shading, matches = matched
    result = _with_grain(image, hole, shading, matches)
    return np.where(hole[:, :, None], np.clip(np.round(result), 0, 255), image).astype(np.uint8)


def smooth_fill(image: RGB, hole: Mask) -> RGB:
    """Telea's fast marching (2004), on a quarter of the size where the hole is large: smooth, without any grain."""
    return np.asarray(cv2.inpaint(image, hole.astype(np.uint8), 5, cv2.INPAINT_TELEA), dtype=np.uint8)


def _resized(image: RGB, hole: Mask, scale: float) -> tuple[RGB, Mask]:
    if scale == 1:
        return image, hole
    size = (max(1, round(hole.shape[1] * scale)), max(1, round(hole.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small), cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0


def _coarse_to_fine(start: Floats, hole: Mask) -> tuple[Floats, _Matches] | None:
    """The filled image, (H, W, 3) float32, and the matches at its size; None where there is nothing to copy."""
    pyramid = [(start, hole)]
    while min(pyramid[-1][1].shape) >= 2 * _COARSEST_SIDE_PX:
        image, mask = pyramid[-1]
        size = (mask.shape[1] // 2, mask.shape[0] // 2)
        smaller = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        pyramid.append((np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32), smaller))
    rng = np.random.default_rng(0)
    filled: Floats | None = None
    matches: _Matches | None = None
    for level, (image, mask) in reversed(list(enumerate(pyramid))):
        level_size = (mask.shape[1], mask.shape[0])
        if filled is not None:
            # the coarser fill, and of the first guess the lines that were too fine for it
            lines = image - cv2.resize(pyramid[level + 1][0], level_size, interpolation=cv2.INTER_LINEAR)
            larger = cv2.resize(filled, level_size, interpolation=cv2.INTER_LINEAR) + lines
            image = np.where(mask[:, :, None], larger, image).astype(np.float32)
        sources = _sources(mask)
        if sources.sum() < _MIN_SOURCES:
            continue
        matches = _initial(mask, sources, matches, rng)
        for _ in range(_ROUNDS if level else 3):
            features = _features(image, sources, matches)
            matches, errors = _patchmatch(features, sources, matches, rng)
            mean = _vote(image, matches, errors)
            image = np.where(mask[:, :, None], _regrained(mean, image, mask, matches), image)
        filled = image
        shading = np.where(mask[:, :, None], mean + _seam_correction(mean, image, mask), image)
    if filled is None or matches is None or filled.shape != start.shape:
        return None
    return shading, matches


def _regrained(mean: Floats, image: Floats, hole: Mask, matches: _Matches) -> Floats:
    """The votes' mean with the grain of the matched pixels: a mean alone draws the next round to the dullest metal."""
    grain = image - _masked_blur(image, ~hole, _GRAIN_SIGMA_PX)
    result = mean - 0.0
    smooth = cv2.GaussianBlur(mean, (0, 0), _GRAIN_SIGMA_PX)
    at = matches.rows, matches.columns
    result[at] = smooth[at] + grain[matches.from_rows, matches.from_columns]
    return result


def _seam_correction(mean: Floats, image: Floats, hole: Mask) -> Floats:
    """What must be added to the fill so that its shading meets the metal at the rim, spread smoothly into the hole."""
    rim = (cv2.dilate(hole.astype(np.uint8), np.ones((2 * _RADIUS - 1, 2 * _RADIUS - 1), np.uint8)) > 0) & ~hole
    difference = np.clip(image - mean, -_MAX_CORRECTION, _MAX_CORRECTION)
    return spread(np.where(rim[:, :, None], difference, 0), rim)


def _sources(hole: Mask) -> Mask:
    """Pixels whose whole patch lies in the image and outside the hole."""
    free = cv2.erode((~hole).astype(np.uint8), np.ones((_SIDE, _SIDE), np.uint8)) > 0
    free[:_RADIUS], free[-_RADIUS:], free[:, :_RADIUS], free[:, -_RADIUS:] = False, False, False, False
    return free


def _initial(hole: Mask, sources: Mask, coarser: _Matches | None, rng: np.random.Generator) -> _Matches:
    """Matches to start with: those of the coarser level, doubled, or random ones."""
    targets = cv2.dilate(hole.astype(np.uint8), np.ones((_SIDE, _SIDE), np.uint8)) > 0
    rows, columns = np.nonzero(targets)
    from_rows, from_columns = (axis[rng.integers(0, sources.sum(), rows.size)] for axis in np.nonzero(sources))
    if coarser is not None:
        height, width = hole.shape
        guess = np.zeros((height // 2 + 1, width // 2 + 1, 2), np.int64)
        known = np.zeros(guess.shape[:2], bool)
        guess[coarser.rows, coarser.columns] = np.stack(
            [coarser.from_rows - coarser.rows, coarser.from_columns - coarser.columns], axis=1
        )
        known[coarser.rows, coarser.columns] = True
        offset = 2 * guess[rows // 2, columns // 2]
        row, column = rows + offset[:, 0], columns + offset[:, 1]
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width) & known[rows // 2, columns // 2]
        inside[inside] = sources[row[inside], column[inside]]
        from_rows, from_columns = np.where(inside, row, from_rows), np.where(inside, column, from_columns)
    return _Matches(rows, columns, from_rows, from_columns)


@dataclass(frozen=True)
class _Features:
    """Principal components of patches: (H, W, C) for all sources, (N, C) for the targets."""

    source: Floats
    target: Floats


def _features(image: Floats, sources: Mask, matches: _Matches) -> _Features:
    padded = cv2.copyMakeBorder(image, _RADIUS, _RADIUS, _RADIUS, _RADIUS, cv2.BORDER_REFLECT)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (_SIDE, _SIDE), axis=(0, 1))  # (H, W, 3, 7, 7)
    rows, columns = np.nonzero(sources)
    step = max(1, rows.size // 3000)
    sample = windows[rows[::step], columns[::step]].reshape(-1, 3 * _SIDE * _SIDE)
    mean = sample.mean(axis=0)
    _, _, axes = np.linalg.svd(sample - mean, full_matrices=False)
    basis = np.ascontiguousarray(axes[:_COMPONENTS].T)
    scores = windows[rows, columns].reshape(rows.size, -1) @ basis
    nearness = _NEARNESS * float(np.sqrt(scores.var(axis=0).sum()))
    projected = np.zeros((*sources.shape, basis.shape[1] + 2), np.float32)
    projected[rows, columns] = np.column_stack([scores, nearness * rows, nearness * columns])
    target = windows[matches.rows, matches.columns].reshape(matches.rows.size, -1) @ basis
    place = np.column_stack([nearness * matches.rows, nearness * matches.columns])
    return _Features(projected, np.concatenate([target, place], axis=1).astype(np.float32))


def _patchmatch(
    features: _Features, sources: Mask, matches: _Matches, rng: np.random.Generator
) -> tuple[_Matches, Floats]:
    """Improve matches by those of neighbours and by random tries; also their squared errors, (N,) float32."""
    height, width = sources.shape
    rows, columns = matches.rows, matches.columns
    number = np.full((height, width), -1, np.int64)
    number[rows, columns] = np.arange(rows.size)
    best = np.stack([matches.from_rows, matches.from_columns])
    errors = _errors(features, best)

    def consider(candidate: Ints, usable: Mask, allowance: float) -> None:
        nonlocal errors
        row, column = np.clip(candidate[0], 0, height - 1), np.clip(candidate[1], 0, width - 1)
        usable = usable & (row == candidate[0]) & (column == candidate[1]) & sources[row, column]
        found = np.full(errors.shape, np.inf, np.float32)
        found[usable] = ((features.source[row[usable], column[usable]] - features.target[usable]) ** 2).sum(axis=1)
        better = found < (1 + allowance) * errors
        best[:, better] = candidate[:, better]
        errors = np.where(better, found, errors)

    for step in (8, 4, 2, 1):
        for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            row, column = rows + step * down, columns + step * right
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            neighbour = number[np.where(inside, row, 0), np.where(inside, column, 0)]
            inside &= neighbour >= 0
            candidate = best[:, neighbour] - np.array([[step * down], [step * right]])
            consider(candidate, inside, _COHERENCE if step == 1 else 0.0)
        reach = max(height, width) * step // 16
        consider(best + rng.integers(-reach, reach + 1, best.shape), np.ones(rows.size, bool), 0.0)
    return _Matches(rows, columns, best[0], best[1]), errors


def _errors(features: _Features, source: Ints) -> Floats:
    return np.asarray(((features.source[source[0], source[1]] - features.target) ** 2).sum(axis=1), dtype=np.float32)


def _vote(image: Floats, matches: _Matches, errors: Floats) -> Floats:
    """Each pixel under a target's patch as the weighted mean of what the patches over it propose, else the image's."""
    spread = max(float(np.percentile(errors, 75)), 1e-3)
    height, width = image.shape[:2]
    targets = np.zeros((height, width), np.uint8)
    targets[matches.rows, matches.columns] = 1
    depth = cv2.distanceTransform(targets, cv2.DIST_L2, 3)[matches.rows, matches.columns]
    # patches near the rim rest on real pixels, so they count more
    weights = (np.exp(-errors / (2 * spread)) * 1.3 ** (-depth) + 1e-6).astype(np.float32)[:, None]
    total = np.zeros((height + 2 * _RADIUS, width + 2 * _RADIUS, 3), np.float32)
    count = np.zeros((*total.shape[:2], 1), np.float32)
    for down in range(-_RADIUS, _RADIUS + 1):
        for right in range(-_RADIUS, _RADIUS + 1):
            to = matches.rows + down + _RADIUS, matches.columns + right + _RADIUS
            total[to] += weights * image[matches.from_rows + down, matches.from_columns + right]
            count[to] += weights
    inner = np.s_[_RADIUS : _RADIUS + height, _RADIUS : _RADIUS + width]
    mean = total[inner] / np.maximum(count[inner], 1e-12)
    return np.where(count[inner] > 0, mean, image).astype(np.float32)


def _with_grain(image: RGB, hole: Mask, shading: Floats, matches: _Matches) -> Floats:
    """Shading from the votes, grain from the matched places, at the size of `image`."""
    height, width = hole.shape
    small_height, small_width = shading.shape[:2]
    ratio = height / small_height, width / small_width
    sigma = _GRAIN_SIGMA_PX * ratio[1]
    original = image.astype(np.float32)
    grain = original - _masked_blur(original, ~hole, sigma)
    offsets = np.zeros((small_height, small_width, 2), np.float32)
    offsets[matches.rows, matches.columns, 0] = (matches.from_rows - matches.rows) * ratio[0]
    offsets[matches.rows, matches.columns, 1] = (matches.from_columns - matches.columns) * ratio[1]
    offsets = cv2.resize(offsets, (width, height), interpolation=cv2.INTER_NEAREST)
    rows, columns = np.nonzero(hole)
    moved = np.round(offsets[rows, columns]).astype(np.int64)
    from_rows = np.clip(rows + moved[:, 0], 0, height - 1)
    from_columns = np.clip(columns + moved[:, 1], 0, width - 1)
    whole = np.asarray(cv2.resize(shading, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    composite = np.where(hole[:, :, None], whole, original)
    result = np.asarray(cv2.GaussianBlur(composite, (0, 0), sigma), np.float32)
    result[rows, columns] += grain[from_rows, from_columns]
    return result


def _masked_blur(image: Floats, known: Mask, sigma: float) -> Floats:
    """Gaussian blur of the known pixels alone."""
    weight = cv2.GaussianBlur(known.astype(np.float32), (0, 0), sigma)[:, :, None]
    total = cv2.GaussianBlur(image * known[:, :, None], (0, 0), sigma)
    return np.asarray(total / np.maximum(weight, 1e-6), dtype=np.float32)
