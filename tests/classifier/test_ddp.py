"""Several processes train one network: on a CPU, with networks without batch norms, to the results of one process."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import subprocess
import sys

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import torch.distributed as dist

from weldgen.classifier import keeper, run
from weldgen.classifier.backbones import create_backbone
from weldgen.classifier.devices import check_stock, count_devices, device_notes, has_idle_weights, join_norms
from weldgen.classifier.loader import EpochOrder, Images
from weldgen.classifier.memory import smaller_batches, with_batches_of
from weldgen.classifier.module import ClassifierModule
from weldgen.classifier.network import WeldNetwork
from weldgen.classifier.parallel import together
from weldgen.classifier.plan import Plan
from weldgen.classifier.settings import LoggingSettings, ModelSettings
from weldgen.classifier.share import PartOfBatches, Share, gather_rows
from weldgen.classifier.train import train
from weldgen.classifier.watch import watching
from weldgen.errors import BackendError, ConfigError


@pytest.fixture(scope="module")
def photos(tmp_path_factory, make_photos):
    """17 for training, which are no multiple of a batch, and 5 for validation, which two processes cannot halve."""
    return make_photos(tmp_path_factory.mktemp("photos"), {"bad": 15, "good": 9})


@pytest.fixture(scope="module")
def config(tiny_config):
    """Of a network that gives the same result however its batches are divided."""

    def make(**training):
        return tiny_config(
            model={"backbone": "test_vit", "drop_rate": 0.0, "head": "softmax"},
            data={"shape": "square"},
            split={"val": 0.2, "test": 0.05},
            training={"epochs": 4, "lr": 1e-3, "label_smoothing": 0.1, "ema_decay": 0.9, "patience": 0, **training},
        )

    return make


def history(folder):
    records = json.loads((folder / "history.json").read_text())
    return [{name: value for name, value in record.items() if name != "seconds"} for record in records]


def assert_alike(folder, other):
    first, second = history(folder), history(other)
    assert len(first) == len(second)
    for mine, others in zip(first, second, strict=True):
        assert mine == pytest.approx(others, abs=1e-4)


class Seen(pl.Callback):
    """Looks at a training from outside."""

    def __init__(self):
        self.epochs = []

    def on_train_epoch_end(self, trainer, pl_module):
        kept = next(callback for callback in trainer.callbacks if isinstance(callback, keeper.Keeper))
        self.epochs.append((trainer.current_epoch + 1, trainer.max_epochs, len(kept.history)))


def test_two_processes_find_what_one_finds(photos, tmp_path, config, caplog):
    caplog.set_level(logging.INFO)
    train(photos, tmp_path / "one", config())
    caplog.clear()
    seen = Seen()
    with watching(seen):
        logged = LoggingSettings.model_validate({"wandb": {"enabled": True}})
        summary = train(photos, tmp_path / "two", config(devices=2).model_copy(update={"logging": logged}))
    assert_alike(tmp_path / "one", tmp_path / "two")
    for name in ("train_loss", "val_loss"):
        assert np.ptp([record[name] for record in history(tmp_path / "two")]) > 0.01, "there is something to compare"
    assert summary.counts["training images"] % 8, "the last batch is completed"
    assert summary.counts["validation photos"] % 2, "the processes cannot halve them"
    assert any("2 processes on the CPU, up to 4 images of each batch" in note for note in summary.notes)
    # One process writes and tells, and who looks at the training sees it.
    assert len(list((tmp_path / "two" / "tensorboard").rglob("events*"))) == 1
    assert not list((tmp_path / "two").rglob(".writing-*"))
    told = [line.split(":")[0] for line in caplog.messages if line.startswith("epoch ")]
    assert told == ["epoch 1/4", "epoch 2/4", "epoch 3/4", "epoch 4/4"]
    assert seen.epochs == [(epoch, 4, epoch) for epoch in (1, 2, 3, 4)]
    # The process that logged the curves is gone; the pictures go to its run all the same.
    parts = list((tmp_path / "two" / "wandb").rglob("*.wandb"))
    assert len(parts) == 2
    assert len({part.name for part in parts}) == 1
    assert [path for path in (tmp_path / "two" / "wandb").rglob("*.png") if path.name.startswith("confusion_norm")]
    assert sys.modules["wandb"].run is None, "the run is closed"


def unlucky(share, job, tell):
    """The second process has no memory for four images, and with two it dies in the third epoch."""

    class Small(WeldNetwork):
        def forward(self, images, targets=None):
            if self.training and share.rank == 1 and len(images) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return super().forward(images, targets)

    original = ClassifierModule.on_train_epoch_start

    def start(module):
        if share.rank == 1 and module.current_epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        original(module)

    # These are changes to this process alone, which nobody uses after it.
    run.WeldNetwork, ClassifierModule.on_train_epoch_start, keeper._SAVE_EVERY_S = Small, start, 0.0
    return run._work(share, job, tell)


def test_smaller_batches_a_death_and_a_second_try_change_nothing(photos, tmp_path, config, monkeypatch):
    out = tmp_path / "model"
    with monkeypatch.context() as patch, pytest.raises(BackendError, match=r"process 2 of 2 .* died \(signal 9\)"):
        patch.setattr(run, "_work", unlucky)
        train(photos, out, config(devices=2))
    assert json.loads((out / "batch.json").read_text()) == {"batch_size": 4, "accumulation": 2}
    assert 1 <= len(history(out)) <= 2, "the first process may not have come to write the second epoch"
    summary = train(photos, out, config(devices=2))
    assert (summary.details["batch_size"], summary.details["accumulation"], summary.details["epochs"]) == (4, 2, 4)
    train(photos, tmp_path / "one", config(batch_size=4, accumulation=2))
    assert_alike(out, tmp_path / "one")


def failing(share, job, tell):
    """The second process fails while the first one waits for it."""
    if share.rank == 1:
        raise ValueError(f"{job} is wrong")
    dist.barrier()


def test_an_error_in_one_process_ends_all_of_them():
    with pytest.raises(ValueError, match="this is wrong") as raised:
        together(failing, "this", 2, "cpu")
    assert "in failing" in raised.value.__notes__[0], "where it happened is not lost"


# Ctrl-C is tried in a program of its own: it would end the tests where a library has changed what they do about it.
INTERRUPTED = """
import json, os, signal, sys, threading
import torch.distributed as dist
from weldgen.classifier.parallel import together
from weldgen.runtime import configure_logging, log

def waiting(share, job, tell):
    pids = [None, None]
    dist.all_gather_object(pids, os.getpid())
    if share.leads:
        log.info("%s waits", share.rank)
        tell(pids)
    threading.Event().wait()

def heard(told):
    print(json.dumps(told), flush=True)
    for pid in told:
        os.kill(pid, signal.SIGINT)  # which Ctrl-C sends to all; the parent alone decides
    signal.raise_signal(signal.SIGINT)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a program in the background of a shell ignores it
    configure_logging(quiet=False, debug=False)
    try:
        together(waiting, None, 2, "cpu", heard)
    except KeyboardInterrupt:
        sys.exit(7)
"""


def test_an_interrupt_ends_all_processes(tmp_path):
    program = tmp_path / "interrupted.py"
    program.write_text(INTERRUPTED)
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 7, done.stderr
    pids = json.loads(done.stdout)
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert done.stderr.count("waits") == 1
    assert "0 waits" in done.stderr


@pytest.mark.parametrize(
    ("training", "device", "linear", "message"),
    [
        ({"devices": 3, "batch_size": 9}, "cuda", False, "devices=3, but this machine has 2 GPUs"),
        ({"devices": 2}, "mps", False, "devices=2, but this machine has 1 GPU for device=mps"),
        ({"devices": 2, "batch_size": 7}, "cuda", False, "2 devices cannot share training.batch_size=7 equally"),
        ({"devices": "all", "batch_size": 7}, "cuda", False, "devices=all: 2 devices cannot share"),
        ({"devices": 2}, "cuda:1", False, "device=cuda:1 names one GPU"),
        ({"devices": 2}, "cpu", True, "devices=2: a linear classifier"),
    ],
)
def test_devices_that_cannot_be_are_refused(training, device, linear, message, tiny_config, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=message) as raised:
        count_devices(tiny_config(training=training), device, linear=linear)
    assert raised.value.hint.startswith(("training.", "device="))


def test_devices_are_counted(tiny_config, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    for wanted, device, count in (
        (1, "cuda:1", 1),
        (2, "cuda", 2),
        ("all", "cuda", 4),
        ("all", "cpu", 1),
        (8, "cpu", 8),
    ):
        assert count_devices(tiny_config(training={"devices": wanted}), device) == count
    assert count_devices(tiny_config(training={"devices": "all"}), "cpu", linear=True) == 1


def test_train_refuses_before_it_reads_photos(photos, tmp_path, tiny_config):
    with pytest.raises(ConfigError, match="linear classifier"):
        train(photos, tmp_path / "model", tiny_config(training={"devices": 2, "method": "linear"}))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(("batch_size", "count"), [(8, 2), (5, 2), (6, 3)])
def test_the_parts_of_a_batch_are_the_batch(batch_size, count):
    order = EpochOrder([1.0] * 17, batch_size, seed=0)
    whole, parts = [], [[] for _ in range(count)]
    for epoch in (0, 3):
        order.set_epoch(epoch)
        whole.extend(order)
    for rank in range(count):
        part = PartOfBatches(EpochOrder([1.0] * 17, batch_size, seed=0), batch_size, Share(rank, count))
        for epoch in (0, 3):
            part.set_epoch(epoch)
            parts[rank].extend(part)
        assert len(parts[rank]) == 2 * len(part)
    sizes = [Share(rank, count).size_of(batch_size) for rank in range(count)]
    assert sum(sizes) == batch_size
    for batch in range(len(whole) // batch_size):
        keys = [key for size, own in zip(sizes, parts, strict=True) for key in own[batch * size : (batch + 1) * size]]
        assert sorted(keys) == sorted(whole[batch * batch_size : (batch + 1) * batch_size])


def judging(share, job, tell):
    """What is gathered of all processes, for so many rows as the job says."""
    own = torch.tensor(share.rows_of(job))
    return [column.tolist() for column in gather_rows((own, own.float()[:, None]), job, share, torch.device("cpu"))]


@pytest.mark.parametrize("total", [4, 1])
def test_every_row_is_judged_once(total):
    rows, columns = together(judging, total, 3, "cpu")
    assert rows == list(range(total))
    assert columns == [[float(row)] for row in rows]


def test_dropout_differs_between_processes_and_not_from_one_process():
    assert Share(0, 2).seed_parts("step", 3) == Share().seed_parts("step", 3)
    assert len({Share(rank, 3).seed_parts("step", 3) for rank in range(3)}) == 3


def test_smaller_batches_leave_no_device_without_images(tmp_path):
    sizes = []
    plan = Plan(2, 3, 0, 0.1, batch_size=12, share=Share(0, 2))
    while plan.batch_size > 2:
        smaller_batches(plan, tmp_path, RuntimeError("out of memory"))
        plan = with_batches_of(tmp_path, plan)
        sizes.append((plan.batch_size, plan.accumulation))
    assert sizes == [(6, 2), (2, 6)]
    with pytest.raises(BackendError, match="too little memory"):
        smaller_batches(plan, tmp_path, RuntimeError("out of memory"))
    with pytest.raises(ConfigError, match="only 2 training images"):
        check_stock(Plan(2, 3, 0, 0.1, batch_size=2, share=Share(0, 3)))


def test_mapped_images_go_to_another_process_by_name(tmp_path):
    rng = np.random.default_rng(0)
    framed = rng.integers(0, 256, (6, 3, 32, 64), dtype=np.uint8)
    images = Images((None,) * 6, framed, np.arange(6))
    mapped = images.mapped(tmp_path / "images.npy")
    part = Images(mapped.samples[2:5], mapped.framed[2:][:3], mapped.targets[2:5])
    sent = pickle.dumps(part)
    assert len(sent) < framed.nbytes / 10
    back = pickle.loads(sent)
    assert np.array_equal(back.framed, framed[2:5])
    assert (back.frame, back.targets.tolist()) == ((32, 64), [2, 3, 4])
    assert np.array_equal(pickle.loads(pickle.dumps(images)).framed, framed)
    none = Images((), framed[:0], np.arange(0))
    assert len(pickle.loads(pickle.dumps(none.mapped(tmp_path / "none.npy")))) == 0


def test_norms_that_see_the_whole_batch_answer_as_before():
    backbone = create_backbone("test_efficientnet", "none", (64, 64))
    settings = ModelSettings(embedding_size=16, head="mlp", mlp={"norm": "batch"})
    network = WeldNetwork(backbone.model, backbone.features, (backbone.mean, backbone.std), settings, 2)
    assert not has_idle_weights(network, (64, 64))
    network.unused = torch.nn.Linear(2, 2)
    assert has_idle_weights(network, (64, 64))
    images = torch.rand(2, 3, 64, 64) * 255
    before, names = network.eval()(images), list(network.state_dict())
    plan = Plan(2, 3, 0, 0.1, pretrained=False, batch_size=8, share=Share(0, 2))
    assert any("its own process" in note for note in device_notes(network, plan, "cpu"))
    assert len(device_notes(network, plan, "cuda")) == 1
    join_norms(network, "cpu")
    assert not any(isinstance(module, torch.nn.SyncBatchNorm) for module in network.modules())
    join_norms(network, "cuda")
    kinds = {type(module).__name__ for module in network.modules() if "BatchNorm" in type(module).__name__}
    assert kinds == {"SyncBatchNormAct", "SyncBatchNorm"}
    assert list(network.state_dict()) == names
    assert torch.equal(network(images), before), "the activations behind the norms are still there"
