"""What a backbone is, wherever it comes from: a network that turns images into features, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from timm.layers import SelectAdaptivePool2d
from torch import nn

from weldgen.errors import ConfigError

# How the map of features becomes one vector, as timm calls it.
AVERAGE, MAXIMUM = "avg", "max"
RANDOM_NOTE = "the backbone starts from random weights"
# What stands in the names of licences that forbid commercial use: Creative Commons' NC, Meta's, Apple's for research.
_NON_COMMERCIAL = ("-nc", "noncommercial", "seer", "amlr")


@dataclass(frozen=True)
class Backbone:
    """A feature extractor.

    Attributes:
        model: Network that turns (B, 3, S, S) normalised images into (B, F) features.
        name: timm name, or `torchvision/` and torchvision's.
        features: F.
        mean: Normalisation, for RGB from 0 to 1.
        std: Normalisation, for RGB from 0 to 1.
        weights: Records of the third-party weights in it: `{"id", "licence"}`; empty where they are random.
        notes: What was chosen and what would be better.
    """

    model: nn.Module
    name: str
    features: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights: tuple[Mapping[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def licence_notes(name: str, licence: str) -> tuple[str, ...]:
    """Sentences on the licence of a backbone's weights."""
    note = f"backbone: {name}, weights under {licence}"
    if any(part in licence.lower() for part in _NON_COMMERCIAL):
        instead = "convnext_nano.in12k_ft_in1k is a stand-in under Apache-2.0"
        return note, f"{licence} forbids commercial use; {instead}"
    return (note,)


def has_map(backbone: Backbone) -> bool:
    """Whether a backbone makes a map of features, which can be pooled by its mean or by its maximum."""
    model: Any = backbone.model
    pool = getattr(getattr(model, "head", model), "global_pool", None) or getattr(model, "global_pool", None)
    return isinstance(pool, SelectAdaptivePool2d)


def set_pool(backbone: Backbone, pool: str) -> None:
    """Choose how the map of features becomes one vector.

    Args:
        backbone: Changed in place.
        pool: `avg`, as backbones come, or `max`.

    Raises:
        ConfigError: It makes no map.
    """
    if pool == AVERAGE:
        return
    if not has_map(backbone):
        raise ConfigError(f"model.pool={pool}: {backbone.name} makes no map of features to pool", "model.pool=avg")
    model: Any = backbone.model
    model.reset_classifier(0, pool)


def no_drop_path(name: str) -> ConfigError:
    """The error for a network that has no blocks to leave out."""
    return ConfigError(
        f"model.drop_path: {name} has no stochastic depth", "model.drop_path=0, or model.drop_rate, which every one has"
    )
