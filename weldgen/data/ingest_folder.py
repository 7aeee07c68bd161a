"""Bring in class folders: photos are copied, under the same names, and nothing is overwritten."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from weldgen.data.dataset import METADATA_NAME, Dataset, Failure, failures_text
from weldgen.data.formats.paths import split_of
from weldgen.data.images import read_photo
from weldgen.data.split import require_labels
from weldgen.errors import DataError, OutputError
from weldgen.receipts import FAILURES_NAME, Summary
from weldgen.runtime import file_hash, output_errors, temporary_for, track, write_atomic


def copy_folders(source: Path, out: Path) -> tuple[Summary, Collection[str]]:
    """Copy class folders, those without a photo included; unreadable photos are listed in `failures.jsonl`.

    Args:
        source: Folder of classes, or of splits with folders of classes.
        out: Target; photos that are there already stay as they are.

    Returns:
        What was done, and the names of the classes.

    Raises:
        DataError: `source` is missing or empty, or has photos without a class.
        OutputError: `out` cannot be written, or holds what does not go with `source`.
    """
    dataset = Dataset.open(source)
    require_labels(dataset)
    if (out / METADATA_NAME).is_file() and out.resolve() != source.resolve():
        raise OutputError(f"{out} has {METADATA_NAME}: photos copied into it would not count", "choose another --out")
    _check_levels(dataset, out)
    failures = list(dataset.failures)
    counts = {"copied": 0, "present": 0}
    by_split = any(split_of([sample.file_name.partition("/")[0]]) for sample in dataset.samples)
    for folder in source.glob("*/*/" if by_split else "*/"):  # classes without a photo are classes too
        if folder.name in dataset.labels:
            with output_errors(out):
                (out / folder.relative_to(source)).mkdir(parents=True, exist_ok=True)
    for sample in track(dataset.samples, total=len(dataset.samples), description="ingest"):
        target = out / sample.file_name
        try:
            read_photo(dataset.path(sample))
            copied = _copy(dataset.path(sample), target)
            counts["copied" if copied else "present"] += 1
        except DataError as error:
            failures.append(Failure(sample.file_name, error.message))
    if failures:
        write_atomic(out / FAILURES_NAME, failures_text(failures))
    else:
        (out / FAILURES_NAME).unlink(missing_ok=True)
    return Summary("ingest", out, counts, len(failures)), dataset.labels


def _check_levels(dataset: Dataset, out: Path) -> None:
    """Refuse folders of splits beside folders of classes, because the splits would be read as classes."""
    tops = {sample.file_name.partition("/")[0] for sample in dataset.samples}
    tops |= {path.name for path in out.glob("*/") if not path.name.startswith(".")}
    splits = sorted(name for name in tops if split_of([name]))
    classes = sorted(tops - set(splits))
    if splits and classes:
        raise OutputError(
            f"{out} would have folders of splits ({', '.join(splits)}) beside folders of classes "
            f"({', '.join(classes)})",
            "choose another --out, or remove the folders that are empty",
        )


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
