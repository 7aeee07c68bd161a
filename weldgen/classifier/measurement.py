"""Everything that is measured of a model's answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from weldgen.classifier.bootstrap import bootstrap
from weldgen.classifier.curves import Curves
from weldgen.classifier.evaluation_notes import group_notes, quality_notes, tta_notes
from weldgen.classifier.grouping import GROUP, by_field
from weldgen.classifier.metrics import Indices, confusion_matrix, group_matrices, summarise, votes
from weldgen.classifier.operating_point import OperatingPoint, decide, measure_point, point_notes
from weldgen.classifier.predictions import Prediction, as_arrays
from weldgen.classifier.reliability import reliability
from weldgen.classifier.targets import Target, judge, target_notes, unmet_sentence


@dataclass(frozen=True)
class Answered:
    """Photos with what the model said of them.

    Attributes:
        predictions: The N answers.
        classes: Names of the K classes, in the order of the probabilities.
        groups: (N,) number of each photo's group, 0 to G - 1; photos of one group are not independent.
        field: What the photos are told apart by; empty: nothing.
        values: What each photo says in that field; empty where there is none.
    """

    predictions: Sequence[Prediction]
    classes: tuple[str, ...]
    groups: Indices
    field: str = ""
    values: Sequence[str] = ()


@dataclass(frozen=True)
class Asked:
    """How they were asked, and what they have to reach.

    Attributes:
        split: Split of the photos.
        views: Views of each photo.
        point: How the model decides; None where the most probable class wins.
        targets: What has to be reached.
        seed: Of what is drawn.
    """

    split: str
    views: int
    point: OperatingPoint | None
    targets: dict[str, Target]
    seed: int


@dataclass(frozen=True)
class Measurement:
    """What was found.

    Attributes:
        metrics: What `metrics.json` holds.
        notes: Sentences on what is special.
        predictions: The answers with what the operating point decides.
        curves: How well the probabilities rank the photos.
    """

    metrics: dict[str, Any]
    notes: list[str]
    predictions: list[Prediction]
    curves: Curves


def measure(answered: Answered, asked: Asked) -> Measurement:
    """Measure a model's answers; of no photo there is nothing but what the targets miss."""
    predictions, classes, groups = answered.predictions, answered.classes, answered.groups
    probabilities, truth = as_arrays(predictions, classes)
    voted, alone = (
        np.array([classes.index(getattr(p, name)) for p in predictions], np.int64) for name in ("predicted", "alone")
    )
    by_group = group_matrices(truth, voted, groups, len(classes))
    matrix = confusion_matrix(truth.tolist(), voted.tolist(), len(classes))
    metrics, notes = summarise(matrix, classes, by_group), list[str]()
    metrics |= {"groups": len(by_group), "bootstrap": bootstrap(by_group, classes, asked.seed)}
    curves = Curves.of(probabilities, truth, classes)
    metrics |= {**curves.areas(classes), "calibration": reliability(probabilities, truth)}
    notes += quality_notes(metrics) if predictions else []
    if answered.field:
        # Of one group its own photos are all there is to know; of another field's value, groups are what was drawn.
        apart = None if answered.field == GROUP else groups
        metrics["by_group"] = {
            "field": answered.field, "rows": by_field(answered.values, truth, voted, classes, apart)
        }  # fmt: skip
        notes += group_notes(metrics["by_group"])
    if asked.views > 1 and predictions:
        metrics["tta"] = votes(truth, voted, alone, asked.views, groups)
        notes += tta_notes(metrics["tta"])
    if asked.point and predictions:
        decided = decide(asked.point.decision, probabilities, classes)
        metrics["operating"] = measure_point(asked.point, decided, truth, classes, groups)
        notes += point_notes(metrics["operating"], asked.split)
        predictions = [
            replace(prediction, decided=classes[answer], abstained=bool(unsure))
            for prediction, answer, unsure in zip(predictions, decided.predicted, decided.abstained, strict=True)
        ]
    if asked.targets:
        metrics["targets"] = judge(asked.targets, metrics)
        notes += target_notes(metrics["targets"])
        unmet = unmet_sentence(metrics["targets"])
        metrics |= {"unmet": unmet} if unmet else {}
    return Measurement(metrics, notes, list(predictions), curves)
