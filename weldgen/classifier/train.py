"""Train the classifier: letterboxed photos, a pre-trained backbone that learns slowly, an ArcFace head.

What is notable: order, augmentation and dropout are functions of seed, epoch and image, so a run that was killed goes
on from its last checkpoint to the same result; validation holds real photos only, but for the exception of
`weldgen.data.scarce`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weldgen.classifier.advice import advise, facts_of
from weldgen.classifier.class_weights import check_class_weights, check_focal_alpha, pin_class_weights
from weldgen.classifier.local_weights import auto_backbone, check_unseen, pin_config
from weldgen.classifier.oversample import check_oversample
from weldgen.classifier.settings import TrainConfig
from weldgen.data.dataset import Dataset, failures_text
from weldgen.data.sample import scarce_classes
from weldgen.data.scarce import synthetic_validation_warning
from weldgen.data.split import decide_split, require_labels
from weldgen.errors import DataError
from weldgen.receipts import FAILURES_NAME, Summary, finished, stage_key, write_receipt
from weldgen.runfolder import RunFolder
from weldgen.runtime import log, resolve_device, resolve_jobs, write_atomic

if TYPE_CHECKING:
    from weldgen.classifier.loader import Images

__all__ = ["TrainConfig", "auto_backbone", "resolve_config", "train"]

_FEW_VALIDATION_PHOTOS = 20


def train(dataset: Path, out: Path, config: TrainConfig) -> Summary:
    """Train a classifier on the training split, choose the best epoch on the validation split.

    Args:
        dataset: Dataset folder with splits, or a plain folder of classes, which is then divided.
        out: Folder of the model; with `folds`, of the ensemble of them all (`weldgen.classifier.folds`).
        config: Settings.

    Raises:
        ConfigError: A file of weights does not exist, or class weights, factors, sizes or devices that do not fit.
        DataError: Fewer than two classes have training images.
        BackendError: Weights or a device are missing.
        OutputError: The folder holds files that weldgen did not make, or cannot be written.
    """
    from weldgen.classifier.devices import count_devices
    from weldgen.classifier.folder import MODEL
    from weldgen.classifier.layers import check_layers
    from weldgen.classifier.linear import fit_linear
    from weldgen.classifier.loader import load_images
    from weldgen.classifier.loggers import closing_run
    from weldgen.classifier.progressive import check_progressive
    from weldgen.classifier.run import fit
    from weldgen.classifier.run_logs import log_results
    from weldgen.classifier.train_shortcuts import look_back

    started = time.monotonic()
    config = resolve_config(config)
    inputs = {"dataset": dataset}
    key = stage_key("train", config, inputs)
    done = finished(out, key)
    if done:
        return done
    opened = open_training_data(dataset, config)
    check_unseen(config.model.weights, opened)
    check_class_weights(config, opened.labels)
    check_focal_alpha(config, opened.labels)
    linear = _is_linear(opened, config)
    check_oversample(config, opened.labels, linear=linear)
    check_progressive(config, linear=linear)
    check_layers(config.model.layers, linear=linear)
    device = resolve_device(config.device)
    count_devices(config, device, linear=linear)
    if config.folds:
        from weldgen.classifier.folds import train_folds

        return train_folds(opened, out, config, key, train)
    frame = _frame(opened, config)
    with RunFolder(out, MODEL, key) as folder:
        images, failures = load_images(
            opened,
            [sample for sample in opened.samples if sample.split in ("train", "val")],
            opened.labels,
            frame=frame,
            jobs=resolve_jobs(config.jobs),
            scratch=(out, config.data.cache_gb),
        )
        failures = [*opened.failures, *failures]
        training, validation = images.subset("train"), images.subset("val")
        notes = [*folder.notes, *check_images(training, validation, opened.labels)]
        train_with = fit_linear if linear else fit
        with closing_run(config):
            result = train_with(training, validation, opened.labels, out=out, device=device, config=config)
            if not linear:  # which has no curves to log
                notes += log_results(out, validation, opened.labels, config, device=device)
        hints = look_back(opened, training, validation, out, config, device=device)
        if failures:
            write_atomic(out / FAILURES_NAME, failures_text(failures))
        summary = Summary(
            "train",
            out,
            _counts(opened, training, validation),
            len(failures),
            (*result.notes, *hints.notes, *notes, *advise(facts_of(training.samples, config, linear=linear))),
            result.weights,
            {**result.details, **({"shortcuts": hints.record} if hints.record else {})},
            time.monotonic() - started,
        )
        write_receipt(out, key, config, inputs, summary)
        folder.finish()
    return summary


def resolve_config(config: TrainConfig) -> TrainConfig:
    """A configuration as it counts in the run's key: what the files that it names hold is part of it.

    Raises:
        ConfigError: There is no such file, or it does not hold what it should.
        DataError: The folder of weights holds no finished result.
    """
    return pin_class_weights(pin_config(config))


def _is_linear(dataset: Dataset, config: TrainConfig) -> bool:
    """Whether the backbone stays as it is."""
    method = config.training.method
    return method == "linear" or (method == "auto" and bool(scarce_classes(dataset.samples)))


def _frame(dataset: Dataset, config: TrainConfig) -> tuple[int, int]:
    """Height and width of the network's input: by the real training photos, or by the others where there is none."""
    from weldgen.classifier.backbones import has_fixed_shape
    from weldgen.classifier.preprocess import frame_for

    if config.data.shape == "square" or has_fixed_shape(config.model.backbone):
        return config.data.image_size, config.data.image_size
    training = dataset.select(split="train")
    chosen = [sample for sample in training if sample.origin == "real"] or training
    return frame_for([(sample.width, sample.height) for sample in chosen], config.data.image_size)


def open_training_data(root: Path, config: TrainConfig) -> Dataset:
    """A dataset whose samples all have a split.

    Raises:
        DataError: Fewer than two classes have photos, or a class is in validation or test but not in training.
    """
    dataset = Dataset.open(root)
    require_labels(dataset)
    dataset = decide_split(dataset, config.split, config.seed)
    counts = {label: Counter(s.split for s in dataset.select(label=label)) for label in dataset.labels}
    used = tuple(label for label in dataset.labels if counts[label])
    if len(used) < 2:
        found = ", ".join(f"{label} ({sum(n.values())})" for label, n in counts.items())
        raise DataError(f"{root}: at least two classes with images are needed, got {found or 'none'}")
    for label in used:
        if not counts[label]["train"]:
            raise DataError(
                f"{root}: class '{label}' has no training image", "add photos, or take the class's folder away"
            )
    for label in set(dataset.labels) - set(used):
        log.warning("class '%s' has no image and is left out", label)
    return Dataset(dataset.root, dataset.samples, used, dataset.failures)


def check_images(training: Images, validation: Images, labels: Sequence[str]) -> list[str]:
    """Sentences on what is too little to trust.

    Raises:
        DataError: All training images of a class are damaged.
    """
    present = Counter(sample.label for sample in training.samples)
    for label in labels:
        if not present[label]:
            raise DataError(f"no training image of class '{label}' could be read", "see the log for the reasons")
    notes = _validation_notes(training, validation, labels)
    for note in notes:
        log.warning("%s", note)
    return notes


def _validation_notes(training: Images, validation: Images, labels: Sequence[str]) -> list[str]:
    warning = synthetic_validation_warning([*training.samples, *validation.samples])
    if warning:
        return [warning]
    if not len(validation):
        return ["there is no validation photo: the last epoch was kept, and how good it is nobody knows"]
    validated = Counter(sample.label for sample in validation.samples)
    notes = []
    if len(validation) < _FEW_VALIDATION_PHOTOS:
        seen = ", ".join(f"{validated[label]} {label}" for label in labels)
        notes.append(
            f"only {len(validation)} validation photos ({seen}): the choice of the best epoch is close to chance, "
            "and the validation accuracy says little"
        )
    missing = [label for label in labels if not validated[label]]
    if missing:
        notes.append(f"no validation photo of {', '.join(missing)}: errors on it go unseen until evaluation")
    return notes


def _counts(dataset: Dataset, training: Images, validation: Images) -> dict[str, int]:
    origins = Counter(sample.origin for sample in training.samples)
    validated = Counter(sample.origin for sample in validation.samples)
    synthetic = {"synthetic validation images": validated["synthetic"]} if validated["synthetic"] else {}
    return {
        "training images": len(training),
        "real": origins["real"],
        "synthetic": origins["synthetic"],
        "validation photos": validated["real"],
        **synthetic,
        "classes": len(dataset.labels),
    }
