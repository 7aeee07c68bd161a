"""Measure a model on real photos: never on synthetic ones, never on what it was trained on, never without n."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

import weldgen
from weldgen.config import StageConfig
from weldgen.data.dataset import Dataset, Failure, Sample, failures_text
from weldgen.data.sample import scarce_classes
from weldgen.errors import DataError, OutputError
from weldgen.receipts import FAILURES_NAME, Summary, finished, stage_key, write_receipt
from weldgen.runtime import output_errors, resolve_jobs, track, write_atomic

if TYPE_CHECKING:
    from weldgen.classifier.metrics import Counts, Share
    from weldgen.classifier.scoring import RGB, Scorer

METRICS, PREDICTIONS = "metrics.json", "predictions.jsonl"
CONFUSION, CONFUSION_NORMALISED = "confusion.png", "confusion_normalised.png"
_FILES = (METRICS, PREDICTIONS, CONFUSION, CONFUSION_NORMALISED)
_FEW_PHOTOS = 60


class EvaluateConfig(StageConfig):
    """What is measured."""

    split: Literal["test", "val", "train"] = Field("test", description="test, val or train; real photos of it count")


@dataclass(frozen=True)
class Prediction:
    """What the model said about one photo.

    Attributes:
        file: Path below the dataset's root.
        label: True class.
        predicted: Class with the highest probability.
        probabilities: By class.
    """

    file: str
    label: str
    predicted: str
    probabilities: Mapping[str, float]

    def record(self) -> dict[str, Any]:
        """The line of `predictions.jsonl`."""
        return {
            "file": self.file,
            "label": self.label,
            "predicted": self.predicted,
            "probabilities": {name: round(value, 6) for name, value in self.probabilities.items()},
        }


def evaluate(model: Path, dataset: Path, out: Path, config: EvaluateConfig) -> Summary:
    """Measure a model on the real photos of one split.

    Args:
        model: Folder of a trained model, or an exported .onnx or .xml file.
        dataset: Dataset folder with splits; or a plain folder of classes: photos that the model has not seen are its
            test split.
        out: Folder for `metrics.json`, `predictions.jsonl` and the confusion matrices.
        config: Settings.

    Where every class has too few photos to spare one for the test, nothing is measured, and a note says so.

    Raises:
        DataError: There is no model, no photo to measure on, a class that the model does not know, or a test photo
            that it was trained on.
    """
    from weldgen.classifier.metrics import confusion_matrix, summarise
    from weldgen.classifier.scoring import open_scorer

    started = time.monotonic()
    inputs = {"model": model, "dataset": dataset}
    key = stage_key("evaluate", config, inputs)
    done = finished(out, key)
    if done:
        return done
    _check_out(out)
    scorer = open_scorer(model, config.device, resolve_jobs(config.jobs))
    opened = Dataset.open(dataset)
    samples = choose_samples(opened, scorer, config.split)
    predictions, failures = predict_samples(opened, samples, scorer, resolve_jobs(config.jobs))
    if samples and not predictions:
        raise DataError(f"none of the {len(samples)} photos could be read; first: {failures[0].reason}")
    index = {label: k for k, label in enumerate(scorer.classes)}
    matrix = confusion_matrix(
        [index[p.label] for p in predictions], [index[p.predicted] for p in predictions], len(scorer.classes)
    )
    metrics = {
        "weldgen": weldgen.__version__,
        "split": config.split,
        "model": str(model),
        **summarise(matrix, scorer.classes),
    }
    _write(out, metrics, predictions, matrix, failures)
    summary = Summary(
        "evaluate",
        out,
        {"photos": len(predictions), "correct": int(matrix.trace())},
        len(failures),
        tuple(notes_on(matrix, scorer.classes, config.split)),
        details=metrics,
        seconds=time.monotonic() - started,
    )
    write_receipt(out, key, config, inputs, summary)
    return summary


def choose_samples(dataset: Dataset, scorer: Scorer, split: str) -> list[Sample]:
    """The real photos of a split; photos without one get the split that the model saw them in, else `test`.

    There may be none for the test where no class has photos to spare.

    Raises:
        DataError: There are none, or some that cannot be measured honestly.
    """
    split_of = {_content(identity): name for name, ids in scorer.seen.items() for identity in ids}
    known = [
        replace(sample, split=sample.split or split_of.get(_content(sample.id), "test"))
        for sample in dataset.select(origin="real")
    ]
    samples = [sample for sample in known if sample.split == split]
    if not samples and not (split == "test" and _all_scarce(known, dataset)):
        found = ", ".join(f"{name} {sum(s.split == name for s in known)}" for name in ("train", "val", "test"))
        raise DataError(
            f"{dataset.root} has no real photo in split '{split}'; real photos: {found}",
            "add photos that the model has not seen, or choose another --split",
        )
    for sample in samples:
        if sample.label not in scorer.classes:
            raise DataError(
                f"{dataset.path(sample)} has class '{sample.label}'; the model knows {', '.join(scorer.classes)}",
                "take the class out of the dataset, or train again with it",
            )
        saw = split_of.get(_content(sample.id))
        if split == "test" and saw:
            raise DataError(
                f"{dataset.path(sample)} is in split 'test', but the model saw it in '{saw}'",
                "train again on this dataset, or evaluate on photos that the model has not seen",
            )
    return samples


def _all_scarce(known: Sequence[Sample], dataset: Dataset) -> bool:
    """Whether there are real photos, but too few of every class to spare one."""
    synthetic = dataset.select(origin="synthetic")
    return bool(known) and len(scarce_classes([*known, *synthetic])) == len({s.label for s in dataset.samples})


def _content(identity: str) -> str:
    """A sample's id without the number that tells copies of one photo apart."""
    return identity.partition("-")[0]


def predict_samples(
    dataset: Dataset, samples: Sequence[Sample], scorer: Scorer, jobs: int
) -> tuple[list[Prediction], list[Failure]]:
    """Ask the model about each photo; a photo that cannot be read becomes a failure."""
    predictions, failures = [], list(dataset.failures)
    pairs = _read_ahead(dataset, samples, jobs)
    for sample, image in track(pairs, total=len(samples), description="evaluate", unit="photos"):
        if isinstance(image, Failure):
            failures.append(image)
            continue
        values = scorer.probabilities(image)
        probabilities = {name: float(value) for name, value in zip(scorer.classes, values, strict=True)}
        best = max(probabilities, key=lambda name: probabilities[name])
        predictions.append(Prediction(sample.file_name, sample.label, best, probabilities))
    return predictions, failures


def _read_ahead(dataset: Dataset, samples: Sequence[Sample], jobs: int) -> Iterator[tuple[Sample, RGB | Failure]]:
    """Decode photos a few at a time while the model works on earlier ones."""
    from weldgen.data.images import read_rgb

    def read(sample: Sample) -> RGB | Failure:
        try:
            return read_rgb(dataset.path(sample))
        except DataError as error:
            return Failure(sample.file_name, error.message)

    with ThreadPoolExecutor(jobs) as pool:
        waiting: deque[tuple[Sample, Future[RGB | Failure]]] = deque()
        for sample in samples:
            waiting.append((sample, pool.submit(read, sample)))
            if len(waiting) > 2 * jobs:
                first, image = waiting.popleft()
                yield first, image.result()
        for first, image in waiting:
            yield first, image.result()


def notes_on(matrix: Counts, labels: Sequence[str], split: str) -> list[str]:
    """What the user is told: each share with its n and interval, and what the number of photos cannot show."""
    from weldgen.classifier.metrics import Share, balanced_accuracy
    from weldgen.data.labels import good_class

    n = int(matrix.sum())
    if not n:
        return [
            f"nothing was measured: no class has real photos to spare for '{split}', so how good the model is on real "
            "photos nobody knows; weldgen evaluate --data FOLDER measures it on others"
        ]
    measured = int((matrix.sum(axis=1) > 0).sum())
    balanced = f"; balanced accuracy {balanced_accuracy(matrix):.1%}" if measured > 1 else ""
    notes = [f"accuracy on real {split} photos: {Share(int(matrix.trace()), n)}{balanced}"]
    good = good_class(labels)
    if good is not None:
        g = list(labels).index(good)
        misses: Share = Share(int(matrix[:, g].sum() - matrix[g, g]), int(n - matrix[g].sum()))
        alarms: Share = Share(int(matrix[g].sum() - matrix[g, g]), int(matrix[g].sum()))
        notes += [f"missed (bad called {good}): {misses}"] if misses.n else []
        notes += [f"false alarms ({good} called bad): {alarms}"] if alarms.n else []
    absent = [label for k, label in enumerate(labels) if not matrix[k].sum()]
    if absent:
        alone = "; one class alone has no balanced accuracy" if measured == 1 else ""
        notes.append(f"no real {split} photo of {', '.join(absent)}: nothing is known about it{alone}")
    if n < _FEW_PHOTOS:
        notes.append(f"few photos ({n}): to show a recall of 95 % takes 59 bad photos without a miss, 99 % takes 299")
    if split != "test":
        notes.append(f"split '{split}' was used for the training or for choosing the epoch: these numbers flatter")
    return notes


def _check_out(out: Path) -> None:
    """Refuse a folder whose files are a user's; `metrics.json`, which is written first, marks ours."""
    there = [out / name for name in _FILES if (out / name).exists()]
    if not there:
        return
    try:
        made = json.loads((out / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        made = None
    if not isinstance(made, dict) or "weldgen" not in made:
        raise OutputError(
            f"{there[0]} exists and was not made by weldgen evaluate", "move it away, or choose another --out"
        )


def _write(
    out: Path,
    metrics: Mapping[str, Any],
    predictions: Sequence[Prediction],
    matrix: Counts,
    failures: Sequence[Failure],
) -> None:
    from weldgen.classifier.plots import confusion_png

    labels, n = metrics["labels"], metrics["n"]
    write_atomic(out / METRICS, json.dumps(metrics, indent=1, ensure_ascii=False) + "\n")
    lines = "".join(json.dumps(prediction.record(), ensure_ascii=False) + "\n" for prediction in predictions)
    write_atomic(out / PREDICTIONS, lines)
    title = f"real {metrics['split']} photos, n = {n}"
    write_atomic(out / CONFUSION, confusion_png(matrix, labels, shares=False, title=title))
    write_atomic(out / CONFUSION_NORMALISED, confusion_png(matrix, labels, shares=True, title=f"{title}, share of row"))
    with output_errors(out):
        (out / FAILURES_NAME).unlink(missing_ok=True)
    if failures:
        write_atomic(out / FAILURES_NAME, failures_text(failures))
