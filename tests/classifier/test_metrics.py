"""Metrics against scikit-learn, intervals against published values."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from weldgen.classifier.metrics import (
    Share,
    balanced_accuracy,
    confusion_matrix,
    precision_recall_f1,
    summarise,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [(10, 10, 0.7225, 1.0), (4, 4, 0.5101, 1.0), (0, 20, 0.0, 0.1611), (81, 263, 0.2553, 0.3662), (0, 0, 0.0, 1.0)],
)
def test_wilson_interval(count, n, low, high):
    assert wilson_interval(count, n) == pytest.approx((low, high), abs=1e-4)


def test_a_share_is_told_with_n_and_interval():
    assert str(Share(4, 4)) == "4 of 4 (95 % interval 51% to 100%)"
    assert Share(0, 0).value is None


@pytest.fixture
def answers():
    rng = np.random.default_rng(3)
    truth = rng.choice(3, 200, p=[0.7, 0.2, 0.1])
    return truth, np.where(rng.random(200) < 0.75, truth, rng.choice(3, 200))


def test_everything_agrees_with_scikit_learn(answers):
    truth, predicted = answers
    matrix = confusion_matrix(truth, predicted, 3)
    assert (matrix == sk.confusion_matrix(truth, predicted)).all()
    assert balanced_accuracy(matrix) == pytest.approx(sk.balanced_accuracy_score(truth, predicted))
    for average in (None, "macro", "weighted"):
        expected = sk.precision_recall_fscore_support(truth, predicted, average=average)[:3]
        if average is None:
            ours = precision_recall_f1(matrix)
        else:
            ours = [summarise(matrix, "abc")[average][name] for name in ("precision", "recall", "f1")]
        for one, other in zip(ours, expected, strict=True):
            assert one == pytest.approx(other)


def test_a_class_without_photos_counts_nowhere():
    matrix = confusion_matrix([0, 0, 1, 1], [0, 0, 1, 0], 3)
    found = summarise(matrix, ["a", "b", "c"])
    assert found["balanced_accuracy"] == pytest.approx(0.75)
    assert found["macro"]["recall"] == pytest.approx(0.75)
    assert found["classes"]["c"]["recall"]["value"] is None


def test_false_alarms_and_misses_go_by_the_name_of_the_good_class():
    matrix = np.array([[6, 1, 3], [1, 18, 1], [0, 0, 5]])
    found = summarise(matrix, ["crack", "good_weld", "pore"])
    assert found["good_class"] == "good_weld"
    assert (found["false_alarm_rate"]["count"], found["false_alarm_rate"]["n"]) == (2, 20)
    assert (found["miss_rate"]["count"], found["miss_rate"]["n"]) == (1, 15)
