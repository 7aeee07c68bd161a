"""Batches that are too large for the device."""

from __future__ import annotations

import json

import pytest
import torch

from weldgen.classifier import keeper, run
from weldgen.classifier.memory import BATCH, is_out_of_memory, smaller_batches, with_batches_of
from weldgen.classifier.module import ClassifierModule
from weldgen.classifier.network import WeldNetwork
from weldgen.classifier.plan import Plan
from weldgen.classifier.train import train
from weldgen.errors import BackendError


class SmallDevice(WeldNetwork):
    """A network on a device whose memory holds no more than `most` training images, from a step on."""

    most = 3
    from_batch = 0
    seen: list[int]  # sizes of all training batches

    def forward(self, images, targets=None):
        if self.training:
            type(self).seen.append(len(images))
            if len(images) > self.most and len(type(self).seen) > self.from_batch:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().forward(images, targets)


@pytest.fixture
def device(monkeypatch):
    """The class, to be given another limit."""
    kind = type("Device", (SmallDevice,), {"seen": []})
    monkeypatch.setattr(run, "WeldNetwork", kind)
    monkeypatch.setattr(keeper, "_SAVE_EVERY_S", 0.0)
    return kind


def test_batches_are_halved_until_they_fit_and_steps_stay_as_large(photos, tmp_path, device, tiny_config, caplog):
    config = tiny_config(training={"accumulation": 1})
    whole = train(photos, tmp_path / "small", config)
    assert device.seen[:3] == [8, 4, 2]
    assert set(device.seen[2:]) == {2}
    details = whole.details
    assert (details["batch_size"], details["accumulation"]) == (2, 4)
    assert (details["steps_per_epoch"], details["steps"]) == (2, 6)
    assert any("batches of 8: it trained on batches of 2, 4 a step" in note for note in whole.notes)
    assert [record.args for record in caplog.records if "going on with batches" in record.msg] == [(8, 4, 2), (4, 2, 4)]
    assert not (tmp_path / "small" / BATCH).exists()


def test_it_goes_on_from_the_last_checkpoint(photos, tmp_path, device, tiny_config):
    device.from_batch = 5  # the first two epochs of two batches fit
    summary = train(photos, tmp_path / "model", tiny_config(training={"epochs": 4, "patience": 0}))
    assert device.seen == [8] * 4 + [8, 8] + [4] + [2] * 16
    records = json.loads((tmp_path / "model" / "history.json").read_text())
    assert [record["step"] for record in records] == [2, 4, 6, 8]
    assert summary.details["steps"] == 8


@pytest.mark.parametrize("from_batch", [0, 5])
def test_a_killed_run_goes_on_with_the_same_batches(photos, tmp_path, device, monkeypatch, from_batch, tiny_config):
    device.from_batch = from_batch
    config = tiny_config(training={"epochs": 4, "patience": 0}, model={"drop_rate": 0.5})
    train(photos, tmp_path / "whole", config)
    device.seen.clear()
    original = ClassifierModule.training_step

    class Killed(BaseException):
        """Stands for SIGKILL."""

    def interrupted(self, batch, index):
        if self.global_step == 7:
            raise Killed
        return original(self, batch, index)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ClassifierModule, "training_step", interrupted)
        train(photos, tmp_path / "killed", config)
    device.seen.clear()
    device.most = 99  # by now another program has given its memory back
    train(photos, tmp_path / "killed", config)
    assert set(device.seen) == {2}
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]


def test_not_even_one_image_fits(photos, tmp_path, device, tiny_config):
    device.most = 0
    with pytest.raises(BackendError, match="too little memory") as raised:
        train(photos, tmp_path / "model", tiny_config())
    assert "data.image_size" in raised.value.hint
    assert device.seen == [8, 4, 2, 1]


def test_a_step_keeps_its_size_where_a_batch_is_odd(tmp_path):
    plan = Plan(2, 3, 0, 0.1, accumulation=2, batch_size=15)
    sizes = []
    while plan.batch_size > 1:
        smaller_batches(plan, tmp_path, RuntimeError("out of memory"))
        plan = with_batches_of(tmp_path, plan)
        sizes.append((plan.batch_size, plan.accumulation))
    assert sizes == [(5, 6), (1, 30)]
    assert (plan.epochs, plan.steps_per_epoch) == (2, 3)


def test_other_errors_are_not_about_memory():
    assert is_out_of_memory(torch.OutOfMemoryError("x"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 7.97 GB)"))
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
