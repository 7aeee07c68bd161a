"""The operating point: a threshold for a recall, abstention, what may be claimed; chosen on validation photos alone."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from weldgen.classifier.evaluate import EvaluateConfig, evaluate
from weldgen.classifier.metrics import photos_needed, proven_share
from weldgen.classifier.operating import (
    OperatingSettings,
    choose_band,
    choose_confidence,
    choose_decision,
    choose_threshold,
    positive_class,
)
from weldgen.classifier.operating_point import OPERATING_NAME, OperatingPoint, decide, load_point, measure_point
from weldgen.classifier.scoring import open_scorer
from weldgen.classifier.targets import Target
from weldgen.config import load_config
from weldgen.data.dataset import METADATA_NAME, Dataset
from weldgen.decision import Decision
from weldgen.errors import ConfigError, DataError
from weldgen.report.stage import write_stage_report
from weldgen.tta import ask_views, vote

#                  positive: *    *          *    *          *
SHARES = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
POSITIVE = np.array([1, 1, 0, 1, 0, 1, 0, 0, 0], bool)


def settings(**given) -> OperatingSettings:
    return OperatingSettings(**given)


@pytest.mark.parametrize(
    ("recall", "threshold"), [(0.25, 0.75), (0.5, 0.75), (0.51, 0.55), (0.75, 0.55), (0.76, 0.35), (1.0, 0.35)]
)
def test_the_threshold_of_a_recall(recall, threshold):
    # 0.25 would be reached at 0.85 too, but 0.75 finds more and raises no more alarms
    assert choose_threshold(SHARES, POSITIVE, settings(min_recall=recall)) == pytest.approx(threshold)


@pytest.mark.parametrize(("rate", "threshold"), [(0.1, 0.75), (0.2, 0.55), (0.39, 0.55), (0.4, 0.35), (0.99, 0.35)])
def test_the_threshold_of_a_share_of_false_rejects(rate, threshold):
    assert choose_threshold(SHARES, POSITIVE, settings(max_false_reject=rate)) == pytest.approx(threshold)


def test_thresholds_at_the_ends():
    alike = np.array([1.0, 1.0], np.float64)
    never = choose_threshold(alike, np.array([True, False]), settings(max_false_reject=0.4))
    assert never > 1  # one photo of each kind at 1.0: not to reject the sound one is to reject none
    assert choose_threshold(alike, np.array([True, False]), settings(min_recall=1.0)) == 0.5
    apart = choose_threshold(np.array([0.9, 0.1]), np.array([True, False]), settings(min_recall=0.5))
    assert apart == pytest.approx(0.5)


@pytest.mark.parametrize("abstain", [0.0, 0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("threshold", [0.03, 0.5, 0.8])
def test_the_band_holds_the_share_nearest_to_the_threshold(abstain, threshold):
    shares = np.random.default_rng(3).beta(0.6, 0.9, 40)
    band = choose_band(shares, threshold, abstain)
    inside = np.zeros(40, bool) if band is None else (shares >= band[0]) & (shares <= band[1])
    assert inside.sum() == int(40 * abstain)
    distance = np.abs(np.log(shares / (1 - shares)) - math.log(threshold / (1 - threshold)))
    assert not inside.any() or distance[inside].max() < distance[~inside].min()


def test_equal_photos_are_handed_over_together_or_not_at_all():
    assert choose_confidence(np.array([0.5, 0.5, 0.9, 0.9]), 0.25) == 0
    assert choose_confidence(np.array([0.5, 0.5, 0.9, 0.9]), 0.5) == pytest.approx(0.7)
    assert choose_confidence(np.array([0.5, 0.6, 0.9, 0.95]), 0.75) == pytest.approx(0.925)
    assert choose_band(np.full(8, 0.4), 0.5, 0.5) is None


def test_without_a_threshold_the_least_confident_abstain():
    probabilities = np.random.default_rng(0).dirichlet([1, 1, 1], 50)
    decision = choose_decision(probabilities, np.zeros(50, np.int64), ("a", "b", "c"), settings(abstain=0.2))
    decided = decide(decision, probabilities, ("a", "b", "c"))
    assert decision.positive == ""
    assert decided.abstained.sum() == 10
    assert (decided.predicted == probabilities.argmax(axis=1)).all()
    assert probabilities.max(axis=1)[decided.abstained].max() < probabilities.max(axis=1)[~decided.abstained].min()


def test_the_class_that_must_not_be_missed():
    asked = settings(min_recall=0.9)
    assert positive_class(asked, ("bad", "good")) == "bad"
    assert positive_class(asked, ("OK", "crack")) == "crack"
    assert positive_class(settings(abstain=0.1), ("a", "b", "c")) == ""
    assert positive_class(settings(min_recall=0.9, positive="c"), ("a", "b", "c")) == "c"
    for classes in (("a", "b"), ("bad", "good", "pore")):
        with pytest.raises(ConfigError, match="must not be missed"):
            positive_class(asked, classes)
    with pytest.raises(ConfigError, match="knows bad, good") as raised:
        positive_class(settings(min_recall=0.9, positive="bda"), ("bad", "good"))
    assert "'bad'" in raised.value.hint


def test_both_ways_to_ask_for_a_threshold_are_one_too_many(tmp_path):
    with pytest.raises(ValidationError):
        settings(min_recall=0.9, max_false_reject=0.1)
    overrides = ["operating.min_recall=0.9", "operating.max_false_reject=0.1"]
    with pytest.raises(ConfigError, match="set one of them"):
        load_config("evaluate", EvaluateConfig, project=tmp_path, overrides=overrides)


def tail(hits: int, n: int, share: float) -> float:
    """Probability of at least so many hits, summed up."""
    return sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(hits, n + 1))


@pytest.mark.parametrize(("hits", "n"), [(299, 299), (12, 12), (11, 12), (50, 60), (1, 30)])
def test_what_can_be_claimed_is_the_share_that_would_give_as_many_hits_once_in_twenty(hits, n):
    assert tail(hits, n, proven_share(hits, n)) == pytest.approx(0.05)


def test_photos_that_a_claim_takes():
    assert proven_share(299, 299) == pytest.approx(0.99, abs=1e-4)
    assert [photos_needed(share) for share in (0.99, 0.95, 0.9, 0.97)] == [299, 59, 29, 99]
    for share in (0.5, 0.8, 0.95, 0.99, 0.999):
        n = photos_needed(share)
        assert share**n <= 0.05 < share ** (n - 1)
    assert photos_needed(1.0) is None
    assert proven_share(0, 10) == 0


def test_shares_of_the_operating_point():
    point = OperatingPoint(
        Decision("bad", 0.3, (0.25, 0.45)), {"min_recall": 0.9, "max_false_reject": 0.0, "abstain": 0.2}, 1, {"bad": 9}
    )
    bad = np.array([0.9, 0.4, 0.28, 0.1, 0.05, 0.35, 0.6])
    truth = np.array([0, 0, 0, 0, 1, 1, 1])
    probabilities = np.stack([bad, 1 - bad], axis=1)
    found = measure_point(point, decide(point.decision, probabilities, ("bad", "good")), truth, ("bad", "good"))
    counted = {name: (found[name]["count"], found[name]["n"]) for name in ("recall", "false_reject_rate", "escaped")}
    assert counted == {"recall": (2, 4), "false_reject_rate": (2, 3), "escaped": (1, 4)}
    assert [found[name]["count"] for name in ("accuracy", "abstained", "decided_accuracy")] == [3, 3, 2]
    assert found["decided_accuracy"]["n"] == 4
    assert found["confusion"] == [[2, 2], [2, 1]]
    (claim,) = found["claims"]
    assert (claim["photos_without_miss"], claim["n"]) == (29, 4)
    assert claim["claimable"] == pytest.approx(0.05 ** (1 / 4))
    assert tail(2, 4, claim["claimed"]) == pytest.approx(0.05)


# --- with a model --------------------------------------------------------------------------------------------------


def grey(root, split: str, label: str, levels: list[int], seed: int) -> None:
    """Photos from dark to bright, which the model is more or less sure of."""
    (root / split / label).mkdir(parents=True)
    for number, level in enumerate(levels):
        pixels = np.random.default_rng(100 * seed + number).normal(level, 20, (56, 80, 3)).clip(0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(root / split / label / f"{number}.png")


@pytest.fixture
def own_model(trained, tmp_path):
    """The trained model, less sure of itself: so sure, all probabilities are 0 or 1."""
    shutil.copytree(trained[0], tmp_path / "model")
    card = json.loads((tmp_path / "model" / "model.json").read_text())
    (tmp_path / "model" / "model.json").write_text(json.dumps({**card, "temperature": 20.0}))
    return tmp_path / "model"


@pytest.fixture
def graded(tmp_path):
    """New photos: clear and doubtful ones for validation, clear ones for the test."""
    root = tmp_path / "graded"
    grey(root, "val", "bad", [60, 90, 110, 150], 1)
    grey(root, "val", "good", [120, 160, 190, 210], 2)
    grey(root, "test", "bad", [60, 80, 70], 3)
    grey(root, "test", "good", [190, 200], 4)
    return root


def asked(**given) -> EvaluateConfig:
    return EvaluateConfig(device="cpu", operating=OperatingSettings(**given))


def predictions_of(out) -> list[dict]:
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]


def test_validation_decides_the_threshold_and_never_the_test(own_model, graded, tmp_path):
    config = asked(min_recall=1.0, abstain=0.25)
    summary = evaluate(own_model, graded, tmp_path / "one", config)
    point = load_point(own_model)
    assert point.chosen_on == {"bad": 4, "good": 4}
    assert point.settings == {"min_recall": 1.0, "max_false_reject": 0.0, "abstain": 0.25}
    evaluate(own_model, graded, tmp_path / "val", EvaluateConfig(device="cpu", split="val"))
    val = predictions_of(tmp_path / "val")
    bad = np.array([line["probabilities"]["bad"] for line in val])
    truth = np.array([line["label"] == "bad" for line in val])
    assert point.decision.threshold == pytest.approx(
        choose_threshold(bad, truth, OperatingSettings(min_recall=1.0)), abs=1e-5
    )
    assert sum(line["abstained"] for line in val) == 2  # a quarter of 8
    lines = predictions_of(tmp_path / "one")
    for line in lines:
        assert line["decided"] == ("bad" if line["probabilities"]["bad"] >= point.decision.threshold else "good")
    measured = json.loads((tmp_path / "one" / "metrics.json").read_text())["operating"]
    assert measured["recall"]["n"] == 3
    assert measured["threshold"] == point.decision.threshold
    assert "no number of photos claims a recall of bad of 100 %; there are 3" in " ".join(summary.notes)
    assert evaluate(own_model, graded, tmp_path / "one", config).skipped

    shutil.rmtree(graded / "test")  # other test photos, wrong ones among them
    grey(graded, "test", "bad", [200, 120], 5)
    grey(graded, "test", "good", [60, 100, 130], 6)
    assert not evaluate(own_model, graded, tmp_path / "one", config).skipped
    assert load_point(own_model) == point
    (graded / "val" / "bad" / "3.png").unlink()  # the most doubtful one
    evaluate(own_model, graded, tmp_path / "one", config)
    assert load_point(own_model).decision.threshold > point.decision.threshold


def test_new_photos_are_decided_by_the_validation_photos_of_the_training(own_model, trained, make_photos, tmp_path):
    fresh = make_photos(tmp_path / "fresh", {"bad": 3, "good": 2}, first=400)
    summary = evaluate(own_model, fresh, tmp_path / "out", asked(max_false_reject=0.1))
    seen = json.loads((own_model / "model.json").read_text())["seen"]["val"]
    assert sum(load_point(own_model).chosen_on.values()) == len(seen)
    text = write_stage_report("evaluate", tmp_path / "out").read_text()
    assert "Others called bad" in text
    assert "takes 29 photos of others than bad without a miss; there are 2" in text
    assert any("at most 10 % false rejects" in note for note in summary.notes)


def test_what_the_model_keeps_is_measured_when_nothing_is_asked_for(own_model, graded, tmp_path):
    evaluate(own_model, graded, tmp_path / "one", asked(min_recall=0.9, abstain=0.3))
    again = evaluate(own_model, graded, tmp_path / "two", EvaluateConfig(device="cpu")).details["operating"]
    assert again == json.loads((tmp_path / "one" / "metrics.json").read_text())["operating"]


def test_without_validation_photos_there_is_no_threshold_and_none_is_kept(own_model, graded, tmp_path):
    evaluate(own_model, graded, tmp_path / "one", asked(min_recall=0.9))
    shutil.rmtree(graded / "val" / "bad")
    summary = evaluate(own_model, graded, tmp_path / "one", asked(min_recall=0.9))
    assert summary.notes[-1].startswith("no operating point: choosing one takes real validation photos of bad and of")
    assert "operating" not in summary.details
    assert not (own_model / OPERATING_NAME).exists()


def test_where_nothing_can_be_measured_no_threshold_is_chosen(own_model, make_photos, tmp_path):
    few = make_photos(tmp_path / "few", {"bad": 2, "good": 1}, first=480)
    samples = [replace(sample, split="train") for sample in Dataset.open(few).samples]
    (few / METADATA_NAME).write_text("".join(json.dumps(sample.record()) + "\n" for sample in samples))
    (own_model / "stage.json").unlink()  # which would lead to the validation photos of the training
    config = asked(min_recall=0.9).model_copy(update={"targets": {"operating.recall": Target(min=0.5)}})
    summary = evaluate(own_model, few, tmp_path / "out", config)
    assert summary.notes[0].startswith("nothing was measured")
    assert summary.unmet == "1 of 1 targets missed: operating.recall could not be measured, at least 0.5 was asked for"
    assert "not measured" in write_stage_report("evaluate", tmp_path / "out").read_text()


def test_a_photo_that_was_learned_chooses_no_threshold(own_model, trained, graded, tmp_path):
    seen = json.loads((own_model / "model.json").read_text())["seen"]["train"]
    learned = next(s for s in Dataset.open(trained[1]).samples if s.id in seen)
    shutil.copy(trained[1] / learned.file_name, graded / "val" / learned.label / "learned.png")
    with pytest.raises(DataError, match="'val', but the model saw it in 'train'"):
        evaluate(own_model, graded, tmp_path / "out", asked(min_recall=0.9))


def test_views_vote_and_what_they_change_is_said(own_model, graded, tmp_path):
    summary = evaluate(own_model, graded, tmp_path / "out", EvaluateConfig(device="cpu", tta=4))
    record = summary.details["tta"]
    assert (record["views"], record["without"]["n"]) == (4, 5)
    assert record["with"]["count"] - record["without"]["count"] == record["put_right"] - record["put_wrong"]
    assert any(note.startswith("4 views of each photo: right on") for note in summary.notes)
    assert "4 views of each photo" in write_stage_report("evaluate", tmp_path / "out").read_text()


def test_views_of_a_symmetric_photo_say_what_the_photo_says(trained):
    corner = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    half = np.concatenate([corner, corner[:, ::-1]], axis=1)
    image = np.concatenate([half, half[::-1]])
    scorer = open_scorer(trained[0], "cpu", 1)
    assert vote(ask_views(scorer.probabilities, image, 4)) == pytest.approx(scorer.probabilities(image), abs=1e-6)
