"""Measured photos that look like photos of the training: a re-saved copy is none that the model never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weldgen.classifier.grouping import split_setting
from weldgen.classifier.predictions import photos_seen
from weldgen.classifier.scoring import Scorer
from weldgen.data.dataset import Dataset, Sample
from weldgen.data.split import SplitConfig, nearest_copies
from weldgen.errors import WeldgenError
from weldgen.receipts import read_receipt

_NAMED = 3


@dataclass(frozen=True)
class Copy:
    """A measured photo and the training's that it looks like, both by file name."""

    file: str
    like: str


def copies_of_training(folder: Path | None, scorer: Scorer, dataset: Dataset, samples: Sequence[Sample]) -> list[Copy]:
    """Measured photos whose perceptual hash is as near to a training photo's as a split would keep together.

    In the dataset of the training the split sees to that, so nothing is looked for; nor where that dataset is gone.

    Args:
        folder: Of the model; None for an exported file, which does not say what it was trained on.
        scorer: The model, which says what it saw.
        dataset: What is measured.
        samples: Photos of it that are measured.
    """
    receipt = (read_receipt(folder) if folder else None) or {}
    trained_on = receipt.get("inputs", {}).get("dataset")
    bits = int(split_setting(receipt, "duplicate_bits", SplitConfig().duplicate_bits))
    if not trained_on or bits < 0 or Path(trained_on).resolve() == dataset.root.resolve():
        return []
    try:
        training = Dataset.open(Path(trained_on))
    except WeldgenError:  # it was moved or deleted since
        return []
    learned = photos_seen(training, scorer)
    nearest = nearest_copies(
        [dataset.path(sample) for sample in samples], [training.path(sample) for sample in learned], bits
    )
    return [Copy(samples[own].file_name, learned[other].file_name) for own, other in nearest.items()]


def copy_notes(copies: Sequence[Copy], photos: int) -> list[str]:
    """A sentence on photos that are hardly unseen; none where there are none.

    Args:
        copies: As found.
        photos: How many were measured.
    """
    if not copies:
        return []
    named = ", ".join(f"{copy.file} ({copy.like})" for copy in copies[:_NAMED])
    more = f" and {len(copies) - _NAMED} more" if len(copies) > _NAMED else ""
    return [
        f"{len(copies)} of {photos} photos look like photos of the training, so the figures flatter: {named}{more}; "
        "leave them out, or train with split.duplicate_bits=-1 if they are photos of their own"
    ]
