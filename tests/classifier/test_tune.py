"""The search over settings: spaces, trials that fail or are cut short, resuming, sentences that claim no more."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
import yaml
from optuna.trial import TrialState
from PIL import Image

from weldgen.classifier import outcomes, search
from weldgen.classifier.module import ClassifierModule
from weldgen.classifier.outcomes import Outcome, Places
from weldgen.classifier.space import TuneConfig, apply, as_they_are, current, dimensions
from weldgen.classifier.train import TrainConfig
from weldgen.classifier.tune import tune, tune_config
from weldgen.classifier.tuning import Tuning
from weldgen.classifier.watch import watchers
from weldgen.config import load_config
from weldgen.data.dataset import Dataset, Sample
from weldgen.data.mix import MixConfig
from weldgen.errors import ConfigError, DataError, OutputError
from weldgen.report.stage import write_stage_report


def build(**changes) -> TuneConfig:
    """A search of two trials over two settings, each in a second."""
    settings = {
        "space": {"train.training.lr": "0.001..0.01:log", "train.model.head": "arcface,softmax"},
        "trials": 2,
        "startup": 1,
        "device": "cpu",
        "train": {
            "device": "cpu",
            "data": {"image_size": 64},
            "model": {"backbone": "test_efficientnet", "weights": "none", "embedding_size": 16, "freeze_stages": 0},
            "training": {"epochs": 2, "min_steps": 0, "batch_size": 8, "lr": 5e-3, "precision": "fp32"},
        },
        **changes,
    }
    return TuneConfig.model_validate(settings)


@pytest.fixture
def config():
    return build


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A finished search, its photos and its summary."""
    root = tmp_path_factory.mktemp("searched")
    for number, label in enumerate(("bad", "good")):
        (root / "photos" / label).mkdir(parents=True)
        for index in range(9):
            rng = np.random.default_rng(100 * number + index)
            pixels = np.clip(rng.normal(70 + 120 * number, 25, (56, 80, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / "photos" / label / f"{index}.png")
    return root / "out", root / "photos", tune(root / "photos", root / "none", root / "out", build())


@pytest.fixture
def steps(monkeypatch):
    """Counts training steps from now on."""
    counted = []
    original = ClassifierModule.training_step
    monkeypatch.setattr(ClassifierModule, "training_step", lambda s, b, i: (counted.append(i), original(s, b, i))[1])
    return counted


def lines(out):
    return [json.loads(line) for line in (out / "study.jsonl").read_text().splitlines()]


# --- the space -----------------------------------------------------------------------------------------------------


def test_the_default_space_holds_the_settings_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = tune_config()
    space = dimensions(found)
    assert len(as_they_are(found, space)) == len(space) == len(found.space)
    freeze = next(d for d in space if d.key == "train.model.freeze_stages")
    assert freeze.whole
    assert not next(d for d in space if d.key == "train.model.drop_rate").whole


def test_a_space_is_given_by_words_and_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text("train.training.lr: 1e-4..1e-2:log\nmix.real_ratio: 1,0.5\n")
    found = tune_config(["own.yaml", "train.training.batch_size=8,16"], settings={"trials": 4, "pruner": None})
    assert list(found.space) == ["train.training.lr", "mix.real_ratio", "train.training.batch_size"]
    assert (found.trials, found.pruner) == (4, "median")
    mixing, training = apply(found, {"mix.real_ratio": "0.5", "train.training.lr": "0.002"})
    assert (mixing.real_ratio, training.training.lr) == (0.5, 0.002)


def test_lists_can_be_searched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = tune_config(["train.training.progressive=[],[96,128]"])
    assert [dimension.values for dimension in dimensions(found)] == [("[]", "[96,128]")]
    assert apply(found, {"train.training.progressive": "[96,128]"})[1].training.progressive == (96, 128)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("train.training.lr", "accepted are KEY=LOW..HIGH"),
        ("train.training.lrr=1..2", "no setting 'training.lrr'"),
        ("training.lr=0.1..0.2", "no setting of mix or train"),
        ("train.training.lr=0.2..0.1", "LOW < HIGH is accepted"),
        ("train.training.lr=-1..0.1", "greater than 0"),
        ("train.training.weight_decay=0..0.1:log", "0 < LOW < HIGH"),
        ("train.model.drop_rate=0..2", "less than 1"),
        ("train.model.head=arcface..softmax", "takes a setting that is a number"),
        ("train.model.head=arcface", "at least two values"),
        ("train.model.head=arcface,hard", "'arcface', 'cosface', 'subcenter'"),
        ("mix.split.test=0.1,0.2", "cannot be compared"),
        ("nowhere.yaml", "cannot be read"),
        ("train.training.mixup=0.4..0.2", "train.augmentation.mixup=0.4..0.2: LOW < HIGH"),
    ],
)
def test_wrong_spaces_are_refused_before_anything_runs(space, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        tune_config([space])
    assert message in caught.value.message


@pytest.mark.parametrize(("settings", "name"), [({"trials": 0}, "--trials"), ({"pruner": "hyper"}, "--pruner")])
def test_wrong_lengths_are_refused(settings, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=name):
        tune_config(settings=settings)


def test_values_are_written_short_and_stay_inside(config):
    lr = dimensions(config())[0]
    assert lr.text(0.00123456) == "0.001235"
    assert dimensions(config(space={"train.training.lr": "0.00123444..0.1"}))[0].text(0.00123444) == "0.00123444"
    assert current(config(), "train.model.head") == "arcface"


# --- a search ------------------------------------------------------------------------------------------------------


def test_a_search_writes_trials_a_preset_and_a_report(searched, tmp_path):
    out, photos, summary = searched
    assert [line["trial"] for line in lines(out)] == ["as they are", "0", "1"]
    assert {line["state"] for line in lines(out)} == {"complete"}
    assert summary.counts["trials"] == 2
    text = "\n".join(summary.notes)
    assert "real photos alone" in text
    assert "validation photos" in text
    assert (out / "tuning.png").read_bytes()[:4] == b"\x89PNG"

    sections = yaml.safe_load((out / "best.yaml").read_text())
    best = load_config("train", TrainConfig, preset=str(out / "best.yaml"), project=tmp_path)
    chosen = summary.details["best"]["settings"]
    assert best.training.lr == float(chosen["train.training.lr"])
    assert best.model.backbone == "test_efficientnet"  # what the search was told belongs to the preset
    assert "device" not in sections["train"]
    assert write_stage_report("tune", out)
    assert "validation photos" in (out / "report.html").read_text()

    kept = {path.parent.parent.name for path in out.rglob("model.safetensors")}
    assert kept == {"as-they-are", summary.details["best"]["trial"].replace(" ", "-")}
    assert tune(photos, photos.parent / "none", out, build()).skipped


def test_more_trials_go_on_with_those_that_are_there(searched, tmp_path, steps):
    out, photos, _ = searched
    copied = Path(shutil.copytree(out, tmp_path / "copy"))
    more = tune(photos, photos.parent / "none", copied, build(trials=3))
    assert more.counts["trials"] == 3
    assert lines(copied)[:3] == lines(out)
    assert len(steps) == 4  # two epochs of one trial


def test_a_search_that_was_killed_goes_on_to_the_same_trials(searched, tmp_path, monkeypatch):
    whole, photos, _ = searched
    calls = []
    original = ClassifierModule.on_train_epoch_start

    def die(self):
        calls.append(1)
        if len(calls) == 6:  # in the second epoch of the last trial
            raise KeyboardInterrupt
        original(self)

    monkeypatch.setattr(ClassifierModule, "on_train_epoch_start", die)
    out = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        tune(photos, photos.parent / "none", out, build())
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{out / 'study.db'}")
    assert [t.state for t in study.trials if "name" not in t.user_attrs] == [TrialState.COMPLETE, TrialState.RUNNING]
    tune(photos, photos.parent / "none", out, build())
    same = ("trial", "state", "balanced_accuracy", "settings")
    assert [[line[k] for k in same] for line in lines(out)] == [[line[k] for k in same] for line in lines(whole)]


def test_a_trial_that_fails_is_recorded_and_not_fatal(photos, tmp_path, config):
    broken = config(space={"train.model.backbone": "test_efficientnet,no_such_network"}, trials=3, startup=3)
    summary = tune(photos, tmp_path / "none", tmp_path / "out", broken)
    states = {line["settings"]["train.model.backbone"]: line["state"] for line in lines(tmp_path / "out")}
    assert states == {"test_efficientnet": "complete", "no_such_network": "failed"}
    assert summary.failures == sum(line["state"] == "failed" for line in lines(tmp_path / "out")) > 0
    assert "not a timm network" in (tmp_path / "out" / "failures.jsonl").read_text()


def test_a_bad_trial_is_cut_short(photos, tmp_path, config, monkeypatch):
    monkeypatch.setattr(ClassifierModule, "on_validation_epoch_end", validate_badly)
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(1, 3))
    good = dict.fromkeys((3, 5, 6, 10), 1.0)
    study.add_trial(optuna.trial.create_trial(value=1.0, intermediate_values=good, user_attrs={"name": "good"}))
    places = Places((photos, tmp_path / "none"), tmp_path / "mixes", tmp_path / "trials")
    searched = config(mix=MixConfig(real_ratio=1.0))
    search.run_trial("0", study.ask(), {"train.training.lr": "0.002"}, searched, places)
    cut = outcomes.outcomes(study, places)[0]
    assert (cut.state, cut.score, cut.choice) == ("pruned", 0.0, {"train.training.lr": "0.002"})
    assert not (tmp_path / "trials" / "0" / "model" / "model.json").exists()
    assert watchers() == ()


def validate_badly(module):
    module._validated.clear()
    module.epoch_metrics = {"val_loss": 9.0, "val_accuracy": 0.0, "val_balanced_accuracy": 0.0}


def test_synthetic_images_join_where_they_are(photos, tmp_path, config, make_photos):
    made = make_photos(tmp_path / "made", {"bad": 12, "good": 12}, first=300)
    records = [replace(s, split="train", origin="synthetic").record() for s in Dataset.open(made).samples]
    (made / "metadata.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    summary = tune(photos, made, tmp_path / "out", config(space={"mix.real_ratio": "1,0.5"}, trials=1))
    assert len(list((tmp_path / "out" / "mixes").iterdir())) >= 1
    assert "mix" in yaml.safe_load((tmp_path / "out" / "best.yaml").read_text())
    assert summary.details["validation_photos"] == {"bad": 2, "good": 1}


def test_what_cannot_be_searched_is_refused(photos, tmp_path, config, make_photos):
    with pytest.raises(DataError, match="there are none"):
        tune(photos, tmp_path / "none", tmp_path / "out", config(space={"mix.real_ratio": "1,0.5"}))
    few = make_photos(tmp_path / "few", {"bad": 8, "good": 2})
    with pytest.raises(DataError, match="too few: bad 1, good 0"):
        tune(few, tmp_path / "none", tmp_path / "out2", config())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "best.yaml").write_text("train: {}\n")
    with pytest.raises(OutputError, match="not made by weldgen tune"):
        tune(photos, tmp_path / "none", tmp_path / "mine", config())
    assert (tmp_path / "mine" / "best.yaml").read_text() == "train: {}\n"


# --- sentences -----------------------------------------------------------------------------------------------------


def found(config, first, *others):
    """A search whose models were right as given; half of the photos are bad."""
    n = len(first)
    files = [f"{k}.png" for k in range(n)]
    samples = {f: Sample(f, f, "bad" if k < n // 2 else "good") for k, f in enumerate(files)}

    def outcome(name, right):
        score = sum(sum(part) / len(part) for part in (right[: n // 2], right[n // 2 :])) / 2
        choice = {"train.training.lr": "0.005", "train.model.head": "softmax"}
        return Outcome(name, "complete", choice, score, right=dict(zip(files, map(bool, right), strict=True)))

    trials = [outcome(str(k), right) for k, right in enumerate(others)]
    return Tuning.of(outcome(outcomes.AS_THEY_ARE, first), trials, samples, {}, config())


def test_of_equal_ones_the_settings_as_they_are_stay(config, tmp_path):
    result = found(config, [1, 1, 0, 1, 1, 1], [1, 1, 1, 0, 1, 1])
    assert result.best is result.first
    text = "\n".join(result.sentences(tmp_path / "best.yaml"))
    assert "no trial was better on the 6 validation photos" in text
    assert "2 of the models are equally good" in text
    assert "weldgen train" not in text


def test_a_difference_on_few_photos_is_within_chance(config, tmp_path):
    result = found(config, [1, 1, 0, 1, 1, 0], [1, 1, 1, 1, 1, 1])
    text = "\n".join(result.sentences(tmp_path / "best.yaml"))
    assert "within chance" in text
    assert "even 6 of 6 right only shows an accuracy of 61 % to 100 %".replace(" %", "%") in text
    assert f"weldgen train --config-name {tmp_path / 'best.yaml'}" in text


def test_a_difference_that_many_photos_show_is_claimed(config, tmp_path):
    result = found(config, [1, 0] * 50, [1] * 100)
    assert "is better than the settings as they are" in result.sentences(tmp_path / "best.yaml")[0]


def test_many_trials_ask_for_more_photos(config, tmp_path):
    first, best, poor = [0] * 7 + [1] * 53, [1] * 60, [0] * 60
    one, many = found(config, first, best), found(config, first, best, *[poor] * 30)
    assert one.pair.shown
    assert not many.pair.shown


def test_the_preset_of_the_settings_as_they_are_changes_nothing_else(config, tmp_path):
    result = found(config, [1] * 6, [0] * 6)
    (tmp_path / "best.yaml").write_text(result.preset())
    loaded = load_config("mix", MixConfig, preset=str(tmp_path / "best.yaml"), project=tmp_path)
    assert loaded == MixConfig()
