"""Oversampling changes what training draws, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from weldgen.classifier.loader import EpochOrder, Images
from weldgen.classifier.losses import class_weights_of
from weldgen.classifier.oversample import class_factors, drawn_of, oversampled
from weldgen.classifier.plan import Plan
from weldgen.classifier.result import draw_weights
from weldgen.classifier.space import differing
from weldgen.classifier.train import TrainConfig, train
from weldgen.classifier.trainer import make_loaders
from weldgen.classifier.training_settings import TrainingSettings
from weldgen.config import load_config
from weldgen.data.dataset import Dataset
from weldgen.data.split import decide_split
from weldgen.errors import ConfigError

LABELS = ("bad", "good", "odd")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (1.0, [1, 1, 1]),
        (2.0, [2, 1, 2]),
        (5.0, [4, 1, 5]),
        ("balanced", [4, 1, 20]),
        ({"odd": 3.0, "good": 0.5}, [1, 0.5, 3]),
    ],
)
def test_the_factor_is_the_most_that_a_class_is_drawn_more_often(asked, expected):
    assert class_factors(asked, [10.0, 40.0, 2.0], LABELS) == expected


@pytest.mark.parametrize("asked", ["balanced", 3.0, {"bad": 3}])
def test_it_multiplies_the_weights_of_the_mix(asked):
    # Two real photos of each class weigh what its synthetic images do: three of bad, thirty of good.
    targets = [0] * 5 + [1] * 32
    weights = [1.5, 1.5, 1, 1, 1, 15, 15, *[1] * 30]
    found = np.array(oversampled(weights, targets, ("bad", "good"), asked))
    factors = found / np.array(weights)
    assert set(factors[5:]) == {1.0}
    assert set(factors[:5]) == {10.0 if asked == "balanced" else 3.0}
    assert found[:2].sum() == pytest.approx(found[2:5].sum()), "real photos are still half of what is drawn"
    if asked == "balanced":
        bad, good = drawn_of(found.tolist(), targets, 2)
        assert bad == pytest.approx(good)


def test_balanced_class_weights_make_up_for_nothing_twice():
    targets = [0] * 3 + [1] * 9
    plain, even = (oversampled([1.0] * 12, targets, ("bad", "good"), asked) for asked in (1.0, "balanced"))
    settings = TrainingSettings(class_weights="balanced")
    found = [class_weights_of(settings, ("bad", "good"), drawn_of(each, targets, 2)).tolist() for each in (plain, even)]
    assert found == [pytest.approx([1.5, 0.5]), pytest.approx([1, 1])]


def images_of(samples, labels=("bad", "good")):
    targets = np.array([labels.index(sample.label) for sample in samples])
    return Images(tuple(samples), np.zeros((len(samples), 3, 32, 32), np.uint8), targets)


def test_balanced_draws_all_classes_equally_often_and_validation_stays_as_it_is(tmp_path, make_photos, tiny_config):
    root = make_photos(tmp_path / "photos", {"bad": 4, "good": 24})
    samples = decide_split(Dataset.open(root), TrainConfig().split, 0).samples
    training, validation = (images_of([s for s in samples if s.split == split]) for split in ("train", "val"))
    weights = draw_weights(training, ("bad", "good"), "balanced")
    order = EpochOrder(weights, 8, seed=0)
    rows = []
    for epoch in range(200):
        order.set_epoch(epoch)
        rows += [row for _, row in order]
    assert np.mean(training.targets[rows] == 0) == pytest.approx(0.5, abs=0.03)

    def judged(weights):
        plan = Plan(3, 2, 0, 0.1, batch_size=8)
        loader = make_loaders(training, validation, weights, "cpu", tiny_config(), plan)[1]
        return [classes.tolist() for _, classes in loader]

    assert judged(weights) == judged([1.0] * len(training))
    assert sum(map(len, judged(weights))) == len(validation)


def test_without_it_the_weights_are_those_of_the_mix(photos):
    samples = [replace(s, extra={"weight": 2.5}) for s in Dataset.open(photos).samples]
    assert draw_weights(images_of(samples), ("bad", "good"), 1.0) == [2.5] * 18


def test_a_training_says_what_it_draws(tmp_path, make_photos, tiny_config):
    photos = make_photos(tmp_path / "photos", {"bad": 6, "good": 24})
    config = tiny_config(training={"oversample": {"bad": 4}, "method": "finetune", "epochs": 1})
    summary = train(photos, tmp_path / "model", config)
    assert "drawn in training: bad 50%, good 50% (training.oversample)" in summary.notes
    assert summary.counts["training images"] == 20, "oversampling copies no image"


def test_it_is_read_from_the_command_line(tmp_path):
    def read(text):
        return load_config("train", TrainConfig, project=tmp_path, overrides=[text]).training.oversample

    assert TrainConfig().training.oversample == 1
    assert read("training.oversample=2.5") == 2.5
    assert read("training.oversample=balanced") == "balanced"
    assert read("training.oversample={bad:3}") == {"bad": 3}
    assert TrainConfig.model_validate({"training": {"oversample": {3: 2}}}).training.oversample == {"3": 2}
    config = TrainConfig.model_validate({"training": {"oversample": {"bad": 3}}})
    assert differing(config, TrainConfig()) == {"training": {"oversample": {"bad": 3}}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0", "accepted are 1 .off. or a larger factor"),
        ("-2", "a larger factor"),
        ("0.5", "a larger factor"),
        ("evenly", "balanced, or factors above 0 by class"),
        ("true", "a larger factor"),
        ("{}", "accepted are"),
        ("{bad:0}", "bad: 0; a factor above 0"),
        ("{bad:-1}", "bad: -1; a factor above 0"),
        ("inf", "a larger factor"),
        ("{bad:many}", "bad: 'many'; a factor above 0"),
    ],
)
def test_wrong_factors_are_one_sentence(value, message, tmp_path):
    with pytest.raises(ConfigError, match=message) as raised:
        load_config("train", TrainConfig, project=tmp_path, overrides=[f"training.oversample={value}"])
    assert raised.value.message.startswith("train: training.oversample=")
    assert "\n" not in raised.value.message


def test_unknown_classes_and_a_training_without_draws_are_refused(photos, tmp_path, tiny_config):
    for training, message in (
        ({"oversample": {"crack": 3}}, "training.oversample: there is no class 'crack'"),
        ({"oversample": "balanced", "method": "linear"}, "training.method=linear looks at each image once"),
    ):
        with pytest.raises(ConfigError, match=message):
            train(photos, tmp_path / "model", tiny_config(training=training))
    assert not (tmp_path / "model").exists()
