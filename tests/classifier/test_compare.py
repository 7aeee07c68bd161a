"""Comparing models: paired statistics against known cases, sweeps that resume, sentences that claim no more."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest

from weldgen.classifier.attempts import Attempts
from weldgen.classifier.compare import CompareConfig, compare, compare_config
from weldgen.classifier.comparison import Comparison, Entry
from weldgen.classifier.costs import Costs
from weldgen.classifier.module import ClassifierModule
from weldgen.classifier.paired import (
    Answers,
    balanced_interval,
    compare_pair,
    mcnemar_p,
    min_discordant,
    resample,
)
from weldgen.classifier.sweep import make_variants
from weldgen.classifier.train import TrainConfig
from weldgen.classifier.trials import variant_folder
from weldgen.classifier.verdict import verdict
from weldgen.data.dataset import METADATA_NAME, Dataset
from weldgen.data.mix import MixConfig
from weldgen.errors import ConfigError, DataError, OutputError


def answers(*right, groups=None):
    n = len(right[0])
    labels = ["bad" if k < n // 2 else "good" for k in range(n)]
    return Answers.of(labels, groups or [""] * n, [np.array(row, float) for row in right])


def pair(*right, groups=None, comparisons=1):
    found = answers(*right, groups=groups)
    return compare_pair(found, resample(found, 500, 0), 0, 1, comparisons)


def comparison(key, values, *right, synthetic=None, costs=None):
    made = synthetic or [0] * len(values)
    costs = costs or [Costs(1.0, 1000, {})] * len(values)
    entries = [Entry(v, (0,), (0.5,), 10, n, 3, c) for v, n, c in zip(values, made, costs, strict=True)]
    return Comparison.of(key, entries, answers(*right), 500, 0, 1)  # "bad" comes before "good"


def write_synthetic(photos: Path, root: Path, make_photos) -> Path:
    """Synthetic images that follow no single photo."""
    make_photos(root, {"bad": 12, "good": 12}, first=300)
    lines = [replace(s, split="train", origin="synthetic").record() for s in Dataset.open(root).samples]
    (root / METADATA_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


def trained_epochs(monkeypatch):
    """Counts training steps from now on."""
    steps = []
    original = ClassifierModule.training_step
    monkeypatch.setattr(ClassifierModule, "training_step", lambda s, b, i: (steps.append(i), original(s, b, i))[1])
    return steps


# --- statistics ----------------------------------------------------------------------------------------------------


def test_identical_predictions_differ_by_nothing():
    row = [1, 0, 1, 1, 0, 1, 1, 1, 0, 1]
    found = pair(row, row)
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert not found.shown


def test_always_right_against_always_wrong():
    found = pair([1] * 20, [0] * 20)
    assert (found.difference, found.low, found.high) == (1, 1, 1)
    assert found.shown
    assert found.p == pytest.approx(2 * 0.5**20)


def test_a_few_photos_show_nothing_even_where_the_interval_excludes_zero():
    found = pair([1] * 4, [0] * 4)
    assert found.low > 0
    assert not found.shown


def test_photos_of_one_group_count_once():
    first, second = [1] * 12, [0] * 12
    groups = [f"part{k // 4}" for k in range(12)]  # six bad, six good; three parts
    assert pair(first, second).only_first == 12
    grouped = pair(first, second, groups=groups)
    assert grouped.only_first == 3
    assert not grouped.shown


def test_groups_widen_the_interval():
    rng = np.random.default_rng(3)
    parts = rng.integers(0, 2, (2, 12))
    right = [np.repeat(row, 5) for row in parts]
    alone = pair(*right)
    grouped = pair(*right, groups=[f"part{k // 5}" for k in range(60)])
    assert grouped.difference == alone.difference
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


def test_more_comparisons_widen_the_interval():
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 2, (2, 60))
    one, four = pair(*rows), pair(*rows, comparisons=4)
    assert four.low < one.low < one.high < four.high


def test_the_interval_covers_the_true_difference():
    rng = np.random.default_rng(0)
    covered = 0
    for number in range(100):
        found = answers(rng.random(80) < 0.85, rng.random(80) < 0.7)
        one = compare_pair(found, resample(found, 200, number), 0, 1)
        covered += one.low <= 0.15 <= one.high
    assert covered >= 88


@pytest.mark.parametrize(("first", "second"), [(0, 0), (5, 0), (1, 9), (7, 7), (30, 50), (400, 300)])
def test_mcnemar_is_the_binomial_test(first, second):
    expected = binomtest(first, first + second, 0.5).pvalue if first + second else 1
    assert mcnemar_p(first, second) == pytest.approx(expected)


@pytest.mark.parametrize("comparisons", [1, 2, 4, 9])
def test_the_least_number_of_differing_photos_is_what_the_exact_test_takes(comparisons):
    n = min_discordant(comparisons)
    assert mcnemar_p(n, 0) <= 0.05 / comparisons < mcnemar_p(n - 1, 0)


def test_all_right_on_few_photos_is_not_certain():
    low, high = balanced_interval(answers([1] * 8), 0)
    assert high == 1
    assert low < 0.8


# --- sentences -----------------------------------------------------------------------------------------------------


def test_no_winner_without_a_difference():
    row = [1, 0] * 10
    said = verdict(comparison("train.training.epochs", ["5", "10"], row, row))
    assert "no difference that these 20 photos could show between 5, 10" in said[0]
    assert any("--repeats" in line for line in said)


def test_a_winner_where_there_is_one():
    found = comparison("train.training.epochs", ["5", "10"], [0, 1] * 20, [1] * 40)
    assert verdict(found)[0] == "train.training.epochs=10 is the best of 2 on these 40 photos, in one training each"
    assert found.record()["winner"] == "10"
    three = comparison("train.training.epochs", ["5", "10", "20"], [0, 1] * 20, [1] * 40, [1] * 39 + [0])
    said = verdict(three)
    assert (
        "10 is better than 5, in one training each; no difference that these 40 photos could show between 10, 20"
        in said[0]
    )
    assert "for 2 comparisons together" in said[1]
    assert three.record()["winner"] is None


@pytest.mark.parametrize(
    ("real", "mixed", "sentence"),
    [
        ([0, 1] * 20, [1] * 40, "synthetic images helped, in one training each; the best mix (mix.real_ratio=0.5)"),
        ([1] * 40, [0, 1] * 20, "synthetic images did not help, in one training each; the best mix"),
        ([1] * 40, [1] * 40, "whether synthetic images help cannot be told from these photos"),
    ],
)
def test_whether_synthetic_images_helped(real, mixed, sentence):
    said = verdict(comparison("mix.real_ratio", ["1", "0.5"], real, mixed, synthetic=[0, 10]))[0]
    assert said.startswith(sentence)
    assert "40 photos" in said


def test_without_real_photos_alone_nothing_is_said_of_synthetic_ones():
    said = verdict(comparison("mix.real_ratio", ["0.5", "0.25"], [1, 0], [1, 1], synthetic=[10, 30]))
    assert "add 1 to the sweep" in said[0]


# --- sweeps --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sweep", "message", "hint"),
    [
        ("mix.real_ration=1,0.5", "no setting 'real_ration'", "real_ratio"),
        ("train.training.epoch=1,2", "no setting 'training.epoch'", "training.epochs"),
        ("real_ratio=1,0.5", "no setting of mix or train", "mix.real_ratio"),
        ("training.epochs=1,2", "no setting of mix or train", "train.training.epochs"),
        ("trian.training.epochs=1,2", "no setting of mix or train", "train.training.epochs"),
        ("mix.real_ratio=1", "at least two values", "e.g."),
        ("mix.real_ratio=1,,2", "at least two values", "e.g."),
        ("mix.real_ratio=1,2", "real_ratio=2", ""),
        ("mix.real_ratio=1,1.0", "mean the same", "once"),
        ("mix.split.test=0.1,0.2", "same test photos", ""),
        ("train.seed=1,2", "--repeats", ""),
    ],
)
def test_a_wrong_sweep_is_named_with_the_nearest_right_one(sweep, message, hint):
    with pytest.raises(ConfigError, match=message) as raised:
        make_variants(sweep, MixConfig(), TrainConfig())
    assert hint in raised.value.hint


def test_the_configuration_comes_from_the_sections_of_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weldgen.yaml").write_text("train: {training: {epochs: 7}}\nmix: {split: {test: 0.3}}\n")
    config = compare_config(
        "mix.real_ratio=1,0.5",
        settings={"repeats": 2},
        overrides=["train.training.lr=0.01"],
        flags={"device": "cpu", "seed": None},
    )
    assert (config.train.training.epochs, config.train.training.lr, config.mix.split.test) == (7, 0.01, 0.3)
    assert (config.repeats, config.device, config.train.device, config.seed) == (2, "cpu", "cpu", 0)
    with pytest.raises(ConfigError, match="settings of mix and train"):
        compare_config("mix.real_ratio=1,0.5", overrides=["clean.seed=1"])


def test_values_become_folders_that_differ(tmp_path):
    names = {
        variant_folder(tmp_path, "train.model.backbone", v).name for v in ("a/b", "a:b", "a_b", "resnet18.a1_in1k")
    }
    assert len(names) == 4
    assert "train.model.backbone=resnet18.a1_in1k" in names


def test_a_sweep_over_the_real_ratio(photos, tmp_path, make_photos, tiny_config, monkeypatch):
    synthetic = write_synthetic(photos, tmp_path / "synthetic", make_photos)
    out = tmp_path / "comparison"
    by_ratio = MixConfig(use_all=False)
    config = CompareConfig(
        sweep="mix.real_ratio=1,0.5", device="cpu", repeats=2, mix=by_ratio, timing=False,
        train=tiny_config(training={"epochs": 1}),
    )  # fmt: skip
    summary = compare(photos, synthetic, out, config)
    record = json.loads((out / "comparison.json").read_text())
    assert summary.failures == 0
    assert summary.counts == {"values": 2, "models": 4, "test photos": 3}
    assert [r["synthetic"] for r in record["results"]] == [0, 12]
    assert [len(r["runs"]) for r in record["results"]] == [2, 2]
    assert "cannot be told from these photos" in record["verdict"][0]
    assert record["winner"] is None
    assert all(r["parameters"] > 1000 and r["training_seconds"] >= 0 for r in record["results"])
    assert (out / "comparison.csv").read_text().startswith("mix.real_ratio,settings,runs,real,synthetic,accuracy,")
    assert Image.open(out / "comparison.png").size[0] > 300
    assert summary.notes[0].startswith("| mix.real_ratio | real + synthetic |")
    mixed = [Dataset.open(out / f"mix.real_ratio={value}" / "mixed") for value in ("1", "0.5")]
    assert len({tuple(s.id for s in dataset.select(split="test")) for dataset in mixed}) == 1

    steps = trained_epochs(monkeypatch)
    assert compare(photos, synthetic, out, config).skipped
    (out / "stage.json").unlink()
    again = compare(photos, synthetic, out, config)
    assert not again.skipped
    assert not steps
    assert json.loads((out / "comparison.json").read_text())["results"] == record["results"]
    compare(photos, synthetic, out, config.model_copy(update={"sweep": "mix.real_ratio=1,0.5,0.9"}))
    assert len(steps) == 2 * 1 * 2  # the new value alone: two seeds, one epoch, two steps


def test_a_sweep_over_the_training_where_one_value_fails(photos, tmp_path, tiny_config, monkeypatch):
    out = tmp_path / "comparison"
    config = CompareConfig(
        sweep="train.model.backbone=test_efficientnet,no_such_net,test_convnext.r160_in1k",
        device="cpu",
        train=tiny_config(training={"epochs": 1}),
        timing=False,
    )
    summary = compare(photos, tmp_path / "synthetic", out, config)
    assert summary.failures == 1
    assert summary.counts["models"] == 2
    assert any("no_such_net" in note and note.startswith("failed:") for note in summary.notes)
    assert any("real photos alone" in note for note in summary.notes)
    assert "no_such_net" in json.loads((out / "failures.jsonl").read_text())["file"]
    steps = trained_epochs(monkeypatch)
    again = compare(photos, None, out, config)
    assert (again.failures, again.skipped, steps) == (1, False, [])


def test_an_interrupted_comparison_goes_on(photos, tmp_path, tiny_config, monkeypatch):
    config = CompareConfig(sweep="train.training.epochs=1,2", device="cpu", train=tiny_config(), timing=False)
    original = ClassifierModule.training_step

    class Killed(BaseException):
        pass

    def interrupted(self, batch, batch_idx):
        if self.trainer.max_epochs == 2:
            raise Killed
        return original(self, batch, batch_idx)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ClassifierModule, "training_step", interrupted)
        compare(photos, None, tmp_path / "out", config)
    assert not (tmp_path / "out" / "comparison.json").exists()
    steps = trained_epochs(monkeypatch)
    summary = compare(photos, None, tmp_path / "out", config)
    assert summary.counts["models"] == 2
    assert len(steps) == 2 * 2


def test_no_test_photo_no_comparison(photos, tmp_path):
    config = CompareConfig(
        sweep="train.training.epochs=1,2", device="cpu", mix=MixConfig.model_validate({"split": {"test": 0}})
    )
    with pytest.raises(DataError, match="no real test photo") as raised:
        compare(photos, None, tmp_path / "out", config)
    assert "mix.split.test" in raised.value.hint
    assert not list((tmp_path / "out").glob("train*"))


def test_a_mix_needs_synthetic_images(photos, tmp_path):
    config = CompareConfig(sweep="mix.real_ratio=1,0.5", device="cpu")
    for synthetic in (None, tmp_path / "synthetic"):
        with pytest.raises(DataError, match="there are none") as raised:
            compare(photos, synthetic, tmp_path / "out", config)
        assert "weldgen synth" in raised.value.hint


def test_where_all_values_fail_the_first_error_is_raised(photos, tmp_path, tiny_config):
    config = CompareConfig(
        sweep="train.model.backbone=nonet_a,nonet_b", device="cpu", train=tiny_config(), timing=False
    )
    with pytest.raises(Exception, match="nonet_a"):
        compare(photos, None, tmp_path / "out", config)


def test_a_full_device_fails_one_value_and_a_full_disk_all():
    attempts = Attempts()

    def fail(error):
        raise error

    assert attempts.run("batch 512", lambda: fail(torch.OutOfMemoryError("CUDA out of memory"))) is None
    assert attempts.failures[0].file == "batch 512"
    assert "batch_size" in attempts.errors[0].hint
    with pytest.raises(OutputError):
        attempts.run("batch 16", lambda: fail(OutputError("disk full")))
    with pytest.raises(KeyError):
        attempts.run("batch 16", lambda: fail(KeyError("a fault")))


def test_a_users_files_are_not_overwritten(photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "comparison.csv").write_text("mine")
    with pytest.raises(OutputError, match="not made by weldgen"):
        compare(photos, None, tmp_path / "out", CompareConfig(sweep="train.training.epochs=1,2"))
