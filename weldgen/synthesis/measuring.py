"""Measure a finished run: which images, against which photos, and what the receipt keeps of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from weldgen.data.dataset import Sample
from weldgen.data.images import read_rgb
from weldgen.features import Floats, feature_rows
from weldgen.runtime import evenly, track
from weldgen.synthesis.judge import extractor
from weldgen.synthesis.quality import (
    LEAST_PHOTOS,
    copies_share,
    density_and_coverage,
    kernel_distance,
    neighbours_for,
    shortcut_auc,
)
from weldgen.synthesis.reference import KnownPhotos
from weldgen.synthesis.requests import TRANSPLANT
from weldgen.synthesis.settings import SynthConfig

_SHOWN_PHOTOS = 8  # of each class, for the report
_SHOWN_NEIGHBOURS = 4


def measure_quality(samples: Sequence[Sample], out: Path, known: KnownPhotos, config: SynthConfig) -> dict[str, Any]:
    """Figures for the receipt; empty where nothing is to be measured or the features are missing.

    At most `config.quality_images` images are read, evenly over the classes and the run.

    Args:
        samples: All synthetic images of the run.
        out: Their folder.
        known: The real photos.
        config: Settings.

    Raises:
        DataError: An image that was just made cannot be read.
    """
    if known.reference is None or not config.quality_images or not samples:
        return {}
    by_label: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_label[sample.label].append(sample)
    most = max(3, config.quality_images // len(by_label))
    chosen = {label: evenly(own, most) for label, own in sorted(by_label.items())}
    see = extractor(known.reference.network)
    wanted = [sample for own in chosen.values() for sample in own]
    tracked = track(wanted, total=len(wanted), description="measure")
    rows = {sample.file_name: see([read_rgb(out / sample.file_name)])[0] for sample in tracked}
    hashes = np.array([np.frombuffer(bytes.fromhex(s.extra["hash"]), np.uint8) for s in samples])
    place = {sample.file_name: index for index, sample in enumerate(samples)}
    classes = {}
    for label, own in chosen.items():
        made = feature_rows([rows[sample.file_name] for sample in own])
        places = [place[sample.file_name] for sample in own if sample.extra["use"] != TRANSPLANT]
        rejected = Counter(reason for sample in by_label[label] for reason in sample.extra["rejected"])
        classes[label] = {
            "synthetic": len(by_label[label]),
            "measured": len(own),
            **_against_photos(label, made, own, known, config.seed),
            "copies": round(copies_share(hashes, places, config.gates.duplicate_bits), 4) if places else None,
            "rejected": dict(rejected.most_common()),
            "neighbours": _neighbours(own, known),
            "photos": [s.file_name for s in evenly([s for s in known.train if s.label == label], _SHOWN_PHOTOS)],
        }
    return {"near": round(known.reference.near, 4), "classes": classes}


def _against_photos(label: str, made: Floats, own: Sequence[Sample], known: KnownPhotos, seed: int) -> dict[str, Any]:
    """The figures that need photos of the class; without enough of them only their number."""
    assert known.reference is not None
    indices = [index for index, sample in enumerate(known.train) if sample.label == label]
    real = known.reference.train[indices]
    if len(real) < LEAST_PHOTOS or len(made) < 3:
        return {"real": len(real)}
    distance = kernel_distance(real, made)
    neighbours = neighbours_for(len(real))
    density, coverage = density_and_coverage(real, made, neighbours)
    photos = [known.train[index] for index in indices]
    group_of = {sample.id: sample.group or sample.id for sample in known.train}
    families = [group_of[sample.id] for sample in photos]
    families += [_family(sample, group_of) for sample in own]
    auc = shortcut_auc(real, made, families, seed)
    return {
        "real": len(real),
        "kid": round(distance.value, 5),
        "kid_error": round(distance.error, 5),
        "density": round(density, 3),
        "coverage": round(coverage, 3),
        "neighbours_k": neighbours,
        "auc": None if auc is None else round(auc, 3),
    }


def _family(sample: Sample, group_of: dict[str, str]) -> str:
    """A transplant goes with the first of its photos; a rendering stands alone, for it shows none."""
    known = [parent for parent in sample.parents if parent in group_of] if sample.extra["use"] == TRANSPLANT else []
    return group_of[known[0]] if known else sample.file_name


def _neighbours(own: Sequence[Sample], known: KnownPhotos) -> list[dict[str, Any]]:
    """Some images with their nearest training photos, from the closest to the furthest."""
    names = {sample.id: sample.file_name for sample in known.train}
    judged = [sample for sample in own if names.get(sample.extra.get("judged", {}).get("nearest", ""))]
    ordered = sorted(judged, key=lambda sample: (sample.extra["judged"]["distance"], sample.file_name))
    count = min(_SHOWN_NEIGHBOURS, len(ordered))
    picked = [ordered[round(index * (len(ordered) - 1) / max(1, count - 1))] for index in range(count)]
    return [
        {
            "image": sample.file_name,
            "photo": names[sample.extra["judged"]["nearest"]],
            "distance": sample.extra["judged"]["distance"],
            "parent": sample.extra["judged"]["nearest"] in sample.parents,
        }
        for sample in picked
    ]
