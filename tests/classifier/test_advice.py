"""Advice from counts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from weldgen.classifier.advice import Facts, advise, facts_of, project_samples, suspicious_share
from weldgen.classifier.train import train
from weldgen.data.sample import Sample
from weldgen.doctor import _project_advice

FEW = Facts(real=40, synthetic=120, real_share=0.25)


def test_few_photos_are_told_of_freezing_and_warm_up_unless_that_is_done():
    assert [("tiny_data" in line, "pretrain" in line) for line in advise(FEW)] == [(True, False), (False, True)]
    assert advise(replace(FEW, frozen=True, warmed_up=True)) == []
    assert advise(replace(FEW, linear=True)) == []
    assert "larger --n" in advise(replace(FEW, linear=True, synthetic=119))[0]


def test_between_few_and_many_the_defaults_are_right():
    for real in (350, 500):
        assert advise(Facts(real=real, synthetic=3 * real, real_share=0.25)) == []
    assert advise(Facts(real=0, synthetic=10, real_share=0)) == []


@pytest.mark.parametrize(("real", "told"), [(99, False), (100, True), (349, True), (350, False)])
def test_some_photos_are_worth_a_comparison_with_a_linear_classifier(real, told):
    facts = Facts(real=real, synthetic=3 * real, real_share=0.25)
    assert any("training.method=finetune,linear" in line for line in advise(facts)) == told
    assert not any("finetune,linear" in line for line in advise(replace(facts, linear=True)))


def test_many_photos_need_fewer_synthetic_images():
    many = Facts(real=501, synthetic=1503, real_share=0.25)
    assert "--real-ratio 0.5" in advise(many)[0]
    assert advise(replace(many, real_share=0.5)) == []
    assert advise(replace(many, synthetic=0, real_share=1.0)) == []


@pytest.mark.parametrize(("share", "smoothing", "told"), [(0.05, 0.1, True), (0.05, 0.2, False), (0.04, 0, False)])
def test_wrong_labels_are_reviewed_and_smoothed(share, smoothing, told):
    lines = advise(Facts(real=400, synthetic=1200, suspicious=share, label_smoothing=smoothing, real_share=0.25))
    assert [("weldgen review" in line and "label_smoothing=0.2" in line) for line in lines] == [True] * told


def test_no_more_than_three_sentences():
    assert len(advise(replace(FEW, synthetic=0, suspicious=0.5))) == 3


def test_facts_count_how_often_images_are_drawn(tiny_config):
    photos = [Sample("a", "a", "good", "train", extra={"weight": 3.0})]
    made = [Sample(str(n), str(n), "good", "train", "synthetic") for n in range(9)]
    config = tiny_config(
        model={"freeze": "backbone", "weights": "models/pretrained"}, training={"label_smoothing": 0.1}
    )
    facts = facts_of([*photos, *made], config, linear=False, suspicious=0.5)
    assert facts == Facts(1, 9, False, True, True, 0.1, 0.25, 0.5)


def test_a_training_gives_its_advice(photos, tmp_path, tiny_config):
    summary = train(photos, tmp_path / "model", tiny_config(training={"epochs": 1}))
    assert sum("12 real training photos" in note for note in summary.notes) == 3


def test_a_review_counts_for_its_own_dataset_alone(tmp_path):
    record = {"dataset": str(tmp_path / "clean"), "photos": 40, "issues": 4}
    (tmp_path / "review.json").write_text(json.dumps(record))
    assert suspicious_share(tmp_path, tmp_path / "clean") == 0.1
    assert suspicious_share(tmp_path, tmp_path / "other") == suspicious_share(tmp_path / "none", tmp_path) == 0
    assert project_samples(tmp_path) == []


def test_doctor_gives_the_advice_of_the_project(tmp_path):
    assert _project_advice(tmp_path) == []
    clean = tmp_path / "data" / "clean"
    clean.mkdir(parents=True)
    rows = [Sample(f"good/{n}.png", str(n), ("bad", "good")[n % 2], "train").record() for n in range(12)]
    rows += [Sample(f"{label}/val.png", label, label, "val").record() for label in ("bad", "good")]
    (clean / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "data" / "review").mkdir()
    record = {"dataset": str(clean), "photos": 12, "issues": 3}
    (tmp_path / "data" / "review" / "review.json").write_text(json.dumps(record))
    lines = _project_advice(tmp_path)
    assert lines[1] == "advice for this project:"
    assert "25% of the labels look wrong" in lines[2]
    assert "12 real training photos and 0 synthetic images" in lines[3]
