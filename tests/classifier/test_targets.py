"""Targets: reached or missed by the value, proven or not by the interval; a missed one fails the command."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from weldgen.classifier.evaluate import EvaluateConfig, evaluate
from weldgen.classifier.metrics import balanced_interval, summarise, wilson_interval
from weldgen.classifier.targets import (
    Target,
    check_names,
    judge,
    measured_values,
    metric_names,
    parse_targets,
    read_targets,
    unmet_sentence,
)
from weldgen.cli import app
from weldgen.errors import ConfigError, TargetError
from weldgen.pipeline import load_pipeline, run_pipeline

LABELS = ("bad", "good")
METRICS = summarise(np.array([[18, 2], [1, 79]]), LABELS)


def rows_of(**targets) -> dict[str, dict]:
    named = {name.replace("__", "."): Target(**target) for name, target in targets.items()}
    return {row["metric"]: row for row in judge(named, METRICS)}


def test_reached_by_the_value_proven_by_the_interval():
    rows = rows_of(
        recall__bad={"min": 0.9}, accuracy={"min": 0.9}, false_alarm_rate={"max": 0.05}, miss_rate={"max": 0.05}
    )
    assert rows["recall.bad"]["value"] == 0.9
    low, high = wilson_interval(18, 20)
    assert (rows["recall.bad"]["low"], rows["recall.bad"]["high"]) == (low, high)
    found = {name: (row["pass"], row["proven"]) for name, row in rows.items()}
    assert found == {
        "recall.bad": (True, False),
        "accuracy": (True, wilson_interval(97, 100)[0] >= 0.9),
        "false_alarm_rate": (True, wilson_interval(1, 80)[1] <= 0.05),
        "miss_rate": (False, False),
    }
    sentence = unmet_sentence(list(rows.values()))
    assert sentence == (
        f"1 of 4 targets missed: miss_rate is 0.100 (95 % interval {1 - high:.3f} to {1 - low:.3f}), at most 0.05 was "
        "asked for"
    )


def test_intervals_of_values_that_are_no_shares():
    values = measured_values(METRICS)
    ends = [wilson_interval(18, 20), wilson_interval(79, 80)]
    middle = (18 / 20 + 79 / 80) / 2
    low = middle - math.hypot(18 / 20 - ends[0][0], 79 / 80 - ends[1][0]) / 2
    assert values["balanced_accuracy"].low == pytest.approx(low)
    assert values["balanced_accuracy"].value == pytest.approx(middle)
    single = balanced_interval(np.array([[7, 1], [0, 0]]))
    assert single == pytest.approx(wilson_interval(7, 8))
    shared = wilson_interval(18, 21)  # hits among photos that are bad or were called so
    assert values["f1.bad"].value == pytest.approx(2 * (18 / 21) / (1 + 18 / 21))
    assert values["f1.bad"].low == pytest.approx(2 * shared[0] / (1 + shared[0]))


def test_the_interval_of_a_balanced_accuracy_covers():
    rng = np.random.default_rng(0)
    hits = rng.binomial([20, 60], [0.85, 0.95], (2000, 2))
    inside = [
        low <= 0.9 <= high for low, high in (balanced_interval(np.array([[a, 20 - a], [60 - b, b]])) for a, b in hits)
    ]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)


def test_all_names_are_measured_and_others_are_refused():
    assert set(metric_names(LABELS, operating=False, threshold=False)) == set(measured_values(METRICS))
    with pytest.raises(ConfigError, match=r"nothing is called 'recal\.bad'") as raised:
        check_names({"recal.bad": Target(min=1)}, metric_names(LABELS, operating=False, threshold=False))
    assert "'recall.bad'" in raised.value.hint
    with pytest.raises(ConfigError) as raised:
        check_names({"operating.recall": Target(min=1)}, metric_names(LABELS, operating=False, threshold=False))
    assert "operating.min_recall" in raised.value.hint


def test_what_was_not_measured_is_not_reached():
    alone = summarise(np.array([[0, 0], [0, 5]]), LABELS)
    for name in ("recall.bad", "balanced_accuracy", "f1.bad", "operating.recall"):
        (row,) = judge({name: Target(min=0.1)}, alone)
        assert (row["value"], row["pass"], row["proven"]) == (None, False, False)
    assert "recall.bad could not be measured" in unmet_sentence(judge({"recall.bad": Target(min=0.1)}, alone))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("accuracy: {}", "min, max or both"),
        ("accuracy: {min: 2}", "accuracy.min=2"),
        ("accuracy: {least: 0.5}", "accuracy.least"),
        ("accuracy: {min: 0.5, max: 0.4}", "above"),
        ("- accuracy", "NAME:"),
        ("a: [", "expected"),
    ],
)
def test_wrong_files_are_named(tmp_path, text, message):
    (tmp_path / "targets.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_targets(tmp_path / "targets.yaml")
    with pytest.raises(ConfigError, match="no such file"):
        read_targets(tmp_path / "none.yaml")


def test_they_may_stand_in_the_configuration(tmp_path):
    config = EvaluateConfig.model_validate({"targets": {"recall.bad": {"min": 0.5}}})
    assert config.targets == parse_targets({"recall.bad": {"min": 0.5}})
    assert EvaluateConfig.model_validate(config.model_dump(mode="json")) == config


def test_a_missed_target_fails_the_command_after_the_report(trained, make_photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fresh = make_photos(tmp_path / "fresh", {"bad": 4, "good": 3}, first=420)
    file = tmp_path / "targets.yaml"
    file.write_text("recall.bad: {min: 0.9}\nmiss_rate: {max: 0.5}\n")
    call = ["evaluate", str(trained[0]), "--data", str(fresh), "--out", "out", "--targets", str(file)]
    reached = CliRunner().invoke(app, call)
    assert reached.exit_code == 0, reached.output
    assert "targets: 2 of 2 reached, 1 proven" in reached.output
    file.write_text("accuracy: {max: 0.5}\nrecall.bad: {min: 0.9}\n")
    for _ in range(2):  # the second time nothing is left to do
        missed = CliRunner().invoke(app, call)
        assert missed.exit_code == 1
        assert "error: 1 of 2 targets missed: accuracy is 1.000" in missed.output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [row["pass"] for row in metrics["targets"]] == [False, True]
    report = (tmp_path / "out" / "report.html").read_text()
    assert '<p class="warning">1 of 2 targets missed' in report
    assert "<td>recall.bad</td><td>at least 0.9</td><td>1.000</td>" in report
    file.write_text("acuracy: {min: 0.5}\n")
    wrong = CliRunner().invoke(app, call)
    assert (wrong.exit_code, "did you mean 'accuracy'?" in wrong.output) == (2, True)


def test_a_missed_target_stops_a_chain(trained, make_photos, tmp_path, monkeypatch):
    fresh = make_photos(tmp_path / "fresh", {"bad": 2, "good": 2}, first=440)
    (tmp_path / "chain.yaml").write_text(
        f"steps:\n- stage: evaluate\n  inputs: {{model: '{trained[0]}', dataset: '{fresh}'}}\n  out: measured\n"
        "  config: {device: cpu, targets: {accuracy: {max: 0.1}}}\n"
    )
    steps = load_pipeline(tmp_path / "chain.yaml", root=tmp_path)
    told = []
    with pytest.raises(TargetError, match="step 'evaluate': 1 of 1 targets missed"):
        run_pipeline(steps, told.append)
    assert len(told) == 1
    assert (tmp_path / "measured" / "report.html").is_file()
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(app, ["run", "chain.yaml"])
    assert (run.exit_code, "error: step 'evaluate': 1 of 1 targets missed" in run.output) == (1, True)
    assert "1 of 1 targets missed" in (tmp_path / "report.html").read_text()


def test_a_changed_file_is_measured_again(trained, make_photos, tmp_path):
    fresh = make_photos(tmp_path / "fresh", {"bad": 2, "good": 2}, first=460)
    file = tmp_path / "targets.yaml"
    file.write_text("accuracy: {min: 0.5}\n")
    config = EvaluateConfig(device="cpu", targets=str(file))
    assert not evaluate(trained[0], fresh, tmp_path / "out", config).skipped
    assert evaluate(trained[0], fresh, tmp_path / "out", config).skipped
    file.write_text("accuracy: {min: 0.6}\n")
    assert not evaluate(trained[0], fresh, tmp_path / "out", config).skipped
