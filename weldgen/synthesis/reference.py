"""The real photos as the gates see them: features, limits from the distances among them, and a probe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weldgen import weights
from weldgen.data.dataset import Dataset, Failure, Sample
from weldgen.data.images import RGB, read_rgb, shrink
from weldgen.errors import DataError
from weldgen.features import FEATURE_WEIGHT, Floats, feature_network, feature_rows
from weldgen.runtime import content_hash, evenly, track
from weldgen.synthesis.gates import HASH_BYTES, GateConfig, picture_hash
from weldgen.synthesis.judge import Reference, extractor
from weldgen.synthesis.probe import Probe, fit_probe
from weldgen.synthesis.settings import SynthConfig

# Training photos of a class beyond this many are left out; they would add time and hardly anything else.
MOST_PHOTOS = 300
# Fewer photos than this say nothing about the distances among photos, or about what an outlier is.
_LEAST_FOR_NEAR, _LEAST_FOR_FAR = 4, 8
# What is a copy where there are too few photos to tell, and at most.
_NEAR_UNKNOWN, _NEAR_MOST = 0.05, 0.10
# A probe that is worse than this on photos that it has not seen has no say.
_LEAST_ACCURACY = 0.8


@dataclass(frozen=True, eq=False)
class KnownPhotos:
    """What is known of the real photos.

    Attributes:
        hashes: (N, 32) uint8, those of the validation and test photos.
        reference: For the gates on features; None where these are off.
        train: Training photos in the order of `reference.train`.
        failures: Photos that cannot be read.
        labels: All classes of the dataset.
        notes: Which gates are off, and why.
        weights: Third-party weights that were used: `{"id", "licence"}` each.
    """

    hashes: npt.NDArray[np.uint8]
    reference: Reference | None
    train: tuple[Sample, ...]
    failures: tuple[Failure, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...]
    weights: tuple[dict[str, str], ...]


def know_photos(photos: Dataset, config: SynthConfig) -> KnownPhotos:
    """Look at the real photos of a dataset whose split is decided.

    Args:
        photos: Real photos.
        config: Settings.

    Raises:
        BackendError: The weights of the features are damaged.
    """
    failures = list(photos.failures)
    held_out = [*photos.select(split="val"), *photos.select(split="test")]
    network = feature_network() if _features_wanted(config) else None
    hashes, far_features = [], []
    for _, photo in _read(photos, held_out, failures):
        hashes.append(picture_hash(photo))
        if network:
            far_features += list(extractor(network)([shrink(photo, config.size_px)]))
    bits = np.array(hashes, np.uint8).reshape(-1, HASH_BYTES)
    if network is None:
        missing = f"the weights {FEATURE_WEIGHT} are not on this machine (weldgen doctor)"
        off = [f"gates that compare images by their features are off: {missing}"] if _features_wanted(config) else []
        return KnownPhotos(bits, None, (), tuple(failures), photos.labels, tuple(off), ())
    chosen = [
        sample for label in photos.labels for sample in evenly(photos.select(label=label, split="train"), MOST_PHOTOS)
    ]
    train, near_features = [], []
    for sample, photo in _read(photos, chosen, failures):
        train.append(sample)
        near_features += list(extractor(network)([shrink(photo, config.size_px)]))
    features = feature_rows(near_features), feature_rows(far_features)
    reference, notes = _reference(network, train, held_out, features, config)
    record = weights.get(FEATURE_WEIGHT).record
    return KnownPhotos(bits, reference, tuple(train), tuple(failures), photos.labels, notes, (record,))


def _features_wanted(config: SynthConfig) -> bool:
    gates = config.gates
    return bool(gates.near or gates.outlier or gates.contradiction < 1 or config.quality_images)


def _read(photos: Dataset, samples: Sequence[Sample], failures: list[Failure]) -> Iterator[tuple[Sample, RGB]]:
    """Photos one by one; those that cannot be read join the failures."""
    for sample in track(samples, total=len(samples), description="photos", unit="photos"):
        try:
            yield sample, read_rgb(photos.path(sample))
        except DataError as error:
            failures.append(Failure(sample.file_name, error.message))


def _reference(
    network: bytes,
    train: Sequence[Sample],
    held_out: Sequence[Sample],
    features: tuple[Floats, Floats],
    config: SynthConfig,
) -> tuple[Reference, tuple[str, ...]]:
    """The limits of all gates, and sentences on those that are off."""
    gates = config.gates
    groups = [sample.group or sample.id for sample in train]
    apart = nearest_apart(features[0], groups)
    near = near_limit(apart, gates)
    far = far_limit(apart, gates)
    notes = []
    if gates.outlier and not np.isfinite(far):
        notes.append(f"gate on outliers: off, {_LEAST_FOR_FAR} different training photos are needed, not {len(apart)}")
    probe, about = _probe(features[0], train, groups, config) if gates.contradiction < 1 else (None, "")
    if about:
        notes.append(f"gate on labels: {about}")
    close = int(np.sum((1 - features[0] @ features[1].T <= near).any(axis=1))) if len(features[1]) else 0
    if close:
        notes.append(
            f"training photos as close to a validation or test photo as a copy: {close}; if they show the same part, "
            "keep such photos together with split.group_pattern"
        )
    seen = [FEATURE_WEIGHT, config.size_px, [s.id for s in held_out], [[s.id, s.label, s.group] for s in train]]
    identity = content_hash(json.dumps(seen).encode())
    ids = tuple(sample.id for sample in train)
    made = Reference(
        network, identity, config.size_px, features[1], features[0], ids, near, far, probe, gates.contradiction
    )
    return made, tuple(notes)


def nearest_apart(features: Floats, groups: Sequence[str]) -> Floats:
    """Distance of each photo to the nearest of another group; photos that have none are left out."""
    if not len(features):
        return np.zeros(0, np.float32)
    away = 1 - features @ features.T
    named = np.array(groups)
    away[named[:, None] == named[None]] = np.inf
    nearest = away.min(axis=1)
    return np.asarray(nearest[np.isfinite(nearest)], np.float32)


def near_limit(apart: Floats, gates: GateConfig) -> float:
    """Up to which distance an image is a copy of a photo; -1 where the gate is off."""
    if not gates.near:
        return -1.0
    if len(apart) < _LEAST_FOR_NEAR:
        return _NEAR_UNKNOWN
    return min(_NEAR_MOST, gates.near * float(np.median(apart)))


def far_limit(apart: Floats, gates: GateConfig) -> float:
    """From which distance to the nearest photo on an image is an outlier; infinite where the gate is off."""
    if not gates.outlier or len(apart) < _LEAST_FOR_FAR:
        return float("inf")
    return max(gates.outlier_floor, gates.outlier * float(apart.max()))


def _probe(
    features: Floats, train: Sequence[Sample], groups: Sequence[str], config: SynthConfig
) -> tuple[Probe | None, str]:
    """The probe, where it is good enough, and a sentence where it is not."""
    probe, about = fit_probe(features, [s.label for s in train], groups, config.gates.probe_photos, config.seed)
    if probe is None:
        return None, f"off, {about}"
    if probe.balanced_accuracy < _LEAST_ACCURACY:
        return None, f"off, it tells the classes too poorly apart ({about}; {_LEAST_ACCURACY} is needed)"
    return probe, ""
