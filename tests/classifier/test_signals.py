"""A training changes nothing of what the process does about signals."""

from __future__ import annotations

import faulthandler
import signal
from pathlib import Path

import lightning.pytorch as pl
import pytest
from lightning.pytorch.demos.boring_classes import BoringModel

from weldgen.classifier.signals import keep_signals
from weldgen.classifier.trainer import lightning_options, run_trainer

STATUS = Path("/proc/self/status")


class Stopped(BoringModel):
    """The user stops it before its first step."""

    def setup(self, stage):
        raise KeyboardInterrupt


def trainer_in(folder):
    options = lightning_options(folder, "cpu", "fp32", 1, 0.0)
    return pl.Trainer(**options, limit_train_batches=1, limit_val_batches=0, logger=False)


def loaders():
    return BoringModel().train_dataloader(), None


def caught():
    """The signals that something in this process handles, Python or not, as bits."""
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("SigCgt"))
    return int(line.split()[1], 16)


@pytest.fixture
def _interruptible():
    """A program in the background of a shell ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not STATUS.is_file(), reason="only Linux shows which signals are caught")
def test_handlers_of_libraries_stay(tmp_path):
    with (tmp_path / "traces.txt").open("w") as file:
        faulthandler.register(signal.SIGUSR2, file)
        try:
            before = caught()
            assert before & 1 << (signal.SIGUSR2 - 1)
            assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL, "Python does not know of it"
            run_trainer(trainer_in(tmp_path), BoringModel(), loaders(), None)
            assert caught() == before
        finally:
            faulthandler.unregister(signal.SIGUSR2)


@pytest.mark.usefixtures("_interruptible")
def test_ctrl_c_before_the_first_step_is_not_ignored_afterwards(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_trainer(trainer_in(tmp_path), Stopped(), loaders(), None)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_lightnings_own_handler_goes(tmp_path):
    found = []

    class Looks(BoringModel):
        def on_train_start(self):
            found.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    trainer = trainer_in(tmp_path)
    with keep_signals(trainer):
        trainer.fit(Looks())
    assert found[0] is not before
    assert signal.getsignal(signal.SIGTERM) is before
