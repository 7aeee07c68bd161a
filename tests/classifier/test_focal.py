"""The focal loss with alpha, against torchvision's and numbers worked out by hand."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from weldgen.classifier.class_weights import focal_alpha_of
from weldgen.classifier.losses import class_weights_of, training_loss
from weldgen.classifier.train import TrainConfig, train
from weldgen.classifier.training_settings import TrainingSettings
from weldgen.config import load_config
from weldgen.errors import ConfigError


@pytest.mark.parametrize(("asked", "alpha"), [("auto", 0.25), (0.25, 0.25), (0.9, 0.9)])
@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize(("labels", "positive"), [(["ok", "rust"], 1), (["bad", "good"], 0)])
def test_with_two_classes_it_is_that_of_torchvision(asked, alpha, gamma, labels, positive):
    torch.manual_seed(0)
    logits, classes = 3 * torch.randn(20, 2), torch.randint(2, (20,))
    settings = TrainingSettings(loss="focal", focal_gamma=gamma, focal_alpha=asked)
    weights = class_weights_of(settings, labels, [40.0, 10.0])
    found = training_loss(logits, F.one_hot(classes, 2).float(), weights, settings)
    # The softmax of two logits is the sigmoid of their difference; theirs is a sum, ours a weighted mean.
    margin, hits = logits[:, positive] - logits[:, 1 - positive], (classes == positive).float()
    theirs = sigmoid_focal_loss(margin, hits, alpha=alpha, gamma=gamma, reduction="sum")
    torch.testing.assert_close(found * weights[classes].sum(), theirs)


def test_a_list_weighs_each_class():
    settings = TrainingSettings(loss="focal", focal_gamma=2.0, focal_alpha=(0.5, 2.0, 1.0), class_weights="balanced")
    weights = class_weights_of(settings, ["a", "b", "c"], [9.0, 1.0, 1.0])
    assert weights.tolist() == [0.5, 2.0, 1.0]
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.4, 0.4]]))
    found = training_loss(logits, torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), weights, settings)
    by_hand = -(0.5 * 0.5**2 * math.log(0.5) + 2.0 * 0.6**2 * math.log(0.4)) / (0.5 + 2.0)
    assert float(found) == pytest.approx(by_hand, rel=1e-5)


def test_more_classes_and_none_leave_it_to_the_class_weights():
    assert focal_alpha_of("auto", ("a", "b", "c")) is None
    assert focal_alpha_of("none", ("a", "b")) is None
    assert focal_alpha_of("auto", ("bad", "good")) == (0.25, 0.75)
    assert focal_alpha_of("auto", ("good", "porous")) == (0.75, 0.25)
    settings = TrainingSettings(loss="focal", focal_alpha="auto", class_weights={"a": 1, "b": 2, "c": 3})
    assert class_weights_of(settings, ["a", "b", "c"], [1.0] * 3).tolist() == [1, 2, 3]


def test_it_is_read_from_the_command_line(tmp_path):
    def read(text):
        overrides = ["training.loss=focal", f"training.focal_alpha={text}"]
        return load_config("train", TrainConfig, project=tmp_path, overrides=overrides).training.focal_alpha

    assert (read("auto"), read("none"), read("0.25"), read("[0.25,3]")) == ("auto", "none", 0.25, (0.25, 3.0))


@pytest.mark.parametrize(
    "value", ["0", "1", "-0.25", "nan", "[]", "[0.25,0]", "[0.25,x]", "half", "true", "null", "{}"]
)
def test_wrong_alphas_are_one_sentence(value, tmp_path):
    overrides = ["training.loss=focal", f"training.focal_alpha={value}"]
    with pytest.raises(
        ConfigError, match=r"training\.focal_alpha=.*accepted are none, auto, a number between"
    ) as raised:
        load_config("train", TrainConfig, project=tmp_path, overrides=overrides)
    assert "\n" not in raised.value.message


def test_it_belongs_to_the_focal_loss(tmp_path):
    with pytest.raises(ConfigError, match=r"a part of training\.loss=focal, not of cross_entropy"):
        load_config("train", TrainConfig, project=tmp_path, overrides=["training.focal_alpha=0.25"])


def test_alphas_of_other_classes_are_refused(tmp_path, make_photos, tiny_config):
    photos = make_photos(tmp_path / "photos", {"bad": 6, "good": 6, "odd": 6})
    for alpha, message in ((0.25, "one number is for two classes, got 3"), ([1, 2], "2 numbers for 3 classes")):
        with pytest.raises(ConfigError, match=message):
            train(photos, tmp_path / "model", tiny_config(training={"loss": "focal", "focal_alpha": alpha}))


def test_alpha_changes_the_training(photos, tmp_path, tiny_config):
    losses = []
    for alpha in (0.1, 0.9):
        out = tmp_path / str(alpha)
        train(photos, out, tiny_config(training={"loss": "focal", "focal_alpha": alpha, "epochs": 1}))
        losses.append(json.loads((out / "history.json").read_text())[0]["train_loss"])
    assert losses[0] != losses[1]
