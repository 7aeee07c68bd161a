"""Evaluation: real photos only, none that the model was trained on, numbers with n."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image

from weldgen.classifier.calibrate import fit_temperature
from weldgen.classifier.evaluate import EvaluateConfig, evaluate
from weldgen.classifier.train import train
from weldgen.data.dataset import METADATA_NAME, Dataset
from weldgen.errors import DataError, OutputError

CPU = EvaluateConfig(device="cpu")


def test_the_test_split_of_a_plain_folder_is_what_training_left_out(trained, tmp_path):
    model, dataset = trained
    card = json.loads((model / "model.json").read_text())
    summary = evaluate(model, dataset, tmp_path / "out", CPU)
    lines = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    ids = {sample.file_name: sample.id for sample in Dataset.open(dataset).samples}
    assert len(lines) == summary.counts["photos"] == 4
    assert not {ids[line["file"]] for line in lines} & {*card["seen"]["train"], *card["seen"]["val"]}
    assert all(sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-4) for line in lines)


def test_metrics_of_new_photos(trained, make_photos, tmp_path):
    fresh = make_photos(tmp_path / "fresh", {"bad": 5, "good": 3}, first=500)
    summary = evaluate(trained[0], fresh, tmp_path / "out", CPU)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["n"] == 8
    assert metrics["accuracy"]["value"] == 1
    assert metrics["confusion"] == [[5, 0], [0, 3]]
    assert metrics["classes"]["good"]["support"] == 3
    assert metrics["miss_rate"]["n"] == 5
    assert "8 of 8 (95 % interval 68% to 100%)" in summary.notes[0]
    for name in ("confusion.png", "confusion_normalised.png"):
        assert Image.open(tmp_path / "out" / name).size[0] > 300
    assert evaluate(trained[0], fresh, tmp_path / "out", CPU).skipped


def test_copies_of_training_photos_are_named(trained, make_photos, tmp_path):
    model, dataset = trained
    card = json.loads((model / "model.json").read_text())
    opened = Dataset.open(dataset)
    learned = next(sample for sample in opened.samples if sample.id in card["seen"]["train"] and sample.label == "bad")
    fresh = make_photos(tmp_path / "fresh", {"bad": 2, "good": 2}, first=500)
    with Image.open(opened.path(learned)) as photo:
        photo.convert("RGB").point(lambda level: min(level + 2, 255)).save(fresh / "bad" / "again.png")
    summary = evaluate(model, fresh, tmp_path / "out", CPU)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    found = {copy["file"]: copy["like"] for copy in metrics["copies_of_training"]}
    assert found["bad/again.png"] == learned.file_name
    assert any("look like photos of the training, so the figures flatter" in note for note in summary.notes)


def test_synthetic_images_are_not_counted(photos, tmp_path, tiny_config):
    train(photos, tmp_path / "model", tiny_config(training={"epochs": 1}))
    samples = [s.record() for s in Dataset.open(photos).samples]
    for number, record in enumerate(samples):
        synthetic = number % 2 == 0
        record |= {"split": "train" if synthetic else "test", "origin": "synthetic" if synthetic else "real"}
        record["id"] = f"{number}"
    (photos / METADATA_NAME).write_text("".join(json.dumps(record) + "\n" for record in samples))
    assert evaluate(tmp_path / "model", photos, tmp_path / "out", CPU).counts["photos"] == len(samples) // 2
    with pytest.raises(DataError, match="no real photo in split 'train'"):
        evaluate(tmp_path / "model", photos, tmp_path / "other", EvaluateConfig(device="cpu", split="train"))


def test_one_class_alone_has_no_balanced_accuracy(trained, make_photos, tmp_path):
    fresh = make_photos(tmp_path / "fresh", {"good": 3}, first=550)
    summary = evaluate(trained[0], fresh, tmp_path / "out", CPU)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["n"], metrics["balanced_accuracy"], metrics["miss_rate"]["n"]) == (3, None, 0)
    assert metrics["classes"]["good"]["recall"]["n"] == 3
    said = " | ".join(summary.notes)
    assert "balanced accuracy " not in said.replace("has no balanced accuracy", "")
    assert "no real test photo of bad: nothing is known about it; one class alone has no balanced accuracy" in said
    assert "false alarms" in said
    assert "missed" not in said


def test_where_no_class_has_photos_to_spare_nothing_is_measured(trained, tmp_path, make_photos):
    few = make_photos(tmp_path / "few", {"bad": 2, "good": 1}, first=560)
    samples = [replace(s, split="train") for s in Dataset.open(few).samples]
    (few / METADATA_NAME).write_text("".join(json.dumps(s.record()) + "\n" for s in samples))
    summary = evaluate(trained[0], few, tmp_path / "out", CPU)
    assert summary.counts["photos"] == 0
    assert summary.notes[0].startswith("nothing was measured")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["balanced_accuracy"] is None
    with pytest.raises(DataError, match="no real photo in split 'val'"):
        evaluate(trained[0], few, tmp_path / "val", EvaluateConfig(device="cpu", split="val"))


def test_a_photo_that_was_trained_on_is_no_test_photo(trained, tmp_path):
    model, dataset = trained
    seen = json.loads((model / "model.json").read_text())["seen"]["train"]
    chosen = [s for s in Dataset.open(dataset).samples if s.id in seen][:2]
    for sample in chosen:
        target = tmp_path / "data" / "test" / sample.label / sample.file_name.rsplit("/", 1)[-1]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(dataset / sample.file_name, target)
    with pytest.raises(DataError, match="the model saw it in 'train'"):
        evaluate(model, tmp_path / "data", tmp_path / "out", CPU)


def test_classes_that_the_model_does_not_know_are_refused(trained, tmp_path, make_photos):
    fresh = make_photos(tmp_path / "fresh", {"pore": 2}, first=700)
    with pytest.raises(DataError, match="knows bad, good"):
        evaluate(trained[0], fresh, tmp_path / "out", CPU)


def test_damaged_photos_are_listed(trained, make_photos, tmp_path):
    fresh = make_photos(tmp_path / "fresh", {"bad": 3, "good": 3}, first=600)
    (fresh / "bad" / "600.png").write_bytes((fresh / "bad" / "600.png").read_bytes()[:400])
    summary = evaluate(trained[0], fresh, tmp_path / "out", CPU)
    assert (summary.failures, summary.counts["photos"]) == (1, 5)


def test_a_users_metrics_are_not_overwritten(trained, make_photos, tmp_path):
    fresh = make_photos(tmp_path / "fresh", {"bad": 1, "good": 1}, first=800)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "metrics.json").write_text("{}")
    with pytest.raises(OutputError):
        evaluate(trained[0], fresh, tmp_path / "out", CPU)


def test_no_model_is_an_error_with_the_way_out(tmp_path, photos):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no trained model") as caught:
        evaluate(tmp_path / "empty", photos, tmp_path / "out", CPU)
    assert caught.value.hint == "weldgen train"


def test_temperature_undoes_overconfidence():
    torch.manual_seed(0)
    logits = torch.randn(4000, 3)
    classes = torch.multinomial(logits.softmax(dim=1), 1)[:, 0]
    assert fit_temperature(7 * logits, classes) == pytest.approx(7, rel=0.1)


def test_a_perfect_validation_is_no_certainty():
    classes = torch.arange(20) % 2
    logits = torch.nn.functional.one_hot(classes, 2) * 60.0
    confidence = (logits / fit_temperature(logits, classes)).softmax(dim=1).amax(dim=1)
    assert confidence.mean() == pytest.approx(21 / 22, abs=1e-3)
