"""A linear classifier learns the validation photos once they judged it; what it was before still answers for them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from weldgen.classifier.ensemble import ensemble
from weldgen.classifier.evaluate import EvaluateConfig, evaluate
from weldgen.classifier.exported import metadata_of
from weldgen.classifier.model_file import JUDGE_NAME, load_card, load_model
from weldgen.classifier.operating import OperatingSettings
from weldgen.classifier.operating_point import load_point
from weldgen.classifier.scoring import open_scorer
from weldgen.classifier.train import train
from weldgen.config import StageConfig
from weldgen.data.images import read_rgb


@pytest.fixture(scope="module")
def refitted(tmp_path_factory, make_photos, tiny_config):
    root = tmp_path_factory.mktemp("refit")
    photos = make_photos(root / "photos", {"bad": 16, "good": 16})
    train(photos, root / "model", tiny_config(training={"method": "linear"}))
    return root / "model", photos


def biases(network):
    return network.head.linear.bias


def test_the_validation_photos_are_learned_once_they_have_judged(refitted, tiny_config, tmp_path):
    model, photos = refitted
    summary = train(photos, tmp_path / "without", tiny_config(training={"method": "linear", "refit": False}))
    final, before = load_model(model)[0], load_model(model, judge=True)[0]
    without = load_model(tmp_path / "without", judge=True)[0]
    assert torch.equal(biases(before), biases(without)) and not torch.equal(biases(final), biases(without))
    assert load_card(model).learned_validation and not (tmp_path / "without" / JUDGE_NAME).exists()
    assert load_card(model).validation == load_card(tmp_path / "without").validation
    assert not any("fitted again" in note for note in summary.notes)


def test_questions_about_validation_photos_go_to_the_model_that_has_not_seen_them(refitted, tmp_path):
    model, photos = refitted
    evaluate(model, photos, tmp_path / "val", EvaluateConfig(device="cpu", split="val"))
    metrics = json.loads((tmp_path / "val" / "metrics.json").read_text())
    assert metrics["accuracy"]["value"] == pytest.approx(load_card(model).validation["val_accuracy"])
    lines = [json.loads(line) for line in (tmp_path / "val" / "predictions.jsonl").read_text().splitlines()]
    judge, final = (open_scorer(model, "cpu", 1, judge=flag) for flag in (True, False))
    said = np.array([line["probabilities"]["bad"] for line in lines])
    images = [read_rgb(photos / line["file"]) for line in lines]
    by_judge, by_final = (np.array([s.probabilities(image)[0] for image in images]) for s in (judge, final))
    assert np.abs(said - by_judge).max() < 1e-6 < 0.2 * np.abs(said - by_final).max()


def test_a_threshold_is_chosen_by_what_it_was_before(refitted, tmp_path):
    model, photos = refitted
    asked = EvaluateConfig(device="cpu", operating=OperatingSettings(min_recall=1.0))
    evaluate(model, photos, tmp_path / "one", asked)
    refitted_point = load_point(model)
    evaluate(model, photos, tmp_path / "val", EvaluateConfig(device="cpu", split="val"))
    lines = [json.loads(line) for line in (tmp_path / "val" / "predictions.jsonl").read_text().splitlines()]
    least = min(line["probabilities"]["bad"] for line in lines if line["label"] == "bad")
    most = max([line["probabilities"]["bad"] for line in lines if line["label"] == "good"])
    assert refitted_point.decision.threshold == pytest.approx((least + most) / 2, abs=1e-5)


def test_an_exported_file_has_no_validation_photos(refitted):
    card = load_card(refitted[0])
    seen = json.loads(metadata_of(card, 0.0, "fp32", None)["seen"])
    assert set(seen["train"]) == {*card.seen["train"], *card.seen["val"]} and not seen["val"]
    assert json.loads(metadata_of(replace(card, learned_validation=False), 0.0, "fp32", None)["seen"])["val"]


def test_members_of_an_ensemble_keep_what_they_were_before(refitted, tiny_config, tmp_path):
    model, photos = refitted
    train(photos, tmp_path / "other", tiny_config(training={"method": "linear"}, data={"image_size": 96}))
    ensemble([model, tmp_path / "other"], tmp_path / "both", StageConfig(device="cpu"))
    image = read_rgb(photos / "bad" / "0.png")
    for judge in (True, False):
        alone = [open_scorer(m, "cpu", 1, judge=judge).probabilities(image) for m in (model, tmp_path / "other")]
        together = open_scorer(tmp_path / "both", "cpu", 1, judge=judge).probabilities(image)
        assert together == pytest.approx((alone[0] + alone[1]) / 2, abs=1e-6)
    assert load_card(tmp_path / "both").learned_validation
