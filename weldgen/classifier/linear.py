"""A linear classifier on the features of a backbone that stays as it is: for classes with next to no real photos.

With one to three real photos of a class, a backbone that learns remembers them: measured on weld beads (one sound
photo, two bad ones, 600 synthetic images), fine-tuning ranked almost all other photos right, but called most sound ones
bad, with certainty. The linear classifier errs less. Three things made it good there (benchmarks/few_photos.py):

- Pores and cracks are small: what counts are the worst cells of a fine map, which the masks of synthetic defects teach
  (`weldgen.classifier.cells`), or, without masks, each feature's maximum over the image (`model.pool`). (With ten
  photos of each class the means of several layers are better: `weldgen.classifier.layers`.)
- The few real photos count as one image each. Counted as a quarter of all, whatever sets one photo apart from another,
  such as rust on the plate, becomes a mark of its class.
- What is left is mostly one shift: real photos look a little more like defective welds than synthetic images do, since
  all that is unusual does. It is measured with photos of sound welds that the classifier has not seen, and taken off.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from weldgen.classifier.calibrate import MIN_PHOTOS
from weldgen.classifier.cells import CELLS
from weldgen.classifier.judges import Judges, aside_notes, choose_judges, judged_temperature, logits_of
from weldgen.classifier.linear_features import features_of, open_features
from weldgen.classifier.linear_strength import STRENGTHS, choose_strength
from weldgen.classifier.loader import Images
from weldgen.classifier.metrics import balanced_accuracy, confusion_matrix
from weldgen.classifier.model_file import ModelCard, by_origin, licences, save_model
from weldgen.classifier.network import WeldNetwork
from weldgen.classifier.result import Result, details_of, seen_by
from weldgen.classifier.settings import TrainConfig
from weldgen.data.labels import good_class
from weldgen.data.sample import Sample
from weldgen.runtime import derive_seed, evenly, log

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Targets = npt.NDArray[np.int64]

# Least deviation of a feature, which a dead one would not have.
_LEAST_DEVIATION = 1e-4
# Photos of a class that are left out in turn; each costs a fit.
_MOST_LEFT_OUT = 20
# What real photos are off by as a rule, as a share of the way from sound to defective synthetic welds, and how many
# photos it counts for. Measured on weld photos: four sound ones, left out in turn, lay at 0.49 to 0.64 of the way.
_USUAL_SHARE, _USUAL_WEIGHT = 0.5, 2.0


@dataclass(frozen=True)
class _Linear:
    """Logits are `weights` @ features + `biases`; `strength` is that of its fit."""

    weights: Floats  # (K, F)
    biases: Floats  # (K,)
    strength: float = STRENGTHS[0]

    def logits(self, features: Floats) -> Floats:
        """(N, K) of (N, F)."""
        return np.asarray(features @ self.weights.T + self.biases)


def fit_linear(
    training: Images, validation: Images, labels: Sequence[str], *, out: Path, device: str, config: TrainConfig
) -> Result:
    """Fit the classifier and write the model; see `weldgen.classifier.run.fit`."""
    started = time.monotonic()
    torch.manual_seed(derive_seed(config.seed, "weights"))
    network, backbone, settings = open_features(training, labels, config, device)
    judges = choose_judges(training, validation)
    features = features_of(network, training)
    # Of few features each may count for what it is worth.
    strength = STRENGTHS[-1] if settings.layers == CELLS else choose_strength(
        lambda rows, strength: _fit(features, training.targets, rows, len(labels), strength).logits(features),
        training.targets, training.samples, config.seed,
    )  # fmt: skip
    fitted = _fit(features, training.targets, np.ones(len(training), bool), len(labels), strength)
    aside = features_of(network, judges.aside), judges.aside.targets
    shift, notes = _shift(fitted, features, training, labels, aside)
    _install(network, replace(fitted, biases=fitted.biases - shift))
    validation_record = _judge(network, judges)
    temperature, fitted_on = judged_temperature(network, judges)
    card = ModelCard(
        classes=tuple(labels),
        frame=training.frame,
        backbone=backbone.name,
        features=backbone.features,
        mean=backbone.mean,
        std=backbone.std,
        settings=settings.model_dump(mode="json"),
        temperature=temperature,
        temperature_fitted_on=fitted_on,
        trained_on=by_origin(training.samples),
        validated_on=by_origin(judges.images.samples),
        warnings=(judges.warning,) if judges.warning else (),
        seen=seen_by(training, validation),
        licences=licences(training.samples, backbone.weights),
        validation=validation_record,
    )
    save_model(out, network, card)
    first = "a linear classifier on the backbone's features, which stay as they are"
    if settings.layers == CELLS:
        first += ", of the photo's worst cells, which the masks of synthetic defects teach"
    if config.training.method == "auto":
        first = f"few real photos of a class: {first} (training.method=finetune trains them)"
    said = [*backbone.notes, first, *notes]
    if not backbone.weights:
        said.append("random weights that do not learn see little: use pre-trained ones, or training.method=finetune")
    if validation_record:
        said.append(f"balanced accuracy {validation_record['val_balanced_accuracy']:.1%} on the {judges.name}")
    if not fitted_on:
        said.append(f"confidence is not calibrated: that takes {MIN_PHOTOS} real validation photos")
    seconds = round(time.monotonic() - started, 1)
    details = details_of(card) | {
        "method": "linear", "learning_share": 0.0, "epochs": 0, "best_epoch": 0, "steps": 0,
        "training_seconds": seconds,
    }  # fmt: skip
    return Result((*said, *aside_notes(network, judges.aside, "which also set the border")), backbone.weights, details)


def _fit(features: Floats, targets: Targets, rows: Flags, classes: int, strength: float = STRENGTHS[0]) -> _Linear:
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
    return _Linear(coefficients, biases, strength)


def _shift(
    fitted: _Linear, features: Floats, training: Images, labels: Sequence[str], unseen: tuple[Floats, Targets]
) -> tuple[Floats, list[str]]:
    """What to take off the logits because real photos do not look like synthetic images of their class.

    Real photos are judged by a classifier that saw neither them nor an image made from them: those of validation, and
    those of training each left out in turn. By how much their logits are off from those of the synthetic images of
    their class is taken for common to all classes. Where one class is that of sound welds, its photos alone judge: how
    far the others are off tells how severe their defects are. The only training photo of a class is not left out, for
    without it the classifier is quite another. The fewer photos there are, the more counts what is usual: see `_usual`.

    Args:
        fitted: The classifier of all training images.
        features: (N, F) of the training images.
        training: The training images.
        labels: Names of the K classes.
        unseen: (V, F) features of real validation photos, and their classes, (V,).

    Returns:
        (K,) and sentences for the user.
    """
    classes = len(labels)
    made = _synthetic(training)
    if len(np.unique(training.targets[made])) < classes:
        return np.zeros(classes), []
    logits = fitted.logits(features)
    centres = np.stack([logits[made & (training.targets == label)].mean(axis=0) for label in range(classes)])
    good = good_class(labels)
    off, count = [], 0
    for label, name in enumerate(labels):
        if good not in (None, name):
            continue
        rows = np.flatnonzero(~made & (training.targets == label)).tolist()
        left_out = evenly(rows, _MOST_LEFT_OUT) if len(rows) > 1 else []
        judged = [_off(features, training, row, classes, fitted.strength) for row in left_out]
        known = [value for value in judged if value is not None]
        known += list(fitted.logits(unseen[0][unseen[1] == label]) - centres[label])
        if known:
            off.append(np.mean(known, axis=0))
            count += len(known)
        log.debug("real photos of %s are off by %s", name, [value.round(2).tolist() for value in known])
    usual = _usual(centres, labels)
    if not count and not usual.any():
        return np.zeros(classes), []
    measured = np.mean(off, axis=0) if off else np.zeros(classes)
    found = (count * measured + _USUAL_WEIGHT * usual) / (count + _USUAL_WEIGHT)
    note = f"the border between the classes was set by {count} real photos that did not train, or were left out in turn"
    if not count:
        note = "the border between the classes is where it usually lies: too few real photos say otherwise"
    return np.asarray(found - found.mean()), [note]


def _off(features: Floats, training: Images, row: int, classes: int, strength: float) -> Floats | None:
    """By how much the logits of a real photo are off from the synthetic images of its class, (K,)."""
    kept = np.array([not _related(sample, training.samples[row]) for sample in training.samples])
    made = kept & _synthetic(training) & (training.targets == training.targets[row])
    if len(np.unique(training.targets[kept])) < classes or not made.any():
        return None
    logits = _fit(features, training.targets, kept, classes, strength).logits(features)
    return np.asarray(logits[row] - logits[made].mean(axis=0))


def _usual(centres: Floats, labels: Sequence[str]) -> Floats:
    """What real photos are off by as a rule, (K,): some way from sound welds to defective ones.

    Synthetic sound welds are cleaner than any weld of a shop. Where no class is that of sound welds, 0.
    """
    good = good_class(labels)
    if good is None:
        return np.zeros(len(labels))
    sound = list(labels).index(good)
    others = np.delete(centres, sound, axis=0).mean(axis=0)
    return np.asarray(_USUAL_SHARE * (others - centres[sound]))


def _synthetic(training: Images) -> Flags:
    return np.array([sample.origin != "real" for sample in training.samples])


def _related(sample: Sample, photo: Sample) -> bool:
    same = sample.id == photo.id or (bool(photo.group) and sample.group == photo.group)
    return same or photo.id in sample.parents


def _install(network: WeldNetwork, linear: _Linear) -> None:
    """Put the classifier into the network's head."""
    head: Any = network.head
    device = network.mean.device
    with torch.no_grad():
        head.linear.weight.copy_(torch.from_numpy(linear.weights).float().to(device))
        head.linear.bias.copy_(torch.from_numpy(np.nan_to_num(linear.biases, neginf=-1e4)).float().to(device))


def _judge(network: WeldNetwork, judges: Judges) -> dict[str, float]:
    """Accuracy on the images that judge; empty where there are none."""
    if not len(judges.images):
        return {}
    logits, classes = logits_of(network, judges.images)
    matrix = confusion_matrix(classes.tolist(), logits.argmax(dim=1).tolist(), logits.shape[1])
    return {
        "val_accuracy": float(matrix.trace() / matrix.sum()),
        "val_balanced_accuracy": balanced_accuracy(matrix),
    }
