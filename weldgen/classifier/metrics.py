"""What a confusion matrix says, in NumPy: shares with their intervals, never without n."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen.data.labels import good_class

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_Z95 = 1.959963984540054
# At which a share is claimed.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Share:
    """A count out of n, with its 95 % Wilson interval.

    Attributes:
        count: How many.
        n: Out of how many.
    """

    count: int
    n: int

    @property
    def value(self) -> float | None:
        """The share, or None where n is 0."""
        return self.count / self.n if self.n else None

    def record(self) -> dict[str, Any]:
        """What `metrics.json` keeps."""
        low, high = wilson_interval(self.count, self.n)
        return {"value": self.value, "count": self.count, "n": self.n, "low": low, "high": high}

    def __str__(self) -> str:
        low, high = wilson_interval(self.count, self.n)
        return f"{self.count} of {self.n} (95 % interval {low:.0%} to {high:.0%})"


def wilson_interval(count: int, n: int, z: float = _Z95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927); 0 to 1 where n is 0."""
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


def balanced_interval(matrix: Counts) -> tuple[float, float]:
    """95 % interval of the balanced accuracy, from the Wilson interval of each class (Zou and Donner 2008, MOVER)."""
    rows = [(int(matrix[k, k]), int(matrix[k].sum())) for k in range(len(matrix)) if matrix[k].sum()]
    if not rows:
        return 0.0, 1.0
    shares = np.array([count / n for count, n in rows])
    ends = np.array([wilson_interval(count, n) for count, n in rows])
    below, above = (float(np.sqrt(((ends[:, side] - shares) ** 2).sum())) / len(rows) for side in (0, 1))
    return max(0.0, float(shares.mean()) - below), min(1.0, float(shares.mean()) + above)


def confusion_matrix(truth: Sequence[int], predicted: Sequence[int], classes: int) -> Counts:
    """(K, K) counts: rows are the true classes, columns the predicted ones."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (np.asarray(truth, np.int64), np.asarray(predicted, np.int64)), 1)
    return matrix


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


def summarise(matrix: Counts, labels: Sequence[str]) -> dict[str, Any]:
    """Everything that `metrics.json` says about a confusion matrix.

    `balanced_accuracy` is None where fewer than two classes have photos: the recall of one class is none.

    Args:
        matrix: (K, K) counts.
        labels: The K names.
    """
    precision, recall, f1 = precision_recall_f1(matrix)
    support = matrix.sum(axis=1)
    present = support > 0
    shares = support / max(1, support.sum())
    per_class = {
        label: {
            "support": int(support[k]),
            "predicted": int(matrix[:, k].sum()),
            "precision": Share(int(matrix[k, k]), int(matrix[:, k].sum())).record(),
            "recall": Share(int(matrix[k, k]), int(support[k])).record(),
            "f1": float(f1[k]),
        }
        for k, label in enumerate(labels)
    }
    averages = {
        name: {
            "precision": float((weights * precision).sum()),
            "recall": float((weights * recall).sum()),
            "f1": float((weights * f1).sum()),
        }
        for name, weights in (("macro", present / max(1, present.sum())), ("weighted", shares))
    }
    return {
        "n": int(matrix.sum()),
        "accuracy": Share(int(matrix.trace()), int(matrix.sum())).record(),
        "balanced_accuracy": balanced_accuracy(matrix) if present.sum() > 1 else None,
        **averages,
        "classes": per_class,
        "confusion": matrix.tolist(),
        "confusion_normalised": normalised(matrix).round(6).tolist(),
        "labels": list(labels),
        **_good_against_bad(matrix, labels),
    }


def votes(truth: Sequence[int], voted: Sequence[int], alone: Sequence[int], views: int) -> dict[str, Any]:
    """What `metrics.json` says of averaging over views, against the photos as they are.

    Args:
        truth: True classes of the N photos.
        voted: Answers of all views together.
        alone: Answers without the other views.
        views: Their number.
    """
    right, before = (np.asarray(answers) == np.asarray(truth) for answers in (voted, alone))
    return {
        "views": views,
        "without": Share(int(before.sum()), len(before)).record(),
        "with": Share(int(right.sum()), len(right)).record(),
        "put_right": int((right & ~before).sum()),
        "put_wrong": int((before & ~right).sum()),
    }


def _good_against_bad(matrix: Counts, labels: Sequence[str]) -> dict[str, Any]:
    """False alarms (good called bad) and misses (bad called good); any other class than good counts as bad."""
    good = good_class(labels)
    if good is None:
        return {"good_class": None, "false_alarm_rate": None, "miss_rate": None}
    g = list(labels).index(good)
    bad = [k for k in range(len(labels)) if k != g]
    alarms = Share(int(matrix[g, bad].sum()), int(matrix[g].sum()))
    misses = Share(int(matrix[bad, g].sum()), int(matrix[bad].sum()))
    return {"good_class": good, "false_alarm_rate": alarms.record(), "miss_rate": misses.record()}
