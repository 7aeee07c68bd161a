"""How freely the linear classifier may follow its photos: chosen by cross-validation where there are enough of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from weldgen.data.sample import Sample

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Targets = npt.NDArray[np.int64]

# Inverse strength of the weights' decay, for a mean loss. The first is strong, for there are more features than images;
# it is what next to no photos need, and the others are tried where photos can tell.
STRENGTHS = (0.09, 1.0, 10.0, 100.0)
# With fewer real photos in the rarest class, or fewer parts that they show, folds would say little.
_LEAST_PHOTOS = 10
_FOLDS = 5


def choose_strength(
    logits_by: Callable[[Flags, float], Floats], targets: Targets, samples: Sequence[Sample], seed: int
) -> float:
    """The strength whose classifiers are the surest of the right class on real photos that they have not seen.

    Views of one part, and images made from a photo, are held out together with it.

    Args:
        logits_by: Logits, (N, K), of all images by a classifier fitted on some of them at a strength.
        targets: (N,) classes of the images.
        samples: The N images.
        seed: Of the division.

    Returns:
        One of `STRENGTHS`; the first where there are too few photos to choose.
    """
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedGroupKFold

    if not enough_photos(targets, samples):
        return STRENGTHS[0]
    real = _real(samples)
    groups = [samples[row].group or samples[row].id for row in real.tolist()]
    division = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed).split(real, targets[real], groups)
    folds = [(_unrelated(samples, real[held]), real[held]) for _, held in division]
    weights = 1 / np.bincount(targets[real])[targets]
    losses = []
    for strength in STRENGTHS:
        loss = 0.0
        for rows, judged in folds:
            logits = logits_by(rows, strength)[judged]
            shares = np.exp(logits - logits.max(axis=1, keepdims=True))
            shares /= shares.sum(axis=1, keepdims=True)
            labels = np.arange(shares.shape[1])
            loss += log_loss(targets[judged], shares, sample_weight=weights[judged], labels=labels, normalize=False)
        losses.append(loss)
    return STRENGTHS[int(np.argmin(losses))]


def enough_photos(targets: Targets, samples: Sequence[Sample], parts: int = _LEAST_PHOTOS) -> bool:
    """Whether every class has ten real photos of enough parts.

    Args:
        targets: (N,) classes of the images.
        samples: The N images.
        parts: That many different ones; as many as photos are enough to choose by.
    """
    real = _real(samples).tolist()
    photos = Counter(int(targets[row]) for row in real)
    shown = Counter(label for label, _ in {(int(targets[row]), samples[row].group or samples[row].id) for row in real})
    there = len(photos) == len(np.unique(targets))
    return there and min(photos.values()) >= _LEAST_PHOTOS and min(shown.values()) >= parts


def _real(samples: Sequence[Sample]) -> npt.NDArray[np.intp]:
    return np.flatnonzero([sample.origin == "real" for sample in samples])


def _unrelated(samples: Sequence[Sample], held: npt.NDArray[np.intp]) -> Flags:
    """Images that show none of the photos held out: neither one of their group, nor one made from any of them."""
    ids = {samples[row].id for row in held}
    groups = {samples[row].group for row in held} - {""}
    return np.array([s.id not in ids and s.group not in groups and ids.isdisjoint(s.parents) for s in samples])
