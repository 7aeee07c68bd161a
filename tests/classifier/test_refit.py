"""A linear classifier learns the validation photos once they judged it; what it was before still answers for them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from weldgen.classifier.ensemble import ensemble
from weldgen.classifier.evaluate import EvaluateConfig, evaluate
from weldgen.classifier.exported import metadata_of
from weldgen.classifier.graph import to_onnx
from weldgen.classifier.model_file import JUDGE_NAME, load_card, load_model
from weldgen.classifier.operating import OperatingSettings
from weldgen.classifier.operating_point import load_point
from weldgen.classifier.scoring import open_scorer
from weldgen.classifier.train import train
from weldgen.config import StageConfig
from weldgen.data.dataset import METADATA_NAME, Dataset
from weldgen.data.images import read_rgb
from weldgen.data.mix import MixConfig, mix
from weldgen.errors import DataError


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
    assert sum("as it was before it learned them" in remark for remark in metrics["remarks"]) == 1
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


class First(torch.nn.Module):
    """Stands for the backbone: so many of the pixels."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def forward(self, pixels):
        return pixels.flatten(1)[:, : self.count]


def test_an_exported_file_is_not_measured_on_validation_photos_that_it_learned(refitted, tmp_path, without_letterbox):
    model, photos = refitted
    seen = {s: name for name, ids in load_card(model).seen.items() for s in ids}
    lines = [s.record() | {"split": seen.get(s.id, "test")} for s in Dataset.open(photos).samples]
    divided = shutil.copytree(photos, tmp_path / "divided")
    (divided / METADATA_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    network, card = load_model(model)
    network.backbone = First(network.embedding.in_features)  # the file is refused for what it says of itself
    data = to_onnx(without_letterbox(network, card.frame), metadata_of(card, 0.0, "fp32", None))
    (tmp_path / "classifier.onnx").write_bytes(data)
    with pytest.raises(DataError, match="in split 'val', but the model learned it") as caught:
        evaluate(tmp_path / "classifier.onnx", divided, tmp_path / "out", EvaluateConfig(device="cpu", split="val"))
    assert "evaluate the model's folder" in caught.value.hint and not (tmp_path / "out").exists()
    evaluate(model, divided, tmp_path / "out", EvaluateConfig(device="cpu", split="val"))


def test_synthetic_images_are_neither_learned_nor_counted_as_validation_photos(tmp_path, make_photos, tiny_config):
    made = make_photos(tmp_path / "made", {"bad": 12, "good": 12}, first=100)
    lines = [json.dumps(replace(s, split="train", origin="synthetic").record()) for s in Dataset.open(made).samples]
    (made / METADATA_NAME).write_text("\n".join(lines) + "\n")
    config = tiny_config(training={"method": "linear"})
    for count, refits in ((16, True), (1, False)):
        folder = tmp_path / str(count)
        mix(make_photos(folder / "real", {"bad": count, "good": count}), made, folder / "mixed", MixConfig())
        note = " ".join(train(folder / "mixed", folder / "model", config).notes)
        validation = [s.origin for s in Dataset.open(folder / "mixed").samples if s.split == "val"]
        assert set(validation) == {"real" if refits else "synthetic"}
        assert (f"fitted again with the {len(validation)} validation photos" in note) == refits
        assert ("fitted again" in note) == load_card(folder / "model").learned_validation == refits
        assert (folder / "model" / JUDGE_NAME).exists() == refits


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
