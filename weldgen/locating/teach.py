"""Learn from marks what a weld looks like, cell by cell, and measure it on photos that were left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen.data.images import read_rgb
from weldgen.data.upright import Rectangle
from weldgen.inference import Network
from weldgen.locating.locator import Found, Marks
from weldgen.locating.network import CELL_PX, cells_of, filled_up, network_input
from weldgen.locating.strips import covered
from weldgen.runtime import derive_seed, track

Floats = npt.NDArray[np.float32]

# Cells that a mark covers so far are weld, those that it covers so little are not; what lies between is not learned.
_WELD, _NONE = 0.6, 0.05
# Cells of one look at a photo, and of all, that are learned; twice as many beside the welds as on them.
_WELD_CELLS, _ALL_WELD_CELLS = 40, 20_000
# Looks at one photo, each with another orientation, and at all photos together.
_VIEWS = 8
_ALL_LOOKS = 400
# The photo is looked at at its own size first, then at others from the first to the second, by its own.
_SIZES = (0.6, 1.5)
# Strength of the fit, as scikit-learn's C, on features of variance 1; 0.001 to 0.01 hardly differ.
_STRENGTH = 0.003
# Breadths that are tried: those that so many of the marks are narrower than, and beyond the ends by such factors.
_QUANTILES, _NARROWER, _BROADER = (0.1, 0.5, 0.9), 0.65, 1.5
# The usual length is asked of photos on which the weld was found, of at least so many, and believed within these ends.
_OVERLAP_TO_COUNT, _FEWEST_TO_STRETCH, _STRETCH_ENDS = 0.3, 5, (0.8, 1.25)


@dataclass(frozen=True)
class Marked:
    """A photo and the welds that were marked on it.

    Attributes:
        path: The file.
        name: Its path below the source.
        rectangles: In pixels; none where there is no weld.
        group: Photos of one group are left out together.
    """

    path: Path
    name: str
    rectangles: tuple[Rectangle, ...]
    group: str


@dataclass(frozen=True)
class Linear:
    """Evidence for a weld as a linear function of features.

    Attributes:
        weight: (F,).
        bias: One number.
    """

    weight: Floats
    bias: float

    def __call__(self, features: Floats) -> Floats:
        """Evidence, (H, W) from 0 to 1, on features of shape (F, H, W)."""
        scores = np.tensordot(self.weight, features, 1) + self.bias
        evidence: Floats = (1 / (1 + np.exp(-scores))).astype(np.float32)
        return evidence


@dataclass(frozen=True)
class Cells:
    """Cells that are learned.

    Attributes:
        features: (N, F).
        weld: (N,) whether a mark covers it.
        photos: (N,) index of its photo.
    """

    features: Floats
    weld: npt.NDArray[np.bool_]
    photos: npt.NDArray[np.int64]

    def fit(self, photos: Iterable[int]) -> Linear:
        """Fit a logistic regression to the cells of some photos."""
        from sklearn.linear_model import LogisticRegression

        chosen = np.isin(self.photos, list(photos))
        rows = self.features[chosen]
        mean, spread = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)
        fitted = LogisticRegression(C=_STRENGTH, max_iter=500)
        fitted.fit((rows - mean) / spread, self.weld[chosen])
        weight = (fitted.coef_[0] / spread).astype(np.float32)
        return Linear(weight, float(fitted.intercept_[0] - weight @ mean))


@dataclass(frozen=True)
class Trial:
    """What a locator that had not seen a photo's group found on it.

    Attributes:
        photo: The photo.
        found: The clearest rectangle, without margin; None where there was none.
    """

    photo: Marked
    found: Found | None

    def overlap(self) -> float:
        """Of what was found and the mark that it fits best: their common area by that which both cover, 0 to 1."""
        found = self.found
        return max((overlap(found.rectangle, mark) for mark in self.photo.rectangles), default=0.0) if found else 0.0

    def is_clear(self, marks: Marks) -> bool:
        """Whether what was found counts as a weld."""
        return self.found is not None and self.found.evidence >= marks.min_evidence

    def inside(self, marks: Marks) -> float:
        """Share of the mark it fits best that would be cut out, 0 to 1."""
        if self.found is None or not self.is_clear(marks):
            return 0.0
        grown = self.found.rectangle.grown(marks.margin)
        shares = (shared_area(grown, mark) / (mark.length_px * mark.breadth_px) for mark in self.photo.rectangles)
        return max(shares, default=0.0)


def shared_area(one: Rectangle, other: Rectangle) -> float:
    """Common area of two rectangles, in square pixels."""
    import cv2

    return float(cv2.intersectConvexConvex(one.corners().astype(np.float32), other.corners().astype(np.float32))[0])


def overlap(one: Rectangle, other: Rectangle) -> float:
    """Common area of two rectangles by the area that both cover (intersection over union), 0 to 1."""
    both = shared_area(one, other)
    return both / (one.length_px * one.breadth_px + other.length_px * other.breadth_px - both)


def look(photos: Sequence[Marked], network: Network, side_px: int, what: str) -> Iterator[tuple[int, Floats, float]]:
    """Index, features (F, H, W) and pixels a cell of each photo, one at a time."""
    for index, photo in enumerate(track(photos, total=len(photos), description=what, unit="photos")):
        image = read_rgb(photo.path)
        ready, scale = network_input(image, side_px)
        rows, columns = cells_of(image, scale)
        yield index, network(ready)[0][0, :, :rows, :columns], CELL_PX * scale


def collect(photos: Sequence[Marked], network: Network, side_px: int, seed: int) -> Cells:
    """Cells on and beside the welds of all photos, each photo mirrored and turned by quarters, smaller and larger.

    A weld may lie in any direction on the next photo, and nearer or farther. With six marked photos of six plates, 95 %
    of the welds of other plates were cut out nearly whole, against 72 % with the photos as they are alone; with three,
    85 against 46 %. Other sizes took welds of half the size from 5 to 9 of 15, and left-out plates from 58 to 60 of 60.
    """
    views = max(1, min(_VIEWS, _ALL_LOOKS // len(photos)))
    most = max(1, min(_WELD_CELLS, _ALL_WELD_CELLS // (len(photos) * views)))
    features, weld, of = [], [], []
    for index, photo in enumerate(track(photos, total=len(photos), description="learning", unit="photos")):
        random = np.random.default_rng(derive_seed(seed, "cells", photo.name))
        image = read_rgb(photo.path)
        for view in (0, *(random.permutation(_VIEWS - 1)[: views - 1] + 1)):
            size = np.exp(random.uniform(*np.log(_SIZES))) if view else 1.0
            ready, scale = network_input(image, round(side_px * size))
            shape = cells_of(image, scale)
            small = ready[0, : shape[0] * CELL_PX, : shape[1] * CELL_PX]
            cover = np.zeros(shape, np.float32)
            for mark in photo.rectangles:
                cover = np.maximum(cover, covered(shape, _in_cells(mark, CELL_PX * scale)))
            turned = _turned(cover, view)
            maps = network(filled_up(_turned(small, view)))[0][0, :, : turned.shape[0], : turned.shape[1]]
            chosen, on = _choose(random, turned, most)
            features.append(maps.reshape(len(maps), -1)[:, chosen].T)
            weld.append(on)
            of.append(np.full(len(chosen), index))
    return Cells(np.concatenate(features), np.concatenate(weld), np.concatenate(of))


def _turned(array: npt.NDArray[Any], view: int) -> npt.NDArray[Any]:
    """One of the eight orientations of (H, W, ...): turned by quarters, the last four mirrored before."""
    return np.ascontiguousarray(np.rot90(array[:, ::-1] if view >= _VIEWS // 2 else array, view % (_VIEWS // 2)))


def _choose(
    random: np.random.Generator, cover: Floats, most: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Cells that are learned, by their place in the flat map, and which of them are weld."""
    # a weld that is narrower than a cell covers none by half: then those count that it covers most
    on = np.flatnonzero(cover >= min(_WELD, 0.9 * cover.max())) if cover.any() else np.array([], np.int64)
    some_on, some_off = _some(random, on, most), _some(random, np.flatnonzero(cover <= _NONE), 2 * most)
    return np.concatenate([some_on, some_off]), np.arange(len(some_on) + len(some_off)) < len(some_on)


def usual_shape(photos: Sequence[Marked], sizes: Sequence[tuple[int, int]], turned: bool) -> tuple[list[float], float]:
    """Breadths and aspect of the marks, as `Marks` holds them.

    Args:
        photos: With their marks.
        sizes: Width and height of each, in pixels.
        turned: Whether marks are turned boxes or polygons.
    """
    marks = [(mark, max(size)) for photo, size in zip(photos, sizes, strict=True) for mark in photo.rectangles]
    shares = np.quantile([mark.breadth_px / long_px for mark, long_px in marks], _QUANTILES)
    aspect = float(np.median([mark.breadth_px / mark.length_px for mark, _ in marks])) if turned else 0.0
    breadths = [shares[0] * _NARROWER, *shares, shares[-1] * _BROADER]
    return sorted({round(float(share), 4) for share in breadths}), aspect


def try_out(
    photos: Sequence[Marked], cells: Cells, marks: Marks, network: Network, folds: Sequence[Sequence[int]]
) -> list[Trial]:
    """Look for the welds of each photo with what the photos of the other folds teach.

    Args:
        photos: All photos.
        cells: Their cells.
        marks: What the rectangles are like.
        network: What gives the features.
        folds: Indices of the photos that are left out together.
    """
    fits: dict[int, Linear] = {}
    for fold in folds:
        others = set(range(len(photos))) - set(fold)
        fits |= dict.fromkeys(fold, cells.fit(others))
    trials = []
    for index, maps, cell_px in look(photos, network, marks.side_px, "trying out"):
        found = marks.rectangles(fits[index](maps), cell_px)
        trials.append(Trial(photos[index], found[0] if found else None))
    return trials


def usual_stretch(trials: Sequence[Trial]) -> float:
    """Length of the marks by that over which there is evidence; 1 where too few were found to say it."""
    ratios = [
        max(trial.photo.rectangles, key=_overlap_with(trial.found.rectangle)).length_px
        / trial.found.rectangle.length_px
        for trial in trials
        if trial.found and trial.overlap() >= _OVERLAP_TO_COUNT
    ]
    return float(np.clip(np.median(ratios), *_STRETCH_ENDS)) if len(ratios) >= _FEWEST_TO_STRETCH else 1.0


def stretched(trials: Sequence[Trial], marks: Marks) -> list[Trial]:
    """The trials as they come out with a stretch that was learned from them."""
    factor = marks.stretch
    return [
        replace(trial, found=replace(trial.found, rectangle=_longer(trial.found.rectangle, factor, marks.turned)))
        if trial.found
        else trial
        for trial in trials
    ]


def _longer(rectangle: Rectangle, factor: float, turned: bool) -> Rectangle:
    breadth = rectangle.breadth_px * (factor if turned else 1)
    return replace(rectangle, length_px=rectangle.length_px * factor, breadth_px=breadth)


def _overlap_with(rectangle: Rectangle) -> Callable[[Rectangle], float]:
    return lambda mark: overlap(rectangle, mark)


def _in_cells(mark: Rectangle, cell_px: float) -> Rectangle:
    return Rectangle(
        mark.x_px / cell_px, mark.y_px / cell_px, mark.length_px / cell_px, mark.breadth_px / cell_px, mark.turn_deg
    )


def _some(random: np.random.Generator, items: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    return random.choice(items, most, replace=False) if len(items) > most else items
