"""Which of several models is better on the same photos: paired, over groups of photos, with what chance allows.

All models answer for the same photos, so their differences are resampled together: a photo that is hard for all of them
does not blur the comparison. Photos of one group (near-duplicates, views of one part) are drawn together, because they
are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen.classifier.metrics import wilson_interval

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_LEVEL = 0.05


@dataclass(frozen=True)
class Answers:
    """What V models said about N photos.

    Attributes:
        truth: (N,) index of the true class.
        group: (N,) index of the group; photos of one group are not independent.
        right: (V, N) 1 where the model was right, 0 where wrong; in between, the share of its repeated runs.
    """

    truth: Indices
    group: Indices
    right: Floats

    @staticmethod
    def of(labels: Sequence[str], groups: Sequence[str], right: Sequence[Floats]) -> Answers:
        """Answers from the photos' classes and the names of their groups; a photo without a group is its own."""
        names = [f"group:{name}" if name else f"photo:{number}" for number, name in enumerate(groups)]
        truth, group = (np.unique(column, return_inverse=True)[1].astype(np.int64) for column in (labels, names))
        return Answers(truth, group, np.stack(right).astype(np.float64))

    @property
    def groups(self) -> int:
        """Number of independent groups."""
        return int(self.group.max()) + 1


@dataclass(frozen=True)
class Pair:
    """Two models on the same photos.

    Attributes:
        difference: Balanced accuracy of the first minus that of the second.
        low: Lower end of its interval.
        high: Upper end.
        only_first: Photos (or groups) on which the first was right more often.
        only_second: Those on which the second was.
        p: Exact McNemar test of the two counts.
        needed: Differing photos (or groups) without which no outcome of that test could be significant.
    """

    difference: float
    low: float
    high: float
    only_first: int
    only_second: int
    p: float
    needed: int

    @property
    def shown(self) -> bool:
        """Whether the photos show a difference: the interval excludes 0 and enough photos bear it."""
        return (self.low > 0 or self.high < 0) and self.only_first + self.only_second >= self.needed

    def record(self) -> dict[str, Any]:
        """What `comparison.json` keeps."""
        return {
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
            "only_first_right": self.only_first,
            "only_second_right": self.only_second,
            "mcnemar_p": self.p,
            "shown": self.shown,
        }


def recalls(answers: Answers) -> tuple[Floats, Indices]:
    """Share of right answers of each class, (V, K), and the number of independent groups of each class, (K,)."""
    hits, seen = _by_group(answers)
    return hits.sum(axis=1) / seen.sum(axis=0), (seen > 0).sum(axis=0)


def balanced_accuracies(answers: Answers) -> Floats:
    """Balanced accuracy of each model, (V,)."""
    means: Floats = recalls(answers)[0].mean(axis=1)
    return means


def accuracy_interval(answers: Answers, model: int) -> tuple[float, float]:
    """95 % Wilson interval of one model's accuracy, with groups counted instead of photos."""
    return wilson_interval(round(float(answers.right[model].mean()) * answers.groups), answers.groups)


def balanced_interval(answers: Answers, model: int) -> tuple[float, float]:
    """95 % interval of one model's balanced accuracy.

    It is put together from the Wilson intervals of the recalls (Zou and Donner 2008), because resampling says "100 to
    100 %" of a model that was right on four photos.
    """
    shares, groups = recalls(answers)
    below = above = 0.0
    for share, n in zip(shares[model].tolist(), groups.tolist(), strict=True):
        low, high = wilson_interval(round(share * n), n)
        below += (share - low) ** 2
        above += (high - share) ** 2
    middle = float(shares[model].mean())
    classes = len(groups)
    return max(0.0, middle - math.sqrt(below) / classes), min(1.0, middle + math.sqrt(above) / classes)


def resample(answers: Answers, resamples: int, seed: int) -> Floats:
    """Balanced accuracies of all models on resampled photos, (resamples, V); groups are drawn within each class."""
    rng = np.random.default_rng(seed)
    hits, seen = _by_group(answers)
    first_photo = np.unique(answers.group, return_index=True)[1]
    class_of_group = answers.truth[first_photo]
    strata = [np.flatnonzero(class_of_group == k) for k in np.unique(class_of_group)]
    result = np.empty((resamples, len(answers.right)))
    drawn = np.zeros(answers.groups)
    for row in result:
        for members in strata:
            drawn[members] = np.bincount(rng.integers(len(members), size=len(members)), minlength=len(members))
        photos = drawn @ seen
        present = photos > 0  # a class may lie in groups of several classes only, none of which was drawn
        row[:] = (np.tensordot(hits, drawn, axes=(1, 0))[:, present] / photos[present]).mean(axis=1)
    return result


def compare_pair(answers: Answers, resampled: Floats, first: int, second: int, comparisons: int = 1) -> Pair:
    """Two of the models against each other.

    Args:
        answers: What all models said.
        resampled: What `resample` found for them.
        first: Index of one model.
        second: Index of the other.
        comparisons: Number of pairs that are looked at; their intervals hold together with 95 % (Bonferroni).
    """
    balanced = balanced_accuracies(answers)
    tail = _LEVEL / comparisons / 2
    low, high = np.quantile(resampled[:, first] - resampled[:, second], [tail, 1 - tail])
    hits, _ = _by_group(answers)
    ahead = (hits[first] - hits[second]).sum(axis=1)
    only_first, only_second = int((ahead > 1e-9).sum()), int((ahead < -1e-9).sum())
    return Pair(
        float(balanced[first] - balanced[second]),
        float(low),
        float(high),
        only_first,
        only_second,
        mcnemar_p(only_first, only_second),
        min_discordant(comparisons),
    )


def min_discordant(comparisons: int = 1) -> int:
    """Differing photos that a significant exact test takes at least: n with 2 * 0.5**n below the level; 6 for one."""
    return math.ceil(1 + math.log2(comparisons / _LEVEL))


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Two-sided exact McNemar test: how often a fair coin divides the differing photos at least as unevenly."""
    n = only_first + only_second
    tail = sum(math.comb(n, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, tail / 2 ** (n - 1)) if n else 1.0


def _by_group(answers: Answers) -> tuple[Floats, Floats]:
    """Right answers (V, G, K) and photos (G, K) by group and class."""
    classes = int(answers.truth.max()) + 1
    seen = np.zeros((answers.groups, classes))
    hits = np.zeros((len(answers.right), answers.groups, classes))
    np.add.at(seen, (answers.group, answers.truth), 1)
    for own, right in zip(hits, answers.right, strict=True):
        np.add.at(own, (answers.group, answers.truth), right)
    return hits, seen
