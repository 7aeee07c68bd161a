"""Decide train, validation and test once: stratified, near-duplicates together, deterministic."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from weldgen.config import Config
from weldgen.data.dataset import Dataset, Sample
from weldgen.data.sample import MIN_GROUPS_TO_SPLIT
from weldgen.errors import ConfigError, DataError
from weldgen.runtime import derive_seed, log

_HASH_SIDE = 8
# So many groups of a warning are named, and so many photos of each.
_SHOWN = 3
# The id of a second file with the same bytes: `<hash>-2`.
_COPY = re.compile(r"([0-9a-f]{20})(?:-\d+)?")


class SplitConfig(Config):
    """How photos are divided."""

    val: float = Field(0.15, ge=0, lt=1, description="share of each class for validation")
    test: float = Field(0.15, ge=0, lt=1, description="share of each class for the test")
    duplicate_bits: int = Field(
        4, ge=-1, le=32, description="perceptual hashes at most so many of 64 bits apart are one group; -1: off"
    )
    group_pattern: str = Field(
        "", description="regular expression; file names with the same first group (or match) stay together"
    )

    @model_validator(mode="after")
    def _check(self) -> SplitConfig:
        if self.val + self.test >= 1:
            raise ValueError(f"val + test = {self.val + self.test:g} leaves nothing to train on")
        try:
            re.compile(self.group_pattern)
        except re.error as error:
            raise ValueError(f"group_pattern is no regular expression: {error}") from error
        return self


def decide_split(
    dataset: Dataset, config: SplitConfig, seed: int, earlier: Mapping[str, tuple[str, str]] | None = None
) -> Dataset:
    """Give every real sample a split.

    A split that is decided already, in the dataset or in `earlier`, is kept. A class of fewer than three groups trains
    whole; its validation is then synthetic where `mix` has synthetic images (`weldgen.data.scarce`).

    Args:
        dataset: Any dataset; its files are read for their perceptual hashes where a split is missing.
        config: Shares and what counts as one group.
        seed: Seed of the assignment.
        earlier: Sample id -> split and group of an earlier run.

    Raises:
        DataError: One group has samples in two splits that are decided already.
    """
    known = {identity: split for identity, (split, _) in (earlier or {}).items()}
    fixed = known | {s.id: s.split for s in dataset.samples if s.split}
    if earlier:
        grouped = (replace(s, group=s.group or earlier.get(s.id, ("", ""))[1]) for s in dataset.samples)
        dataset = replace(dataset, samples=tuple(grouped))
    if all(sample.id in fixed for sample in dataset.samples):
        return replace(dataset, samples=tuple(replace(s, split=fixed[s.id]) for s in dataset.samples))
    groups = find_groups(dataset, config)
    members: dict[str, list[Sample]] = defaultdict(list)
    for sample in dataset.samples:
        members[groups[sample.id]].append(sample)
    split_of_group = _assign(members, config, seed, fixed)
    samples = tuple(
        replace(sample, split=split_of_group[groups[sample.id]], group=_group_name(groups[sample.id], members))
        for sample in dataset.samples
    )
    return replace(dataset, samples=samples)


def find_groups(dataset: Dataset, config: SplitConfig) -> dict[str, str]:
    """Sample id -> id of its group's first sample (by `group`, file name pattern and perceptual hash)."""
    samples = [sample for sample in dataset.samples if sample.origin == "real"]
    parent = {sample.id: sample.id for sample in dataset.samples}

    def root(identity: str) -> str:
        while parent[identity] != identity:
            parent[identity] = parent[parent[identity]]
            identity = parent[identity]
        return identity

    def join(first: str, second: str) -> None:
        one, other = sorted((root(first), root(second)))
        parent[other] = one

    first_of: dict[str, str] = {}
    for sample in samples:
        for name in _names(sample, config.group_pattern):
            join(first_of.setdefault(name, sample.id), sample.id)
    if config.duplicate_bits >= 0:
        for first, second in _near_duplicates([dataset.path(s) for s in samples], config.duplicate_bits):
            join(samples[first].id, samples[second].id)
    return {identity: root(identity) for identity in parent}


def perceptual_hash(path: Path) -> npt.NDArray[np.bool_] | None:
    """64-bit DCT hash (pHash) of an image, (64,) bool; None where the image cannot be decoded."""
    import imagehash
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.draft("L", (4 * _HASH_SIDE * 8, 4 * _HASH_SIDE * 8))  # JPEGs decode at an eighth of the cost
            grey = image.convert("L")
        return np.asarray(imagehash.phash(grey, hash_size=_HASH_SIDE).hash).ravel()
    except (OSError, SyntaxError, ValueError):
        return None  # the stage that needs the pixels reports it


def _names(sample: Sample, pattern: str) -> list[str]:
    names = [f"group:{sample.group}"] if sample.group else []
    copy = _COPY.fullmatch(sample.id)
    names += [f"content:{copy[1]}"] if copy else []
    match = re.search(pattern, Path(sample.file_name).name) if pattern else None
    if match:
        names.append(f"pattern:{match.group(1) if match.groups() else match.group(0)}")
    return names


def nearest_copies(paths: Sequence[Path], others: Sequence[Path], max_bits: int) -> dict[int, int]:
    """Index of each image that looks like one of the others -> index of the one most like it.

    Args:
        paths: Images.
        others: Images that they may be copies of.
        max_bits: Perceptual hashes are at most so many of 64 bits apart.
    """
    (own, matrix), (there, known) = _hashes(paths), _hashes(others)
    found = {}
    for index, bits in zip(own, matrix, strict=True):
        distance = np.abs(known - bits).sum(axis=1)
        if len(distance) and distance.min() <= max_bits:
            found[index] = there[int(distance.argmin())]
    return found


def _hashes(paths: Sequence[Path]) -> tuple[list[int], npt.NDArray[np.int16]]:
    """Indices of the images that can be decoded, and their hashes, (n, 64)."""
    hashes = [perceptual_hash(path) for path in paths]
    known = [index for index, bits in enumerate(hashes) if bits is not None]
    return known, np.array([hashes[index] for index in known], dtype=np.int16).reshape(len(known), _HASH_SIDE**2)


def _near_duplicates(paths: Sequence[Path], max_bits: int) -> list[tuple[int, int]]:
    known, matrix = _hashes(paths)
    pairs = []
    for row in range(len(known)):
        distance = np.abs(matrix[row + 1 :] - matrix[row]).sum(axis=1)
        pairs += [(known[row], known[row + 1 + int(i)]) for i in np.flatnonzero(distance <= max_bits)]
    return pairs


def _group_name(group: str, members: Mapping[str, Sequence[Sample]]) -> str:
    return group if len(members[group]) > 1 else ""


def groups_by_label(members: Mapping[str, Sequence[Sample]]) -> dict[str, list[str]]:
    """Class -> its groups; one with photos of several classes counts for the most frequent."""
    by_label: dict[str, list[str]] = defaultdict(list)
    mixed = []
    for group, samples in members.items():
        labels = Counter(sample.label for sample in samples)
        if len(labels) > 1:
            mixed.append(", ".join(sample.file_name for sample in samples[:_SHOWN]))
        by_label[labels.most_common(1)[0][0]].append(group)
    if mixed:
        more = f"; and {len(mixed) - _SHOWN} more" if len(mixed) > _SHOWN else ""
        log.warning(
            "photos that look alike or belong together but have different classes, kept in one split: %s%s",
            "; ".join(mixed[:_SHOWN]),
            more,
        )
    return by_label


def _assign(
    members: Mapping[str, Sequence[Sample]], config: SplitConfig, seed: int, fixed: Mapping[str, str]
) -> dict[str, str]:
    """Group -> split; the groups of each class are dealt out in a seeded order until the shares are met."""
    by_label = groups_by_label(members)
    result: dict[str, str] = {}
    for group, samples in members.items():
        decided = {fixed[sample.id] for sample in samples if sample.id in fixed}
        if len(decided) > 1:
            raise DataError(
                f"{samples[0].file_name} and its near-duplicates lie in {' and '.join(sorted(decided))}",
                "move them into one split",
            )
        if decided:
            result[group] = decided.pop()
    for groups in by_label.values():
        total = sum(len(members[group]) for group in groups)
        open_groups = sorted((g for g in groups if g not in result), key=lambda g: derive_seed(seed, "split", g))
        enough = len(groups) >= MIN_GROUPS_TO_SPLIT
        for split, share in (("test", config.test), ("val", config.val)):
            wanted = max(1, round(total * share)) if share and enough else 0
            count = sum(len(members[g]) for g in groups if result.get(g) == split)
            while count < wanted and len(open_groups) > 1:
                group = open_groups.pop()
                result[group] = split
                count += len(members[group])
        result.update(dict.fromkeys(open_groups, "train"))
    return result


def require_labels(dataset: Dataset) -> None:
    """Refuse photos that lie in no class folder.

    Raises:
        ConfigError: A photo has no class.
    """
    unlabelled = dataset.select(label="")
    if unlabelled:
        raise ConfigError(
            f"{dataset.path(unlabelled[0])} lies in no class folder; expected {dataset.root}/<class>/<photo>",
            "move the photos into one folder for each class, e.g. good/ and bad/",
        )
