"""One model on several held-out sets: each by itself as ever, one table, and a set that cannot be measured is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from weldgen.classifier import copies, curves
from weldgen.classifier.evaluate import EvaluateConfig, evaluate
from weldgen.classifier.several_sets import evaluate_sets, name_sets, table_rows
from weldgen.cli import app
from weldgen.errors import ConfigError, DataError, OutputError
from weldgen.receipts import Summary

PLAIN = ["--device", "cpu", "shortcuts.enabled=false"]
CONFIG = EvaluateConfig.model_validate({"device": "cpu", "shortcuts": {"enabled": False}})


def run(model, sets, out, *more):
    data = [word for folder in sets for word in ("--data", str(folder))]
    return CliRunner().invoke(app, ["evaluate", str(model), *data, "--out", str(out), *PLAIN, *more])


@pytest.fixture
def sets(make_photos, tmp_path):
    """Photos like the training's, and others of which the model gets the good ones wrong: they are dark."""
    day = make_photos(tmp_path / "day", {"bad": 4, "good": 4}, first=500)
    night = make_photos(tmp_path / "night", {"bad": 4, "dark": 4}, first=600)
    (night / "dark").rename(night / "good")
    return day, night


def test_each_set_is_evaluated_as_alone_and_all_stand_in_one_table(trained, sets, make_photos, tmp_path):
    empty, foreign = tmp_path / "empty", make_photos(tmp_path / "foreign", {"porous": 2}, first=700)
    empty.mkdir()
    out = tmp_path / "out"
    result = run(trained[0], [*sets, empty, foreign], out)
    assert result.exit_code == 3, result.output
    record = json.loads((out / "sets.json").read_text())
    rows = {row["name"]: row for row in record["sets"]}
    assert list(rows) == ["day", "night"]
    for name, folder in zip(rows, sets, strict=True):
        alone = evaluate(trained[0], folder, tmp_path / "alone" / name, CONFIG).details
        assert json.loads((out / name / "metrics.json").read_text()) == alone
        assert (out / name / "report.html").is_file()
        for key in ("n", "accuracy", "balanced_accuracy", "balanced_accuracy_interval", "false_alarm_rate"):
            assert rows[name][key] == alone[key]
        assert rows[name]["recall"] == pytest.approx(alone["classes"]["bad"]["recall"])
        assert rows[name]["expected_calibration_error"] == alone["calibration"]["expected_calibration_error"]
    assert (rows["day"]["accuracy"]["value"], rows["night"]["false_alarm_rate"]["count"]) == (1, 4)
    assert record["table"][0][:5] == ["set", "photos", "accuracy", "balanced accuracy", "false alarms"]
    assert "recall of bad" in record["table"][0]
    assert [failed["name"] for failed in record["failed"]] == ["empty", "foreign"]
    assert "'porous'; the model knows bad, good" in record["failed"][1]["reason"]
    page = (out / "report.html").read_text()
    for text in ("night", "recall of bad", "Not measured: foreign:", "day/report.html"):
        assert text in page
    assert "| night " in result.output
    assert "lowest on night" in result.output

    again = run(trained[0], sets, out)
    assert again.exit_code == 0
    assert again.output.count("nothing changed, skipped") == 2


def test_one_set_stays_one_evaluation(trained, sets, tmp_path):
    out = tmp_path / "out"
    assert run(trained[0], sets[:1], out).exit_code == 0
    assert (out / "metrics.json").is_file()
    assert not (out / "sets.json").exists()
    refused = run(trained[0], sets, out)
    assert refused.exit_code == 1
    assert "holds the result of one weldgen evaluate" in refused.output


def test_a_missed_target_of_one_set_fails_after_all_were_measured(trained, sets, tmp_path):
    targets = tmp_path / "targets.yaml"
    targets.write_text("accuracy: {min: 0.9}\n")
    result = run(trained[0], sets, tmp_path / "out", "--targets", str(targets))
    assert result.exit_code == 1
    assert "error: night: " in result.output
    assert "day: " not in result.output.partition("error:")[2]
    assert len(json.loads((tmp_path / "out" / "sets.json").read_text())["sets"]) == 2


def test_the_threshold_is_chosen_once(tmp_path):
    asked = []

    def one(dataset, out, config):
        asked.append(config.operating.min_recall)
        if dataset.name == "a":
            raise DataError("no photo")
        figures = dict.fromkeys(("false_alarm_rate", "miss_rate", "good_class", "balanced_accuracy"))
        figures |= {"n": 1, "groups": 1, "split": "test", "labels": ["x", "y"], "balanced_accuracy_interval": [0, 1]}
        figures["accuracy"] = {"value": 1.0, "count": 1, "n": 1, "low": 0.2, "high": 1.0}
        return Summary("evaluate", out, details=figures | {"calibration": {"expected_calibration_error": 0.1}})

    config = EvaluateConfig.model_validate({"operating": {"min_recall": 0.9}})
    found = evaluate_sets(tmp_path, [Path("a"), Path("b"), Path("c")], tmp_path / "out", config, one)
    assert asked == [0.9, 0.9, 0]
    assert (list(found.summaries), list(found.errors), found.partial, found.unmet) == (["b", "c"], ["a"], True, "")
    assert found.record["table"][0] == ("set", "photos", "accuracy", "calibration error")
    asked.clear()
    evaluate_sets(Path("model.onnx"), [Path("b"), Path("c")], tmp_path / "file", config, one)
    assert asked == [0.9, 0.9]  # a file keeps no threshold
    with pytest.raises(DataError, match="no photo"):
        evaluate_sets(tmp_path, [Path("x/a"), Path("y/a")], tmp_path / "none", config, one)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "report.html").write_text("mine")
    with pytest.raises(OutputError, match="not made by weldgen"):
        evaluate_sets(tmp_path, [Path("b"), Path("c")], tmp_path / "mine", config, one)


def test_sets_are_called_by_their_folders_as_far_as_those_differ(tmp_path):
    assert list(name_sets([tmp_path / "a", tmp_path / "b"])) == ["a", "b"]
    assert list(name_sets([tmp_path / "x" / "test", tmp_path / "y" / "test"])) == ["x-test", "y-test"]
    assert len(name_sets([tmp_path / "a-b", tmp_path / "a" / "b", tmp_path / "c" / "b"])) == 3
    with pytest.raises(ConfigError, match="given twice"):
        name_sets([tmp_path / "a", tmp_path / "b" / ".." / "a"])
    assert table_rows([])[0] == ()


def test_curves_are_drawn_and_the_receipt_is_read_once(trained, sets, tmp_path, monkeypatch):
    drawn, read = [], []
    for name in ("roc_curves", "precision_recall_curves"):
        original = getattr(curves, name)
        monkeypatch.setattr(curves, name, lambda *a, _f=original, _n=name: (drawn.append(_n), _f(*a))[1])
    receipt = copies.read_receipt
    monkeypatch.setattr(copies, "read_receipt", lambda folder: (read.append(folder), receipt(folder))[1])
    config = EvaluateConfig.model_validate({"device": "cpu", "shortcuts": {"max_photos": 1}})
    evaluate(trained[0], sets[0], tmp_path / "out", config)
    assert sorted(drawn) == ["precision_recall_curves", "roc_curves"]
    assert read == [trained[0]]
    assert (tmp_path / "out" / "roc.png").is_file()
