"""Values that are lists, and rows of several settings: read as written, checked before anything runs."""

from __future__ import annotations

import pytest

from weldgen.classifier.rows import DEFAULT_SWEEP, compare_config, read_rows, variants_of
from weldgen.classifier.splitting import split_outside
from weldgen.classifier.sweep import CompareConfig, make_variants, parse_sweep
from weldgen.classifier.train import TrainConfig
from weldgen.data.mix import MixConfig
from weldgen.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1,0.5", ["1", "0.5"]),
        ("[],[256,384]", ["[]", "[256,384]"]),
        ("[[0,256],[3,384]],[]", ["[[0,256],[3,384]]", "[]"]),
        ("{bad: 3, good: 1},none", ["{bad: 3, good: 1}", "none"]),
        ("'a,b',\"c]\"", ["'a,b'", '"c]"']),
        (r"'it\'s, so',x", [r"'it\'s, so'", "x"]),
        ("max(1,2),3", ["max(1,2)", "3"]),
        ("", [""]),
    ],
)
def test_only_separators_outside_of_brackets_and_quotes_divide(text, parts):
    assert split_outside(text, ",") == parts


@pytest.mark.parametrize("text", ["[256", "256]", "[256)", "'a", "[(])"])
def test_a_bracket_without_its_partner_is_an_error(text):
    with pytest.raises(ValueError, match=r"closes nothing|missing"):
        split_outside(text, ",")
    with pytest.raises(ConfigError, match=r"closes nothing|missing"):
        parse_sweep(f"train.training.progressive={text},1")


def test_a_sweep_over_lists():
    variants = make_variants("train.training.progressive=[],[256,384]", MixConfig(), TrainConfig())
    assert [v.value for v in variants] == ["[]", "[256,384]"]
    assert [list(v.train.training.progressive) for v in variants] == [[], [256, 384]]


# --- rows ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weldgen.yaml").write_text("train: {training: {epochs: 7}}\n")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "own.yaml").write_text("train: {training: {epochs: 9, lr: 0.02}, model: {head: softmax}}\n")
    return tmp_path


def test_a_row_holds_several_settings_over_a_preset_and_the_project(project):
    rows = (
        "as it is:",
        "own: preset=own train.training.progressive=[256, 384]  mix.real_ratio=0.5",
        "fast: train.training.epochs=2",
    )
    config = compare_config(rows=rows, overrides=["train.training.lr=0.01"], flags={"device": "cpu"})
    plain, own, fast = variants_of(config)
    assert config.key == "row"
    assert [v.value for v in (plain, own, fast)] == ["as it is", "own", "fast"]
    assert [v.train.training.epochs for v in (plain, own, fast)] == [7, 9, 2]
    assert {v.train.training.lr for v in (plain, own, fast)} == {0.01}, "what is said of all rows wins over a preset"
    assert (own.train.model.head, own.mix.real_ratio) == ("softmax", 0.5)
    assert list(own.train.training.progressive) == [256, 384]
    assert own.settings == "preset=own train.training.progressive=[256, 384] mix.real_ratio=0.5"
    assert own.train.device == "cpu"


def test_the_preset_of_all_rows_yields_to_a_rows_own(project):
    config = compare_config(rows=["a:", "b: preset=quick_test"], preset="own")
    a, b = variants_of(config)
    assert (a.train.training.epochs, a.train.model.head) == (9, "softmax")
    assert b.train.model.head == TrainConfig().model.head


def test_rows_from_a_file_and_beside_it(project):
    (project / "rows.yaml").write_text("plain:\nfast: train.training.epochs=2 train.training.lr=0.01\n")
    assert read_rows(["rows.yaml", "own: preset=own"]) == {
        "plain": "",
        "fast": "train.training.epochs=2 train.training.lr=0.01",
        "own": "preset=own",
    }


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a: train.training.epochs=2"], "one row"),
        (["a:", "a: train.training.epochs=2"], "given twice"),
        (["a:", "b: train.training.epochs=7"], "mean the same"),
        (["a:", "train.training.epochs=2"], "NAME: key=value"),
        (["a:", "b: fast"], "no key=value"),
        (["a:", "b: training.epochs=2"], "no setting of mix or train"),
        (["a:", "b: train.training.epoch=2"], "no setting 'training.epoch'"),
        (["a:", "b: train.training.epochs=none"], "training.epochs"),
        (["a:", "b: train.seed=3"], "--repeats"),
        (["a:", "b: mix.split.test=0.5"], "same test photos"),
        (["a:", "b: preset=other_split"], "changes mix.split"),
        (["a:", "b: preset=no_such"], "not a preset"),
        (["a:", "b: preset=own preset=quick_test"], "one preset"),
        (["a:", "b: train.training.progressive=[256"], "missing"),
        (["a:", "missing.yaml"], "cannot be read"),
        (["a:", "list.yaml"], "lines 'name: key=value key=value'"),
    ],
)
def test_a_wrong_row_is_refused_before_anything_runs(project, rows, message):
    (project / "configs" / "other_split.yaml").write_text("mix: {split: {test: 0.5}}\n")
    (project / "list.yaml").write_text("b: [train.training.epochs=2]\n")
    with pytest.raises(ConfigError, match=message):
        compare_config(rows=rows)


def test_a_sweep_or_rows(project):
    assert compare_config().sweep == DEFAULT_SWEEP
    with pytest.raises(ConfigError, match="one of them"):
        compare_config("mix.real_ratio=1,0.5", ["a:", "b: train.training.epochs=2"])
    with pytest.raises(ValueError, match="one of them"):
        CompareConfig()
    with pytest.raises(ConfigError, match="1 or more"):
        compare_config(settings={"repeats": 0})
