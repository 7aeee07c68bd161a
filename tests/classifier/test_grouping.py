"""Views of one part are no independent photos: intervals, claims and targets count groups."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from weldgen.classifier.bootstrap import bootstrap
from weldgen.classifier.evaluate import EvaluateConfig, evaluate
from weldgen.classifier.evaluation_notes import notes_on
from weldgen.classifier.grouping import by_field, choose_field, field_values, group_indices, group_names
from weldgen.classifier.metrics import (
    Share,
    balanced_interval,
    confusion_matrix,
    group_matrices,
    proven_share,
    summarise,
    wilson_interval,
)
from weldgen.classifier.operating_point import OperatingPoint, decide, measure_point, point_notes
from weldgen.classifier.targets import Target, judge
from weldgen.cli import app
from weldgen.data.dataset import METADATA_NAME, Dataset
from weldgen.data.sample import Sample
from weldgen.decision import Decision
from weldgen.errors import ConfigError
from weldgen.report.stage import write_stage_report

CPU = EvaluateConfig(device="cpu")
LABELS = ("bad", "good")


def five_views(plates: int) -> np.ndarray:
    return np.repeat(np.arange(plates), 5)


def test_five_views_of_a_plate_count_once():
    right = np.ones(20, bool)
    alone, grouped = Share.of(right), Share.of(right, five_views(4))
    assert grouped.interval == pytest.approx(wilson_interval(4, 4))
    assert alone.interval == pytest.approx(wilson_interval(20, 20))
    assert str(grouped) == "20 of 20 in 4 groups (95 % interval 51% to 100%)"
    assert (grouped.record()["groups"], grouped.record()["effective_n"]) == (4, 4)
    assert Share.of(right, np.arange(20)).record() == alone.record()


def test_one_large_group_leaves_little():
    # 91 views of one plate and 9 plates of their own: 100 ** 2 / (91 ** 2 + 9)
    share = Share.of(np.ones(100, bool), np.array([0] * 91 + list(range(1, 10))))
    assert share.effective_n == pytest.approx(10000 / 8290)


def test_the_interval_covers_where_views_share_their_fate():
    rng = np.random.default_rng(0)
    groups = five_views(24)
    inside = {True: 0, False: 0}
    for _ in range(600):
        right = np.repeat(rng.random(24) < 0.8, 5)
        for known in inside:
            low, high = Share.of(right, groups if known else None).interval
            inside[known] += low <= 0.8 <= high
    assert inside[True] / 600 > 0.92
    assert inside[False] / 600 < 0.75


def test_all_figures_of_a_confusion_matrix_count_groups():
    groups = five_views(8)
    truth = np.repeat([0, 1], 20)
    predicted = truth.copy()
    predicted[:5] = 1  # one bad plate is missed in all views
    matrix = confusion_matrix(truth, predicted, 2)
    by_group = group_matrices(truth, predicted, groups, 2)
    assert (by_group.sum(axis=0) == matrix).all()
    found = summarise(matrix, LABELS, by_group)
    assert found["classes"]["bad"]["recall"]["low"] == pytest.approx(wilson_interval(3, 4)[0])
    assert found["classes"]["good"]["precision"]["low"] == pytest.approx(wilson_interval(4, 5)[0])
    assert found["miss_rate"]["high"] == pytest.approx(wilson_interval(1, 4)[1])
    assert found["accuracy"]["groups"] == 8
    ends = (wilson_interval(3, 4), wilson_interval(4, 4))
    low = 0.875 - math.hypot(0.75 - ends[0][0], 1 - ends[1][0]) / 2
    assert found["balanced_accuracy_interval"][0] == pytest.approx(low)
    assert balanced_interval(matrix)[0] > low
    jaccard = wilson_interval(3, 4)  # of 4 plates that are bad or were taken for it
    assert found["classes"]["bad"]["f1_interval"][0] == pytest.approx(2 * jaccard[0] / (1 + jaccard[0]))


def test_targets_are_proven_by_groups():
    truth = np.repeat([0, 1], 60)
    matrix = confusion_matrix(truth, truth, 2)
    asked = {name: Target(min=0.9) for name in ("accuracy", "balanced_accuracy", "recall.bad", "f1.bad")}
    alone = judge(asked, summarise(matrix, LABELS))
    grouped = judge(asked, summarise(matrix, LABELS, group_matrices(truth, truth, five_views(24), 2)))
    assert [row["proven"] for row in alone] == [True] * 4
    assert [(row["pass"], row["proven"]) for row in grouped] == [(True, False)] * 4


def test_a_claim_counts_a_group_as_wrong_if_any_photo_is():
    point = OperatingPoint(Decision("bad", 0.5), {"min_recall": 0.9, "max_false_reject": 0.0, "abstain": 0.0}, 1, {})
    bad = np.array([0.9] * 14 + [0.1] + [0.2] * 5)
    truth, groups = np.array([0] * 15 + [1] * 5), five_views(4)
    probabilities = np.stack([bad, 1 - bad], axis=1)
    decided = decide(point.decision, probabilities, LABELS)
    found = measure_point(point, decided, truth, LABELS, groups)
    (claim,) = found["claims"]
    assert (claim["n"], claim["photos"]) == (3, 15)
    assert claim["claimed"] == pytest.approx(proven_share(2, 3))
    assert claim["claimable"] == pytest.approx(0.05 ** (1 / 3))
    assert found["recall"]["groups"] == 3
    assert "there are 15 photos in 3 groups, each of which counts once" in " ".join(point_notes(found, "test"))
    (without,) = measure_point(point, decided, truth, LABELS)["claims"]
    assert (without["n"], without["claimed"]) == (15, pytest.approx(proven_share(14, 15)))
    enough = replace(point, settings={**point.settings, "min_recall": 0.1})
    said = " ".join(point_notes(measure_point(enough, decided, truth, LABELS, groups), "test"))
    assert "can be claimed at 95 % confidence from 15 photos in 3 groups" in said


def test_the_bootstrap_agrees_with_drawing_groups_one_by_one():
    rng = np.random.default_rng(2)
    truth = np.repeat([0, 1], [60, 90])
    predicted = np.where(np.repeat(rng.random(30) < 0.75, 5), truth, 1 - truth)
    groups = five_views(30)
    found = bootstrap(group_matrices(truth, predicted, groups, 2), LABELS, seed=0)
    slow = {"balanced_accuracy": [], "macro_f1": []}
    for _ in range(2000):
        drawn = np.concatenate([rng.integers(0, 12, 12), rng.integers(12, 30, 18)])
        photos = (5 * drawn[:, None] + np.arange(5)).ravel()
        record = summarise(confusion_matrix(truth[photos], predicted[photos], 2), LABELS)
        slow["balanced_accuracy"].append(record["balanced_accuracy"])
        slow["macro_f1"].append(record["macro"]["f1"])
    for name, values in slow.items():
        assert found[name] == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.03)
    alone = bootstrap(group_matrices(truth, predicted, np.arange(150), 2), LABELS, seed=0)
    for name in slow:
        assert np.diff(alone[name]) < 0.7 * np.diff(found[name])
    assert found == bootstrap(group_matrices(truth, predicted, groups, 2), LABELS, seed=0)
    assert (found["groups"], alone["groups"]) == (30, 150)


def test_drawing_photos_that_are_all_right_shows_nothing():
    truth = np.repeat([0, 1], [5, 10])
    predicted = truth.copy()
    predicted[-1] = 0
    found = bootstrap(group_matrices(truth, predicted, np.arange(15), 2), LABELS, seed=0)
    assert (found["balanced_accuracy"], found["macro_f1"], found["unvaried"]) == (None, None, ["bad"])


def samples(*groups: str, **extra) -> list[Sample]:
    return [Sample(f"bad/{k}.png", str(k), "bad", group=name, extra=extra) for k, name in enumerate(groups)]


def test_the_field_that_photos_are_compared_by():
    assert choose_field(samples("a", "a", "b"), "") == "group"
    assert choose_field(samples("a", "b", ""), "") == ""
    assert choose_field(samples("", ""), "") == ""
    assert choose_field(samples("", "", camera="left"), "camera") == "camera"
    assert field_values(samples("", "", camera="left"), "camera") == ["left", "left"]
    assert field_values(samples("a", ""), "group") == ["a", "(none)"]
    with pytest.raises(ConfigError, match="group_by=camrea") as raised:
        choose_field(samples("", camera="left"), "camrea")
    assert "'camera'" in raised.value.hint


def test_groups_come_from_the_records_and_from_file_names(tmp_path):
    photos = [
        Sample("bad/p1_a.png", "1", "bad"), Sample("bad/p1_b.png", "2", "bad"), Sample("bad/p2_a.png", "3", "bad"),
        Sample("good/x.png", "4", "good", group="p"), Sample("good/y.png", "5", "good", group="p"),
    ]  # fmt: skip
    dataset = Dataset(tmp_path, tuple(photos), LABELS)
    assert len(set(group_names(dataset, photos, ""))) == 4
    assert group_indices(group_names(dataset, photos, r"^p\d")).tolist() == [0, 0, 1, 2, 2]


def test_values_of_a_field_the_worst_first():
    values = ["left"] * 4 + ["right"] * 6 + ["top"] * 2
    truth = np.array([0, 0, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1])
    predicted = np.array([0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 0, 1])
    rows = by_field(values, truth, predicted, LABELS, None)
    assert [(row["value"], row["accuracy"]["count"], row["n"]) for row in rows] == [
        ("top", 1, 2), ("right", 4, 6), ("left", 4, 4),
    ]  # fmt: skip
    top, right, _ = rows
    assert (top["balanced_accuracy"], top["false_alarm_rate"]["count"]) == (None, 1)
    assert right["balanced_accuracy"] == pytest.approx(2 / 3)
    assert (right["accuracy"]["low"], right["accuracy"]["high"]) == pytest.approx(wilson_interval(4, 6))
    assert (right["miss_rate"]["count"], right["miss_rate"]["n"]) == (1, 3)
    grouped = by_field(values, truth, predicted, LABELS, np.array([0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4]))
    assert grouped[1]["accuracy"]["low"] == pytest.approx(wilson_interval(4 / 3, 2)[0])


# --- with a model --------------------------------------------------------------------------------------------------


@pytest.fixture
def plates(make_photos, tmp_path):
    """Three photos each of two bad plates and three good ones, by two cameras; one photo has the wrong class."""
    root = make_photos(tmp_path / "plates", {"bad": 6, "good": 9}, first=900)
    found = Dataset.open(root).samples
    records = [
        sample.record() | {"group": f"{sample.label}{k // 3}", "camera": "left" if k % 3 else "right", "split": "test"}
        for label in LABELS
        for k, sample in enumerate(s for s in found if s.label == label)
    ]
    (root / METADATA_NAME).write_text("".join(json.dumps(record) + "\n" for record in records))
    return root


def test_an_evaluation_counts_groups_and_shows_them(trained, plates, tmp_path):
    out = tmp_path / "out"
    summary = evaluate(trained[0], plates, out, CPU)
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["n"], metrics["groups"], metrics["accuracy"]["groups"]) == (15, 5, 5)
    assert metrics["accuracy"]["low"] == pytest.approx(wilson_interval(5, 5)[0])
    assert metrics["auroc"]["macro"] == metrics["average_precision"]["macro"] == 1
    assert 0 <= metrics["calibration"]["expected_calibration_error"] <= 1
    assert metrics["bootstrap"]["unvaried"] == ["bad", "good"]
    assert metrics["by_group"]["field"] == "group"
    assert {row["value"]: row["n"] for row in metrics["by_group"]["rows"]} == {
        "bad0": 3, "bad1": 3, "good0": 3, "good1": 3, "good2": 3,
    }  # fmt: skip
    assert any("the 15 photos are of 5 groups" in note for note in summary.notes)
    assert any("folds=20 leaves each group out once" in note for note in summary.notes)
    assert any(note.startswith("AUROC 1.000 and average precision 1.000") for note in summary.notes)
    page = write_stage_report("evaluate", out).read_text()
    for shown in ("ROC curves", "Precision-recall curves", "Accuracy against confidence", "share of each true class"):
        assert shown in page
    for shown in ("By group", "Mean of classes (macro)", "Mean of photos (weighted)", "Macro F1", "AUROC, macro"):
        assert f">{shown}<" in page
    assert "intervals and claims count groups" in page


def test_photos_are_compared_by_any_field(trained, plates, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call = ["evaluate", str(trained[0]), "--data", str(plates), "--out", "out", "--group-by"]
    done = CliRunner().invoke(app, [*call, "camera"])
    assert done.exit_code == 0, done.output
    assert "right on all photos of each of 2 values of 'camera'" in done.output.replace("\n", " ")
    rows = json.loads((tmp_path / "out" / "metrics.json").read_text())["by_group"]["rows"]
    assert [(row["value"], row["n"]) for row in rows] == [("left", 10), ("right", 5)]
    assert rows[0]["accuracy"]["groups"] == 5
    assert CliRunner().invoke(app, [*call, "lamp"]).exit_code == 2


def test_a_long_table_shows_the_worst_and_counts_the_rest(trained, plates, tmp_path):
    out = tmp_path / "out"
    evaluate(trained[0], plates, out, CPU.model_copy(update={"group_by": "id"}))
    metrics = json.loads((out / "metrics.json").read_text())
    rows = metrics["by_group"]["rows"]
    metrics["by_group"]["rows"] = [{**rows[k % len(rows)], "value": f"value {k}"} for k in range(34)]
    (out / "metrics.json").write_text(json.dumps(metrics))
    page = write_stage_report("evaluate", out).read_text()
    assert "value 29<" in page
    assert "value 30<" not in page
    assert "… and 4 more, no worse" in page


def test_curves_of_an_earlier_run_do_not_stay(trained, plates, make_photos, tmp_path):
    out = tmp_path / "out"
    evaluate(trained[0], plates, out, CPU)
    assert (out / "roc.png").is_file()
    alone = make_photos(tmp_path / "alone", {"good": 3}, first=950)
    evaluate(trained[0], alone, out, CPU)
    assert not (out / "roc.png").exists()
    assert (out / "reliability.png").is_file()
    assert json.loads((out / "metrics.json").read_text())["auroc"]["macro"] is None
    assert "ROC curves" not in write_stage_report("evaluate", out).read_text()


def test_many_groups_need_no_folds():
    truth = np.array([0, 1] * 42)
    own = summarise(np.diag([42, 42]), LABELS, group_matrices(truth, truth, np.arange(84) // 2, 2))
    said = notes_on(own | {"groups": 42}, "test")
    assert any("are of 42 groups" in note for note in said) and not any("folds=" in note for note in said)
