"""How well the probabilities rank photos, whatever the threshold: ROC and precision-recall, one class against the rest.

A class needs photos of it and of others; where one of the two is missing, nothing is defined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Curve:
    """One class against the rest.

    Attributes:
        label: The class.
        x: (T,) false positive rate of a ROC curve, or recall, 0 to 1.
        y: (T,) true positive rate, or precision, 0 to 1.
        area: AUROC, or average precision.
        chance: Area of a ranking that knows nothing.
    """

    label: str
    x: Floats
    y: Floats
    area: float
    chance: float


@dataclass(frozen=True)
class Curves:
    """The curves of the classes that have photos of them and of others."""

    roc: Sequence[Curve]
    precision_recall: Sequence[Curve]

    @staticmethod
    def of(probabilities: Floats, truth: Indices, labels: Sequence[str]) -> Curves:
        """Of what a model said.

        Args:
            probabilities: (N, K) float64, 0 to 1.
            truth: (N,) true classes.
            labels: The K names.
        """
        return Curves(roc_curves(probabilities, truth, labels), precision_recall_curves(probabilities, truth, labels))

    def areas(self, labels: Sequence[str]) -> dict[str, Any]:
        """`auroc` and `average_precision` of `metrics.json`, each one class against the rest and their mean.

        Average precision is the sum over thresholds of precision times the gain in recall, not interpolated. The mean
        (`macro`) is over the classes that have a value; None where none has.
        """
        return {"auroc": _areas(self.roc, labels), "average_precision": _areas(self.precision_recall, labels)}


def roc_curves(probabilities: Floats, truth: Indices, labels: Sequence[str]) -> list[Curve]:
    """ROC curve of each class that has photos of it and of others; arguments as for `Curves.of`."""
    from sklearn.metrics import roc_auc_score, roc_curve

    def one(label: str, positive: npt.NDArray[np.bool_], scores: Floats) -> Curve:
        alarms, found, _ = roc_curve(positive, scores)
        return Curve(label, alarms, found, float(roc_auc_score(positive, scores)), 0.5)

    return _one_against_rest(one, probabilities, truth, labels)


def precision_recall_curves(probabilities: Floats, truth: Indices, labels: Sequence[str]) -> list[Curve]:
    """Precision against recall of each class that has photos of it and of others; arguments as for `Curves.of`."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    def one(label: str, positive: npt.NDArray[np.bool_], scores: Floats) -> Curve:
        precision, recall, _ = precision_recall_curve(positive, scores)
        return Curve(label, recall, precision, float(average_precision_score(positive, scores)), float(positive.mean()))

    return _one_against_rest(one, probabilities, truth, labels)


def _one_against_rest(
    draw: Callable[[str, npt.NDArray[np.bool_], Floats], Curve],
    probabilities: Floats,
    truth: Indices,
    labels: Sequence[str],
) -> list[Curve]:
    flags = [truth == k for k in range(len(labels))]
    return [
        draw(label, flags[k], probabilities[:, k])
        for k, label in enumerate(labels)
        if flags[k].any() and not flags[k].all()
    ]


def _areas(curves: Sequence[Curve], labels: Sequence[str]) -> dict[str, Any]:
    found = {curve.label: curve.area for curve in curves}
    return {
        "macro": float(np.mean(list(found.values()))) if found else None,
        "classes": {label: found.get(label) for label in labels},
    }
