"""Mix real and synthetic images: training gets both, validation and test stay real.

The one exception, for classes with hardly any photo, is in `weldgen.data.scarce`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field

from weldgen.config import StageConfig
from weldgen.data.dataset import Dataset, Sample, check_lineage
from weldgen.data.sample import DEFECT_MASK, SYNTHETIC_VALIDATION
from weldgen.data.scarce import hold_out
from weldgen.data.split import SplitConfig, decide_split, require_labels
from weldgen.data.writer import KEY, DatasetWriter
from weldgen.errors import DataError
from weldgen.receipts import Summary, finished, stage_key, write_receipt
from weldgen.runtime import content_hash, derive_seed, track

# A class with fewer real training photos than this would get a few dozen images by the ratio alone.
_FEW_PHOTOS = 10


class MixConfig(StageConfig):
    """How much of each."""

    real_ratio: float = Field(0.25, gt=0, le=1, description="share of real photos among the training images")
    use_all: bool | Literal["auto"] = Field(
        "auto",
        description="keep all synthetic images; training then draws real photos more often; "
        f"auto: where a class has fewer than {_FEW_PHOTOS} real training photos",
    )
    most_synthetic: int = Field(0, ge=0, description="synthetic training images of a class, at most; 0: any number")
    link: bool = Field(True, description="hard links instead of copies where the file system allows it")
    split: SplitConfig = SplitConfig()


def mix(real: Path, synthetic: Path, out: Path, config: MixConfig) -> Summary:
    """Build `out/<split>/<class>/` from a folder of real photos and one of synthetic images.

    All real photos are kept. Each class gets the same share of synthetic images, so that "synthetic" says nothing
    about the class; where there are too few, the share of real photos rises and a note says so. Where a class has
    too few photos to spare one, some synthetic images become validation (`weldgen.data.scarce`).

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
    made, lost = _with_masks(made)
    _check_parents(photos, made)
    held = hold_out(photos, made, config.seed, config.split.duplicate_bits)
    chosen, weights, notes = choose(photos, held.training, config)
    plan = _plan(photos, [*chosen, *held.validation], made, weights)
    masks = {sample.id: made.root / str(sample.extra.get(DEFECT_MASK)) for sample in made.samples}
    keys = {sample.file_name: _key(sample) for sample, _ in plan}

    def valid(record: Mapping[str, Any]) -> bool:
        return keys.get(record["file_name"]) == record.get(KEY)

    with DatasetWriter(out, valid) as writer:
        todo = [(sample, source) for sample, source in plan if sample.file_name not in writer.done]
        for sample, source in track(todo, total=len(todo), description="mix"):
            if sample.extra.get(DEFECT_MASK):
                writer.add_side_copy(sample.extra[DEFECT_MASK], masks[sample.id], link=config.link)
            writer.add_file(sample, source, keys[sample.file_name], link=config.link)
        samples = writer.finish(photos.failures)
    check_lineage(Dataset(out, tuple(samples), photos.labels))
    counts = {f"{split} {origin}": n for (split, origin), n in _count(samples).items()}
    said = (*held.notes, *notes, *lost)
    summary = Summary("mix", out, counts, len(photos.failures), said, seconds=time.monotonic() - started)
    write_receipt(out, key, config, inputs, summary)
    return summary


def choose(photos: Dataset, made: Dataset, config: MixConfig) -> tuple[list[Sample], dict[str, float], list[str]]:
    """The synthetic images that join the training photos.

    Every class keeps the same real share, the one asked for or the lowest that the supply allows: by leaving images
    out, or with `use_all` by drawing real photos more often.

    Returns:
        The images, how often real photos of each class are drawn relative to them, and sentences for the user.
    """
    reals = {label: len(photos.select(label=label, split="train")) for label in photos.labels}
    if config.real_ratio >= 1:
        return [], dict.fromkeys(reals, 1.0), []
    most = config.most_synthetic or None
    supply = {label: _dealt(made.select(label=label, split="train"), config.seed)[:most] for label in photos.labels}
    used = {label: n for label, n in reals.items() if n or supply[label]}
    few = min(used.values(), default=0) < _FEW_PHOTOS
    if config.use_all is True or (config.use_all == "auto" and few and all(supply[label] for label in used)):
        weights, notes = _weights(used, {label: len(own) for label, own in supply.items()}, config.real_ratio)
        return [sample for samples in supply.values() for sample in samples], weights, notes
    chosen, notes = _by_ratio(reals, supply, config.real_ratio)
    return chosen, dict.fromkeys(reals, 1.0), notes


def _by_ratio(
    reals: Mapping[str, int], supply: Mapping[str, Sequence[Sample]], real_ratio: float
) -> tuple[list[Sample], list[str]]:
    """As many synthetic images as the ratio takes.

    A class without a real training photo gets as many as the largest class has images altogether.
    """
    wanted = (1 - real_ratio) / real_ratio
    per_real = min([wanted, *(len(supply[label]) / n for label, n in reals.items() if n)])
    notes = []
    if per_real < wanted - 1e-9:
        scarce = min((label for label, n in reals.items() if n), key=lambda label: len(supply[label]) / reals[label])
        notes.append(
            f"class '{scarce}' has only {len(supply[scarce])} synthetic images: {1 / (1 + per_real):.0%} of the "
            f"training images are real instead of {real_ratio:.0%}; weldgen synth with a larger --n mends it"
        )
    largest = max(round(n * (1 + per_real)) for n in reals.values())
    chosen: list[Sample] = []
    for label, n in reals.items():
        chosen += supply[label][: round(n * per_real) if n else largest]
    left_out = sum(map(len, supply.values())) - len(chosen)
    if left_out:
        notes.append(
            f"{left_out} synthetic images are left out so that {real_ratio:.0%} are real; "
            "mix.use_all=true keeps them all and draws real photos more often in training"
        )
    return chosen, notes


def _weights(
    reals: Mapping[str, int], supply: Mapping[str, int], real_ratio: float
) -> tuple[dict[str, float], list[str]]:
    """How often real photos are drawn, by class, so that each class has the same real share among what is drawn.

    Without a real photo of one class that cannot be; then the others' are drawn no more often than synthetic ones
    and have no more than the share asked for, because "real" tells the class.
    """
    shown = sum(supply.values())
    if not all(reals.values()):
        none = ", ".join(label for label, n in reals.items() if not n)
        odds = real_ratio / (1 - real_ratio)
        weights = {label: min(1.0, odds * supply[label] / n) for label, n in reals.items() if n}
        return weights, [
            f"all {shown} synthetic images train; without a real training photo of {none}, 'real' would tell the "
            "class, so real photos are drawn no more often than synthetic ones"
        ]
    share = max(real_ratio, *(n / (n + supply[label]) for label, n in reals.items() if supply[label]))
    weights = {label: max(1.0, share / (1 - share) * supply[label] / n) for label, n in reals.items()}
    counts = ", ".join(f"{n} {label}" for label, n in reals.items())
    return weights, [f"all {shown} synthetic images train, and {share:.0%} of what is drawn are real photos ({counts})"]


def _dealt(samples: Sequence[Sample], seed: int) -> list[Sample]:
    return sorted(samples, key=lambda sample: derive_seed(seed, "mix", sample.id))


def _with_masks(made: Dataset) -> tuple[Dataset, list[str]]:
    """Synthetic images without the name of a mask of defects that is gone, and a sentence on those."""
    gone = {s.id for s in made.samples if DEFECT_MASK in s.extra and not (made.root / s.extra[DEFECT_MASK]).is_file()}
    if not gone:
        return made, []
    kept = tuple(
        replace(s, extra={k: v for k, v in s.extra.items() if k != DEFECT_MASK}) if s.id in gone else s
        for s in made.samples
    )
    return replace(made, samples=kept), [
        f"the masks of the defects of {len(gone)} synthetic images are gone from {made.root}; training with next to no "
        "photos is better with them: weldgen synth makes them with the images"
    ]


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


def _plan(
    photos: Dataset, chosen: Sequence[Sample], made: Dataset, weights: Mapping[str, float]
) -> list[tuple[Sample, Path]]:
    """Every sample under its new name, with the file it comes from."""
    plan = []
    taken: set[str] = set()
    for sample, dataset in [*((s, photos) for s in photos.samples), *((s, made) for s in chosen)]:
        own = weights.get(sample.label, 1.0) if sample.origin == "real" and sample.split == "train" else 1.0
        target = split_name(sample, taken)
        dropped = {KEY} if sample.split == "val" else {KEY, SYNTHETIC_VALIDATION}
        extra = {k: v for k, v in sample.extra.items() if k not in dropped} | {"weight": round(own, 4)}
        if sample.extra.get(DEFECT_MASK):
            extra[DEFECT_MASK] = f"masks/{PurePosixPath(target).with_suffix('.png')}"
        plan.append((replace(sample, file_name=target, extra=extra), dataset.path(sample)))
    return plan


def split_name(sample: Sample, taken: set[str]) -> str:
    """`<split>/<class>/<name>` of a sample, with its id in the name where another one is called so; joins `taken`."""
    name = _name_in_class(sample)
    target = f"{sample.split}/{sample.label}/{name}"
    if target in taken:
        renamed = PurePosixPath(name).with_name(f"{sample.id[:8]}_{PurePosixPath(name).name}")
        target = f"{sample.split}/{sample.label}/{renamed}"
    taken.add(target)
    return target


def _name_in_class(sample: Sample) -> str:
    """The file's name below its class folder."""
    parts = PurePosixPath(sample.file_name).parts
    return "/".join(parts[parts.index(sample.label) + 1 :] if sample.label in parts[:-1] else parts[-1:])


def _key(sample: Sample) -> str:
    mask = sample.extra.get(DEFECT_MASK, "")
    return content_hash(f"{sample.id}:{sample.group}:{sample.extra['weight']}:{mask}".encode())


def _count(samples: Sequence[Sample]) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for sample in samples:
        counts[sample.split, sample.origin] = counts.get((sample.split, sample.origin), 0) + 1
    return counts
