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
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weldgen.classifier.cells import CELLS
from weldgen.classifier.judges import (
    Judges,
    aside_notes,
    calibration_notes,
    choose_judges,
    judged_temperature,
    logits_of,
)
from weldgen.classifier.linear_border import border_shift
from weldgen.classifier.linear_features import features_of, open_features
from weldgen.classifier.linear_fit import Linear, fit_rows
from weldgen.classifier.linear_strength import STRENGTHS, choose_strength, enough_photos
from weldgen.classifier.loader import Images
from weldgen.classifier.metrics import balanced_accuracy, confusion_matrix
from weldgen.classifier.model_file import ModelCard, by_origin, licences, save_judge, save_model
from weldgen.classifier.network import WeldNetwork
from weldgen.classifier.result import Result, details_of, seen_by
from weldgen.classifier.settings import ModelSettings, TrainConfig
from weldgen.data.sample import located_by
from weldgen.runtime import derive_seed


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
        lambda rows, strength: fit_rows(features, training.targets, rows, len(labels), strength).logits(features),
        training.targets, training.samples, config.seed,
    )  # fmt: skip
    fitted = fit_rows(features, training.targets, np.ones(len(training), bool), len(labels), strength)
    aside = features_of(network, judges.aside), judges.aside.targets
    shift, notes = border_shift(fitted, features, training, labels, aside, cells=settings.layers == CELLS)
    _install(network, replace(fitted, biases=fitted.biases - shift))
    validation_record = _judge(network, judges)
    temperature, fitted_on = judged_temperature(network, judges, learned=False)
    learned_too = judges.images if _learns_validation(judges, training, settings, config) else judges.images.subset("")
    if len(learned_too):
        save_judge(out, network)
        rows = np.concatenate([features, features_of(network, learned_too)])
        targets = np.concatenate([training.targets, learned_too.targets])
        whole = fit_rows(rows, targets, np.ones(len(rows), bool), len(labels), strength)
        _install(network, replace(whole, biases=whole.biases - shift))
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
        locator=located_by(training.samples),
        validation=validation_record,
        learned_validation=len(learned_too) > 0,
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
    if len(learned_too):
        said.append(
            f"then fitted again with the {len(learned_too)} validation photos (training.refit=false: without them); "
            "thresholds are chosen by the classifier that has not seen them"
        )
    said += calibration_notes(temperature, fitted_on)
    seconds = round(time.monotonic() - started, 1)
    details = details_of(card) | {
        "method": "linear", "learning_share": 0.0, "epochs": 0, "best_epoch": 0, "steps": 0,
        "training_seconds": seconds,
    }  # fmt: skip
    return Result((*said, *aside_notes(network, judges.aside, "which also set the border")), backbone.weights, details)


def _learns_validation(judges: Judges, training: Images, settings: ModelSettings, config: TrainConfig) -> bool:
    """Whether validation photos may teach when they have judged: real ones, where nothing else was set by them."""
    return (
        config.training.refit
        and settings.layers != CELLS
        and not judges.warning
        and enough_photos(training.targets, training.samples)
    )


def _install(network: WeldNetwork, linear: Linear) -> None:
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
