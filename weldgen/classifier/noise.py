"""Which labels are probably wrong: out-of-fold probabilities, then confident learning (cleanlab).

Sources: Northcutt, Jiang, Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 70, 2021 (the
issues and the class thresholds); Kuan and Mueller, "Model-agnostic label quality scoring to detect real-world label
errors", ICML DataPerf 2022 (the adjusted self-confidence that ranks).

Measured with EfficientNet-Lite0 embeddings on four public sets of 280 to 300 photos with 10 % of the labels flipped,
8 draws each: the first 15 % of the list hold 97, 90, 100 and 97 % of the flipped ones on average, 93, 83, 97 and 93 %
at worst (pump castings; web photos of rust, whose own labels are noisy; steel surfaces; dandelions). See
`benchmarks/review.py`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weldgen.runtime import derive_seed

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class Judged:
    """What can be said of N labels.

    Attributes:
        rows: (M,) indices of the photos that could be judged: their class was learned from other groups.
        classes: (K,) indices of the classes among them.
        probabilities: (M, K) by models that saw neither the photo nor its group.
        scores: (M,) from 0 (surely wrong) to 1 (surely right).
        issues: (M,) whether confident learning counts the label among the wrong ones.
    """

    rows: Integers
    classes: Integers
    probabilities: Floats
    scores: Floats
    issues: Bools


def judge(
    features: npt.NDArray[np.float32], targets: Integers, groups: Sequence[str], *, folds: int, repeats: int, seed: int
) -> Judged | None:
    """Judge labels by cross-validation; None where fewer than two classes can be held out and learned from at once.

    Args:
        features: (N, F) embeddings.
        targets: (N,) indices of the classes as they are labelled.
        groups: Photos of one group are held out together.
        folds: Parts of each division; fewer where there are fewer groups.
        repeats: Divisions whose probabilities are averaged.
        seed: Decides the divisions.
    """
    probabilities, times = out_of_fold(features, targets, groups, folds=folds, repeats=repeats, seed=seed)
    rows = np.flatnonzero(times)
    classes = np.unique(targets[rows])
    if len(classes) < 2:
        return None
    known = probabilities[rows][:, classes]
    known /= known.sum(axis=1, keepdims=True)
    scores, issues = find_issues(np.searchsorted(classes, targets[rows]), known)
    return Judged(rows, classes, known, scores, issues)


def out_of_fold(
    features: npt.NDArray[np.float32], targets: Integers, groups: Sequence[str], *, folds: int, repeats: int, seed: int
) -> tuple[Floats, Integers]:
    """Class probabilities of each photo by models that saw neither it nor its group.

    The model is a logistic regression on standardised embeddings of unit length on average, so that its strength does
    not depend on how long they are.

    Returns:
        (N, C) probabilities, averaged over the divisions in which the photo's own class could be learned, and (N,)
        the number of these; rows of 0 are meaningless.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    summed = np.zeros((len(targets), int(targets.max()) + 1))
    times = np.zeros(len(targets), np.int64)
    for repeat in range(repeats):
        fold_of = deal_folds(targets, groups, folds, derive_seed(seed, "folds", repeat))
        for fold in np.unique(fold_of):
            learn = fold_of != fold
            present = np.unique(targets[learn])
            held = np.flatnonzero(~learn & np.isin(targets, present))
            if len(present) < 2 or not len(held):
                continue
            strength = 1.0 / features.shape[1]
            model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=_MAX_ITERATIONS))
            model.fit(features[learn], targets[learn])
            summed[np.ix_(held, model.classes_)] += model.predict_proba(features[held])
            times[held] += 1
    return summed / np.maximum(times, 1)[:, None], times


def deal_folds(targets: Integers, groups: Sequence[str], folds: int, seed: int) -> Integers:
    """Fold of each photo: whole groups, the classes spread over the folds, in an order that the seed decides.

    A group with several classes counts for the one with the fewest groups, which can spare least.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        members[group].append(row)
    spread = Counter(target for rows in members.values() for target in {int(targets[row]) for row in rows})
    counts = np.zeros((folds, int(targets.max()) + 1), np.int64)
    fold_of = np.zeros(len(targets), np.int64)
    for group in sorted(members, key=lambda name: derive_seed(seed, name)):
        rows = members[group]
        rarest = min({int(targets[row]) for row in rows}, key=lambda target: (spread[target], target))
        fold = min(range(folds), key=lambda k: (counts[k, rarest], counts[k].sum(), k))
        fold_of[rows] = fold
        counts[fold] += np.bincount(targets[rows], minlength=counts.shape[1])
    return fold_of


def find_issues(targets: Integers, probabilities: Floats) -> tuple[Floats, Bools]:
    """Label quality scores, (M,) from 0 to 1, and label issues, (M,) bool, as cleanlab defines them.

    Args:
        targets: (M,) labels from 0 to K - 1; each occurs.
        probabilities: (M, K) out-of-fold.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    # Adjusted: each class's probabilities count relative to how sure the model usually is about it.
    scores = get_label_quality_scores(targets, probabilities, method="self_confidence", adjust_pred_probs=True)
    issues = find_label_issues(targets, probabilities, n_jobs=1)
    return np.asarray(scores, np.float64), np.asarray(issues, np.bool_)
