"""What the folds of a cross-validation say together: shares with intervals, their spread, and signs of overfitting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen.classifier.metrics import (
    Share,
    balanced_accuracy,
    confusion_matrix,
    group_matrices,
    summarise,
    wilson_interval,
)

Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_RESAMPLES = 2000
# From this difference of two accuracies on, if chance does not explain it, the model has learned its photos by heart.
_LARGE_GAP = 0.1


@dataclass(frozen=True)
class FoldAnswers:
    """What the model of one fold said.

    Attributes:
        held_out: (n, 2) true and answered class of the photos that it never saw.
        training: (m, 2) the same of real photos that it was trained on.
        trained: What its training says of itself, for the record.
    """

    held_out: Indices
    training: Indices
    trained: Mapping[str, Any]


def fold_record(
    folds: Sequence[FoldAnswers], groups: Sequence[str], labels: Sequence[str], seed: int
) -> dict[str, Any]:
    """What `folds.json` says of the photos.

    Args:
        folds: All folds.
        groups: Group of each held-out photo, in the order of the folds; a photo without one has an own name.
        labels: The K classes.
        seed: Of the bootstrap.
    """
    pairs = np.concatenate([fold.held_out for fold in folds])
    matrix = confusion_matrix(pairs[:, 0].tolist(), pairs[:, 1].tolist(), len(labels))
    grouped = len(set(groups)) < len(groups)
    index = np.unique(np.array(groups), return_inverse=True)[1]
    by_group = group_matrices(pairs[:, 0], pairs[:, 1], index, len(labels)) if grouped else None
    found = summarise(matrix, labels, by_group)
    found["groups"] = len(set(groups))
    found["bootstrap"] = group_bootstrap(pairs, groups, labels, seed) if grouped else None
    rows = [_fold_row(fold, labels) for fold in folds]
    return {**found, "folds": len(folds), "by_fold": rows, "spread": _spread(rows), "overfitting": _overfitting(folds)}


def group_bootstrap(pairs: Indices, groups: Sequence[str], labels: Sequence[str], seed: int) -> dict[str, Any]:
    """95 % intervals where photos of one group are drawn together, because they are not independent.

    Groups are drawn anew 2000 times, of each class by itself (cluster bootstrap, Davison and Hinkley 1997). Where all
    photos of a class are right, or none, drawing them says "100 to 100 %"; then it is Wilson's interval with groups
    counted instead of photos.

    Args:
        pairs: (N, 2) true and answered classes.
        groups: Their N groups.
        labels: The K classes.
        seed: Of the draws.

    Returns:
        `recall` by class and `balanced_accuracy`: `[low, high]` each; None where a class has fewer than two groups,
        and of the balanced accuracy where a class was not drawn.
    """
    rng = np.random.default_rng(seed)
    index = np.unique(np.array(groups), return_inverse=True)[1]
    recalls: dict[str, list[float] | None] = {}
    drawn = []
    for label, name in enumerate(labels):
        own = pairs[:, 0] == label
        if not own.any():
            continue
        places = np.unique(index[own], return_inverse=True)[1]
        seen = np.bincount(places)
        right = np.bincount(places, weights=pairs[own, 1] == label)
        if len(seen) < 2:
            recalls[name] = None
            continue
        if right.sum() in (0, seen.sum()):
            recalls[name] = list(wilson_interval(len(seen) if right.sum() else 0, len(seen)))
            continue
        counts = rng.multinomial(len(seen), np.full(len(seen), 1 / len(seen)), size=_RESAMPLES)
        drawn.append((counts @ right) / (counts @ seen))
        recalls[name] = _ends(drawn[-1])
    whole = len(drawn) == sum(bool((pairs[:, 0] == k).any()) for k in range(len(labels))) and len(drawn) > 1
    return {
        "resamples": _RESAMPLES,
        "recall": recalls,
        "balanced_accuracy": _ends(np.mean(drawn, axis=0)) if whole else None,
    }


def _ends(values: npt.NDArray[np.float64]) -> list[float]:
    return [float(value) for value in np.quantile(values, [0.025, 0.975])]


def _fold_row(fold: FoldAnswers, labels: Sequence[str]) -> dict[str, Any]:
    matrix = confusion_matrix(fold.held_out[:, 0].tolist(), fold.held_out[:, 1].tolist(), len(labels))
    support = matrix.sum(axis=1)
    training = _share(fold.training)
    accuracy = _share(fold.held_out)
    gap = None if training.value is None or accuracy.value is None else training.value - accuracy.value
    return {
        **fold.trained,
        "held_out": {label: int(support[k]) for k, label in enumerate(labels)},
        "accuracy": accuracy.record(),
        "balanced_accuracy": balanced_accuracy(matrix) if (support > 0).sum() > 1 else None,
        "training_accuracy": training.record(),
        "gap": gap,
    }


def _share(pairs: Indices) -> Share:
    return Share(int((pairs[:, 0] == pairs[:, 1]).sum()), len(pairs))


def _spread(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean, standard deviation and ends over the folds; of the balanced accuracy over those with two classes."""
    by_name = {
        "accuracy": [row["accuracy"]["value"] for row in rows],
        "balanced_accuracy": [row["balanced_accuracy"] for row in rows if row["balanced_accuracy"] is not None],
    }
    return {
        name: {
            "folds": len(values),
            "mean": float(np.mean(values)),
            "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else None,
            "least": min(values),
            "most": max(values),
        }
        for name, values in by_name.items()
        if values
    }


def _overfitting(folds: Sequence[FoldAnswers]) -> dict[str, Any]:
    """Training accuracy against out-of-fold accuracy, over all folds.

    Chance explains a gap whose interval holds 0 (Newcombe 1998, from the Wilson intervals of both shares). A photo
    trains in several folds and counts once.
    """
    learned = _share(np.concatenate([fold.training for fold in folds]))
    held = _share(np.concatenate([fold.held_out for fold in folds]))
    training, out_of_fold = learned.value or 0.0, held.value or 0.0
    low, _ = wilson_interval(round(training * held.n), held.n)
    _, high = wilson_interval(held.count, held.n)
    gap = training - out_of_fold
    beyond_chance = gap > math.hypot(training - low, high - out_of_fold)
    return {
        "training_accuracy": training,
        "out_of_fold_accuracy": out_of_fold,
        "gap": gap,
        "beyond_chance": beyond_chance,
        "large": beyond_chance and gap >= _LARGE_GAP,
    }


def overfitting_sentence(record: Mapping[str, Any]) -> str:
    """Whether the models know their own photos better than others.

    Args:
        record: The part `overfitting` of `folds.json`.
    """
    numbers = (
        f"right on {record['training_accuracy']:.1%} of the real photos that they were trained on and on "
        f"{record['out_of_fold_accuracy']:.1%} of those held out"
    )
    if record["large"]:
        return (
            f"overfitting: the models are {numbers}; more photos, stronger augmentation, more frozen stages "
            "(model.freeze_stages) or fewer epochs narrow the gap"
        )
    if record["beyond_chance"]:
        return f"a small gap: the models are {numbers}"
    return f"no sign of overfitting: the models are {numbers}, which chance can explain"


def fold_notes(record: Mapping[str, Any]) -> list[str]:
    """Sentences on what `fold_record` gave."""
    accuracy, spread = record["accuracy"], record["spread"]
    balanced = record["balanced_accuracy"]
    low, high = record["balanced_accuracy_interval"]
    more = "" if balanced is None else f"; balanced accuracy {balanced:.1%} ({low:.0%} to {high:.0%})"
    notes = [f"out-of-fold accuracy: {Share(accuracy['count'], accuracy['n'])}{more}"]
    for label, values in record["classes"].items():
        share = values["recall"]
        ends = (record["bootstrap"] or {"recall": {}})["recall"].get(label)
        grouped = f"; {ends[0]:.0%} to {ends[1]:.0%} where groups are drawn together" if ends else ""
        said = f"recall of {label}: {Share(share['count'], share['n'])}{grouped}" if share["n"] else ""
        notes.append(said or f"no real photo of {label} was held out: nothing is known about it")
    over = spread["accuracy"]
    deviation = "" if over["deviation"] is None else f", standard deviation {over['deviation']:.1%}"
    notes.append(
        f"accuracy over {over['folds']} folds: mean {over['mean']:.1%}{deviation}, from {over['least']:.1%} to "
        f"{over['most']:.1%}"
    )
    return [*notes, overfitting_sentence(record["overfitting"])]
