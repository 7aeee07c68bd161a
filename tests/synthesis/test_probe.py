from __future__ import annotations

import numpy as np

from weldgen.features import unit_rows
from weldgen.synthesis.probe import fit_probe


def _clusters(count: int, apart: float, seed: int = 0) -> tuple[np.ndarray, list[str], list[str]]:
    """Two classes in 32 dimensions, `count` photos each, in groups of two."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(2, 32))
    rows = np.concatenate([apart * centre[label] + rng.normal(size=(count, 32)) for label in (0, 1)])
    labels = ["bad"] * count + ["good"] * count
    return unit_rows(rows), labels, [f"{label}{index // 2}" for index, label in enumerate(labels)]


def test_a_probe_contradicts_a_wrong_label_and_no_right_one() -> None:
    features, labels, groups = _clusters(20, 3.0)
    probe, about = fit_probe(features, labels, groups, 8, 0)
    assert probe is not None and probe.balanced_accuracy > 0.95 and "left out" in about
    fresh, fresh_labels, _ = _clusters(5, 3.0)
    for feature, label in zip(fresh, fresh_labels, strict=True):
        wrong = "good" if label == "bad" else "bad"
        assert probe.contradiction(feature, label)[1] < 0.5
        other, confidence = probe.contradiction(feature, wrong)
        assert other == label and confidence > 0.8
    assert probe.contradiction(features[0], "crack") == ("", 0.0)


def test_its_accuracy_is_that_on_photos_left_out() -> None:
    features, labels, groups = _clusters(20, 0.0)
    probe, _ = fit_probe(features, labels, groups, 8, 0)
    assert probe is not None and probe.balanced_accuracy < 0.75  # in sample it would be near 1


def test_too_few_photos_make_none() -> None:
    features, labels, groups = _clusters(7, 3.0)
    probe, why = fit_probe(features, labels, groups, 8, 0)
    assert probe is None and "there are 7 bad, 7 good" in why
    assert fit_probe(features, labels, groups, 7, 0)[0] is not None
    assert fit_probe(features, labels, ["one"] * 14, 7, 0)[0] is None
    assert fit_probe(features[:0], [], [], 7, 0)[0] is None


def test_probabilities_of_three_classes_add_up() -> None:
    labels = [name for name in "abc" for _ in range(9)]
    rows = unit_rows(np.repeat(np.eye(3), 9, axis=0) + np.random.default_rng(1).normal(0, 0.1, (27, 3)))
    probe, _ = fit_probe(rows, labels, [str(index) for index in range(27)], 8, 0)
    assert probe is not None and abs(float(probe.probabilities(rows[0]).sum()) - 1) < 1e-5
    assert probe.contradiction(rows[0], "b")[0] == "a"
