"""The review stage: which photos carry a label that is probably wrong, worst first."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

import weldgen
from weldgen.classifier.findings import (
    Finding,
    group_photos,
    identical,
    notes_on,
    notes_on_little,
    rank_findings,
    too_few,
)
from weldgen.config import Config, StageConfig
from weldgen.data.dataset import Dataset, Failure, Sample, failures_text
from weldgen.data.split import require_labels
from weldgen.receipts import FAILURES_NAME, Summary, check_results, finished, stage_key, write_receipt
from weldgen.runtime import output_errors, resolve_device, resolve_jobs, write_atomic

if TYPE_CHECKING:
    from weldgen.classifier.embeddings import Embedder, Features

RECORD, RANKING, DUPLICATES = "review.json", "review.jsonl", "duplicates.jsonl"


class LookSettings(Config):
    """The network whose features tell photos apart."""

    trained: str = Field("", description="folder of a trained classifier whose backbone looks; empty: `backbone`")
    backbone: str = Field("auto", description="auto, a timm name, torchvision/<name> or clip")
    weights: Literal["auto", "pretrained", "embedded", "none"] = Field("auto", description="as for weldgen train")


class ReviewConfig(StageConfig):
    """What the photos are looked at with, and how they are held out."""

    model: LookSettings = LookSettings()
    image_size: int = Field(
        320, ge=32, le=2048, multiple_of=32, description="the input has the pixels of a square of this side"
    )
    folds: int = Field(5, ge=2, le=50, description="parts of a division; each is judged by what the others teach")
    repeats: int = Field(4, ge=1, le=50, description="divisions whose answers are averaged")
    duplicate_bits: int = Field(
        4, ge=-1, le=32, description="perceptual hashes at most so many of 64 bits apart are near-duplicates; -1: off"
    )
    group_pattern: str = Field(
        "", description="regular expression; file names with the same first group (or match) are held out together"
    )

    @field_validator("group_pattern")
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        return value


def review(dataset: Path, out: Path, config: ReviewConfig) -> Summary:
    """Rank the real photos of a dataset by how probably their label is wrong.

    Args:
        dataset: Dataset folder, or a plain folder of class folders; nothing is written to it.
        out: Folder for `review.jsonl` (all judged photos, worst first), `duplicates.jsonl` (near-duplicates with
            different labels) and `review.json` (how they were found).
        config: Settings.

    Raises:
        DataError: Fewer than two classes have photos that can be held out while others of the class teach.
        BackendError: Weights or a device are missing.
        OutputError: The folder holds files that weldgen did not make.
    """
    from weldgen.classifier.embeddings import embed_photos

    started = time.monotonic()
    inputs = {"dataset": dataset} | ({"model": Path(config.model.trained)} if config.model.trained else {})
    key = stage_key("review", config, inputs)
    done = finished(out, key)
    if done:
        return done
    check_results(out, "review", RECORD, (RECORD, RANKING, DUPLICATES))
    opened = Dataset.open(dataset)
    require_labels(opened)
    photos = opened.where(lambda sample: sample.origin == "real")
    embedder = open_embedder(photos, config)
    samples, features, failures = embed_photos(photos, photos.samples, embedder, resolve_jobs(config.jobs))
    failures = [*opened.failures, *failures]
    photos = replace(photos, samples=tuple(samples))
    groups, duplicates = group_photos(photos, config.duplicate_bits, config.group_pattern)
    findings = rank_photos(photos, features, groups, config)
    notes = [
        *embedder.notes,
        *notes_on(findings, duplicates),
        *notes_on_little(samples, groups, findings, embedder.seen),
    ]
    record = _record(key, dataset, config, embedder, findings, duplicates)
    _write(out, record, findings, duplicates, failures)
    counts = {"photos": len(findings), "suspicious": record["issues"], "duplicates": len(duplicates)}
    summary = Summary("review", out, counts, len(failures), tuple(notes), embedder.weights, record)
    summary = replace(summary, seconds=time.monotonic() - started)
    write_receipt(out, key, config, inputs, summary)
    return summary


def rank_photos(photos: Dataset, features: Features, groups: Sequence[str], config: ReviewConfig) -> list[Finding]:
    """Judge the labels of photos that were embedded, worst first.

    Args:
        photos: The N photos.
        features: (N, F) embeddings.
        groups: Group of each photo; those of one are held out together.
        config: Settings.

    Raises:
        DataError: Fewer than two classes have photos that can be held out while others of the class teach.
    """
    import numpy as np

    from weldgen.classifier.noise import judge

    judged = None
    if photos.samples:
        index = {label: number for number, label in enumerate(photos.labels)}
        targets = np.array([index[sample.label] for sample in photos.samples], np.int64)
        judged = judge(features, targets, groups, folds=config.folds, repeats=config.repeats, seed=config.seed)
    if judged is None:
        raise too_few(photos, groups)
    return rank_findings(photos.samples, photos.labels, judged)


def open_embedder(photos: Dataset, config: ReviewConfig) -> Embedder:
    """What looks at the photos.

    Raises:
        BackendError: Weights or a device are missing.
    """
    from weldgen.classifier.backbones import has_fixed_shape
    from weldgen.classifier.embeddings import open_backbone, open_trained
    from weldgen.classifier.preprocess import frame_for

    device = resolve_device(config.device)
    if config.model.trained:
        return open_trained(Path(config.model.trained), device)
    frame = (config.image_size, config.image_size)
    if not has_fixed_shape(config.model.backbone):
        frame = frame_for([(sample.width, sample.height) for sample in photos.samples], config.image_size)
    return open_backbone(config.model.backbone, config.model.weights, frame, device)


def _record(
    key: str,
    dataset: Path,
    config: ReviewConfig,
    embedder: Embedder,
    findings: Sequence[Finding],
    duplicates: Sequence[Sequence[Sample]],
) -> dict[str, Any]:
    return {
        "weldgen": weldgen.__version__,
        "key": key,
        "dataset": str(dataset),
        "classes": sorted({finding.sample.label for finding in findings}),
        "photos": len(findings),
        "issues": sum(finding.issue for finding in findings),
        "duplicates": len(duplicates),
        "backbone": embedder.name,
        "frame": list(embedder.frame),
        "folds": config.folds,
        "repeats": config.repeats,
    }


def _write(
    out: Path,
    record: Mapping[str, Any],
    findings: Sequence[Finding],
    duplicates: Sequence[Sequence[Sample]],
    failures: Sequence[Failure],
) -> None:
    write_atomic(out / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    lines = [json.dumps(f.record(rank), ensure_ascii=False) + "\n" for rank, f in enumerate(findings, start=1)]
    write_atomic(out / RANKING, "".join(lines))
    groups = [
        {
            "files": [sample.file_name for sample in samples],
            "ids": [sample.id for sample in samples],
            "labels": [sample.label for sample in samples],
            "identical": identical(samples),
        }
        for samples in duplicates
    ]
    write_atomic(out / DUPLICATES, "".join(json.dumps(group, ensure_ascii=False) + "\n" for group in groups))
    with output_errors(out):
        (out / FAILURES_NAME).unlink(missing_ok=True)
    if failures:
        write_atomic(out / FAILURES_NAME, failures_text(failures))
