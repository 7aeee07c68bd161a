"""Advice from counts: what to try next with this many photos; light, so that `weldgen doctor` can give it too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weldgen.classifier.local_weights import WEIGHT_CHOICES
from weldgen.classifier.settings import TrainConfig
from weldgen.data.dataset import METADATA_NAME, read_metadata
from weldgen.data.sample import Sample

# Below so many real photos a backbone that learns remembers them; above so many they need little help.
FEW_REAL, MANY_REAL = 100, 500
# Below so many a linear classifier was the better one on two of three sets of photos (docs/train.md).
LINEAR_MAY_WIN = 350
# Synthetic images for each real photo, which the default mix asks for (mix.real_ratio=0.25).
_SYNTHETIC_EACH = 3
# Share of labels that look wrong from which on they are worth a look.
_NOISY = 0.05
_SMOOTHING = 0.2
_MOST = 3


@dataclass(frozen=True)
class Facts:
    """What advice depends on.

    Attributes:
        real: Real training photos.
        synthetic: Synthetic training images.
        linear: Whether the backbone stays as it is and a linear classifier is fitted.
        frozen: Whether the whole backbone keeps its weights.
        warmed_up: Whether the backbone starts from weights that `weldgen pretrain` made.
        label_smoothing: As set.
        real_share: Share of real photos among what training draws.
        suspicious: Share of labels that a review found to look wrong; 0 without one.
    """

    real: int
    synthetic: int
    linear: bool = False
    frozen: bool = False
    warmed_up: bool = False
    label_smoothing: float = 0.0
    real_share: float = 1.0
    suspicious: float = 0.0


def advise(facts: Facts) -> list[str]:
    """At most three sentences, each only where it applies and is not followed already; the most useful first."""
    few = 0 < facts.real < FEW_REAL
    photos = f"{facts.real} real training photo{'' if facts.real == 1 else 's'}"
    found = []
    if facts.suspicious >= _NOISY and (facts.linear or facts.label_smoothing < _SMOOTHING):
        smoothing = "" if facts.linear else f"; until then training.label_smoothing={_SMOOTHING} makes them count less"
        found.append(f"{facts.suspicious:.0%} of the labels look wrong: mend them with weldgen review{smoothing}")
    if few and facts.synthetic < _SYNTHETIC_EACH * facts.real:
        found.append(f"{photos} and {facts.synthetic} synthetic images: make more with weldgen synth and a larger --n")
    if few and not facts.linear and not facts.frozen:
        found.append(
            f"{photos} are few for a backbone that learns: try weldgen train --config-name tiny_data, which fits a "
            "linear classifier on its features"
        )
    if few and not facts.linear and not facts.warmed_up:
        found.append(
            f"{photos}: weldgen pretrain, then weldgen train model.weights=models/pretrained, may help; measure it "
            "with weldgen compare"
        )
    if FEW_REAL <= facts.real < LINEAR_MAY_WIN and not facts.linear:
        found.append(
            f"{photos}: a linear classifier on fixed features takes seconds and may be as good, see weldgen compare "
            "--sweep train.training.method=finetune,linear"
        )
    if facts.real > MANY_REAL and facts.synthetic and facts.real_share < 0.5:
        found.append(f"{photos} need less help: try weldgen mix --real-ratio 0.5")
    return found[:_MOST]


def facts_of(training: Sequence[Sample], config: TrainConfig, *, linear: bool, suspicious: float = 0.0) -> Facts:
    """The facts of a training.

    Args:
        training: Samples that train.
        config: Settings of the run.
        linear: Whether a linear classifier is fitted.
        suspicious: Share of labels that look wrong.
    """
    weights = {"real": 0.0, "synthetic": 0.0}
    for sample in training:
        weights[sample.origin] += float(sample.extra.get("weight", 1.0))
    real = sum(sample.origin == "real" for sample in training)
    return Facts(
        real,
        len(training) - real,
        linear,
        config.model.freeze == "backbone",
        config.model.weights not in WEIGHT_CHOICES,
        config.training.label_smoothing,
        weights["real"] / (sum(weights.values()) or 1.0),
        suspicious,
    )


def suspicious_share(review: Path, dataset: Path) -> float:
    """Share of a dataset's labels that its review found to look wrong; 0 where it was not reviewed.

    Args:
        review: Folder that `weldgen review` wrote.
        dataset: The dataset.
    """
    path = review / "review.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if not record.get("photos") or Path(record["dataset"]).resolve() != dataset.resolve():
        return 0.0
    return float(record["issues"] / record["photos"])


def project_samples(dataset: Path) -> list[Sample]:
    """Samples that a dataset's metadata lists; none where there is no such file."""
    if not (dataset / METADATA_NAME).is_file():
        return []
    return [Sample.from_record(record) for record in read_metadata(dataset)]
