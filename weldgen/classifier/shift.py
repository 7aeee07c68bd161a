"""Whether two sets of photos differ, in NumPy: distances, a classifier that tells them apart, simple measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen.runtime import derive_seed

RGB = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

_Z95 = 1.959963984540054
# Photos (groups of them) a side that cross-validation takes.
MIN_GROUPS = 5
# Longest side at which sharpness is measured, so that it says the same of photos of any size.
_SIDE_PX = 512
# Inverse strength of the weights' decay: there are more features than photos.
_STRENGTH = 0.1


def own_distances(features: Floats, groups: Sequence[str]) -> Floats:
    """Distance of each photo to the nearest one of another group, (N,); inf where there is none.

    Args:
        features: (N, F), each row of length 1.
        groups: The N groups; a near-duplicate of a photo says nothing about how far others lie.
    """
    distances = _cosine_distances(features, features)
    names = np.unique(np.array(groups), return_inverse=True)[1]
    distances[names[:, None] == names[None, :]] = np.inf
    return np.asarray(distances.min(axis=1, initial=np.inf))


def distances_to(features: Floats, reference: Floats) -> Floats:
    """Distance of each photo to the nearest one of the reference, (N,), of (N, F) and (M, F) rows of length 1."""
    return np.asarray(_cosine_distances(features, reference).min(axis=1))


def border_of(distances: Floats, quantile: float) -> float:
    """The distance that a further photo of the same kind exceeds at most 1 - `quantile` of the time (split conformal).

    Where there are too few distances to say so, it is the largest.
    """
    ordered = np.sort(distances)
    return float(ordered[min(len(ordered), math.ceil((len(ordered) + 1) * quantile)) - 1])


def auc(first: Floats, second: Floats) -> tuple[float, float, float]:
    """How often a value of the second is above one of the first, ties half, and its 95 % interval.

    The interval is Newcombe's fifth (Statistics in Medicine 2006): the values whose own spread reaches as far as the
    one that was found, which holds at 0 and 1 too.

    Args:
        first: (N,) values.
        second: (M,) values.
    """
    from scipy.stats import rankdata

    n, m = len(first), len(second)
    ranks = rankdata(np.concatenate([first, second]))
    value = float((ranks[n:].sum() - m * (m + 1) / 2) / (n * m))
    return value, _lower_end(value, n, m), 1 - _lower_end(1 - value, n, m)


def _lower_end(value: float, n: int, m: int) -> float:
    """Lower end of the interval of an AUC of n and m values; the upper one is its mirror image."""
    from scipy.optimize import brentq

    if value < 1 / (2 * n * m):
        return 0.0
    half = (n + m) / 2

    def beyond(share: float) -> float:
        spread = 2 * half - 1 - (3 * half - 3) / ((2 - share) * (1 + share))
        return value - share - _Z95 * math.sqrt(share * (1 - share) * spread / (n * m))

    # Not at the value itself: where it is 1, its own spread is 0 and it would be the end.
    return float(brentq(beyond, 0.0, value - 1e-9))


def told_apart(
    reference: tuple[Floats, Sequence[str]], new: tuple[Floats, Sequence[str]], seed: int
) -> tuple[float, float, float] | None:
    """How well a classifier tells new photos from those of the reference, as `auc`: 0.5 is not at all.

    The two-sample test by a classifier (Lopez-Paz and Oquab, ICLR 2017). None where a side has too few groups.

    Args:
        reference: (N, F) features and the N groups.
        new: (M, F) features and the M groups.
        seed: Seed of the division.
    """
    scores = held_out_scores(reference, new, seed)
    return auc(*scores) if scores else None


def held_out_scores(
    reference: tuple[Floats, Sequence[str]], new: tuple[Floats, Sequence[str]], seed: int
) -> tuple[Floats, Floats] | None:
    """How new each photo looks to a logistic regression that has seen neither it nor one of its group.

    Args:
        reference: (N, F) features and the N groups.
        new: (M, F) features and the M groups.
        seed: Seed of the division.

    Returns:
        (N,) and (M,), above 0 where a photo is taken for a new one; None where a side has too few groups.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if min(len(set(reference[1])), len(set(new[1]))) < MIN_GROUPS:
        return None
    x = np.concatenate([reference[0], new[0]])
    y = np.repeat([0, 1], [len(reference[0]), len(new[0])])
    groups = [f"reference {name}" for name in reference[1]] + [f"new {name}" for name in new[1]]
    scores = np.zeros(len(y))
    folds = StratifiedGroupKFold(MIN_GROUPS, shuffle=True, random_state=derive_seed(seed, "folds") % 2**32)
    for train, held in folds.split(x, y, groups):
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=_STRENGTH / len(train), class_weight="balanced", max_iter=2000)
        )
        scores[held] = model.fit(x[train], y[train]).decision_function(x[held])
    return scores[y == 0], scores[y == 1]


def brightness(image: RGB) -> float:
    """Mean of a photo's grey, 0 to 255."""
    return float(_grey(image).mean())


def sharpness(image: RGB) -> float:
    """Standard deviation of the Laplacian of a photo's grey at 512 px; a blurred photo has less."""
    import cv2

    return float(cv2.Laplacian(_grey(image), cv2.CV_64F).std())


def _grey(image: RGB) -> npt.NDArray[Any]:
    """Grey of at most 512 px a side, (h, w) uint8."""
    import cv2

    scale = min(1.0, _SIDE_PX / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY))


def _cosine_distances(first: Floats, second: Floats) -> Floats:
    return np.asarray(np.maximum(0.0, 1 - first @ second.T))
