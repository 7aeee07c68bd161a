"""Class weights from a file: what does not fit is named before anything is trained."""

from __future__ import annotations

import json

import pytest

from weldgen.classifier.class_weights import read_class_weights
from weldgen.classifier.model_file import load_card
from weldgen.classifier.settings import TrainConfig
from weldgen.classifier.train import resolve_config, train
from weldgen.config import load_config
from weldgen.errors import ConfigError


def test_yaml_and_json_are_read_and_become_part_of_the_configuration(tmp_path):
    (tmp_path / "w.yaml").write_text("bad: 4\ngood: 0.5\n3: 1\n")
    (tmp_path / "w.json").write_text(json.dumps({"bad": 4, "good": 0.5, "3": 1}))
    expected = {"bad": 4.0, "good": 0.5, "3": 1.0}
    for name in ("w.yaml", "w.json"):
        config = load_config(
            "train", TrainConfig, project=tmp_path, overrides=[f"training.class_weights={tmp_path / name}"]
        )
        assert resolve_config(config).training.class_weights == expected
    for setting in ("balanced", "none"):
        config = TrainConfig.model_validate({"training": {"class_weights": setting}})
        assert resolve_config(config) is config or resolve_config(config) == config


def test_weights_may_stand_in_the_configuration_itself(tmp_path):
    (tmp_path / "weldgen.yaml").write_text("train:\n  training:\n    class_weights: {bad: 4, good: 1}\n")
    config = load_config("train", TrainConfig, project=tmp_path)
    assert config.training.class_weights == {"bad": 4, "good": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("bad: none\n", "bad: 'none'; a number above 0"),
        ("bad: 0\n", "bad: 0; a number above 0"),
        ("bad: .nan\n", "bad: nan"),
        ("- bad\n", "must hold lines"),
        ("bad: [", "cannot be read"),
    ],
)
def test_wrong_files_are_refused(content, message, tmp_path):
    (tmp_path / "w.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"training\.class_weights") as raised:
        read_class_weights(str(tmp_path / "w.yaml"))
    assert message in raised.value.message


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("balance", "class_weights=balance: accepted are balanced, none, or"),
        ({"bad": 1, "good": 1, "crack": 2}, "no class 'crack'"),
        ({"bad": 1}, "no weight for class 'good'"),
    ],
)
def test_what_does_not_fit_the_classes_is_named(weights, message, photos, tmp_path, tiny_config):
    with pytest.raises(ConfigError, match=message):
        train(photos, tmp_path / "model", tiny_config(training={"class_weights": weights}))
    assert not (tmp_path / "model").exists()


def test_a_changed_file_is_another_run(photos, tmp_path, tiny_config):
    file, out = tmp_path / "w.yaml", tmp_path / "model"
    config = tiny_config(training={"class_weights": str(file), "epochs": 1})
    file.write_text("bad: 1\ngood: 1\n")
    train(photos, out, config)
    assert train(photos, out, config).skipped
    file.write_text("bad: 9\ngood: 1\n")
    assert not train(photos, out, config).skipped
    assert json.loads((out / "stage.json").read_text())["config"]["training"]["class_weights"] == {"bad": 9, "good": 1}
    assert load_card(out).classes == ("bad", "good")
