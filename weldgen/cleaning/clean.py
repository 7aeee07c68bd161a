"""The clean stage: a folder of photos in, the same photos without writing out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from weldgen.cleaning.photos import clean_samples, given_masks, image_key, load_cleaner, mask_names
from weldgen.cleaning.redo import redo
from weldgen.cleaning.settings import AUTO, LAMA, CleanConfig, detector_names, inpainter_name
from weldgen.cleaning.summary import REDONE, summarise
from weldgen.data.dataset import METADATA_NAME, Dataset, check_lineage, read_metadata
from weldgen.data.split import decide_split
from weldgen.data.writer import KEY, DatasetWriter
from weldgen.errors import ConfigError
from weldgen.receipts import Summary, finished, stage_key, write_receipt

__all__ = ["CleanConfig", "auto_detectors", "auto_inpainter", "clean", "resolve_config"]


def clean(source: Path, out: Path, config: CleanConfig) -> Summary:
    """Take the writing out of all photos of a folder; names, formats and sizes stay.

    Photos without writing are copied byte for byte. The split into train, val and test is decided here once.
    With `config.only` the listed photos alone are cleaned again (`weldgen.cleaning.redo`).

    Args:
        source: Folder of class folders, flat folder of photos, or dataset.
        out: Target folder.
        config: Settings.

    Raises:
        ConfigError: A backend does not exist, or `out` lies in `source`.
        BackendError: A backend that was asked for is missing.
        DataError: `source` holds no photo, or `config.only` names one that is not there.
    """
    started = time.monotonic()
    asked, config = config, resolve_config(config)
    _check_folders(source, out)
    if config.only:
        return redo(source, out, config)
    inputs = {"source": source} | ({"masks": Path(config.mask.given)} if config.mask.given else {})
    key = stage_key("clean", config, inputs)
    done = finished(out, key)
    if done:
        return done
    photos = decide_split(Dataset.open(source), config.split, config.seed, _earlier_splits(out))
    given = given_masks(photos, config)
    masks = mask_names(photos.samples) if config.save_masks else {}
    keys = {sample.file_name: image_key(sample, config, given) for sample in photos.samples}
    same = {(sample.file_name, sample.id, sample.split) for sample in photos.samples}

    def valid(record: Mapping[str, Any]) -> bool:
        name = record["file_name"]
        own = record.get(REDONE) and (name, record["source_id"], record["split"]) in same
        return bool(own or keys.get(name) == record.get(KEY)) and (name not in masks or (out / masks[name]).is_file())

    with DatasetWriter(out, valid) as writer:
        todo = [sample for sample in photos.samples if sample.file_name not in writer.done]
        cleaner = load_cleaner(config) if todo else None
        failures = clean_samples(writer, photos, todo, cleaner, masks, config) if cleaner else []
        failures = [*photos.failures, *failures]
        samples = writer.finish(failures, photos.labels)
    check_lineage(Dataset(out, tuple(samples), photos.labels))
    summary = summarise(out, samples, failures, config, _notes(asked))
    summary = replace(summary, seconds=time.monotonic() - started)
    write_receipt(out, key, config, inputs, summary)
    return summary


def resolve_config(config: CleanConfig) -> CleanConfig:
    """The configuration with `auto` decided; it is part of the run's key."""
    detector_names(config.detect.backend)  # refuses a name that does not exist before anything is read
    inpaint = config.inpaint.model_copy(update={"backend": inpainter_name(config.inpaint.backend)})
    return config.model_copy(update={"inpaint": inpaint})


def auto_detectors() -> str:
    """What `auto` finds writing with, in one sentence."""
    return " and ".join(detector_names(AUTO)) + ", together with the ink network"


def auto_inpainter() -> str:
    """What `auto` fills holes with on this machine, in one sentence."""
    name = inpainter_name(AUTO)
    if name == LAMA:
        return name
    return f"{name} (embedded); {LAMA} may be better: weldgen models pull {LAMA}"


def _check_folders(source: Path, out: Path) -> None:
    if out.resolve().is_relative_to(source.resolve()):
        raise ConfigError(f"--out {out} lies in the folder of the photos, {source}", "choose a folder beside it")


def _earlier_splits(out: Path) -> dict[str, tuple[str, str]]:
    """Source id -> split and group that an earlier run in `out` decided."""
    if not (out / METADATA_NAME).is_file():
        return {}
    lines = (line for line in read_metadata(out) if line.get("source_id") and line.get("split"))
    return {line["source_id"]: (line["split"], line.get("group") or "") for line in lines}


def _notes(asked: CleanConfig) -> list[str]:
    notes = []
    if asked.detect.backend == AUTO:
        notes.append(f"detectors: {auto_detectors()}")
    if asked.inpaint.backend == AUTO:
        notes.append(f"inpainter: {auto_inpainter()}")
    return notes
