from __future__ import annotations

import sqlite3
import sys
from dataclasses import replace

import pytest
from PIL import Image

from weldgen.classifier import keeper
from weldgen.classifier.loader import load_images
from weldgen.classifier.module import ClassifierModule
from weldgen.classifier.run_logs import log_results
from weldgen.classifier.train import train
from weldgen.data.dataset import Dataset
from weldgen.errors import BackendError
from weldgen.receipts import stage_key


def images_of(root):
    dataset = Dataset.open(root)
    samples = [replace(sample, split="val" if k % 2 else "train") for k, sample in enumerate(dataset.samples)]
    images, _ = load_images(dataset, samples, dataset.labels, frame=(64, 64), jobs=1, scratch=(root, 1.0))
    return images.subset("train"), images.subset("val")


def test_curves_settings_pictures_and_model_reach_mlflow(photos, tmp_path, tiny_config):
    mlflow = {"enabled": True, "experiment": "shop"}
    config = tiny_config(logging={"tags": ["night", "line=3"], "notes": "a trial", "model": True, "mlflow": mlflow})
    summary = train(photos, tmp_path / "model", config)
    folder = tmp_path / "model" / "mlflow"
    with sqlite3.connect(folder / "mlflow.db") as database:
        assert ("shop",) in database.execute("select name from experiments").fetchall()
        steps = database.execute("select count(*) from metrics where key = 'train_loss'").fetchone()[0]
        assert steps == config.training.epochs
        settings = dict(database.execute("select key, value from params").fetchall())
        tags = dict(database.execute("select key, value from tags").fetchall())
    assert settings["training/epochs"] == str(config.training.epochs)
    assert (tags["night"], tags["line"], tags["mlflow.note.content"]) == ("true", "3", "a trial")
    files = folder / "files" / (folder / "run_id").read_text().strip() / "artifacts"
    assert (files / "model" / "model.safetensors").read_bytes() == (tmp_path / "model/model.safetensors").read_bytes()
    assert (files / "model" / "model.json").is_file()
    assert Image.open(files / "validation" / "confusion.png").size[0] > 100
    assert not [note for note in summary.notes if "could not be logged" in note]


def test_curves_pictures_and_model_reach_weights_and_biases_without_a_network(photos, tmp_path, tiny_config):
    wandb = {"enabled": True, "project": "shop"}
    config = tiny_config(logging={"tags": ["night"], "notes": "a trial", "model": True, "wandb": wandb})
    summary = train(photos, tmp_path / "model", config)
    (run,) = (tmp_path / "model" / "wandb").rglob("*.wandb")
    written = run.read_bytes()
    for text in (b"night", b"a trial", b"model.safetensors", b"validation/confusion", b"train_loss"):
        assert text in written
    pictures = [path.name for path in run.parent.rglob("*.png")]
    assert any(name.startswith("confusion_normalised") for name in pictures)
    assert not [note for note in summary.notes if "could not be logged" in note]
    assert sys.modules["wandb"].run is None, "the run is closed"


def test_curves_of_an_interrupted_training_go_on_in_the_same_runs(photos, tmp_path, tiny_config, monkeypatch):
    both = {"mlflow": {"enabled": True}, "wandb": {"enabled": True}}
    config = tiny_config(training={"epochs": 4, "patience": 0}, logging=both)
    out = tmp_path / "model"
    original = ClassifierModule.on_train_epoch_start

    class Killed(BaseException):
        """Stands for SIGKILL."""

    def interrupted(module):
        if module.current_epoch == 2:
            raise Killed
        original(module)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ClassifierModule, "on_train_epoch_start", interrupted)
        patch.setattr(keeper, "_SAVE_EVERY_S", 0.0)
        train(photos, out, config)
    first = [(out / name / "run_id").read_text() for name in ("mlflow", "wandb")]
    # More jobs are no other training, but MLflow refuses settings that change.
    summary = train(photos, out, config.model_copy(update={"jobs": 2}))
    assert [(out / name / "run_id").read_text() for name in ("mlflow", "wandb")] == first
    with sqlite3.connect(out / "mlflow" / "mlflow.db") as database:
        assert len(database.execute("select run_uuid from runs").fetchall()) == 1
        steps = [step for (step,) in database.execute("select step from metrics where key = 'train_loss'")]
    assert len(steps) == len(set(steps)) == 4, "each epoch once"
    parts = list((out / "wandb").rglob("*.wandb"))
    assert len(parts) == 2
    assert {part.name for part in parts} == {f"run-{first[1].strip()}.wandb"}
    assert not [note for note in summary.notes if "could not be logged" in note]


def test_nothing_more_is_logged_than_asked_for(trained, tiny_config):
    _, validation = images_of(trained[1])
    for logging in ({}, {"pictures": False, "mlflow": {"enabled": True}}):
        assert log_results(trained[0], validation, ("bad", "good"), tiny_config(logging=logging), device="cpu") == []


def test_a_run_that_is_gone_does_not_lose_the_training(trained, tiny_config):
    """The model is there, so a sentence says that the rest is not."""
    asked = tiny_config(logging={"mlflow": {"enabled": True}, "wandb": {"enabled": True}})
    notes = log_results(trained[0], images_of(trained[1])[1], ("bad", "good"), asked, device="cpu")
    assert [note.split(":")[0] for note in notes] == [
        "pictures and model could not be logged to Weights & Biases",
        "pictures and model could not be logged to MLflow",
    ]


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
