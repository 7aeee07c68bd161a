"""Measure a model on real photos: never on synthetic ones, never on what it was trained on, never without n."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

import weldgen
from weldgen.classifier.names import METRICS
from weldgen.classifier.operating import OperatingSettings
from weldgen.classifier.shortcuts import RegionFinder, Shortcuts, ShortcutSettings, Subject, find_shortcuts
from weldgen.classifier.targets import Target, parse_targets, read_targets
from weldgen.config import StageConfig
from weldgen.data.dataset import Dataset
from weldgen.errors import DataError
from weldgen.receipts import Summary, check_results, fingerprint, finished, run_key, write_receipt
from weldgen.runtime import resolve_device, resolve_jobs
from weldgen.tta import MAX_VIEWS

if TYPE_CHECKING:
    from weldgen.classifier.measurement import Answered
    from weldgen.classifier.operating_point import OperatingPoint
    from weldgen.classifier.predictions import Prediction
    from weldgen.classifier.scoring import Scorer

_AS_BEFORE = "the validation photos were shown to the classifier as it was before it learned them (judge.safetensors)"


class EvaluateConfig(StageConfig):
    """What is measured."""

    split: Literal["test", "val", "train"] = Field("test", description="test, val or train; real photos of it count")
    tta: int = Field(1, ge=1, le=MAX_VIEWS, description="views of each photo whose probabilities are averaged")
    group_by: str = Field("", description="field of the records to compare photos by; empty: group, where recorded")
    targets: str | dict[str, Target] = Field("", description="YAML file of what has to be reached, or its content")
    operating: OperatingSettings = Field(default_factory=OperatingSettings)
    shortcuts: ShortcutSettings = Field(default_factory=ShortcutSettings)

    @field_validator("targets", mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        return value if isinstance(value, str) else parse_targets(value)


def resolve_config(config: EvaluateConfig) -> EvaluateConfig:
    """The configuration with the targets' file read: what it says is part of the run's key.

    Raises:
        ConfigError: The file cannot be read.
    """
    if isinstance(config.targets, str):
        return config.model_copy(update={"targets": read_targets(Path(config.targets)) if config.targets else ""})
    return config


def evaluate(
    model: Path, dataset: Path, out: Path, config: EvaluateConfig, find_regions: RegionFinder | None = None
) -> Summary:
    """Measure a model on the real photos of one split.

    Args:
        model: Folder of a trained model or an ensemble, or an exported .onnx or .xml file. An operating point that the
            settings ask for is kept in the folder.
        dataset: Dataset folder with splits; or a plain folder of classes: photos that the model has not seen are its
            test split.
        out: Folder for `metrics.json`, `predictions.jsonl`, `evidence.jsonl`, the confusion matrices and the curves.
        config: Settings.
        find_regions: Makes what finds writing, for `shortcuts.writing=search`.

    Where every class has too few photos to spare one for the test, nothing is measured, and a note says so.

    Raises:
        ConfigError: A target is about nothing that is measured, a threshold about no class, or no photo has the field
            to compare photos by.
        DataError: There is no model, no photo to measure on, a class that the model does not know, or a test photo
            that it was trained on.
    """
    from weldgen.classifier.copies import copies_of_training, copy_notes
    from weldgen.classifier.evaluation_files import FILES, write_results
    from weldgen.classifier.evaluation_notes import notes_on
    from weldgen.classifier.grouping import choose_field
    from weldgen.classifier.measurement import Asked, measure
    from weldgen.classifier.predictions import choose_samples, predict_samples
    from weldgen.classifier.scoring import open_scorer

    started = time.monotonic()
    config, inputs = resolve_config(config), {"model": model, "dataset": dataset}
    prints = {name: fingerprint(path) for name, path in inputs.items() if path.exists()}
    done = finished(out, run_key("evaluate", config, prints))
    if done:
        return done
    check_results(out, "evaluate", METRICS, FILES)
    jobs = resolve_jobs(config.jobs)
    scorer = open_scorer(model, config.device, jobs, judge=config.split == "val")
    _check_settings(config, scorer)
    opened = Dataset.open(dataset)
    samples = choose_samples(opened, scorer, config.split)
    field = choose_field(samples, config.group_by)
    point, said = scorer.operating, [_AS_BEFORE] if scorer.judge else []
    if config.operating.wanted:
        point, chosen = _choose_point(model, opened, scorer, config, jobs)
        said += chosen
        prints["model"] = fingerprint(model)  # with the point in it: the next run finds it there
    views = config.tta if config.tta > 1 or config.operating.wanted or point is None else point.tta
    predictions, failures = predict_samples(opened, samples, scorer, jobs, views)
    if samples and not predictions:
        raise DataError(f"none of the {len(samples)} photos could be read; first: {failures[0].reason}")
    answered = _answered(model, replace(opened, samples=tuple(samples)), predictions, scorer.classes, config, field)
    targets = config.targets if isinstance(config.targets, dict) else {}
    measured = measure(answered, Asked(config.split, views, point, targets, config.seed))
    found = _look_for_shortcuts(model, opened, measured.predictions, config, find_regions)
    metrics = measured.metrics | ({"shortcuts": found.record} if found.record else {})
    looked_for = config.shortcuts.enabled and config.split == "test"
    copies = copies_of_training(_folder_of(model), scorer, opened, samples) if looked_for else []
    metrics |= {"copies_of_training": [asdict(copy) for copy in copies]} if copies else {}
    remarks = [*copy_notes(copies, len(samples)), *measured.notes, *found.notes, *said]
    metrics = {"weldgen": weldgen.__version__, "split": config.split, "model": str(model), **metrics}
    metrics |= {"remarks": remarks} if remarks else {}
    write_results(out, metrics, measured, failures, found.shown)
    correct = sum(prediction.predicted == prediction.label for prediction in predictions)
    summary = Summary(
        "evaluate",
        out,
        {"photos": len(predictions), "correct": correct},
        len(failures),
        (*notes_on(metrics, config.split), *remarks),
        details=metrics,
        seconds=time.monotonic() - started,
    )
    write_receipt(out, run_key("evaluate", config, prints), config, inputs, summary)
    return summary


def _check_settings(config: EvaluateConfig, scorer: Scorer) -> None:
    """Refuse, before the work, a threshold of no class and targets of nothing."""
    from weldgen.classifier.operating import positive_class
    from weldgen.classifier.targets import check_names, metric_names

    positive = positive_class(config.operating, scorer.classes)
    stored = None if config.operating.wanted else scorer.operating
    threshold = bool(positive or (stored and stored.decision.positive))
    if isinstance(config.targets, dict):
        operating = config.operating.wanted or stored is not None
        check_names(config.targets, metric_names(scorer.classes, operating=operating, threshold=threshold))


def _choose_point(
    model: Path, dataset: Dataset, scorer: Scorer, config: EvaluateConfig, jobs: int
) -> tuple[OperatingPoint | None, list[str]]:
    """Choose the operating point on photos that the model did not learn and keep it beside the model.

    Returns:
        The point, None where there are too few photos to choose one; and sentences for the user.
    """
    from weldgen.classifier.held_out import judge_unseen
    from weldgen.classifier.operating import choose_decision, positive_class
    from weldgen.classifier.operating_point import OperatingPoint, save_point
    from weldgen.classifier.predictions import as_arrays

    folder = _folder_of(model)
    found, said = judge_unseen(folder, dataset, scorer, config.device, jobs, config.tta)
    probabilities, truth = as_arrays(found, scorer.classes)
    positive = positive_class(config.operating, scorer.classes)
    point = None
    if not found or (positive and len({p.label == positive for p in found}) < 2):
        lacking = f"of {positive} and of other classes " if positive else ""
        said = [f"no operating point: choosing one takes real validation photos {lacking}that can be read"]
    else:
        decision = choose_decision(probabilities, truth, scorer.classes, config.operating)
        settings = config.operating.model_dump(exclude={"positive"})
        point = OperatingPoint(decision, settings, config.tta, dict(sorted(Counter(p.label for p in found).items())))
    if folder:
        save_point(folder, point if point and point.decision.sentences() else None)
    elif point:
        said = [f"{model.name} decides as before: evaluate the model's folder with these settings, then export it"]
    return point, said


def _look_for_shortcuts(
    model: Path, dataset: Dataset, predictions: Sequence[Prediction], config: EvaluateConfig,
    find_regions: RegionFinder | None,
) -> Shortcuts:  # fmt: skip
    """What the answers hang on besides the weld; nothing where it is not asked for, or no photo was measured."""
    if not (config.shortcuts.enabled and predictions):
        return Shortcuts()
    subject = Subject(model, _folder_of(model), resolve_device(config.device), resolve_jobs(config.jobs), config.seed)
    return find_shortcuts(dataset, predictions, subject, config.shortcuts, find_regions)


def _folder_of(model: Path) -> Path | None:
    """Folder of a trained model that is given as it or as a file in it; None for an exported file."""
    from weldgen.classifier.scoring import EXPORTED_SUFFIXES

    if model.is_dir():
        return model
    return None if model.suffix in EXPORTED_SUFFIXES else model.parent


def _answered(
    model: Path, dataset: Dataset, predictions: Sequence[Prediction], classes: tuple[str, ...], config: EvaluateConfig,
    field: str,
) -> Answered:  # fmt: skip
    """The predictions with the group of each photo, and what it says in the field that photos are compared by."""
    from weldgen.classifier.grouping import field_values, group_indices, group_names, recorded_pattern
    from weldgen.classifier.measurement import Answered

    of_file = {sample.file_name: sample for sample in dataset.samples}
    own = [of_file[prediction.file] for prediction in predictions]
    names = group_names(dataset, own, recorded_pattern(_folder_of(model), config.shortcuts.group_pattern))
    return Answered(predictions, classes, group_indices(names), field, field_values(own, field) if field else ())
