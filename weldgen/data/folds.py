"""Divide the photos of training and validation into folds, and write a fold as a dataset of its own.

In a fold's dataset the held-out photos are its test split, so what holds for every dataset holds for it: lineage is
checked when it is opened, and an evaluation refuses photos that the model has seen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from weldgen.data.dataset import Dataset, Sample
from weldgen.data.mix import split_name
from weldgen.data.sample import DEFECT_MASK, SYNTHETIC_VALIDATION
from weldgen.data.scarce import hold_out
from weldgen.data.split import SplitConfig, decide_split, find_groups, groups_by_label
from weldgen.data.writer import KEY, DatasetWriter
from weldgen.errors import DataError
from weldgen.runtime import content_hash, derive_seed


@dataclass(frozen=True)
class Division:
    """Which photos are held out when.

    Attributes:
        dataset: The photos and synthetic images of training and validation; photos of one group name it.
        fold_of: Id of a photo -> the fold, from 1, that holds it out. Photos of a class with one group are in none.
        count: Number of folds.
        notes: Sentences for the user.
    """

    dataset: Dataset
    fold_of: Mapping[str, int]
    count: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Fold:
    """One fold's dataset.

    Attributes:
        dataset: With its splits: `test` is what is held out. Its files lie where the whole dataset's do.
        notes: What is synthetic in its validation.
    """

    dataset: Dataset
    notes: tuple[str, ...]


def divide(dataset: Dataset, count: int, config: SplitConfig, seed: int) -> Division:
    """Deal the groups of each class out to the folds; a class of fewer groups than folds has one left out at a time.

    Args:
        dataset: Every sample has a split; test photos are left aside.
        count: Folds, 2 or more.
        config: What counts as one group.
        seed: Seed of the order in which groups of one size are dealt.

    Raises:
        DataError: No class has two groups of photos.
    """
    used = dataset.where(lambda sample: sample.split != "test")
    photos = used.where(lambda sample: sample.origin == "real")
    root_of = find_groups(photos, config)
    members: dict[str, list[Sample]] = defaultdict(list)
    for photo in photos.samples:
        members[root_of[photo.id]].append(photo)
    by_label = groups_by_label(members)
    most = max(map(len, by_label.values()), default=0)
    if most < 2:
        raise DataError(
            f"{dataset.root}: nothing can be held out, because no class has two groups of real photos",
            "add photos that are no copies of each other, or train without folds (folds=0)",
        )
    folds = min(count, most)
    fold_of = _deal(members, by_label, folds, seed)
    named = {photo.id: replace(photo, group=_name(root_of[photo.id], members)) for photo in photos.samples}
    samples = tuple(named.get(sample.id, sample) for sample in used.samples)
    notes = _few_notes({label: len(groups) for label, groups in by_label.items()}, count, folds)
    unknown = _orphans(dataset)
    if unknown:
        notes.append(
            f"{unknown} synthetic images were made from photos that are not in the dataset; they train in every fold"
        )
    return Division(replace(used, samples=samples), fold_of, folds, tuple(notes))


def _deal(
    members: Mapping[str, list[Sample]], by_label: Mapping[str, list[str]], folds: int, seed: int
) -> dict[str, int]:
    """Id of a photo -> its fold: each group, large ones first, goes where its class has fewest photos so far."""
    fold_of: dict[str, int] = {}
    total: Counter[int] = Counter()
    for label in sorted(by_label):
        groups = by_label[label]
        if len(groups) < 2:
            continue
        own: Counter[int] = Counter()
        for group in sorted(groups, key=lambda g: (-len(members[g]), derive_seed(seed, "fold", g))):
            fold = min(range(1, folds + 1), key=lambda k: (own[k], total[k], k))
            own[fold] += len(members[group])
            total[fold] += len(members[group])
            fold_of |= dict.fromkeys((photo.id for photo in members[group]), fold)
    return fold_of


def _name(group: str, members: Mapping[str, list[Sample]]) -> str:
    return group if len(members[group]) > 1 else ""


def _orphans(dataset: Dataset) -> int:
    """Synthetic images with a parent that is no photo of the dataset."""
    known = {sample.id for sample in dataset.samples}
    return sum(sample.origin == "synthetic" and not known.issuperset(sample.parents) for sample in dataset.samples)


def _few_notes(groups: Mapping[str, int], asked: int, folds: int) -> list[str]:
    """Sentences on classes that have fewer groups of photos than there are folds."""
    notes = []
    if folds < asked:
        notes.append(f"{folds} folds instead of {asked}: no class has more groups of photos")
    for label, count in sorted(groups.items()):
        if count == 1:
            notes.append(f"class '{label}' has one group of photos: it trains in every fold, and nothing measures it")
        elif count < asked:
            none = f"; {folds - count} of the {folds} folds measure no photo of it" if count < folds else ""
            notes.append(
                f"class '{label}' has {count} groups of photos, fewer than {asked} folds: each is left out once{none}"
            )
    return notes


def make_fold(division: Division, number: int, config: SplitConfig, seed: int) -> Fold:
    """The dataset of one fold.

    Its validation photos are taken from those that are not held out, by the share of `config`. A synthetic image is
    left out where a photo that it was made from is held out or validates. Where a class is left with too few photos,
    its validation is synthetic as in a mix.

    Args:
        division: Of the whole dataset.
        number: The fold, from 1.
        config: `val` is the share of the validation; what counts as one group is decided already.
        seed: Seed of the validation split.
    """
    dataset = division.dataset
    photos = dataset.where(lambda sample: sample.origin == "real")
    held = {photo.id for photo in photos.samples if division.fold_of.get(photo.id) == number}
    rest = replace(photos, samples=tuple(replace(p, split="") for p in photos.samples if p.id not in held))
    decided = decide_split(rest, SplitConfig(val=config.val, test=0, duplicate_bits=-1), derive_seed(seed, number))
    split_of = {photo.id: photo.split for photo in decided.samples} | dict.fromkeys(held, "test")
    weights = _weights(photos)
    own = replace(photos, samples=tuple(_placed(p, split_of[p.id], weights) for p in photos.samples))
    apart = {identity for identity, split in split_of.items() if split != "train"}
    groups = {photo.group for photo in own.samples if photo.group and photo.split != "train"}
    made = [
        _placed(sample, "train", {})
        for sample in dataset.select(origin="synthetic")
        if not apart.intersection(sample.parents) and not (sample.group and sample.group in groups)
    ]
    parts = hold_out(own, replace(dataset, samples=tuple(made)), seed, config.duplicate_bits)
    samples = (*own.samples, *parts.training.samples, *parts.validation)
    return Fold(replace(dataset, samples=samples), parts.notes)


def _weights(photos: Dataset) -> dict[str, float]:
    """How often photos of each class are drawn: what `mix` wrote of those that trained."""
    found: dict[str, float] = {}
    for photo in photos.samples:
        if photo.split == "train" and "weight" in photo.extra:
            found[photo.label] = max(found.get(photo.label, 0.0), float(photo.extra["weight"]))
    return found


def _placed(sample: Sample, split: str, weights: Mapping[str, float]) -> Sample:
    """A sample in its split of a fold; a photo that trains is drawn as often as the mix has it for its class."""
    extra = {key: value for key, value in sample.extra.items() if key not in (KEY, SYNTHETIC_VALIDATION)}
    if split == "train" and sample.label in weights:
        extra["weight"] = weights[sample.label]
    return replace(sample, split=split, extra=extra)


def write_fold(fold: Fold, out: Path) -> dict[str, str]:
    """Write a fold as a dataset folder, masks of defects included, as hard links where the file system allows it.

    Returns:
        Name of each file there -> its name in the whole dataset.

    Raises:
        OutputError: A file of a user's stands there, or the disk is full.
    """
    taken: set[str] = set()
    plan = {split_name(sample, taken): sample for sample in fold.dataset.samples}
    named = {name: replace(sample, file_name=name) for name, sample in plan.items()}
    keys = {name: content_hash(repr(sorted(s.record().items())).encode()) for name, s in named.items()}
    with DatasetWriter(out, lambda record: keys.get(record["file_name"]) == record.get(KEY)) as writer:
        for name, sample in named.items():
            if name not in writer.done:
                mask = sample.extra.get(DEFECT_MASK)
                if mask:
                    writer.add_side_copy(mask, fold.dataset.root / mask, link=True)
                writer.add_file(sample, fold.dataset.path(plan[name]), keys[name], link=True)
        writer.finish()
    return {name: sample.file_name for name, sample in plan.items()}
