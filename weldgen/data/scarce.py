"""Classes with too few real photos to spare one: all of them train, and validation is synthetic, said loudly.

This is the one exception to "validation and test hold real images only". Its rule:

- A class is scarce where it has no real validation photo and fewer than three groups of real photos (test photos that
  a user set apart do not count).
- As soon as one class is scarce, the best epoch is chosen on synthetic images of *every* class, the same number of
  each. With real photos of one class beside synthetic ones of another, their origin would tell the class, and the
  epoch that looks at nothing else would win. Real validation photos of the other classes are counted by themselves.
- They are drawn before the training share is chosen, by seed and id, for each class as many of each kind (transplants,
  whole renderings). No synthetic training image shares a seed or its looks with one of them, nor a photo that it was
  made from, unless keeping such photos apart would cost more than half of the synthetic images (as with a single photo,
  from which all are made); then a note says so. The photo itself trains in any case: that is what the exception is for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from weldgen.data.dataset import Dataset, Sample
from weldgen.data.sample import SYNTHETIC_VALIDATION, is_synthetic_validation, scarce_classes
from weldgen.data.split import perceptual_hash
from weldgen.runtime import derive_seed

# Images of each class: enough to tell epochs apart, and as many as a temperature would take.
_MOST_IMAGES = 30
# Of the synthetic images of a class, at most this share validates.
_MOST_SHARE = 0.25
# Photos are kept apart where their images are at most this share of all.
_MOST_APART = 0.5
# Photos that a search for such a set begins with.
_STARTS = 8


@dataclass(frozen=True)
class HeldOut:
    """Synthetic images divided into validation and what may train.

    Attributes:
        validation: Images of the validation split, marked as its exception; empty where none is needed or possible.
        training: The dataset of those that may train.
        notes: Sentences for the user.
    """

    validation: tuple[Sample, ...]
    training: Dataset
    notes: tuple[str, ...] = ()


def validation_warning(scarce: Mapping[str, int]) -> str:
    """What must be said wherever a model that was validated on synthetic images is shown.

    Args:
        scarce: Class -> its real training photos, from `scarce_classes`.
    """
    names = [
        f"{label} ({count or 'no'} real photo{'' if count == 1 else 's'})" for label, count in sorted(scarce.items())
    ]
    return (
        f"validation of class{'es' if len(names) > 1 else ''} {' and '.join(names)} is synthetic: "
        "the validation accuracy says nothing about real photos"
    )


def synthetic_validation_warning(samples: Collection[Sample]) -> str:
    """The `validation_warning` of a dataset; empty where its validation is real.

    Args:
        samples: At least those of training and validation.
    """
    if not any(is_synthetic_validation(sample) for sample in samples):
        return ""
    return validation_warning(scarce_classes(samples))


def hold_out(photos: Dataset, made: Dataset, seed: int, duplicate_bits: int) -> HeldOut:
    """Set synthetic images apart for validation where a class has too few real photos; see the rule above.

    Args:
        photos: Real photos with their splits.
        made: Synthetic images of the split train.
        seed: Seed of the draw.
        duplicate_bits: Perceptual hashes at most so many of 64 bits apart are one picture; -1: not looked at.
    """
    samples = [*photos.samples, *made.samples]
    scarce = scarce_classes(samples)
    if not scarce or not made.samples:
        return HeldOut((), made)
    supply = {label: made.select(label=label, split="train") for label in sorted({s.label for s in samples})}
    count = min(_MOST_IMAGES, *(int(_MOST_SHARE * len(own)) for own in supply.values()))
    if not count:
        poor = min(supply, key=lambda label: len(supply[label]))
        note = (
            f"no validation of class {' and '.join(sorted(scarce))}, not even a synthetic one: there are only "
            f"{len(supply[poor])} synthetic images of {poor}; weldgen synth with a larger --n mends it"
        )
        return HeldOut((), made, (note,))
    families = _families(photos, made)
    apart = _photos_apart(supply, families, count, seed)
    pools = {
        label: [sample for sample in own if apart is None or families[sample.id] <= apart]
        for label, own in supply.items()
    }
    drawn = _draw(pools, count, seed)
    alike = _alike(made, drawn, duplicate_bits)
    left_out = {s.id for s in made.samples if s.id in alike or (apart and families[s.id] & apart)}
    chosen = {sample.id for sample in drawn}
    training = made.where(lambda sample: sample.id not in chosen and sample.id not in left_out)
    validation = tuple(replace(s, split="val", extra={**s.extra, SYNTHETIC_VALIDATION: True}) for s in drawn)
    return HeldOut(validation, training, _notes(scarce, count, len(left_out - chosen), shared=apart is None))


def _notes(scarce: Mapping[str, int], count: int, left_out: int, *, shared: bool) -> tuple[str, ...]:
    notes = [f"{validation_warning(scarce)} ({count} synthetic images of each class are kept for it)"]
    if shared:
        notes.append(
            "synthetic validation and training images come from the same photos: there are too few to keep one apart, "
            "so the validation accuracy flatters"
        )
    if left_out:
        notes.append(
            "synthetic images left out, because they share their photo, their seed or their looks with a validation "
            f"image: {left_out}"
        )
    return tuple(notes)


def _draw(pools: Mapping[str, Sequence[Sample]], count: int, seed: int) -> list[Sample]:
    """So many images of each class, as far as possible the same number of each kind, or the kind would tell the class.

    The kinds take turns by their share of all images.
    """
    everything = [sample for pool in pools.values() for sample in pool]
    shares = {kind: n / len(everything) for kind, n in sorted(Counter(map(_kind, everything)).items())}
    drawn = []
    for pool in pools.values():
        left: dict[str, list[Sample]] = {kind: [] for kind in shares}
        for sample in sorted(pool, key=lambda s: derive_seed(seed, "synthetic validation", s.id), reverse=True):
            left[_kind(sample)].append(sample)
        taken: Counter[str] = Counter()
        for _ in range(count):
            kind = min((k for k in shares if left[k]), key=lambda k: (taken[k] + 1) / shares[k])
            taken[kind] += 1
            drawn.append(left[kind].pop())
    return drawn


def _families(photos: Dataset, made: Dataset) -> dict[str, frozenset[str]]:
    """Id of a synthetic image -> the photos it was made from; photos of one group count as one."""
    group_of = {photo.id: photo.group or photo.id for photo in photos.samples}
    return {sample.id: frozenset(group_of.get(parent, parent) for parent in sample.parents) for sample in made.samples}


def _photos_apart(
    supply: Mapping[str, Sequence[Sample]], families: Mapping[str, frozenset[str]], count: int, seed: int
) -> frozenset[str] | None:
    """Photos whose images make up validation and are kept out of training; None where that would cost too much.

    Their images must suffice for every class and be of all kinds (transplants and whole renderings, say), or they
    would say little about the rest.
    """
    samples = [sample for own in supply.values() for sample in own]
    by_photo: dict[str, int] = defaultdict(int)
    for sample in samples:
        for photo in families[sample.id]:
            by_photo[photo] += 1
    order = sorted(by_photo, key=lambda photo: (by_photo[photo], derive_seed(seed, "apart", photo)))
    kinds = {_kind(sample) for sample in samples}
    for start in range(min(len(order), _STARTS) or 1):
        for stop in range(0 if start == 0 else start + 1, len(order) + 1):
            apart = frozenset(order[start:stop])
            if sum(by_photo[photo] for photo in apart) > _MOST_APART * len(samples):
                break
            pools = [[sample for sample in own if families[sample.id] <= apart] for own in supply.values()]
            found = {_kind(sample) for pool in pools for sample in pool}
            if all(len(pool) >= count for pool in pools) and found == kinds:
                return apart
    return None


def _kind(sample: Sample) -> str:
    return f"{sample.extra.get('generator', '')} {sample.extra.get('use', '')}"


def _alike(made: Dataset, drawn: Sequence[Sample], duplicate_bits: int) -> set[str]:
    """Ids of images, the drawn ones among them, that have the seed or the looks of a drawn one."""
    seeds = {sample.seed for sample in drawn if sample.seed is not None}
    found = {sample.id for sample in made.samples if sample.seed in seeds}
    hashes = {sample.id: perceptual_hash(made.path(sample)) for sample in made.samples} if duplicate_bits >= 0 else {}
    held = [bits for bits in (hashes.get(sample.id) for sample in drawn) if bits is not None]
    if not held:
        return found
    matrix = np.stack(held)
    return found | {
        identity
        for identity, bits in hashes.items()
        if bits is not None and (matrix != bits).sum(axis=1).min() <= duplicate_bits
    }
