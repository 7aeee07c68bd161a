"""How well probabilities rank and whether they mean what they say, against scikit-learn and values by hand."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as sk

from weldgen.classifier.curves import Curves, precision_recall_curves, roc_curves
from weldgen.classifier.plots import precision_recall_png, reliability_png, roc_png
from weldgen.classifier.reliability import BINS, reliability

LABELS = ("crack", "good", "pore")


@pytest.fixture
def scored():
    rng = np.random.default_rng(5)
    truth = rng.choice(3, 150, p=[0.6, 0.3, 0.1])
    logits = rng.normal(size=(150, 3))
    logits[np.arange(150), truth] += 1.2
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), truth


def test_a_ranking_by_hand():
    bad = np.array([0.9, 0.8, 0.4, 0.3, 0.6])
    truth = np.array([0, 0, 0, 1, 1])  # of 3 x 2 pairs, 0.4 against 0.6 is the wrong way round
    found = Curves.of(np.stack([bad, 1 - bad], axis=1), truth, ("bad", "good")).areas(("bad", "good"))
    assert found["auroc"]["macro"] == pytest.approx(5 / 6)
    assert found["auroc"]["classes"] == pytest.approx({"bad": 5 / 6, "good": 5 / 6})
    # bad in the order 0.9, 0.8, (0.6), 0.4: precision 1, 1, 3/4; good in the order 0.3, (0.4), 0.6: precision 1, 2/3
    assert found["average_precision"]["classes"] == pytest.approx({"bad": (1 + 1 + 3 / 4) / 3, "good": (1 + 2 / 3) / 2})


def test_several_classes_agree_with_scikit_learn(scored):
    probabilities, truth = scored
    found = Curves.of(probabilities, truth, LABELS).areas(LABELS)
    expected = sk.roc_auc_score(truth, probabilities, multi_class="ovr", average="macro")
    assert found["auroc"]["macro"] == pytest.approx(expected)
    apart = np.eye(3)[truth]
    assert found["average_precision"]["macro"] == pytest.approx(sk.average_precision_score(apart, probabilities))


def test_a_class_without_photos_has_no_value_and_counts_in_no_mean(scored):
    probabilities, truth = scored
    known = truth != 2
    found = Curves.of(probabilities[known], truth[known], LABELS).areas(LABELS)
    assert found["auroc"]["classes"]["pore"] is None
    assert found["auroc"]["macro"] == pytest.approx(np.mean([found["auroc"]["classes"][k] for k in ("crack", "good")]))
    alone = truth == 1
    for figure in Curves.of(probabilities[alone], truth[alone], LABELS).areas(LABELS).values():
        assert figure == {"macro": None, "classes": dict.fromkeys(LABELS)}


def test_the_calibration_error_by_hand():
    # confidences 0.95 (right), 0.95 (wrong) and 0.6 (right), in two bins
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.4, 0.6]])
    found = reliability(probabilities, np.array([0, 1, 1]))
    assert found["expected_calibration_error"] == pytest.approx(2 / 3 * 0.45 + 1 / 3 * 0.4)
    filled = {row["high"]: row for row in found["bins"] if row["n"]}
    assert len(found["bins"]) == BINS == 15
    assert [(row["n"], row["accuracy"]) for row in filled.values()] == [(1, 1.0), (2, 0.5)]
    assert filled[1.0]["confidence"] == pytest.approx(0.95)
    # bins are closed above: 0.6 is 9/15 and belongs to the ninth
    assert found["bins"][8]["n"] == 1


def test_calibrated_probabilities_have_little_error_and_overconfident_ones_much():
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet([1, 1, 1], 20000)
    truth = (probabilities.cumsum(axis=1) > rng.random((20000, 1))).argmax(axis=1)
    assert reliability(probabilities, truth)["expected_calibration_error"] < 0.02
    sharp = probabilities**4 / (probabilities**4).sum(axis=1, keepdims=True)
    assert reliability(sharp, truth)["expected_calibration_error"] > 0.1


def test_without_photos_there_is_no_calibration_error():
    found = reliability(np.zeros((0, 2)), np.zeros(0, np.int64))
    assert found["expected_calibration_error"] is None
    assert {row["accuracy"] for row in found["bins"]} == {None}


def test_pictures_differ_with_what_they_show(scored):
    probabilities, truth = scored
    other = np.roll(probabilities, 1, axis=1)
    for draw, curves in ((roc_png, roc_curves), (precision_recall_png, precision_recall_curves)):
        first, second = (draw(curves(p, truth, LABELS), "n = 150") for p in (probabilities, other))
        assert Image.open(io.BytesIO(first)).size == Image.open(io.BytesIO(second)).size
        assert first != second
    one, two = (reliability_png(reliability(p, truth), "n = 150") for p in (probabilities, other))
    assert Image.open(io.BytesIO(one)).size[0] > 500
    assert one != two
