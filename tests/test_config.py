"""One configuration: layers, Hydra's grammar, errors that name the key."""

from __future__ import annotations

import pytest
import yaml

from weldgen.config import find_preset, load_config, preset_names, stage_names
from weldgen.data.mix import MixConfig
from weldgen.errors import ConfigError
from weldgen.runtime import resource_dir
from weldgen.stages import STAGES, config_class


def load(tmp_path, **more):
    return load_config("mix", MixConfig, project=tmp_path, **more)


def test_later_layers_win(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "weldgen.yaml").write_text("mix: {real_ratio: 0.3, split: {val: 0.2}, link: false}\n")
    (tmp_path / "configs" / "half.yaml").write_text("mix: {real_ratio: 0.5}\n")
    assert load(tmp_path).real_ratio == 0.3
    assert load(tmp_path, preset="half").real_ratio == 0.5
    assert load(tmp_path, preset="half", step={"real_ratio": 0.6}).real_ratio == 0.6
    config = load(tmp_path, preset="half", step={"real_ratio": 0.6}, overrides=["real_ratio=0.7", "split.test=0.1"])
    assert (config.real_ratio, config.split.val, config.split.test, config.link) == (0.7, 0.2, 0.1, False)
    assert load(tmp_path, overrides=["real_ratio=0.7"], flags={"real_ratio": 0.8, "seed": None}).real_ratio == 0.8


@pytest.mark.parametrize("text", ["^(.+?)__", "a'b(c)", r"p\d+(x)"])
def test_a_value_outside_hydras_grammar_is_text(tmp_path, text):
    assert load(tmp_path, overrides=[f"split.group_pattern={text}"]).split.group_pattern == text


@pytest.mark.parametrize(
    ("override", "message", "hint"),
    [
        ("real_ration=0.5", "no setting 'real_ration'", "real_ratio"),
        ("split.vall=0.5", "no setting 'split.vall'", "split.val"),
        ("real_ratio=abc", "real_ratio='abc'", ""),
        ("real_ratio=0", "real_ratio=0", ""),
        ("split.val=0.9", "split", ""),
        ("real_ratio=0.5,0.25", "no sweep", ""),
        ("=1", "not an override", "key=value"),
        ("real_ratio", "not an override", "key=value"),
    ],
)
def test_a_wrong_setting_is_named_with_the_nearest_right_one(tmp_path, override, message, hint):
    overrides = [override, "split.test=0.9"] if override == "split.val=0.9" else [override]
    with pytest.raises(ConfigError, match=message) as raised:
        load(tmp_path, overrides=overrides)
    assert hint in raised.value.hint


def test_wrong_files_are_named(tmp_path):
    (tmp_path / "weldgen.yaml").write_text("mixx: {real_ratio: 0.3}\n")
    with pytest.raises(ConfigError, match="'mixx' is not a stage") as raised:
        load(tmp_path)
    assert "mix" in raised.value.hint
    (tmp_path / "weldgen.yaml").write_text("mix: [\n")
    with pytest.raises(ConfigError, match=r"weldgen\.yaml cannot be read"):
        load(tmp_path)
    (tmp_path / "weldgen.yaml").write_text("# nothing yet\n")
    assert load(tmp_path).real_ratio == 0.25
    with pytest.raises(ConfigError, match="quick_tset") as raised:
        load(tmp_path, preset="quick_tset")
    assert "quick_test" in raised.value.hint


def test_every_stage_has_a_file_of_defaults_that_equals_its_class():
    assert stage_names() == sorted(STAGES)
    for name in STAGES:
        written = yaml.safe_load((resource_dir("configs") / f"{name}.yaml").read_text())
        assert written == config_class(name)().model_dump(mode="json"), name


@pytest.mark.parametrize("preset", preset_names())
def test_every_shipped_preset_loads_for_every_stage(preset, tmp_path):
    sections = yaml.safe_load(find_preset(preset, tmp_path).read_text())
    assert (sections is None) == (preset == "default")
    for name in sections or ():
        changed = load_config(name, config_class(name), preset=preset, project=tmp_path)
        assert changed != config_class(name)(), f"{preset}: section {name} changes nothing"


def test_the_preset_default_is_the_defaults(tmp_path):
    for name in STAGES:
        assert load_config(name, config_class(name), preset="default", project=tmp_path) == config_class(name)(), name


def test_the_preset_offline_takes_what_is_installed(tmp_path):
    for name in ("train", "pretrain", "review"):
        loaded = load_config(name, config_class(name), preset="offline", project=tmp_path).model_dump()
        assert loaded["model"]["weights"] == "embedded"
