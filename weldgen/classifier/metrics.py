"""What a confusion matrix says, in NumPy: shares with their intervals, never without n."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen.data.labels import good_class

Counts = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_Z95 = 1.959963984540054
# At which a share is claimed.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Share:
    """A count out of n, with its 95 % Wilson interval.

    Views of one part are no independent photos. Where groups of photos are known, the interval takes as many as the
    effective number says: n over the design effect of groups whose photos are all right or all wrong together (Kish
    1965). That is the most that grouping can take away, and for groups of one size it is the number of groups.

    Attributes:
        count: How many.
        n: Out of how many.
        sizes: How many of the n each group holds; empty where each photo stands for itself.
    """

    count: int
    n: int
    sizes: tuple[int, ...] = ()

    @staticmethod
    def of(flags: npt.NDArray[np.bool_], groups: Indices | None = None) -> Share:
        """Share of the (N,) flags that are set; `groups` are the (N,) indices of the photos' groups."""
        sizes = () if groups is None else tuple(np.unique(groups, return_counts=True)[1].tolist())
        return Share(int(flags.sum()), len(flags), sizes)

    @property
    def value(self) -> float | None:
        """The share, or None where n is 0."""
        return self.count / self.n if self.n else None

    @property
    def effective_n(self) -> float:
        """Number of independent photos that say as much, 0 to n."""
        return self.n**2 / sum(size**2 for size in self.sizes) if self.sizes else float(self.n)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval, Wilson's with the effective number of photos."""
        effective_n = self.effective_n
        return wilson_interval(self.count * effective_n / self.n if self.n else 0, effective_n)

    def record(self) -> dict[str, Any]:
        """What `metrics.json` keeps; `groups` and `effective_n` where a group holds several photos."""
        low, high = self.interval
        found = {"value": self.value, "count": self.count, "n": self.n, "low": low, "high": high}
        grouped = len(self.sizes) < self.n if self.sizes else False
        return found | ({"groups": len(self.sizes), "effective_n": self.effective_n} if grouped else {})

    def __str__(self) -> str:
        return share_words(self.record())


def share_words(record: Mapping[str, Any]) -> str:
    """A share's `record` as words: never without n and the interval."""
    groups = f" in {record['groups']} groups" if "groups" in record else ""
    interval = f"95 % interval {record['low']:.0%} to {record['high']:.0%}"
    return f"{record['count']} of {record['n']}{groups} ({interval})"


def wilson_interval(count: float, n: float, z: float = _Z95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927); 0 to 1 where n is 0. Effective numbers need not be whole."""
    if n == 0:
        return 0.0, 1.0
    share = count / n
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def proven_share(count: int, n: int, level: float = CONFIDENCE) -> float:
    """What a count out of n claims at least: the exact one-sided bound of Clopper and Pearson (1934); 0 where n is 0.

    Exact: the true share lies below it in at most 5 % of all cases, which Wilson's interval has on average only.

    >>> round(proven_share(299, 299), 4)
    0.99
    """
    from scipy.stats import beta

    return float(beta.ppf(1 - level, count, n - count + 1)) if count else 0.0


def photos_needed(share: float, level: float = CONFIDENCE) -> int | None:
    """Photos without an error that claim a share of at least `share`; None for 1, which no number of photos claims.

    >>> photos_needed(0.99)
    299
    """
    if share >= 1:
        return None
    # n photos without an error claim (1 - level) ** (1 / n)
    return max(1, math.ceil(math.log(1 - level) / math.log(share) - 1e-9)) if share > 0 else 1


def balanced_interval(matrix: Counts, by_group: Counts | None = None) -> tuple[float, float]:
    """95 % interval of the balanced accuracy, from the Wilson interval of each class (Zou and Donner 2008, MOVER).

    Args:
        matrix: (K, K) counts.
        by_group: (G, K, K) counts of each group; None where each photo stands for itself.
    """
    rows = [row for row in recalls(matrix, by_group) if row.n]
    if not rows:
        return 0.0, 1.0
    shares = np.array([row.count / row.n for row in rows])
    ends = np.array([row.interval for row in rows])
    below, above = (float(np.sqrt(((ends[:, side] - shares) ** 2).sum())) / len(rows) for side in (0, 1))
    return max(0.0, float(shares.mean()) - below), min(1.0, float(shares.mean()) + above)


def confusion_matrix(truth: Sequence[int], predicted: Sequence[int], classes: int) -> Counts:
    """(K, K) counts: rows are the true classes, columns the predicted ones."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (np.asarray(truth, np.int64), np.asarray(predicted, np.int64)), 1)
    return matrix


def group_matrices(truth: Indices, predicted: Indices, groups: Indices, classes: int) -> Counts:
    """(G, K, K) confusion matrices of the groups, which sum up to that of all photos.

    Args:
        truth: (N,) true classes.
        predicted: (N,) answers.
        groups: (N,) indices of the groups, 0 to G - 1.
        classes: K.
    """
    found = np.zeros((int(groups.max(initial=-1)) + 1, classes, classes), np.int64)
    np.add.at(found, (groups, truth, predicted), 1)
    return found


def recalls(matrix: Counts, by_group: Counts | None = None) -> list[Share]:
    """Recall of each of the K classes."""
    row, column = np.indices(matrix.shape)
    return [_cells(matrix, by_group, (row == k) & (column == k), row == k) for k in range(len(matrix))]


def normalised(matrix: Counts) -> Floats:
    """Rows as shares of their class; a class without a photo has zeros."""
    shares: Floats = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    return shares


def balanced_accuracy(matrix: Counts) -> float:
    """Mean recall of the classes that have photos."""
    present = matrix.sum(axis=1) > 0
    return float(normalised(matrix).diagonal()[present].mean()) if present.any() else 0.0


def precision_recall_f1(matrix: Counts) -> tuple[Floats, Floats, Floats]:
    """Per class, each (K,); 0 where the denominator is 0, as scikit-learn has it."""
    hits = matrix.diagonal().astype(np.float64)
    precision = hits / np.maximum(matrix.sum(axis=0), 1)
    recall = hits / np.maximum(matrix.sum(axis=1), 1)
    f1 = 2 * hits / np.maximum(matrix.sum(axis=0) + matrix.sum(axis=1), 1)
    return precision, recall, f1


def summarise(matrix: Counts, labels: Sequence[str], by_group: Counts | None = None) -> dict[str, Any]:
    """Everything that `metrics.json` says about a confusion matrix.

    `balanced_accuracy` is None where fewer than two classes have photos: the recall of one class is none.

    Args:
        matrix: (K, K) counts.
        labels: The K names.
        by_group: (G, K, K) counts of each group of photos; None where each photo stands for itself.
    """
    precision, recall, f1 = precision_recall_f1(matrix)
    support = matrix.sum(axis=1)
    present = support > 0
    shares = support / max(1, support.sum())
    averages = {
        name: {
            "precision": float((weights * precision).sum()),
            "recall": float((weights * recall).sum()),
            "f1": float((weights * f1).sum()),
        }
        for name, weights in (("macro", present / max(1, present.sum())), ("weighted", shares))
    }
    diagonal = np.eye(len(matrix), dtype=bool)
    return {
        "n": int(matrix.sum()),
        "accuracy": _cells(matrix, by_group, diagonal, np.ones_like(diagonal)).record(),
        "balanced_accuracy": balanced_accuracy(matrix) if present.sum() > 1 else None,
        "balanced_accuracy_interval": list(balanced_interval(matrix, by_group)),
        **averages,
        "classes": {label: _class_record(matrix, by_group, k) for k, label in enumerate(labels)},
        "confusion": matrix.tolist(),
        "confusion_normalised": normalised(matrix).round(6).tolist(),
        "labels": list(labels),
        **_good_against_bad(matrix, labels, by_group),
    }


def votes(truth: Indices, voted: Indices, alone: Indices, views: int, groups: Indices | None = None) -> dict[str, Any]:
    """What `metrics.json` says of averaging over views, against the photos as they are.

    Args:
        truth: (N,) true classes.
        voted: (N,) answers of all views together.
        alone: (N,) answers without the other views.
        views: Their number.
        groups: (N,) indices of the photos' groups; None where each photo stands for itself.
    """
    right, before = voted == truth, alone == truth
    return {
        "views": views,
        "without": Share.of(before, groups).record(),
        "with": Share.of(right, groups).record(),
        "put_right": int((right & ~before).sum()),
        "put_wrong": int((before & ~right).sum()),
    }


def _cells(matrix: Counts, by_group: Counts | None, hits: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> Share:
    """Share of some cells of a confusion matrix among others, both (K, K) masks."""
    sizes = () if by_group is None else by_group[:, among].sum(axis=1)
    return Share(int(matrix[hits].sum()), int(matrix[among].sum()), tuple(int(size) for size in sizes if size))


def _class_record(matrix: Counts, by_group: Counts | None, k: int) -> dict[str, Any]:
    """Precision, recall and F1 of one class.

    F1 = 2 J / (1 + J) follows from the share J of hits among all photos that are of the class or were taken for it, and
    its interval from that of J.
    """
    row, column = np.indices(matrix.shape)
    hit, own, called = (row == k) & (column == k), row == k, column == k
    precision, recall, jaccard = (_cells(matrix, by_group, hit, among) for among in (called, own, own | called))
    return {
        "support": recall.n,
        "predicted": precision.n,
        "precision": precision.record(),
        "recall": recall.record(),
        "f1": 2 * recall.count / max(1, recall.n + precision.n),
        "f1_interval": [2 * end / (1 + end) for end in jaccard.interval],
    }


def _good_against_bad(matrix: Counts, labels: Sequence[str], by_group: Counts | None) -> dict[str, Any]:
    """False alarms (good called bad) and misses (bad called good); any other class than good counts as bad."""
    good = good_class(labels)
    if good is None:
        return {"good_class": None, "false_alarm_rate": None, "miss_rate": None}
    row, column = np.indices(matrix.shape)
    g = list(labels).index(good)
    alarms = _cells(matrix, by_group, (row == g) & (column != g), row == g)
    misses = _cells(matrix, by_group, (row != g) & (column == g), row != g)
    return {"good_class": good, "false_alarm_rate": alarms.record(), "miss_rate": misses.record()}
