"""Where the border between the classes lies, for real photos do not look like synthetic images of their class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weldgen.classifier.linear_fit import Flags, Floats, Linear, Targets, fit_rows
from weldgen.classifier.loader import Images
from weldgen.data.labels import good_class
from weldgen.data.sample import Sample
from weldgen.runtime import evenly, log

# Photos of a class that are left out in turn; each costs a fit.
_MOST_LEFT_OUT = 20
# What real photos are off by as a rule, as a share of the way from sound to defective synthetic welds, and how many
# photos it counts for. Measured on weld photos: four sound ones, left out in turn, lay at 0.49 to 0.64 of the way.
_USUAL_SHARE, _USUAL_WEIGHT = 0.5, 2.0
# The same for evidence of the worst cells: over seven draws of three photos or four, sound welds lay at -1.3 to 1.0 of
# the way, defective ones at 1.4 to 7, and half a way lies at the border already.
_USUAL_SHARE_OF_CELLS = 0.7


def border_shift(
    fitted: Linear,
    features: Floats,
    training: Images,
    labels: Sequence[str],
    unseen: tuple[Floats, Targets],
    *,
    cells: bool = False,
) -> tuple[Floats, list[str]]:
    """What to take off the logits because real photos do not look like synthetic images of their class.

    Real photos are judged by a classifier that saw neither them nor an image made from them: those of validation, and
    those of training each left out in turn. By how much their logits are off from those of the synthetic images of
    their class is taken for common to all classes. Where one class is that of sound welds, its photos alone judge: how
    far the others are off tells how severe their defects are. The only training photo of a class is not left out, for
    without it the classifier is quite another. The fewer photos there are, the more counts what is usual: see `_usual`.

    Args:
        fitted: The classifier of all training images.
        features: (N, F) of the training images.
        training: The training images.
        labels: Names of the K classes.
        unseen: (V, F) features of real validation photos, and their classes, (V,).
        cells: Whether the features are the evidence of the worst cells. Then the border comes no nearer to sound welds
            than is usual: sound photos cleaner than the synthetic ones do not make real defects fainter.

    Returns:
        (K,) and sentences for the user.
    """
    classes = len(labels)
    made = _synthetic(training)
    if len(np.unique(training.targets[made])) < classes:
        return np.zeros(classes), []
    logits = fitted.logits(features)
    centres = np.stack([logits[made & (training.targets == label)].mean(axis=0) for label in range(classes)])
    good = good_class(labels)
    off, count = [], 0
    for label, name in enumerate(labels):
        if good not in (None, name):
            continue
        rows = np.flatnonzero(~made & (training.targets == label)).tolist()
        left_out = evenly(rows, _MOST_LEFT_OUT) if len(rows) > 1 else []
        judged = [_off(features, training, row, classes, fitted.strength) for row in left_out]
        known = [value for value in judged if value is not None]
        known += list(fitted.logits(unseen[0][unseen[1] == label]) - centres[label])
        if known:
            off.append(np.mean(known, axis=0))
            count += len(known)
        log.debug("real photos of %s are off by %s", name, [value.round(2).tolist() for value in known])
    usual = _usual(centres, labels, _USUAL_SHARE_OF_CELLS if cells else _USUAL_SHARE)
    if not count and not usual.any():
        return np.zeros(classes), []
    measured = np.mean(off, axis=0) if off else np.zeros(classes)
    found = (count * measured + _USUAL_WEIGHT * usual) / (count + _USUAL_WEIGHT)
    if cells and found @ usual < usual @ usual:
        found = usual
    note = f"the border between the classes was set by {count} real photos that did not train, or were left out in turn"
    if not count:
        note = "the border between the classes is where it usually lies: too few real photos say otherwise"
    return np.asarray(found - found.mean()), [note]


def _off(features: Floats, training: Images, row: int, classes: int, strength: float) -> Floats | None:
    """By how much the logits of a real photo are off from the synthetic images of its class, (K,)."""
    kept = np.array([not _related(sample, training.samples[row]) for sample in training.samples])
    made = kept & _synthetic(training) & (training.targets == training.targets[row])
    if len(np.unique(training.targets[kept])) < classes or not made.any():
        return None
    logits = fit_rows(features, training.targets, kept, classes, strength).logits(features)
    return np.asarray(logits[row] - logits[made].mean(axis=0))


def _usual(centres: Floats, labels: Sequence[str], share: float) -> Floats:
    """What real photos are off by as a rule, (K,): some way from sound welds to defective ones.

    Synthetic sound welds are cleaner than any weld of a shop. Where no class is that of sound welds, 0.
    """
    good = good_class(labels)
    if good is None:
        return np.zeros(len(labels))
    sound = list(labels).index(good)
    others = np.delete(centres, sound, axis=0).mean(axis=0)
    return np.asarray(share * (others - centres[sound]))


def _synthetic(training: Images) -> Flags:
    return np.array([sample.origin != "real" for sample in training.samples])


def _related(sample: Sample, photo: Sample) -> bool:
    same = sample.id == photo.id or (bool(photo.group) and sample.group == photo.group)
    return same or photo.id in sample.parents
