"""Clean listed photos again, with other settings perhaps, and leave all others of the folder as they are."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from weldgen.cleaning.photos import clean_samples, given_masks, load_cleaner, mask_names
from weldgen.cleaning.settings import CleanConfig
from weldgen.cleaning.summary import summarise
from weldgen.data.dataset import METADATA_NAME, Dataset, Failure, Sample, check_lineage, read_metadata
from weldgen.data.writer import DatasetWriter
from weldgen.errors import DataError
from weldgen.receipts import FAILURES_NAME, Summary, read_receipt, stage_key, write_receipt

# What the page of `weldgen clean --review` saves for a photo that needs another look.
PAGE, AGAIN = "clean", "again"


def redo(source: Path, out: Path, config: CleanConfig) -> Summary:
    """Clean the photos that `config.only` lists again, even if they are done.

    A photo that was done again keeps its result in later runs over the whole folder. The receipt of the earlier run
    stays valid, so that what was made from the folder is made again only because photos changed.

    Args:
        source: Folder of the original photos.
        out: Folder that `clean` made of them.
        config: Settings, resolved; `only` is a file with one path a line, or the list that the review page saves.

    Raises:
        DataError: `out` was not made by `clean`, or the list cannot be read or names a photo that is not there.
        BackendError: A backend that was asked for is missing.
    """
    started = time.monotonic()
    names = read_list(Path(config.only))
    if not (out / METADATA_NAME).is_file():
        raise DataError(f"{out} holds no cleaned photos yet, so none can be done again", "run weldgen clean first")
    photos = Dataset.open(source)
    lines = {record["file_name"]: record for record in read_metadata(out)}
    samples = _choose(names, photos, lines, out, config)
    listed = {sample.file_name for sample in samples}
    earlier = _earlier_run(source, out)
    kept_failures = [failure for failure in _earlier_failures(out) if failure.file not in listed]
    masks = {
        name: mask
        for name, mask in mask_names(photos.samples).items()
        if config.save_masks or (out / mask).is_file()
    }  # fmt: skip
    given_masks(photos, config)  # refuses a wrong folder before anything changes
    cleaner = load_cleaner(config)  # before the earlier results go: a missing backend must not cost them
    with DatasetWriter(out, lambda record: record["file_name"] not in listed) as writer:
        failed = clean_samples(writer, photos, samples, cleaner, masks, config)
        failures = [*kept_failures, *failed]
        written = writer.finish(failures, photos.labels)
    check_lineage(Dataset(out, tuple(written), photos.labels))
    whole = earlier is not None and {sample.file_name for sample in written} >= set(lines)
    notes = [] if whole else ["the folder is not complete: weldgen clean does what is missing"]
    summary = summarise(out, written, failures, config, notes)
    counts = {"done again": len(samples) - len(failed), **summary.counts}
    summary = replace(summary, counts=counts, seconds=time.monotonic() - started)
    if earlier is not None and whole:
        receipt, first = earlier
        weights = {weight["id"]: weight for weight in (*receipt["weights"], *summary.weights)}
        complete = replace(summary, weights=tuple(weights.values()))
        write_receipt(out, receipt["key"], first, {"source": source}, complete)
    return summary


def read_list(path: Path) -> list[str]:
    """The photos that a list names, in its order, each once.

    Args:
        path: Text with one relative path a line, or the JSON file that the review page saves.

    Raises:
        DataError: It is missing, empty, or not such a list.
    """
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"--only {path}: the list cannot be read: {error}",
            "one path a line, or the file that the page of weldgen clean --review saves",
        ) from error
    names = _saved_names(path, text) if text.startswith("{") else [line.strip() for line in text.splitlines()]
    names = [name for name in dict.fromkeys(names) if name]
    if not names:
        raise DataError(f"--only {path}: the list names no photo", "write one path a line, e.g. good/weld_001.jpg")
    return names


def _saved_names(path: Path, text: str) -> list[str]:
    try:
        saved = json.loads(text)
        if saved["page"] != PAGE:
            raise DataError(
                f"--only {path} holds decisions about labels, not photos to clean again",
                f"weldgen review --apply {path}",
            )
        return [entry["file"] for entry in saved["decisions"] if entry["decision"] == AGAIN]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"--only {path} is no list that weldgen knows: {error}", "save it again from the review page"
        ) from error


def _choose(
    names: Sequence[str], photos: Dataset, lines: Mapping[str, Mapping[str, Any]], out: Path, config: CleanConfig
) -> list[Sample]:
    """The listed photos with the split and group that an earlier run decided."""
    known = {sample.file_name: sample for sample in photos.samples}
    samples = []
    for name in names:
        if name not in known:
            raise DataError(
                f"--only {config.only} names {name}, which is not in {photos.root}",
                f"paths are relative to {photos.root}, e.g. {next(iter(known), 'good/weld_001.jpg')}",
            )
        if name not in lines:
            raise DataError(
                f"--only {config.only} names {name}, which {out} does not have yet",
                "weldgen clean without --only does new photos",
            )
        split, group = lines[name].get("split") or "", lines[name].get("group") or ""
        samples.append(replace(known[name], split=split, group=group))
    return samples


def _earlier_run(source: Path, out: Path) -> tuple[dict[str, Any], CleanConfig] | None:
    """Receipt and settings of a run that finished in `out` on the photos as they are now; else None."""
    receipt = read_receipt(out)
    if receipt is None or receipt["stage"] != "clean":
        return None
    try:
        config = CleanConfig.model_validate(receipt["config"])
    except ValidationError:
        return None  # an older weldgen with other settings: the next whole run decides what is still valid
    return (receipt, config) if stage_key("clean", config, {"source": source}) == receipt["key"] else None


def _earlier_failures(out: Path) -> list[Failure]:
    path = out / FAILURES_NAME
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [Failure(**json.loads(line)) for line in lines]
