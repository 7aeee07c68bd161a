"""Training on little data, with damaged data, interrupted and resumed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from weldgen.classifier import keeper
from weldgen.classifier.loader import EpochOrder, images_an_epoch, load_images
from weldgen.classifier.model_file import load_card, load_model
from weldgen.classifier.module import ClassifierModule
from weldgen.classifier.plan import Plan, plan_run
from weldgen.classifier.train import TrainConfig, train
from weldgen.classifier.trainer import repeatable
from weldgen.classifier.training_settings import TrainingSettings
from weldgen.config import load_config
from weldgen.data.dataset import METADATA_NAME, Dataset, Sample
from weldgen.data.split import decide_split
from weldgen.errors import ConfigError, DataError, OutputError


def history(folder):
    records = json.loads((folder / "history.json").read_text())
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


def test_a_plain_folder_trains_and_is_done_once(photos, tmp_path, tiny_config):
    out, config = tmp_path / "model", tiny_config()
    summary = train(photos, out, config)
    assert summary.counts["training images"] == 12
    assert summary.counts["validation photos"] == 3
    assert any("only 3 validation photos" in note for note in summary.notes)
    assert len(history(out)) == 3
    assert list((out / "tensorboard").iterdir())
    assert sorted(path.name for path in out.glob("*.ckpt")) == ["best.ckpt"]
    card = load_card(out)
    assert card.classes == ("bad", "good")
    assert sum(row["real"] for row in card.trained_on.values()) == 12
    assert train(photos, out, config).skipped


def test_it_learns_what_it_is_shown(trained):
    summary = json.loads((trained[0] / "stage.json").read_text())
    assert summary["details"]["validation"]["val_balanced_accuracy"] == 1


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the code under test expects it."""


RECIPE = {
    "model": {"head": "subcenter"},
    "training": {"ema_decay": 0.9, "optimizer": "lion", "schedule": "one_cycle", "loss": "focal", "lr": 1e-3},
    "augmentation": {"mixup": 0.4, "cutmix": 1.0},
}


@pytest.mark.parametrize(("step", "recipe"), [(4, {}), (9, {}), (9, RECIPE)])
def test_an_interrupted_run_goes_on_to_the_same_result(photos, tmp_path, monkeypatch, step, recipe, tiny_config):
    monkeypatch.setattr(keeper, "_SAVE_EVERY_S", 0.0)
    training, model = {"epochs": 6, "patience": 0}, {"drop_rate": 0.5}
    config = tiny_config(
        training={**training, **recipe.get("training", {})},
        model={**model, **recipe.get("model", {})},
        augmentation=recipe.get("augmentation", {}),
    )
    train(photos, tmp_path / "whole", config)

    original = ClassifierModule.training_step

    def interrupted(self, batch, batch_idx):
        if self.global_step == step:
            raise Killed
        return original(self, batch, batch_idx)

    out = tmp_path / "resumed"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ClassifierModule, "training_step", interrupted)
        train(photos, out, config)
    (out / ".writing-last.ckpt").write_bytes(b"cut short")
    assert (out / "last.ckpt").is_file()
    assert not (out / "model.json").is_file()

    steps = []
    with monkeypatch.context() as patch:
        patch.setattr(ClassifierModule, "training_step", lambda s, b, i: (steps.append(i), original(s, b, i))[1])
        train(photos, out, config)
    assert len(steps) < 12  # two steps in each of six epochs: it did not start anew
    assert history(out) == history(tmp_path / "whole")
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
    assert not list(out.glob(".writing*"))


def test_the_model_is_the_average_of_the_weights(photos, tmp_path, tiny_config):
    out = tmp_path / "model"
    train(photos, out, tiny_config(training={"ema_decay": 0.99, "label_smoothing": 0.1}))
    saved = load_model(out)[0].state_dict()
    best = torch.load(out / "best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, best[f"average.{name}"]) for name, value in saved.items())
    assert not torch.equal(saved["embedding.weight"], best["network.embedding.weight"])


def test_accumulated_batches_make_fewer_steps(photos, tmp_path, tiny_config):
    config = tiny_config(training={"batch_size": 4, "accumulation": 2, "ema_decay": 0.9}, model={"head": "mlp"})
    summary = train(photos, tmp_path / "model", config)
    assert summary.details["steps_per_epoch"] == 2  # twelve images: three batches of 4, and one more fills the step
    assert summary.details["steps"] == 6
    plan = plan_run(12, 12, tiny_config(training={"batch_size": 8, "accumulation": 100}), "cpu", pretrained=False)
    assert (plan.steps_per_epoch, plan.accumulation) == (1, 2)
    assert [plan.ends_step(batch) for batch in range(2)] == [False, True]
    assert plan.batch_number(3, 1) == 7


def test_colours_may_lie_in_planes(photos, tmp_path, tiny_config):
    losses = []
    for channels_last in (True, False):
        out = tmp_path / str(channels_last)
        train(photos, out, tiny_config(training={"epochs": 1, "channels_last": channels_last}))
        losses.append(history(out)[0]["train_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("wanted", [True, False])
def test_operations_in_a_fixed_order_are_asked_for_and_given_back(wanted):
    with repeatable(wanted=wanted):
        assert torch.are_deterministic_algorithms_enabled() == wanted
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_training_asks_for_a_fixed_order(photos, tmp_path, monkeypatch, tiny_config):
    seen = []

    def stop(*args):
        seen.append(torch.are_deterministic_algorithms_enabled())
        raise Killed

    monkeypatch.setattr("weldgen.classifier.run.run_trainer", stop)
    for wanted in (True, False):
        with pytest.raises(Killed):
            train(photos, tmp_path / str(wanted), tiny_config(training={"deterministic": wanted}))
    assert seen == [True, False]


def test_mixing_is_found_under_training_too(tmp_path):
    overrides = ["training.mixup=0.3", "augmentation.hflip=0"]
    config = load_config("train", TrainConfig, project=tmp_path, overrides=overrides)
    assert (config.augmentation.mixup, config.augmentation.hflip, config.augmentation.cutmix) == (0.3, 0, 0)
    with pytest.raises(ConfigError, match=r"augmentation\.cutmix=-1"):
        load_config("train", TrainConfig, project=tmp_path, overrides=["training.cutmix=-1"])


def test_mixing_may_be_written_with_its_alpha(tmp_path):
    config = load_config("train", TrainConfig, project=tmp_path, overrides=["augmentation.mixup.alpha=0.3"])
    assert config.augmentation.mixup == 0.3
    with pytest.raises(ConfigError, match=r"augmentation\.mixup"):
        load_config("train", TrainConfig, project=tmp_path, overrides=["augmentation.mixup.alhpa=0.3"])


def test_a_run_that_had_stopped_early_does_not_go_on(photos, tmp_path, monkeypatch, tiny_config):
    config = tiny_config(training={"epochs": 30, "patience": 2})
    out = tmp_path / "model"
    with monkeypatch.context() as patch, pytest.raises(Killed):

        def killed(*args):
            raise Killed

        patch.setattr("weldgen.classifier.run.save_model", killed)
        train(photos, out, config)
    ended = history(out)
    assert len(ended) < 30
    train(photos, out, config)
    assert history(out) == ended


def test_among_equal_validations_the_later_epoch_is_kept(tmp_path):
    judge = keeper.Keeper(tmp_path, TrainingSettings(), Plan(9, 1, 0, 0.1))._judge
    seen = [(0.5, 2.0), (1.0, 0.5), (1.0, 0.4), (0.9, 0.1), (1.0, 0.4005), (1.0, 0.402)]
    kept = [judge({"val_balanced_accuracy": a, "val_loss": b}, n) for n, (a, b) in enumerate(seen)]
    assert kept == [True, True, True, False, True, False]


def test_the_best_epoch_of_a_recorded_training_with_four_validation_photos(tmp_path):
    # Balanced accuracy and loss from epoch 26 on; one hard photo is wrong now and then.
    recorded = [
        (0.75, 2.775), (1.0, 0.002), (1.0, 0.004), (1.0, 0.0), (1.0, 0.0), (0.75, 0.304), (1.0, 0.097), (1.0, 0.0),
        (1.0, 0.011), (0.75, 0.343), (0.75, 0.27), (1.0, 0.017), (1.0, 0.002), (1.0, 0.001), (1.0, 0.001),
    ]  # fmt: skip
    judge = keeper.Keeper(tmp_path, TrainingSettings(), Plan(99, 1, 0, 0.1))._judge
    kept = [n for n, (a, b) in enumerate(recorded) if judge({"val_balanced_accuracy": a, "val_loss": b}, n)]
    assert kept == [0, 1, 3, 4, 7]  # a perfect epoch is not given up for one that is less sure, nor for a later mistake


def test_other_settings_move_the_earlier_model_aside(photos, tmp_path, tiny_config):
    out = tmp_path / "model"
    train(photos, out, tiny_config(training={"epochs": 1}))
    key = json.loads((out / "run.json").read_text())["key"]
    summary = train(photos, out, tiny_config(training={"epochs": 2}))
    assert (out / "previous" / key[:8] / "model.safetensors").is_file()
    assert any("previous" in note for note in summary.notes)
    assert len(history(out)) == 2


def test_a_users_file_is_not_overwritten(photos, tmp_path, tiny_config):
    out = tmp_path / "model"
    out.mkdir()
    (out / "history.json").write_text("mine")
    with pytest.raises(OutputError, match="not made by weldgen"):
        train(photos, out, tiny_config())
    assert (out / "history.json").read_text() == "mine"


def test_without_validation_photos_the_last_epoch_counts(tmp_path, make_photos, tiny_config):
    photos = make_photos(tmp_path / "photos", {"bad": 2, "good": 2})
    summary = train(photos, tmp_path / "model", tiny_config(training={"method": "finetune"}))
    assert summary.details["best_epoch"] == 3
    assert any("no validation photo" in note for note in summary.notes)


def test_a_class_without_validation_photo_and_a_batch_larger_than_the_dataset(tmp_path, make_photos, tiny_config):
    photos = make_photos(tmp_path / "photos", {"bad": 2, "good": 8})
    summary = train(photos, tmp_path / "model", tiny_config(training={"batch_size": 64, "method": "finetune"}))
    assert any("no validation photo of bad" in note for note in summary.notes)
    assert summary.details["steps_per_epoch"] == 1


def test_damaged_photos_are_listed_and_the_others_train(photos, tmp_path, tiny_config):
    good = sorted((photos / "good").iterdir())
    data = good[0].read_bytes()
    good[0].write_bytes(data[: len(data) // 2])
    (photos / "bad" / "broken.jpg").write_text("no image")
    out = tmp_path / "model"
    summary = train(photos, out, tiny_config())
    listed = {json.loads(line)["file"] for line in (out / "failures.jsonl").read_text().splitlines()}
    assert listed == {"good/0.png", "bad/broken.jpg"}
    assert summary.failures == 2


@pytest.mark.parametrize("counts", [{"good": 5}, {"good": 5, "bad": 0}])
def test_one_class_is_no_classification(tmp_path, counts, make_photos, tiny_config):
    with pytest.raises(DataError, match="at least two classes"):
        train(make_photos(tmp_path / "photos", counts), tmp_path / "model", tiny_config())


def test_synthetic_images_train_and_never_validate(tmp_path, make_photos, tiny_config):
    root = make_photos(tmp_path / "photos", {"bad": 8, "good": 8})
    dataset = decide_split(Dataset.open(root), TrainConfig().split, 0)
    samples = [
        replace(s, origin="synthetic", extra={"licences": ["openrail++"]})
        if s.split == "train" and s.label == "bad"
        else s
        for s in dataset.samples
    ]
    (root / METADATA_NAME).write_text("".join(json.dumps(s.record()) + "\n" for s in samples))
    summary = train(root, tmp_path / "model", tiny_config())
    card = load_card(tmp_path / "model")
    assert card.trained_on["bad"]["real"] == 0
    assert card.trained_on["bad"]["synthetic"] == summary.counts["synthetic"]
    assert card.licences["synthetic images"] == "openrail++"
    assert set(card.seen["train"]) == {s.id for s in samples if s.split == "train" and s.origin == "real"}


def test_few_images_get_more_epochs(tiny_config):
    config = tiny_config(training={"epochs": 3, "min_steps": 60, "batch_size": 8})
    assert plan_run(17, 17, config, "cpu", pretrained=False).epochs == 20
    assert plan_run(8000, 8000, config, "cuda", pretrained=False).epochs == 3


@pytest.mark.parametrize(("device", "most", "epochs"), [("cpu", 600, 6), ("cpu", 0, 40), ("cuda", 600, 40)])
def test_many_images_get_fewer_epochs_on_a_cpu(tiny_config, device, most, epochs):
    config = tiny_config(training={"epochs": 40, "batch_size": 8, "cpu_max_steps": most})
    assert plan_run(800, 800, config, device, pretrained=False).epochs == epochs
    assert plan_run(10**6, 10**6, config, "cpu", pretrained=False).epochs >= 1


def test_the_order_depends_on_seed_and_epoch_and_fills_its_batches():
    order = EpochOrder([1.0] * 10, 4, seed=0)
    first = list(order)
    assert len(first) == len(order) == 12
    assert {row for _, row in first} == set(range(10))
    order.set_epoch(1)
    second = list(order)
    assert {epoch for epoch, _ in second} == {1}
    assert [row for _, row in second] != [row for _, row in first]
    order.set_epoch(0)
    assert list(order) == first


def test_heavier_images_are_drawn_more_often():
    rows = [row for epoch in range(50) for _, row in _epoch(EpochOrder([1.0] * 5 + [4.0] * 5, 10, seed=0), epoch)]
    assert np.mean(np.array(rows) >= 5) == pytest.approx(0.8, abs=0.05)


def test_an_epoch_of_weighted_images_is_their_effective_number():
    assert images_an_epoch([1.0] * 10) == images_an_epoch([3.0] * 10) == 10
    weights = [90.0, 45.0, 45.0] + [1.0] * 540  # three photos with a quarter of the draws
    assert images_an_epoch(weights) == 41
    assert len(EpochOrder(weights, 16, seed=0)) == 48
    rows = [row for epoch in range(20) for _, row in _epoch(EpochOrder(weights, 16, seed=0), epoch)]
    assert np.mean(np.array(rows) < 3) == pytest.approx(0.25, abs=0.05)


def _epoch(order, epoch):
    order.set_epoch(epoch)
    return list(order)


def test_what_does_not_fit_into_memory_is_mapped_from_a_file(photos, tmp_path):
    dataset = decide_split(Dataset.open(photos), TrainConfig().split, 0)
    options = {"frame": (64, 64), "jobs": 2}
    inside, _ = load_images(dataset, dataset.samples, dataset.labels, scratch=(tmp_path, 1.0), **options)
    mapped, _ = load_images(dataset, dataset.samples, dataset.labels, scratch=(tmp_path, 0.0), **options)
    assert isinstance(mapped.framed.base, np.memmap) or isinstance(mapped.framed, np.memmap)
    assert (inside.framed == mapped.framed).all()
    parts = [inside.subset(split) for split in ("train", "val", "test")]
    assert sum(map(len, parts)) == len(inside)
    assert {s.split for s in parts[1].samples} == {"val"}
    assert (parts[1].framed[0] == inside.framed[inside.samples.index(parts[1].samples[0])]).all()


def test_a_model_in_another_format_is_refused(trained, tmp_path):
    card = json.loads((trained[0] / "model.json").read_text()) | {"format": 1}
    (tmp_path / "model.json").write_text(json.dumps(card))
    with pytest.raises(DataError, match="another format"):
        load_model(tmp_path)


def test_the_saved_model_is_the_best_checkpoint(trained):
    network, _ = load_model(trained[0])
    best = torch.load(trained[0] / "best.ckpt", weights_only=True)["state_dict"]
    for name, value in network.state_dict().items():
        assert torch.equal(value, best[f"network.{name}"])


def test_stage_files_import_no_torch():
    code = (
        "import sys; import weldgen.classifier.train, weldgen.classifier.evaluate, weldgen.classifier.export\n"
        "assert not {'torch', 'cv2', 'timm', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_sample_weight_of_the_mix_is_read(tmp_path, photos, tiny_config):
    dataset = decide_split(Dataset.open(photos), TrainConfig().split, 0)
    heavy = [replace(s, extra={"weight": 3.0} if s.label == "bad" else {}) for s in dataset.samples]
    (photos / METADATA_NAME).write_text("".join(json.dumps(s.record()) + "\n" for s in heavy))
    assert {s.extra.get("weight", 1.0) for s in map(Sample.from_record, _lines(photos))} == {1.0, 3.0}
    summary = train(photos, tmp_path / "model", tiny_config(training={"epochs": 1}))
    assert summary.details["steps"] == 2


def _lines(root):
    return [json.loads(line) for line in (root / METADATA_NAME).read_text().splitlines()]
