"""Images that grow during the training."""

from __future__ import annotations

import json

import pytest
import torch

from weldgen.classifier import keeper
from weldgen.classifier.module import ClassifierModule
from weldgen.classifier.plan import Plan
from weldgen.classifier.progressive import frames_by_epoch, shrink, size_notes
from weldgen.classifier.train import TrainConfig, train
from weldgen.config import load_config
from weldgen.errors import ConfigError


def plan(epochs: int, sizes: int) -> Plan:
    return Plan(epochs, 1, 0, 0.1, sizes=sizes)


@pytest.mark.parametrize(
    ("epochs", "sizes", "parts"),
    [
        (6, 2, [0, 0, 0, 1, 1, 1]),
        (7, 3, [0, 0, 1, 1, 2, 2, 2]),
        (3, 2, [0, 1, 1]),
        (2, 3, [1, 2]),
        (1, 4, [3]),
        (4, 1, [0, 0, 0, 0]),
    ],
)
def test_parts_are_equally_long_and_the_last_one_gets_what_is_left(epochs, sizes, parts):
    planned = plan(epochs, sizes)
    assert [planned.part(epoch) for epoch in range(epochs)] == parts
    assert planned.first_full == parts.index(sizes - 1)


def test_each_epoch_has_its_size_and_the_shape_of_the_photos():
    assert frames_by_epoch((384, 384), [192, 256, 384], 384, plan(3, 3)) == ((192, 192), (256, 256), (384, 384))
    assert frames_by_epoch((256, 544), [256, 384], 384, plan(2, 2)) == ((160, 352), (256, 544))
    assert frames_by_epoch((256, 544), [], 384, plan(2, 1)) == ((256, 544),) * 2
    assert frames_by_epoch((192, 768), [32, 384], 384, plan(2, 2))[0] == (32, 64)


def test_small_images_are_averages_and_photos_keep_their_shape():
    tile = torch.tensor([[0, 100], [100, 200]], dtype=torch.uint8)
    assert torch.equal(shrink(tile.repeat(3, 16, 16), (16, 16)), torch.full((3, 16, 16), 100, dtype=torch.uint8))
    image = torch.full((3, 64, 128), 250, dtype=torch.uint8)
    assert shrink(image, (64, 128)) is image
    small = shrink(image, (32, 32))
    assert small.shape == (3, 32, 32)
    assert torch.equal(small[:, 8:24], torch.full((3, 16, 32), 250, dtype=torch.uint8))
    assert set(small[:, :8].unique().tolist() + small[:, 24:].unique().tolist()) == {128}


PROGRESSIVE = {"epochs": 4, "patience": 0, "progressive": [32, 64]}


def test_training_images_grow_and_validation_has_the_final_size(photos, tmp_path, monkeypatch, tiny_config):
    trained, judged = {}, set()
    step, validation = ClassifierModule.training_step, ClassifierModule.validation_step

    def training_step(self, batch, index):
        trained.setdefault(self.current_epoch, set()).add(tuple(batch[0].shape[-2:]))
        return step(self, batch, index)

    def validation_step(self, batch, index):
        judged.add(tuple(batch[0].shape[-2:]))
        return validation(self, batch, index)

    monkeypatch.setattr(ClassifierModule, "training_step", training_step)
    monkeypatch.setattr(ClassifierModule, "validation_step", validation_step)
    summary = train(photos, tmp_path / "model", tiny_config(training=PROGRESSIVE))
    full = tuple(summary.details["frame"])
    assert trained == {0: {(32, 32)}, 1: {(32, 32)}, 2: {full}, 3: {full}}
    assert judged == {full}
    assert [row["epochs"] for row in summary.details["image_sizes"]] == [2, 2]
    assert summary.details["image_sizes"][1]["frame"] == summary.details["frame"]
    assert any("for 2 epochs, then" in note for note in summary.notes)


def test_one_size_is_not_worth_a_note():
    assert size_notes([(64, 64)] * 3) == []
    assert "64 x 32 px for 1 epochs, then 128 x 64 px for 2 epochs" in size_notes([(32, 64), (64, 128), (64, 128)])[0]


@pytest.mark.parametrize("stop", [3, 5])
def test_a_killed_run_goes_on_with_the_same_sizes(photos, tmp_path, monkeypatch, stop, tiny_config):
    monkeypatch.setattr(keeper, "_SAVE_EVERY_S", 0.0)
    config = tiny_config(training=PROGRESSIVE)
    train(photos, tmp_path / "whole", config)
    original = ClassifierModule.training_step

    class Killed(BaseException):
        """Stands for SIGKILL."""

    def interrupted(self, batch, index):
        if self.global_step == stop:
            raise Killed
        return original(self, batch, index)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ClassifierModule, "training_step", interrupted)
        train(photos, tmp_path / "killed", config)
    assert (tmp_path / "killed" / "last.ckpt").is_file()
    train(photos, tmp_path / "killed", config)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]


def test_it_does_not_stop_before_the_final_size_was_learned(photos, tmp_path, tiny_config):
    settings = {"epochs": 20, "patience": 2, "progressive": [32, 64], "lr": 1e-9}
    train(photos, tmp_path / "model", tiny_config(training=settings))
    assert len(json.loads((tmp_path / "model" / "history.json").read_text())) >= 12


@pytest.mark.parametrize(
    ("sections", "message", "hint"),
    [
        ({"training": {"progressive": [32, 96]}}, r"must end with .* data\.image_size=64", r"[32, 64]"),
        ({"training": {"progressive": [32, 64], "method": "linear"}}, "has no epochs", "training.method=finetune"),
        (
            {"training": {"progressive": [32, 64]}, "model": {"backbone": "vit_tiny_patch16_224"}},
            "vit_tiny_patch16_224 is built for images of one size",
            "training.progressive=[]",
        ),
    ],
)
def test_what_cannot_be_is_refused(photos, tmp_path, sections, message, hint, tiny_config):
    with pytest.raises(ConfigError, match=message) as raised:
        train(photos, tmp_path / "model", tiny_config(**sections))
    assert hint in raised.value.hint


@pytest.mark.parametrize("value", ["[384,256]", "[250,384]", "[0,384]"])
def test_sizes_that_are_none_are_named(tmp_path, value):
    with pytest.raises(ConfigError, match=r"training\.progressive"):
        load_config("train", TrainConfig, project=tmp_path, overrides=[f"training.progressive={value}"])
