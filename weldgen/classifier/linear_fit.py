"""Logistic regression on features, in which every class counts the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weldgen.classifier.linear_strength import STRENGTHS

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Targets = npt.NDArray[np.int64]

# Least deviation of a feature, which a dead one would not have.
_LEAST_DEVIATION = 1e-4


@dataclass(frozen=True)
class Linear:
    """Logits are `weights` @ features + `biases`; `strength` is that of its fit."""

    weights: Floats  # (K, F)
    biases: Floats  # (K,)
    strength: float = STRENGTHS[0]

    def logits(self, features: Floats) -> Floats:
        """(N, K) of (N, F)."""
        return np.asarray(features @ self.weights.T + self.biases)


def fit_rows(features: Floats, targets: Targets, rows: Flags, classes: int, strength: float = STRENGTHS[0]) -> Linear:
    """Logistic regression on standardised features; every class that is there counts the same."""
    from sklearn.linear_model import LogisticRegression

    x, y, w = features[rows], targets[rows], np.ones(int(rows.sum()))
    for label in np.unique(y):
        w[y == label] /= w[y == label].sum()
    w *= len(y) / w.sum()
    mean, deviation = x.mean(axis=0), np.maximum(x.std(axis=0), _LEAST_DEVIATION)
    model = LogisticRegression(C=strength / len(y), max_iter=2000)
    model.fit((x - mean) / deviation, y, sample_weight=w)
    coefficients, biases = np.zeros((classes, x.shape[1])), np.full(classes, -np.inf)
    if len(model.classes_) == 2:  # scikit-learn then gives one row, for the second class against the first
        rows_of = {model.classes_[0]: (-0.5 * model.coef_[0], -0.5 * model.intercept_[0])}
        rows_of[model.classes_[1]] = (0.5 * model.coef_[0], 0.5 * model.intercept_[0])
    else:
        rows_of = {label: (model.coef_[i], model.intercept_[i]) for i, label in enumerate(model.classes_)}
    for label, (row, bias) in rows_of.items():
        coefficients[label], biases[label] = row / deviation, bias - (row / deviation) @ mean
    return Linear(coefficients, biases, strength)
