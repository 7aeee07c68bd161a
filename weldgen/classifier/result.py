"""What every way of training gives back, and what it says of its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weldgen.classifier.loader import Images
from weldgen.classifier.model_file import ModelCard
from weldgen.classifier.oversample import Oversample, oversampled


@dataclass(frozen=True)
class Result:
    """What a run found.

    Attributes:
        notes: Sentences for the user.
        weights: Third-party weights in the model.
        details: For the receipt.
    """

    notes: tuple[str, ...]
    weights: tuple[Mapping[str, str], ...]
    details: Mapping[str, Any]


def draw_weights(training: Images, labels: Sequence[str], oversample: Oversample) -> list[float]:
    """How often each of N images is drawn: what `mix` wrote, else all the same, times the factor of its class.

    Args:
        training: Images with K classes.
        labels: The K classes, in the order of the targets.
        oversample: `training.oversample`.
    """
    weights = [float(sample.extra.get("weight", 1.0)) for sample in training.samples]
    return oversampled(weights, training.targets.tolist(), labels, oversample)


def seen_by(training: Images, validation: Images) -> dict[str, list[str]]:
    """Ids of the real photos, by split."""
    return {
        split: sorted(sample.id for sample in images.samples if sample.origin == "real")
        for split, images in (("train", training), ("val", validation))
    }


def details_of(card: ModelCard) -> dict[str, Any]:
    """What the receipt says of a model, however it was trained."""
    return {
        "classes": list(card.classes),
        "trained_on": {label: dict(row) for label, row in card.trained_on.items()},
        "validated_on": {label: dict(row) for label, row in card.validated_on.items()},
        "warnings": list(card.warnings),
        "backbone": card.backbone,
        "frame": list(card.frame),
        "validation": dict(card.validation),
        "temperature": card.temperature,
        "temperature_fitted_on": card.temperature_fitted_on,
        "licences": dict(card.licences),
    }
