"""The locate stage: cut the weld out of every photo, upright, so that the classifier sees little else."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from weldgen.config import StageConfig
from weldgen.data.dataset import Dataset, Failure, Sample, check_lineage
from weldgen.data.images import read_photo
from weldgen.data.sample import LOCATED
from weldgen.data.upright import cut_upright
from weldgen.data.writer import KEY, DatasetWriter
from weldgen.errors import DataError
from weldgen.receipts import Summary, finished, stage_key, write_receipt
from weldgen.runtime import content_hash, resolve_jobs, track

if TYPE_CHECKING:
    from weldgen.locating.locator import Found, Locator


class LocateConfig(StageConfig):
    """What is cut out; how large, and how clear it must be, the locator says."""

    most: int = Field(1, ge=1, le=50, description="welds that are cut out of a photo, the clearest first")


def locate(source: Path, locator: Path, out: Path, config: LocateConfig) -> Summary:
    """Cut the weld out of every photo of a dataset; photos on which none is found are listed in `failures.jsonl`.

    Classes, splits and groups stay as they are; welds of one photo are one group. Synthetic images are left out: they
    are made from what was cut out.

    Args:
        source: Dataset, or a plain folder of classes.
        locator: What `weldgen locator` wrote: its folder or the `.onnx` file.
        out: Target dataset.
        config: Settings.

    Raises:
        DataError: `source` is missing or empty.
        BackendError: The locator is missing.
        OutputError: `out` cannot be written, or holds what weldgen did not make.
    """
    from weldgen.locating.locator import open_locator

    started = time.monotonic()
    finder = open_locator(locator, resolve_jobs(config.jobs))
    inputs = {"source": source, "locator": finder.file}
    key = stage_key("locate", config, inputs)
    done = finished(out, key)
    if done:
        return done
    dataset = Dataset.open(source)
    photos = dataset.select(origin="real")
    settings = json.dumps([finder.id, config.most])
    keys = {sample.id: _key(sample, settings) for sample in photos}
    failures = list(dataset.failures)

    def valid(record: Mapping[str, Any]) -> bool:
        return bool(keys.get(record[LOCATED]["photo"]) == record[KEY])

    with DatasetWriter(out, valid) as writer:
        there = Counter(record[LOCATED]["photo"] for record in writer.done.values())
        whole = {r[LOCATED]["photo"] for r in writer.done.values() if there[r[LOCATED]["photo"]] == r[LOCATED]["welds"]}
        for sample in track(photos, total=len(photos), description="locate", unit="photos"):
            if sample.id in whole:
                continue
            try:
                _cut_out(writer, dataset, sample, finder, config, keys[sample.id])
            except DataError as error:
                failures.append(Failure(sample.file_name, error.message))
        samples = writer.finish(failures, dataset.labels)
    check_lineage(Dataset(out, tuple(samples), dataset.labels))
    counts = {"photos": len({s.extra[LOCATED]["photo"] for s in samples}), "welds": len(samples)}
    evidence = [s.extra[LOCATED]["evidence"] for s in samples]
    details = {"locator": finder.id, "evidence": round(float(np.median(evidence)), 3) if evidence else None}
    left_out = len(dataset.samples) - len(photos)
    notes = [f"{left_out} synthetic images were left out: weldgen synth makes them from what was cut out"]
    took = time.monotonic() - started
    summary = Summary(
        "locate", out, counts, len(failures), tuple(notes * bool(left_out)), details=details, seconds=took
    )
    write_receipt(out, key, config, inputs, summary)
    return summary


def _cut_out(
    writer: DatasetWriter, dataset: Dataset, sample: Sample, finder: Locator, config: LocateConfig, key: str
) -> None:
    """Write the welds of one photo."""
    photo = read_photo(dataset.path(sample))
    welds = finder.locate(photo.pixels, config.most)
    if not welds:
        raise DataError("no weld was found: mark it and teach the locator again, or with a lower min_evidence")
    name = PurePosixPath(sample.file_name)
    for number, weld in enumerate(welds):
        data = cut_upright(photo, weld.rectangle)
        width, height = weld.rectangle.size_px()
        about = {
            "photo": sample.id,
            "file": sample.file_name,
            "locator": finder.id,
            "welds": len(welds),
            **weld.record(),
        }
        written = name if config.most == 1 else name.with_name(f"{name.stem}_{number}{name.suffix}")
        made = replace(
            sample,
            file_name=written.as_posix(),
            group=sample.group or (sample.id if config.most > 1 else ""),
            width=width,
            height=height,
            extra={LOCATED: about, **_writing(sample, weld)},
        )
        if made.file_name not in writer.done:
            writer.add(made, data, key)


def _writing(sample: Sample, weld: Found) -> dict[str, Any]:
    """Where `clean` saw writing, on what was cut out; nothing where it did not look."""
    if "regions" not in sample.extra:
        return {}
    width, height = weld.rectangle.size_px()
    kept = []
    for region in sample.extra["regions"]:
        polygon = weld.rectangle.inside(region["polygon"])
        if (polygon.max(axis=0) > 0).all() and (polygon.min(axis=0) < [width, height]).all():
            kept.append({**region, "polygon": np.round(polygon, 1).tolist()})
    return {"regions": kept}


def _key(photo: Sample, settings: str) -> str:
    """What the welds of a photo and their lines depend on."""
    return content_hash(json.dumps([photo.record(), settings], sort_keys=True).encode())
