"""What chance allows of figures that no formula gives an interval: groups of photos drawn anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen.classifier.metrics import Counts

Floats = npt.NDArray[np.float64]

RESAMPLES = 2000


def bootstrap(by_group: Counts, labels: Sequence[str], seed: int) -> dict[str, Any]:
    """95 % percentile intervals of the balanced accuracy and the macro F1.

    Groups are drawn anew, of each class by itself (stratified cluster bootstrap, Davison and Hinkley 1997); a group of
    several classes goes with the one that it has most photos of. Where all photos of a class are right, or none, or
    they are one group, drawing them says that it is always so: then there is no interval, and the classes are named.

    Args:
        by_group: (G, K, K) confusion matrix of each group; a photo of its own is a group.
        labels: The K names.
        seed: Of the draws.

    Returns:
        `resamples`, `groups`, `unvaried` (names of such classes), and `balanced_accuracy` and `macro_f1`, `[low, high]`
        each; None where a class is unvaried, or fewer than two classes have photos.
    """
    matrix = by_group.sum(axis=0)
    support = matrix.sum(axis=1)
    holding = (by_group.sum(axis=2) > 0).sum(axis=0)
    hits = matrix.diagonal()
    unvaried = (support > 0) & ((holding < 2) | (hits == 0) | (hits == support))
    found: dict[str, Any] = {
        "resamples": RESAMPLES,
        "groups": len(by_group),
        "unvaried": [label for k, label in enumerate(labels) if unvaried[k]],
        "balanced_accuracy": None,
        "macro_f1": None,
    }
    if unvaried.any() or (support > 0).sum() < 2:
        return found
    drawn = _resampled(by_group, seed)
    hit, rows, columns = (
        counts[:, support > 0] for counts in (np.einsum("rkk->rk", drawn), drawn.sum(axis=2), drawn.sum(axis=1))
    )
    # A class may be missing from a draw where groups hold several classes: it counts nowhere in it, as in `summarise`.
    seen = rows > 0
    f1 = 2 * hit / np.maximum(rows + columns, 1)
    return found | {
        "balanced_accuracy": _ends((hit / np.maximum(rows, 1)).sum(axis=1) / seen.sum(axis=1)),
        "macro_f1": _ends((f1 * seen).sum(axis=1) / seen.sum(axis=1)),
    }


def _resampled(by_group: Counts, seed: int) -> Counts:
    """(R, K, K) confusion matrices of drawn groups."""
    rng = np.random.default_rng(seed)
    kinds = by_group.shape[1]
    class_of_group = by_group.sum(axis=2).argmax(axis=1)
    drawn = np.zeros((RESAMPLES, kinds * kinds), np.int64)
    for k in np.unique(class_of_group):
        # Groups with the same counts are drawn as one kind: there are few kinds, whatever the number of photos.
        members = by_group[class_of_group == k].reshape(-1, kinds * kinds)
        patterns, counts = np.unique(members, axis=0, return_counts=True)
        drawn += rng.multinomial(len(members), counts / len(members), size=RESAMPLES) @ patterns
    return drawn.reshape(RESAMPLES, kinds, kinds)


def _ends(values: Floats) -> list[float]:
    return [float(value) for value in np.quantile(values, [0.025, 0.975])]
