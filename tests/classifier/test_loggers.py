from __future__ import annotations

import sqlite3

import pytest

from weldgen.classifier.train import train
from weldgen.errors import BackendError
from weldgen.receipts import stage_key


def test_curves_and_settings_reach_mlflow(photos, tmp_path, tiny_config):
    config = tiny_config(logging={"mlflow": {"enabled": True, "experiment": "shop"}})
    train(photos, tmp_path / "model", config)
    with sqlite3.connect(tmp_path / "model" / "mlflow" / "mlflow.db") as database:
        assert ("shop",) in database.execute("select name from experiments").fetchall()
        steps = database.execute("select count(*) from metrics where key = 'train_loss'").fetchone()[0]
        assert steps == config.training.epochs
        settings = dict(database.execute("select key, value from params").fetchall())
    assert settings["training/epochs"] == str(config.training.epochs)


def test_curves_reach_weights_and_biases_without_a_network(photos, tmp_path, tiny_config):
    train(photos, tmp_path / "model", tiny_config(logging={"wandb": {"enabled": True, "project": "shop"}}))
    runs = list((tmp_path / "model" / "wandb").rglob("*.wandb"))
    assert len(runs) == 1 and runs[0].stat().st_size > 1000


def test_a_logger_that_is_not_installed_stops_before_training(photos, tmp_path, tiny_config, monkeypatch):
    import lightning.pytorch.loggers.wandb as module

    monkeypatch.setattr(module, "_WANDB_AVAILABLE", False)
    with pytest.raises(BackendError, match=r"logging\.wandb\.enabled=true") as caught:
        train(photos, tmp_path / "model", tiny_config(logging={"wandb": {"enabled": True}}))
    assert caught.value.hint == "pip install 'weldgen[wandb]'"
    assert not (tmp_path / "model" / "history.json").exists()


def test_loggers_are_no_part_of_the_result(photos, tiny_config):
    plain, logged = tiny_config(), tiny_config(logging={"wandb": {"enabled": True}})
    assert stage_key("train", plain, {"dataset": photos}) == stage_key("train", logged, {"dataset": photos})
