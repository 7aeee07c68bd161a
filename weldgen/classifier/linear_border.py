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
# With so many judged photos of each class they say by themselves where the border lies.
_ENOUGH = 10
# Pulls their border to where fewer photos would put it: where none lies between, that is as good a place as any.
_PULL = 1e-3


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

    With ten or more judged photos of each class, sound or not, the border lies where it parts them best (`_parted`).
    Measured with 26 to 39 photos of rendered welds and three times as many synthetic images, three draws of 120 other
    photos: with sound welds alone judging, 92 of 180 bad and 176 of 180 sound ones right; with all, 139 and 154.

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
    real = [np.flatnonzero(~made & (training.targets == label)).tolist() for label in range(classes)]
    fewest = min(len(rows) + int((unseen[1] == label).sum()) for label, rows in enumerate(real))
    off: list[Floats] = []
    for label, rows in enumerate(real):
        known = []
        if fewest >= _ENOUGH or good in (None, labels[label]):
            left_out = evenly(rows, _MOST_LEFT_OUT) if len(rows) > 1 else []
            judged = [_off(features, training, row, classes, fitted.strength) for row in left_out]
            known = [value for value in judged if value is not None]
            known += list(fitted.logits(unseen[0][unseen[1] == label]) - centres[label])
            log.debug("real photos of %s are off by %s", labels[label], [value.round(2).tolist() for value in known])
        off.append(np.reshape(known, (len(known), classes)))
    counted = [values for name, values in zip(labels, off, strict=True) if len(values) and good in (None, name)]
    count = sum(map(len, counted))
    usual = _usual(centres, labels, _USUAL_SHARE_OF_CELLS if cells else _USUAL_SHARE)
    if not count and not usual.any():
        return np.zeros(classes), []
    measured = np.mean([values.mean(axis=0) for values in counted], axis=0) if counted else np.zeros(classes)
    found = (count * measured + _USUAL_WEIGHT * usual) / (count + _USUAL_WEIGHT)
    if cells and found @ usual < usual @ usual:
        found = usual
    if min(map(len, off)) >= _ENOUGH:
        count = sum(map(len, off))
        targets = np.repeat(np.arange(classes), [len(values) for values in off])
        found = _parted(np.concatenate(off) + centres[targets], targets, found - found.mean())
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


def _parted(logits: Floats, targets: Targets, near: Floats) -> Floats:
    """What to take off the logits of photos, (N, K), so that they are told apart best, each class counting the same.

    Platt's scaling (1999) for K classes: one factor for all logits, which is not needed afterwards, and an offset for
    each class.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    classes = logits.shape[1]
    weights = 1 / (classes * np.bincount(targets, minlength=classes))[targets]
    rows = np.arange(len(targets))

    def loss(values: Floats) -> float:
        likely = log_softmax(np.exp(values[0]) * (logits - values[1:]), axis=1)[rows, targets]
        pull = values[0] ** 2 + np.square(values[1:] - near).sum()
        return float(_PULL * pull - (weights * likely).sum())

    return np.asarray(minimize(loss, np.concatenate([[0.0], near])).x[1:])


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
