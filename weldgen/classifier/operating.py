"""The operating point: the threshold and the abstention that a shop asks for, chosen on validation photos.

Everything here is arrays in, numbers out. A border is put half-way between the photos that it divides: then a small
difference of a probability, as between torch and an exported file, changes no answer, and the border does not lean to
the photos of either side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from weldgen.config import Config, did_you_mean
from weldgen.data.labels import good_class
from weldgen.decision import Decision
from weldgen.errors import ConfigError

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

# Counts are compared with shares of n: 0.95 * 20 must be 19.
_SLACK = 1e-9
# Probabilities that are 0 or 1 in float32 would be infinitely far from any threshold.
_LEAST = 1e-12
# A threshold that no probability reaches.
_NEVER = 1.0 + 1e-6


class OperatingSettings(Config):
    """What the model's answers have to fulfil."""

    positive: str = Field("", description="class that must not be missed; empty: the one that is not sound")
    min_recall: float = Field(0.0, ge=0, le=1, description="share of its photos that must be found; 0: off")
    max_false_reject: float = Field(0.0, ge=0, lt=1, description="share of others that may be taken for it; 0: off")
    abstain: float = Field(0.0, ge=0, lt=1, description="share of photos that may be handed to a person; 0: none")

    @model_validator(mode="after")
    def _check(self) -> OperatingSettings:
        if self.min_recall and self.max_false_reject:
            raise ValueError(
                f"min_recall={self.min_recall:g} and max_false_reject={self.max_false_reject:g} both ask for the "
                "threshold; set one of them"
            )
        return self

    @property
    def bounded(self) -> bool:
        """Whether a threshold is asked for."""
        return bool(self.min_recall or self.max_false_reject)

    @property
    def wanted(self) -> bool:
        """Whether anything is asked for."""
        return self.bounded or self.abstain > 0


def positive_class(settings: OperatingSettings, classes: Sequence[str]) -> str:
    """The class that the threshold decides on; empty where the most probable class wins.

    Raises:
        ConfigError: It is none of the classes, or a threshold is asked for and nobody says of which class.
    """
    if not settings.bounded:
        return ""
    if settings.positive:
        if settings.positive not in classes:
            raise ConfigError(
                f"operating.positive={settings.positive}: the model knows {', '.join(classes)}",
                did_you_mean(settings.positive, list(classes)),
            )
        return settings.positive
    good = good_class(classes)
    if len(classes) != 2 or good is None:
        raise ConfigError(
            f"a threshold is asked for, but which of {', '.join(classes)} must not be missed?",
            "operating.positive=CLASS",
        )
    return classes[0] if classes[1] == good else classes[1]


def choose_decision(
    probabilities: Floats, truth: Indices, classes: tuple[str, ...], settings: OperatingSettings
) -> Decision:
    """The decision that fulfils the settings on these photos.

    Args:
        probabilities: (N, K) of validation photos; with a threshold, of the positive class and others.
        truth: (N,) true classes.
        classes: The K names.
        settings: What is asked for.
    """
    positive = positive_class(settings, classes)
    if not positive:
        return Decision(confidence=choose_confidence(probabilities.max(axis=1), settings.abstain))
    index = classes.index(positive)
    shares, hits = probabilities[:, index], truth == index
    threshold = choose_threshold(shares, hits, settings)
    return Decision(positive, threshold, choose_band(shares, threshold, settings.abstain))


def choose_threshold(shares: Floats, positive: npt.NDArray[np.bool_], settings: OperatingSettings) -> float:
    """The threshold that keeps what is asked for and gives away least of the other.

    Of all thresholds that find as many as asked for, those with the fewest false alarms, and of these the one that
    finds most; with a share of false rejects the other way round. So a recall of 90 % costs no find where all photos
    are told apart.

    Args:
        shares: (N,) probability of the positive class.
        positive: (N,) whether a photo is of that class.
        settings: `min_recall` or `max_false_reject`.
    """
    levels = np.unique(shares)
    top = (levels[-1] + 1) / 2 if levels[-1] < 1 else _NEVER
    ends = np.concatenate([[levels[0] / 2], (levels[:-1] + levels[1:]) / 2, [top]])
    found = np.array([(shares[positive] >= end).sum() for end in ends])
    alarms = np.array([(shares[~positive] >= end).sum() for end in ends])
    if settings.min_recall:
        kept = found >= settings.min_recall * positive.sum() - _SLACK
        return float(ends[kept & (alarms == alarms[kept].min())].min())
    kept = alarms <= settings.max_false_reject * (~positive).sum() + _SLACK
    return float(ends[kept & (found == found[kept].max())].max())


def choose_band(shares: Floats, threshold: float, abstain: float) -> tuple[float, float] | None:
    """Probabilities around the threshold that hold at most a share of the photos; None where they hold none.

    How near a photo is counts in logits: from 0.02 to 0.01 is as far as from 0.98 to 0.99, and so a low threshold has
    a band on both sides.

    Args:
        shares: (N,) probability of the positive class.
        threshold: The threshold.
        abstain: Share of the photos, 0 to 1.
    """
    middle = _logit(threshold)
    reach = _reach(np.abs(np.array([_logit(share) for share in shares]) - middle), abstain)
    if reach is None:
        return None
    low, high = (1 / (1 + math.exp(-(middle + side * reach))) for side in (-1, 1))
    return low, high


def choose_confidence(confidences: Floats, abstain: float) -> float:
    """The confidence below which at most a share of the photos lies; 0 where none does."""
    cut = _reach(confidences, abstain)
    return 0.0 if cut is None else cut


def _reach(distances: Floats, share: float) -> float | None:
    """A border below which at most a share of the (N,) distances lies, as many as that allows; None where none does."""
    allowed = int(share * len(distances) + _SLACK)
    levels, counts = np.unique(distances, return_counts=True)
    kept = int((counts.cumsum() <= allowed).sum())  # equal photos are handed over together or not at all
    if kept == 0:
        return None
    return float(levels[kept - 1 : kept + 1].mean())


def _logit(share: float) -> float:
    inside = min(max(float(share), _LEAST), 1 - _LEAST)
    return math.log(inside / (1 - inside))
