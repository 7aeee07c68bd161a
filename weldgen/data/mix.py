"""Mix real and synthetic images: training gets both, validation and test stay real."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import Field

from weldgen.config import StageConfig
from weldgen.data.dataset import Dataset, Sample, check_lineage
from weldgen.data.split import SplitConfig, decide_split, require_labels
from weldgen.data.writer import KEY, DatasetWriter
from weldgen.errors import DataError
from weldgen.receipts import Summary, finished, stage_key, write_receipt
from weldgen.runtime import content_hash, derive_seed, track


class MixConfig(StageConfig):
    """How much of each."""

    real_ratio: float = Field(0.25, gt=0, le=1, description="share of real photos among the training images")
    use_all: bool = Field(False, description="keep all synthetic images; training then draws real photos more often")
    link: bool = Field(True, description="hard links instead of copies where the file system allows it")
    split: SplitConfig = SplitConfig()


def mix(real: Path, synthetic: Path, out: Path, config: MixConfig) -> Summary:
    """Build `out/<split>/<class>/` from a folder of real photos and one of synthetic images.

    All real photos are kept. Each class gets the same share of synthetic images, so that "synthetic" says nothing
    about the class; where there are too few, the share of real photos rises and a note says so.

    Args:
        real: Dataset of real photos.
        synthetic: Dataset of synthetic images; may be missing where `real_ratio` is 1.
        out: Target folder.
        config: Settings.

    Raises:
        DataError: A synthetic image was made from a validation or test photo, or has an unknown class.
    """
    started = time.monotonic()
    inputs = {"real": real, "synthetic": synthetic}
    key = stage_key("mix", config, inputs)
    done = finished(out, key)
    if done:
        return done
    photos = Dataset.open(real)
    require_labels(photos)
    photos = decide_split(photos.where(lambda s: s.origin == "real"), config.split, config.seed)
    made = Dataset.open(synthetic) if config.real_ratio < 1 else Dataset(synthetic, (), ())
    _check_parents(photos, made)
    chosen, notes = choose(photos, made, config)
    plan = _plan(photos, chosen, made, config)
    keys = {sample.file_name: _key(sample) for sample, _ in plan}

    def valid(record: Mapping[str, Any]) -> bool:
        return keys.get(record["file_name"]) == record.get(KEY)

    with DatasetWriter(out, valid) as writer:
        todo = [(sample, source) for sample, source in plan if sample.file_name not in writer.done]
        for sample, source in track(todo, total=len(todo), description="mix"):
            writer.add_file(sample, source, keys[sample.file_name], link=config.link)
        samples = writer.finish(photos.failures)
    check_lineage(Dataset(out, tuple(samples), photos.labels))
    counts = {f"{split} {origin}": n for (split, origin), n in _count(samples).items()}
    summary = Summary("mix", out, counts, len(photos.failures), tuple(notes), seconds=time.monotonic() - started)
    write_receipt(out, key, config, inputs, summary)
    return summary


def choose(photos: Dataset, made: Dataset, config: MixConfig) -> tuple[list[Sample], list[str]]:
    """The synthetic images that join the training photos, and sentences on what could not be met.

    Every class keeps the same real share, the one asked for or the lowest that the supply allows. A class without
    a real training photo gets as many synthetic images as the largest class has images altogether.
    """
    if config.real_ratio >= 1:
        return [], []
    supply = {label: _dealt(made.select(label=label, split="train"), config.seed) for label in photos.labels}
    if config.use_all:
        return [sample for samples in supply.values() for sample in samples], []
    reals = {label: len(photos.select(label=label, split="train")) for label in photos.labels}
    wanted = (1 - config.real_ratio) / config.real_ratio
    per_real = min([wanted, *(len(supply[label]) / n for label, n in reals.items() if n)])
    notes = []
    if per_real < wanted - 1e-9:
        scarce = min((label for label, n in reals.items() if n), key=lambda label: len(supply[label]) / reals[label])
        notes.append(
            f"class '{scarce}' has only {len(supply[scarce])} synthetic images: {1 / (1 + per_real):.0%} of the "
            f"training images are real instead of {config.real_ratio:.0%}; weldgen synth with a larger --n mends it"
        )
    largest = max(round(n * (1 + per_real)) for n in reals.values())
    chosen = []
    for label, n in reals.items():
        chosen += supply[label][: round(n * per_real) if n else largest]
    left_out = sum(map(len, supply.values())) - len(chosen)
    if left_out:
        notes.append(
            f"{left_out} synthetic images are left out so that {config.real_ratio:.0%} are real; "
            "mix.use_all=true keeps them all and draws real photos more often in training"
        )
    return chosen, notes


def _dealt(samples: Sequence[Sample], seed: int) -> list[Sample]:
    return sorted(samples, key=lambda sample: derive_seed(seed, "mix", sample.id))


def _check_parents(photos: Dataset, made: Dataset) -> None:
    split_of = {sample.id: sample.split for sample in photos.samples}
    for sample in made.samples:
        if sample.label not in photos.labels:
            raise DataError(
                f"{made.path(sample)} has class '{sample.label}', which {photos.root} does not have; "
                f"its classes: {', '.join(photos.labels)}"
            )
        outside = {split_of[parent] for parent in sample.parents if split_of.get(parent, "train") != "train"}
        if outside:
            raise DataError(
                f"{made.path(sample)} was made from a {outside.pop()} photo, which would leak it into training",
                "make the synthetic images again with weldgen synth",
            )


def _plan(photos: Dataset, chosen: Sequence[Sample], made: Dataset, config: MixConfig) -> list[tuple[Sample, Path]]:
    """Every sample under its new name, with the file it comes from."""
    weight = 1.0
    train = len(photos.select(split="train"))
    if config.use_all and chosen and train:
        weight = max(1.0, config.real_ratio / (1 - config.real_ratio) * len(chosen) / train)
    plan = []
    taken: set[str] = set()
    for sample, dataset in [*((s, photos) for s in photos.samples), *((s, made) for s in chosen)]:
        own = weight if sample.origin == "real" and sample.split == "train" else 1.0
        name = _name_in_class(sample)
        target = f"{sample.split}/{sample.label}/{name}"
        if target in taken:
            renamed = PurePosixPath(name).with_name(f"{sample.id[:8]}_{PurePosixPath(name).name}")
            target = f"{sample.split}/{sample.label}/{renamed}"
        taken.add(target)
        extra = {k: v for k, v in sample.extra.items() if k != KEY} | {"weight": round(own, 4)}
        plan.append((replace(sample, file_name=target, extra=extra), dataset.path(sample)))
    return plan


def _name_in_class(sample: Sample) -> str:
    """The file's name below its class folder."""
    parts = PurePosixPath(sample.file_name).parts
    return "/".join(parts[parts.index(sample.label) + 1 :] if sample.label in parts[:-1] else parts[-1:])


def _key(sample: Sample) -> str:
    return content_hash(f"{sample.id}:{sample.group}:{sample.extra['weight']}".encode())


def _count(samples: Sequence[Sample]) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for sample in samples:
        counts[sample.split, sample.origin] = counts.get((sample.split, sample.origin), 0) + 1
    return counts
