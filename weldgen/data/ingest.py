"""Bring a folder of classes into a project, checked and never overwritten."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Literal

from weldgen.config import StageConfig
from weldgen.data.dataset import Dataset, Failure, failures_text
from weldgen.data.images import read_photo
from weldgen.data.split import require_labels
from weldgen.errors import DataError
from weldgen.receipts import FAILURES_NAME, Summary
from weldgen.runtime import content_hash, file_hash, output_errors, temporary_for, track, write_atomic


class IngestConfig(StageConfig):
    """How photos are brought in."""

    format: Literal["auto", "folder"] = "auto"


def ingest(source: Path, out: Path, config: IngestConfig) -> Summary:
    """Copy `source/[<split>/]<class>/<photo>` to `out`; unreadable photos are listed, not copied.

    The result is a plain folder of classes, to which photos can be added by hand.

    Args:
        source: Folder of class folders.
        out: Target, usually `data/raw`.
        config: Settings.

    Raises:
        DataError: `source` is missing or empty.
        OutputError: `out` cannot be written.
    """
    started = time.monotonic()
    dataset = Dataset.open(source)
    require_labels(dataset)
    failures = list(dataset.failures)
    counts = {"copied": 0, "present": 0}
    for label in dataset.labels:
        with output_errors(out):
            (out / label).mkdir(parents=True, exist_ok=True)
    for sample in track(dataset.samples, total=len(dataset.samples), description="ingest"):
        target = out / sample.file_name
        try:
            read_photo(dataset.path(sample))
            copied = _copy(dataset.path(sample), target)
            counts["copied" if copied else "present"] += 1
        except DataError as error:
            failures.append(Failure(sample.file_name, error.message))
    if failures:
        name = FAILURES_NAME.replace(".", f"-{content_hash(str(source.resolve()).encode())[:6]}.")
        write_atomic(out / name, failures_text(failures))
    return Summary("ingest", out, counts, len(failures), seconds=time.monotonic() - started)


def _copy(source: Path, target: Path) -> bool:
    """Copy one photo; False where the same photo is there already."""
    if target.exists():
        if file_hash(source) == file_hash(target):
            return False
        raise DataError(f"{target} exists and is another photo than {source}", "rename one of them")
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, temporary_for(target))
        temporary_for(target).replace(target)
    return True
