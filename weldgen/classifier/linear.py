"""A linear classifier on the features of a backbone that stays as it is: for classes with next to no real photos.

With one to three real photos of a class, a backbone that learns remembers them: measured on weld beads (one sound
photo, two bad ones, 600 synthetic images), fine-tuning ranked almost all other photos right, but called most sound ones
bad, with certainty. The linear classifier errs less, and what is left is mostly one shift: real photos look a little
more like one class than synthetic images do. It is measured with the real photos themselves, each left out in turn
with all synthetic images that were made from it, and taken off.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from weldgen.classifier.backbones import create_backbone
from weldgen.classifier.calibrate import MIN_PHOTOS
from weldgen.classifier.judges import Judges, aside_notes, choose_judges, logits_of
from weldgen.classifier.loader import Images, ValidationSet
from weldgen.classifier.metrics import balanced_accuracy, confusion_matrix
from weldgen.classifier.model_file import ModelCard, by_origin, licences, save_model
from weldgen.classifier.network import WeldNetwork
from weldgen.classifier.result import Result, details_of, draw_weights, seen_by
from weldgen.classifier.settings import TrainConfig
from weldgen.data.sample import Sample
from weldgen.runtime import derive_seed, evenly, log

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_BATCH = 16
# Inverse strength of the weights' decay, for a mean loss: strong, for there are more features than images.
_STRENGTH = 0.9
# Least deviation of a feature, which a dead one would not have.
_LEAST_DEVIATION = 1e-4
# Photos that are left out in turn; each costs a fit.
_MOST_LEFT_OUT = 40


@dataclass(frozen=True)
class _Linear:
    """Logits are `weights` @ features + `biases`."""

    weights: Floats  # (K, F)
    biases: Floats  # (K,)

    def logits(self, features: Floats) -> Floats:
        """(N, K) of (N, F)."""
        return np.asarray(features @ self.weights.T + self.biases)


def fit_linear(
    training: Images, validation: Images, labels: Sequence[str], *, out: Path, device: str, config: TrainConfig
) -> Result:
    """Fit the classifier and write the model; see `weldgen.classifier.run.fit`."""
    started = time.monotonic()
    torch.manual_seed(derive_seed(config.seed, "weights"))
    backbone = create_backbone(config.model.backbone, config.model.weights, training.frame)
    settings = config.model.model_copy(update={"head": "unit_softmax", "embedding_size": backbone.features})
    network = WeldNetwork(backbone.model, backbone.features, (backbone.mean, backbone.std), settings, len(labels))
    judges = choose_judges(training, validation)
    features = _features(network.to(device), training)
    weights = np.array(draw_weights(training))
    everything = np.ones(len(training), bool)
    fitted = _fit(features, training.targets, weights, everything, len(labels))
    shift, notes = _shift(features, training, weights, len(labels))
    _install(network, _Linear(fitted.weights, fitted.biases + shift))
    validation_record = _judge(network, judges)
    card = ModelCard(
        classes=tuple(labels),
        frame=training.frame,
        backbone=backbone.name,
        features=backbone.features,
        mean=backbone.mean,
        std=backbone.std,
        settings=settings.model_dump(mode="json"),
        trained_on=by_origin(training.samples),
        validated_on=by_origin(judges.images.samples),
        warnings=(judges.warning,) if judges.warning else (),
        seen=seen_by(training, validation),
        licences=licences(training.samples, backbone.weights),
        validation=validation_record,
    )
    save_model(out, network, card)
    first = "few real photos of a class: a linear classifier on the backbone's features, which stay as they are"
    said = [*backbone.notes, first + " (training.method=finetune trains them)", *notes]
    if validation_record:
        said.append(f"balanced accuracy {validation_record['val_balanced_accuracy']:.1%} on the {judges.name}")
    said.append(f"confidence is not calibrated: that takes {MIN_PHOTOS} real validation photos")
    seconds = round(time.monotonic() - started, 1)
    details = details_of(card) | {
        "method": "linear", "learning_share": 0.0, "epochs": 0, "best_epoch": 0, "steps": 0,
        "training_seconds": seconds,
    }  # fmt: skip
    return Result((*said, *aside_notes(network, judges.aside)), backbone.weights, details)


@torch.inference_mode()
def _features(network: WeldNetwork, images: Images) -> Floats:
    """(N, F) features of the backbone, each row of length 1, as the head sees them."""
    device = network.mean.device
    network.eval()
    parts = []
    for batch, _ in DataLoader(ValidationSet(images), batch_size=_BATCH):
        parts.append(network.features(batch.to(device)).float().cpu().numpy())
    rows = np.concatenate(parts).astype(np.float64)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def _fit(features: Floats, targets: npt.NDArray[np.int64], weights: Floats, rows: Flags, classes: int) -> _Linear:
    """Logistic regression on standardised features; every class that is there counts the same."""
    from sklearn.linear_model import LogisticRegression

    x, y, w = features[rows], targets[rows], weights[rows].copy()
    for label in np.unique(y):
        w[y == label] /= w[y == label].sum()
    w *= len(y) / w.sum()
    mean, deviation = x.mean(axis=0), np.maximum(x.std(axis=0), _LEAST_DEVIATION)
    model = LogisticRegression(C=_STRENGTH / len(y), max_iter=2000)
    model.fit((x - mean) / deviation, y, sample_weight=w)
    coefficients, biases = np.zeros((classes, x.shape[1])), np.full(classes, -np.inf)
    if len(model.classes_) == 2:  # scikit-learn then gives one row, for the second class against the first
        rows_of = {model.classes_[0]: (-0.5 * model.coef_[0], -0.5 * model.intercept_[0])}
        rows_of[model.classes_[1]] = (0.5 * model.coef_[0], 0.5 * model.intercept_[0])
    else:
        rows_of = {label: (model.coef_[i], model.intercept_[i]) for i, label in enumerate(model.classes_)}
    for label, (row, bias) in rows_of.items():
        coefficients[label], biases[label] = row / deviation, bias - (row / deviation) @ mean
    return _Linear(coefficients, biases)


def _shift(features: Floats, training: Images, weights: Floats, classes: int) -> tuple[Floats, list[str]]:
    """What to add to the logits so that the borders lie in the middle between the real photos of the classes.

    Each real photo is judged by a classifier that saw neither it nor an image made from it. Where a class has no real
    photo, nothing can be said of the border, and it stays.

    Returns:
        (K,) and sentences for the user.
    """
    rows_of: dict[int, list[int]] = {label: [] for label in range(classes)}
    for row, sample in enumerate(training.samples):
        if sample.origin == "real":
            rows_of[int(training.targets[row])].append(row)
    real = [row for own in rows_of.values() for row in evenly(own, max(1, _MOST_LEFT_OUT // classes))]
    if not all(rows_of.values()):
        return np.zeros(classes), []
    logits: dict[int, list[Floats]] = {label: [] for label in range(classes)}
    for row in real:
        kept = np.array([not _related(sample, training.samples[row]) for sample in training.samples])
        if len(np.unique(training.targets[kept])) < classes:
            continue
        judged = _fit(features, training.targets, weights, kept, classes)
        logits[int(training.targets[row])].append(judged.logits(features[row : row + 1])[0])
    if not all(logits.values()):
        return np.zeros(classes), []
    centres = np.stack([np.mean(logits[label], axis=0) for label in range(classes)])  # (K, K)
    shift = _balanced(centres)
    log.debug("real photos left out lie at %s; shift %s", centres.round(2).tolist(), shift.round(2).tolist())
    return shift, [f"the border between the classes was set by {len(real)} real photos, each left out in turn"]


def _balanced(centres: Floats) -> Floats:
    """Biases, of mean 0, with which the border between two classes is as far from the one's centre as the other's.

    Args:
        centres: (K, K) mean logits of the photos of each class.
    """
    classes = len(centres)
    # 2 (b_i - b_j) = (c_jj - c_ji) - (c_ii - c_ij) for each pair; least squares where there are more than two classes
    gaps = np.array(
        [
            [0.5 * ((centres[j, j] - centres[j, i]) - (centres[i, i] - centres[i, j])) for j in range(classes)]
            for i in range(classes)
        ]
    )
    return np.asarray(gaps.mean(axis=1))


def _related(sample: Sample, photo: Sample) -> bool:
    same = sample.id == photo.id or (bool(photo.group) and sample.group == photo.group)
    return same or photo.id in sample.parents


def _install(network: WeldNetwork, linear: _Linear) -> None:
    """Put the classifier into the network; each feature passes the embedding as it is."""
    head: Any = network.head
    device = network.mean.device
    with torch.no_grad():
        network.embedding.weight.copy_(torch.eye(linear.weights.shape[1]))
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
