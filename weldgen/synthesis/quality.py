"""How close the synthetic images come to the real training photos of their class, in figures.

All of it in the features of an ImageNet network, at the size of the synthetic images. What each figure means, and what
it does not mean, is said in the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen.features import Floats, unit_rows

# Fewer real photos than this have no distribution to compare with.
LEAST_PHOTOS = 5
# Neighbours that make a photo's neighbourhood, for many photos; fewer where there are few.
_NEIGHBOURS, _PHOTOS_PER_NEIGHBOUR = 5, 3
_FOLDS = 5


@dataclass(frozen=True)
class Estimate:
    """A figure and its standard error."""

    value: float
    error: float


def kernel_distance(one: Floats, other: Floats) -> Estimate:
    """Kernel inception distance: the unbiased squared MMD with the kernel (x.y + 1)^3 of features of length 1.

    With features of length sqrt(F) this is the kernel (x.y / F + 1)^3 of Binkowski et al., "Demystifying MMD GANs",
    ICLR 2018. Around 0, and often a little below, where both come from the same source. The standard error is the
    jackknife's, over the images of both sides, because with few photos there are no subsets to draw.

    Args:
        one: (N, F), N at least 3.
        other: (M, F), M at least 3.
    """
    first, second = unit_rows(one).astype(np.float64), unit_rows(other).astype(np.float64)
    count, others = len(first), len(second)
    inner_first, inner_second = (first @ first.T + 1) ** 3, (second @ second.T + 1) ** 3
    np.fill_diagonal(inner_first, 0)
    np.fill_diagonal(inner_second, 0)
    across = (first @ second.T + 1) ** 3
    sums = inner_first.sum(), inner_second.sum(), across.sum()

    def distance(within: Any, within_other: Any, between: Any, n: int, m: int) -> Any:
        return within / (n * (n - 1)) + within_other / (m * (m - 1)) - 2 * between / (n * m)

    value = distance(*sums, count, others)
    without_one = distance(
        sums[0] - 2 * inner_first.sum(axis=1), sums[1], sums[2] - across.sum(axis=1), count - 1, others
    )
    without_other = distance(
        sums[0], sums[1] - 2 * inner_second.sum(axis=1), sums[2] - across.sum(axis=0), count, others - 1
    )
    variance = sum(
        (len(left) - 1) / len(left) * float(((left - left.mean()) ** 2).sum()) for left in (without_one, without_other)
    )
    return Estimate(float(value), float(np.sqrt(variance)))


def density_and_coverage(real: Floats, synthetic: Floats, neighbours: int) -> tuple[float, float]:
    """Density and coverage (Naeem et al., "Reliable fidelity and diversity metrics", ICML 2020).

    The neighbourhood of a real photo reaches to its `neighbours`-th nearest real photo. Density is the mean number of
    neighbourhoods that a synthetic image lies in, over `neighbours`, 1 for images like the photos; coverage is the
    share of neighbourhoods with a synthetic image in them, 0 to 1.

    Args:
        real: (N, F), N more than `neighbours`.
        synthetic: (M, F).
        neighbours: Number of neighbours, 1 or more.
    """
    among = _distances(real, real)
    np.fill_diagonal(among, np.inf)
    reach = np.sort(among, axis=1)[:, neighbours - 1]
    inside = _distances(real, synthetic) < reach[:, None]  # (N, M)
    density = float(inside.sum(axis=0).mean() / neighbours)
    return density, float(inside.any(axis=1).mean())


def neighbours_for(photos: int) -> int:
    """How many neighbours make a neighbourhood among so many photos."""
    return max(1, min(_NEIGHBOURS, photos // _PHOTOS_PER_NEIGHBOUR))


def shortcut_auc(real: Floats, synthetic: Floats, families: Sequence[str], seed: int) -> float | None:
    """How well a linear classifier tells real from synthetic, as the area under its ROC curve, cross-fitted.

    Args:
        real: (N, F).
        synthetic: (M, F).
        families: Of each row of `real`, then of `synthetic`: images of one family (a photo and the views of it) are
            fitted or measured together.
        seed: Deals out the folds.

    Returns:
        0.5 where it cannot tell them apart, 1 where it always can; None where there are too few families.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold

    folds = min(_FOLDS, len(set(families[: len(real)])), len(set(families[len(real) :])))
    if folds < 2:
        return None
    features = np.concatenate([real, synthetic])
    made = np.repeat([0, 1], [len(real), len(synthetic)])
    scores = np.full(len(made), np.nan)
    for fitted, left_out in StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(
        features, made, np.array(families)
    ):
        if len(set(made[fitted])) == 2:
            model = LogisticRegression(C=10.0, max_iter=500, class_weight="balanced")
            scores[left_out] = model.fit(features[fitted], made[fitted]).decision_function(features[left_out])
    seen = np.isfinite(scores)
    return float(roc_auc_score(made[seen], scores[seen])) if len(set(made[seen])) == 2 else None


def copies_share(hashes: npt.NDArray[np.uint8], sampled: Sequence[int], limit_bits: int) -> float:
    """Share of some images that have a copy among all.

    Args:
        hashes: (N, 32) uint8 of all images.
        sampled: Which of them are looked at.
        limit_bits: Hashes at most so many bits apart are copies.
    """
    found = 0
    for index in sampled:
        apart = np.bitwise_count(hashes ^ hashes[index]).sum(axis=1, dtype=np.int64)
        apart[index] = hashes.shape[1] * 8
        found += bool(len(apart) > 1 and apart.min() <= limit_bits)
    return found / max(1, len(sampled))


def _distances(one: Floats, other: Floats) -> npt.NDArray[np.float64]:
    """Euclidean, (N, M)."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    squared = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None] - 2 * first @ second.T
    return np.asarray(np.sqrt(np.maximum(squared, 0)))
