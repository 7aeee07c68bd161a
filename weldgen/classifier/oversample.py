"""Scarce classes are drawn more often in training; light, so that classes are checked before torch is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from weldgen.classifier.settings import TrainConfig
from weldgen.errors import ConfigError

BALANCED = "balanced"
Oversample = float | str | Mapping[str, float]


def check_oversample(config: TrainConfig, labels: Sequence[str], *, linear: bool) -> None:
    """Refuse a `training.oversample` that cannot be done.

    Args:
        config: Settings of the run.
        labels: Classes of the dataset.
        linear: Whether the backbone stays as it is.

    Raises:
        ConfigError: It names a class that the dataset does not have, or nothing is drawn.
    """
    asked = config.training.oversample
    if asked == 1.0:
        return
    if isinstance(asked, Mapping):
        unknown = [label for label in asked if label not in labels]
        if unknown:
            raise ConfigError(
                f"training.oversample: there is no class {', '.join(map(repr, unknown))}",
                f"the classes are {', '.join(labels)}",
            )
    if linear:
        raise ConfigError(
            f"training.oversample={asked}: training.method=linear looks at each image once and draws none",
            "training.oversample=1, or training.method=finetune",
        )


def class_factors(asked: Oversample, drawn: Sequence[float], labels: Sequence[str]) -> list[float]:
    """How many times more often the images of each class are drawn, (K,) above zero.

    Args:
        asked: `training.oversample`: the largest factor, `balanced` for any, or the factors of some classes. Without
            names, each class is brought as near as that allows to the one that is drawn most.
        drawn: How often images of each of the K classes are drawn without it, all above zero.
        labels: The K classes.
    """
    if isinstance(asked, Mapping):
        return [asked.get(label, 1.0) for label in labels]
    limit = math.inf if asked == BALANCED else float(asked)
    most = max(drawn)
    return [min(limit, most / own) for own in drawn]


def oversampled(
    weights: Sequence[float], targets: Sequence[int], labels: Sequence[str], asked: Oversample
) -> list[float]:
    """How often each image is drawn relative to the others, with the factor of its class.

    Args:
        weights: N, without it, above zero: what `mix` wrote of real and synthetic images stays as it is in each class.
        targets: The N images' indices into `labels`.
        labels: Classes, each with an image.
        asked: `training.oversample`.
    """
    factors = class_factors(asked, drawn_of(weights, targets, len(labels)), labels)
    return [weight * factors[target] for weight, target in zip(weights, targets, strict=True)]


def drawn_of(weights: Sequence[float], targets: Sequence[int], classes: int) -> list[float]:
    """How often images of each class are drawn: the sums of their weights."""
    drawn = [0.0] * classes
    for weight, target in zip(weights, targets, strict=True):
        drawn[target] += weight
    return drawn


def oversample_notes(drawn: Sequence[float], labels: Sequence[str], asked: Oversample) -> list[str]:
    """A sentence on how often each class is drawn; none where that was not changed.

    Args:
        drawn: How often images of each class are drawn, with their factors.
        labels: Classes.
        asked: `training.oversample`.
    """
    if asked == 1.0:
        return []
    shares = ", ".join(f"{label} {own / sum(drawn):.0%}" for label, own in zip(labels, drawn, strict=True))
    return [f"drawn in training: {shares} (training.oversample)"]
