"""The locator stage: learn from a few marked photos where the weld lies."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

import weldgen
from weldgen.config import StageConfig
from weldgen.data.dataset import Dataset, Failure, Sample, failures_text
from weldgen.data.split import SplitConfig, find_groups
from weldgen.errors import ConfigError, DataError
from weldgen.receipts import FAILURES_NAME, Summary, check_results, finished, stage_key, write_receipt
from weldgen.runtime import output_errors, resolve_jobs, write_atomic

if TYPE_CHECKING:
    from weldgen.data.formats.records import Annotated, Annotations
    from weldgen.data.upright import Rectangle
    from weldgen.locating.locator import Marks
    from weldgen.locating.teach import Marked, Trial

RECORD, TRIALS = "locator.json", "trials.jsonl"
_MOST_FOLDS = 10
# With fewer marked photos, or of fewer groups, what is measured says little.
_FEW_PHOTOS, _FEWEST_GROUPS = 10, 2
# A mark counts as cut out where so much of it lies in what would be cut out.
CUT_OUT = 0.9


class LocatorConfig(StageConfig):
    """What is learned from the marks."""

    format: Literal["auto", "yolo", "coco", "csv"] = "auto"
    classes: tuple[str, ...] = Field((), description="classes of the marks that count; none named: all")
    side_px: int = Field(640, ge=128, le=2048, description="long side at which photos are looked at")
    margin: float = Field(0.05, ge=0, le=1, description="locate adds it on each side, as a share of the weld's length")
    min_evidence: float = Field(0.5, ge=0, le=1, description="mean evidence in a rectangle from which it is a weld")
    duplicate_bits: int = Field(
        4, ge=-1, le=32, description="near-duplicates are left out together, as in clean; -1: off"
    )
    group_pattern: str = Field("", description="file names with the same first group (or match) are left out together")

    @model_validator(mode="after")
    def _check(self) -> LocatorConfig:
        self.grouping()
        return self

    def grouping(self) -> SplitConfig:
        """What is one group."""
        return SplitConfig(duplicate_bits=self.duplicate_bits, group_pattern=self.group_pattern)


def locator(marked: Path, out: Path, config: LocatorConfig) -> Summary:
    """Learn from marked photos where the weld lies, and measure it on photos whose group was left out.

    Args:
        marked: Photos with boxes, turned boxes or polygons, as YOLO, COCO or CSV; one without a mark shows no weld.
        out: Folder for `locator.onnx`, `locator.json` (what was measured) and `trials.jsonl` (photo by photo).
        config: Settings.

    Raises:
        ConfigError: A class is named that there is not.
        DataError: There are too few marks.
        BackendError: The network whose features are used is missing.
        OutputError: The folder holds files that weldgen did not make.
    """
    from weldgen.inference import Network
    from weldgen.locating.locator import LOCATOR_NAME, Marks
    from weldgen.locating.network import evidence_map, feature_maps
    from weldgen.locating.teach import collect, stretched, try_out, usual_shape, usual_stretch

    started = time.monotonic()
    inputs = {"marked": marked}
    key = stage_key("locator", config, inputs)
    done = finished(out, key)
    if done:
        return done
    check_results(out, "locator", RECORD, (LOCATOR_NAME, RECORD, TRIALS))
    found = _read(marked, config)
    photos, sizes, failures = _marked(found, config)
    turned = any(box.outline for image in found.images for box in image.boxes)
    _check_enough(photos, marked)
    network = Network(feature_maps(), threads=resolve_jobs(config.jobs))
    cells = collect(photos, network, config.side_px, config.seed)
    marks = Marks(config.side_px, turned, *usual_shape(photos, sizes, turned), 1.0, config.margin, config.min_evidence)
    folds = _folds(photos, config.seed)
    trials = try_out(photos, cells, marks, network, folds)
    marks = replace(marks, stretch=usual_stretch(trials))
    trials = stretched(trials, marks)
    linear = cells.fit(range(len(photos)))
    about = {**marks.metadata(), "weldgen": weldgen.__version__}
    record = {"weldgen": weldgen.__version__, "marked": str(marked), **measure(trials, marks, len(folds))}
    write_atomic(out / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    write_atomic(out / LOCATOR_NAME, evidence_map(linear.weight, linear.bias, about))
    write_atomic(out / TRIALS, "".join(json.dumps(_line(t, marks), ensure_ascii=False) + "\n" for t in trials))
    with output_errors(out):
        (out / FAILURES_NAME).unlink(missing_ok=True)
    if failures:
        write_atomic(out / FAILURES_NAME, failures_text(failures))
    counts = {"photos": len(photos), "marks": sum(len(photo.rectangles) for photo in photos)}
    notes, took = (*found.notes, *measured_notes(record, turned)), time.monotonic() - started
    summary = Summary("locator", out, counts, len(failures), notes, details=record, seconds=took)
    write_receipt(out, key, config, inputs, summary)
    return summary


def measure(trials: Sequence[Trial], marks: Marks, folds: int) -> dict[str, Any]:
    """What the trials say: how many welds would be cut out, and how well the rectangles fit."""
    from scipy.stats import binomtest

    marked = [trial for trial in trials if trial.photo.rectangles]
    whole = sum(trial.inside(marks) >= CUT_OUT for trial in marked)
    # photos of one group are not independent, so the interval is that of as many trials as there are groups
    groups = len({trial.photo.group for trial in marked})
    ends = binomtest(round(whole / len(marked) * groups), groups).proportion_ci(method="wilson")
    return {
        "groups": groups,
        "folds": folds,
        "marked_photos": len(marked),
        "cut_out": whole,
        "low": round(float(ends.low), 4),
        "high": round(float(ends.high), 4),
        "missed": sum(not trial.is_clear(marks) or trial.overlap() == 0 for trial in marked),
        "overlap": round(float(np.median([trial.overlap() for trial in marked])), 3),
        "empty_photos": len(trials) - len(marked),
        "false_alarms": sum(trial.is_clear(marks) for trial in trials if not trial.photo.rectangles),
    }


def measured_notes(record: dict[str, Any], turned: bool) -> list[str]:
    """The record in sentences."""
    notes = [
        f"photos of groups that were left out: {record['cut_out']} of {record['marked_photos']} marked welds would be "
        f"cut out nearly whole (95 % interval, counted by the {record['groups']} groups, {record['low']:.0%} to "
        f"{record['high']:.0%}), {record['missed']} missed altogether; overlap with the marks {record['overlap']:.2f} "
        "in the median"
    ]
    if record["empty_photos"]:
        notes.append(f"on {record['false_alarms']} of {record['empty_photos']} photos without a mark one was found")
    if record["marked_photos"] < _FEW_PHOTOS:
        notes.append(f"{record['marked_photos']} marked photos are few; {_FEW_PHOTOS} and more find more welds")
    if not turned:
        notes.append(
            "the marks are plain boxes: welds are cut out as they lie; turned boxes or polygons set them upright"
        )
    return notes


def _read(source: Path, config: LocatorConfig) -> Annotations:
    from weldgen.data.formats import read_annotations
    from weldgen.data.formats.detect import detect_format
    from weldgen.data.formats.records import FOLDER

    form = str(config.format) if config.format != "auto" else detect_format(source)[0]
    if form == FOLDER:
        raise DataError(
            f"{source} holds class folders and no marks", "mark welds with a labelling tool: YOLO, COCO or CSV boxes"
        )
    found = read_annotations(source, form)
    unknown = [name for name in config.classes if name not in found.classes]
    if unknown:
        raise ConfigError(
            f"classes names '{unknown[0]}', which {source} does not have", f"its classes: {', '.join(found.classes)}"
        )
    return found


def _marked(found: Annotations, config: LocatorConfig) -> tuple[list[Marked], list[tuple[int, int]], list[Failure]]:
    """The photos that can be read with their marks and sizes, and the others."""
    from weldgen.data.formats.paths import relative
    from weldgen.data.images import read_photo
    from weldgen.locating.teach import Marked

    kept, sizes, failures = [], [], list(found.failures)
    for image in found.images:
        try:
            height, width = read_photo(image.path).pixels.shape[:2]
            rectangles = _rectangles(image, (width, height), config.classes)
        except DataError as error:
            failures.append(Failure(relative(found.root, image.path), error.message))
            continue
        kept.append((image, Marked(image.path, relative(found.root, image.path), rectangles, "")))
        sizes.append((width, height))
    samples = tuple(Sample(photo.name, photo.name, "", group=image.group) for image, photo in kept)
    groups = find_groups(Dataset(found.root, samples, ()), config.grouping())
    return [replace(photo, group=groups[photo.name]) for _, photo in kept], sizes, failures


def _rectangles(image: Annotated, size_px: tuple[int, int], classes: Sequence[str]) -> tuple[Rectangle, ...]:
    from weldgen.data.upright import Rectangle, rectangle_around

    if image.size_px and image.size_px != size_px:
        raise DataError(
            f"{image.where}: annotated at {image.size_px[0]} x {image.size_px[1]} pixels, "
            f"but the photo has {size_px[0]} x {size_px[1]}"
        )
    made = []
    for box in image.boxes:
        if classes and box.label not in classes:
            continue
        left, top, right, bottom = box.pixels(size_px)
        try:
            made.append(
                rectangle_around(box.outline_px(size_px))
                if box.outline
                else Rectangle((left + right) / 2, (top + bottom) / 2, right - left, bottom - top, 0.0)
            )
        except ValueError as error:
            raise DataError(f"{box.where}: {error}") from error
    return tuple(made)


def _check_enough(photos: Sequence[Marked], source: Path) -> None:
    groups = {photo.group for photo in photos if photo.rectangles}
    if len(groups) < _FEWEST_GROUPS:
        raise DataError(
            f"{source}: marks on photos of {len(groups)} different welds; at least {_FEWEST_GROUPS} are needed",
            f"mark more photos; {_FEW_PHOTOS} and more are a good start",
        )


def _folds(photos: Sequence[Marked], seed: int) -> list[list[int]]:
    """Indices of photos that are left out together: whole groups, at most ten folds of about equal size."""
    from sklearn.model_selection import GroupKFold

    groups = [photo.group for photo in photos]
    marked = len({photo.group for photo in photos if photo.rectangles})
    division = GroupKFold(min(_MOST_FOLDS, marked), shuffle=True, random_state=seed)
    return [out.tolist() for _, out in division.split(groups, groups=groups)]


def _line(trial: Trial, marks: Marks) -> dict[str, Any]:
    """What `trials.jsonl` says of a photo; corners in pixels."""
    found = trial.found
    return {
        "file": trial.photo.name,
        "group": trial.photo.group,
        "marks": [np.round(mark.corners(), 1).tolist() for mark in trial.photo.rectangles],
        "found": np.round(found.rectangle.grown(marks.margin).corners(), 1).tolist() if found else None,
        "evidence": round(found.evidence, 4) if found else 0.0,
        "inside": round(trial.inside(marks), 4),
        "overlap": round(trial.overlap(), 4),
    }
