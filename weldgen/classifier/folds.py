"""Cross-validation: every photo is judged once by a model that has not seen it, and the models are an ensemble."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import weldgen
from weldgen.classifier.ensemble import unite
from weldgen.classifier.fold_stats import FoldAnswers, fold_notes, fold_record
from weldgen.classifier.folder import FOLD_DATA, FOLDS, MODEL
from weldgen.classifier.local_weights import check_unseen
from weldgen.classifier.model_file import ModelCard, load_card, save_card
from weldgen.classifier.names import CONFUSION, CONFUSION_NORMALISED, PREDICTIONS
from weldgen.classifier.plots import confusion_png
from weldgen.classifier.predictions import Prediction, choose_samples, predict_samples
from weldgen.classifier.scoring import open_scorer
from weldgen.classifier.settings import TrainConfig
from weldgen.data.dataset import Dataset, Failure, failures_text
from weldgen.data.folds import Division, Fold, divide, make_fold, write_fold
from weldgen.errors import DataError
from weldgen.receipts import FAILURES_NAME, Summary, write_receipt
from weldgen.runfolder import RunFolder
from weldgen.runtime import evenly, log, output_errors, resolve_jobs, write_atomic

# Trains one model: a dataset's folder, the model's folder, settings.
TrainOne = Callable[[Path, Path, TrainConfig], Summary]

# Training photos of a fold that are judged, to compare with those held out; each costs a pass.
_MOST_TRAINING = 500


@dataclass(frozen=True)
class FoldRun:
    """A fold that was trained and judged; files are named as in the whole dataset.

    Attributes:
        trained: What the training said.
        held_out: What the model says of the photos that it never saw.
        groups: Their groups; a photo of its own has its own name.
        training: What it says of real photos that it was trained on.
        failures: Files that could not be read.
    """

    trained: Summary
    held_out: tuple[Prediction, ...]
    groups: tuple[str, ...]
    training: tuple[Prediction, ...]
    failures: frozenset[Failure]


def train_folds(dataset: Dataset, out: Path, config: TrainConfig, key: str, train_one: TrainOne) -> Summary:
    """Train a model for each fold and measure each photo with the one that has not seen it.

    Each fold is an ordinary model in `out/fold-<k>`, trained on a dataset of its own in `out/.folds/fold-<k>`, whose
    test split is what is held out. What finished folds hold is taken over from an interrupted run.

    Args:
        dataset: Opened, with its splits; its test photos are left aside.
        out: Folder of the ensemble.
        config: Settings, `folds` above 0.
        key: Of the run.
        train_one: Trains a fold.

    Raises:
        DataError: No photo can be held out, or a class has no training image in a fold.
        WeldgenError: What a training raises.
    """
    started = time.monotonic()
    division = divide(dataset, config.folds, config.split, config.seed)
    _check_weights(config, division)
    folds = [make_fold(division, k, config.split, config.seed) for k in range(1, division.count + 1)]
    names = [f"fold-{number}" for number in range(1, len(folds) + 1)]
    for name, fold in zip(names, folds, strict=True):
        _check_fold(fold, name, dataset)
    with RunFolder(out, MODEL, key) as folder:
        runs = {}
        for number, (name, fold) in enumerate(zip(names, folds, strict=True)):
            log.info("%s of %d", name, len(folds))
            own = config.model_copy(update={"folds": 0, "seed": config.seed + number})
            runs[name] = _run_fold(fold, out / name, out / FOLD_DATA / name, own, train_one)
        card = unite([load_card(out / name) for name in names], names, names)
        record = _record(runs, card, config.seed)
        failures = _failures(dataset, runs)
        _write(out, record, runs, failures)
        save_card(out, card)
        summary = Summary(
            "train",
            out,
            {"photos": record["n"], "folds": len(folds), "classes": len(card.classes)},
            len(failures),
            (*folder.notes, *division.notes, *fold_notes(record), *card.warnings, *_notes(card)),
            tuple({"id": name, "licence": text} for name, text in card.licences.items()),
            _details(card, record),
            time.monotonic() - started,
        )
        write_receipt(out, key, config, {"dataset": dataset.root}, summary)
        folder.finish()
    return summary


def _check_weights(config: TrainConfig, division: Division) -> None:
    """Refuse weights that were made from the photos: each of them is held out once."""
    held = tuple(replace(s, split="test") for s in division.dataset.samples if s.id in division.fold_of)
    try:
        check_unseen(config.model.weights, replace(division.dataset, samples=held))
    except DataError as error:
        raise DataError(
            f"folds hold every photo out once: {error.message}", "take other weights, or train without folds (folds=0)"
        ) from error


def _check_fold(fold: Fold, name: str, dataset: Dataset) -> None:
    """Refuse, before the work, folds in which a class has nothing to train on."""
    there = {sample.label for sample in fold.dataset.samples if sample.split == "train"}
    for label in dataset.labels:
        if label not in there:
            raise DataError(
                f"{dataset.root}: class '{label}' has no training image in {name}, because all of its images were made "
                "from photos that are held out there, or resemble them",
                "add photos of the class, or train without folds (folds=0)",
            )


def _run_fold(fold: Fold, model: Path, data: Path, config: TrainConfig, train_one: TrainOne) -> FoldRun:
    """Train one fold, or take it over, and ask its model about the photos."""
    jobs = resolve_jobs(config.jobs)
    original = write_fold(fold, data)
    trained = train_one(data, model, config)
    opened, scorer = Dataset.open(data), open_scorer(model, config.device, jobs)
    held = choose_samples(opened, scorer, "test")
    learned = evenly(opened.select(split="train", origin="real"), _MOST_TRAINING)
    answers, failures = predict_samples(opened, held, scorer, jobs)
    training, more = predict_samples(opened, learned, scorer, jobs)
    group_of = {sample.file_name: sample.group or sample.id for sample in held}
    lines = (model / FAILURES_NAME).read_text(encoding="utf-8").splitlines() if trained.failures else []
    unread = [*failures, *more, *(Failure(line["file"], line["reason"]) for line in map(json.loads, lines))]
    return FoldRun(
        trained,
        tuple(replace(answer, file=original[answer.file]) for answer in answers),
        tuple(group_of[answer.file] for answer in answers),
        tuple(training),
        frozenset(Failure(original[failure.file], failure.reason) for failure in unread),
    )


def _failures(dataset: Dataset, runs: Mapping[str, FoldRun]) -> list[Failure]:
    """What could not be read, each file once."""
    found = {failure.file: failure for run in runs.values() for failure in run.failures}
    found |= {failure.file: failure for failure in dataset.failures}
    return [found[file] for file in sorted(found)]


def _record(runs: Mapping[str, FoldRun], card: ModelCard, seed: int) -> dict[str, Any]:
    """What `folds.json` holds."""
    answers = [
        FoldAnswers(_pairs(run.held_out, card.classes), _pairs(run.training, card.classes), _trained(name, run))
        for name, run in runs.items()
    ]
    if not any(len(fold.held_out) for fold in answers):
        raise DataError("none of the photos that were held out could be read", "see the log for the reasons")
    groups = [group for run in runs.values() for group in run.groups]
    return {"weldgen": weldgen.__version__, "seed": seed, **fold_record(answers, groups, card.classes, seed)}


def _pairs(predictions: Sequence[Prediction], classes: Sequence[str]) -> Any:
    """(N, 2) int64: true and answered class."""
    index = {label: k for k, label in enumerate(classes)}
    return np.array([(index[p.label], index[p.predicted]) for p in predictions], np.int64).reshape(-1, 2)


def _trained(name: str, run: FoldRun) -> dict[str, Any]:
    counts, details = run.trained.counts, run.trained.details
    return {
        "model": name,
        "real": counts["real"],
        "synthetic": counts["synthetic"],
        "validation_photos": counts["validation photos"],
        "method": details["method"],
        "best_epoch": details["best_epoch"],
        "training_seconds": details["training_seconds"],
    }


def _write(out: Path, record: Mapping[str, Any], runs: Mapping[str, FoldRun], failures: Sequence[Failure]) -> None:
    matrix, labels = np.array(record["confusion"], np.int64), record["labels"]
    title = f"real photos, each held out once, n = {record['n']}"
    write_atomic(out / CONFUSION, confusion_png(matrix, labels, shares=False, title=title))
    write_atomic(out / CONFUSION_NORMALISED, confusion_png(matrix, labels, shares=True, title=f"{title}, share of row"))
    lines = [
        json.dumps({"fold": name, **prediction.record()}, ensure_ascii=False) + "\n"
        for name, run in runs.items()
        for prediction in run.held_out
    ]
    write_atomic(out / PREDICTIONS, "".join(lines))
    write_atomic(out / FOLDS, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    with output_errors(out):
        (out / FAILURES_NAME).unlink(missing_ok=True)
    if failures:
        write_atomic(out / FAILURES_NAME, failures_text(failures))


def _notes(card: ModelCard) -> list[str]:
    said = [f"the model is the mean of the {len(card.members)} folds' models; the figures are those of the single ones"]
    if not card.temperature_fitted_on:
        said.append("confidence is not calibrated in every fold: that takes more real validation photos")
    return said


def _details(card: ModelCard, record: Mapping[str, Any]) -> dict[str, Any]:
    """What the receipt says; the rest is in `folds.json`."""
    return {
        "classes": list(card.classes),
        "method": "folds",
        "members": list(card.members),
        "warnings": list(card.warnings),
        "backbone": card.backbone,
        "licences": dict(card.licences),
        "accuracy": record["accuracy"],
        "balanced_accuracy": record["balanced_accuracy"],
        "overfitting": record["overfitting"],
    }
