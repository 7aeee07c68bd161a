"""The best epochs are kept beside the very best one: which, under what names, and exactly so after an interruption."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace

import pytest
import torch

from weldgen.classifier import keeper
from weldgen.classifier.keeper import Keeper
from weldgen.classifier.module import ClassifierModule
from weldgen.classifier.outcomes import lighten
from weldgen.classifier.plan import Plan
from weldgen.classifier.top import Kept, TopStates
from weldgen.classifier.train import train
from weldgen.classifier.training_settings import TrainingSettings


def weight(number):
    """A module whose state says which epoch it is of."""
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(module.weight, number)
    return module


def files(folder):
    """Name -> what the state in it says."""
    return {
        path.name: float(torch.load(path, weights_only=True)["state_dict"]["weight"]) for path in folder.rglob("*.ckpt")
    }


def test_the_names_say_epoch_step_and_value():
    accuracy = Kept(12, 480, 0.95, 0.2, "balanced_accuracy")
    assert accuracy.file_name == "epoch-012-step-000480-balanced_accuracy-0.9500.ckpt"
    assert Kept(3, 6, 0.0, 0.25, "loss").file_name == "epoch-003-step-000006-loss-0.2500.ckpt"
    assert Kept(3, 6).file_name == "epoch-003-step-000006.ckpt"


@pytest.mark.parametrize("written", [1, 4, 30])
def test_the_best_are_kept_however_often_they_are_written(tmp_path, written):
    top, best = TopStates(tmp_path, 3), (0, 0.0)
    scores = random.Random(0).sample(range(100), 30)
    for epoch, score in enumerate(scores, start=1):
        best = max(best, (score, epoch))
        top.add(Kept(epoch, 2 * epoch, score, 0.0, "accuracy"), weight(epoch), best[1])
        if epoch % written == 0:
            top.write()
            top.prune()
    top.write()
    top.prune()
    ranked = sorted(enumerate(scores, start=1), key=lambda pair: -pair[1])[:3]
    expected = {Kept(epoch, 2 * epoch, score, 0.0, "accuracy").file_name: epoch for epoch, score in ranked}
    assert files(tmp_path) == expected | {"best.ckpt": ranked[0][0]}


def test_the_best_by_its_own_rule_is_always_among_them(tmp_path):
    # The loss of the first is lower by too little to count: best.ckpt stays with the later epoch.
    top = TopStates(tmp_path, 2)
    for epoch, loss, best in ((1, 0.3000, 1), (2, 0.3004, 2), (3, 0.9, 2)):
        top.add(Kept(epoch, epoch, 1.0, loss, "accuracy"), weight(epoch), best)
    assert [kept.epoch for kept in top.ranked] == [2, 1]


def test_one_is_best_ckpt_alone(tmp_path):
    top = TopStates(tmp_path, 1)
    for epoch in (1, 2):
        top.add(Kept(epoch, epoch), weight(epoch), epoch)
        top.write()
        top.prune()
    assert files(tmp_path) == {"best.ckpt": 2}
    assert not (tmp_path / "top").exists()


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the code under test expects it."""


def test_a_training_keeps_its_best_epochs_and_so_does_one_that_was_interrupted(
    photos, tmp_path, monkeypatch, tiny_config
):
    monkeypatch.setattr(keeper, "_SAVE_EVERY_S", 0.0)
    config = tiny_config(training={"epochs": 6, "patience": 0, "keep_top": 3})
    whole, out = tmp_path / "whole", tmp_path / "resumed"
    train(photos, whole, config)
    records = json.loads((whole / "history.json").read_text())
    names = sorted(path.name for path in (whole / "top").iterdir())
    assert len(names) == 3
    for name in names:
        epoch, step, value = (name.removesuffix(".ckpt").split("-")[place] for place in (1, 3, 5))
        record = records[int(epoch) - 1]
        assert (record["step"], f"{record['val_balanced_accuracy']:.4f}") == (int(step), value)
        assert torch.load(whole / "top" / name, weights_only=True)["epoch"] == int(epoch)
    worst = min(float(name.removesuffix(".ckpt").split("-")[5]) for name in names)
    assert sum(record["val_balanced_accuracy"] > worst for record in records) < 3
    best = (whole / "best.ckpt").read_bytes()
    assert best in [(whole / "top" / name).read_bytes() for name in names]

    original = ClassifierModule.training_step

    def interrupted(self, batch, batch_idx):
        if self.global_step == 9:
            raise Killed
        return original(self, batch, batch_idx)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ClassifierModule, "training_step", interrupted)
        train(photos, out, config)
    (out / "top" / "epoch-099-step-000198-balanced_accuracy-1.0000.ckpt").write_bytes(b"of an epoch not recorded")
    train(photos, out, config)
    assert {path.name: path.read_bytes() for path in (out / "top").iterdir()} == {
        path.name: path.read_bytes() for path in (whole / "top").iterdir()
    }
    assert not (out / "last.ckpt").exists()


def test_a_search_keeps_no_checkpoints_of_trials_that_lost(tmp_path):
    model = tmp_path / "1" / "model"
    (model / "top").mkdir(parents=True)
    (model / "best.ckpt").write_bytes(b"")
    lighten(SimpleNamespace(trials=tmp_path), keep=())
    assert list(model.iterdir()) == []


def test_a_run_that_is_kept_short_has_a_best_epoch_too(photos, tmp_path, tiny_config):
    settings = {"epochs": 3, "min_steps": 150, "cpu_max_steps": 4}
    summary = train(photos, tmp_path / "model", tiny_config(training=settings))
    assert (summary.details["steps"], summary.details["best_epoch"]) == (4, 2)


# Balanced accuracy, accuracy and loss of five epochs.
EPOCHS = [(0.6, 0.9, 0.5), (0.7, 0.8, 0.4), (0.7, 0.8, 0.3), (0.65, 0.95, 0.36), (0.7, 0.8, 0.31)]


@pytest.mark.parametrize(
    ("settings", "kept", "improved"),
    [
        ({}, [0, 1, 2], 2),
        ({"monitor": "accuracy"}, [0, 3], 3),
        ({"monitor": "loss"}, [0, 1, 2], 2),
        ({"monitor": "loss", "min_delta": 0.15}, [0, 1, 2, 3, 4], 2),
        ({"min_delta": 0.15}, [0, 1, 2, 4], 1),
    ],
)
def test_what_is_monitored_chooses_the_epoch_and_what_counts_as_better(tmp_path, settings, kept, improved):
    judge = Keeper(tmp_path, TrainingSettings(**settings), Plan(9, 1, 0, 0.1))
    names = ("val_balanced_accuracy", "val_accuracy", "val_loss")
    found = [n for n, values in enumerate(EPOCHS) if judge._judge(dict(zip(names, values, strict=True)), n)]
    assert found == kept
    assert judge._improved_epoch == improved


def test_a_validation_that_improves_by_less_than_min_delta_stops_the_training(photos, tmp_path, tiny_config):
    settings = {"epochs": 9, "patience": 2, "monitor": "loss", "min_delta": 100.0, "min_steps": 2}
    train(photos, tmp_path / "model", tiny_config(training=settings))
    assert len(json.loads((tmp_path / "model" / "history.json").read_text())) == 3
