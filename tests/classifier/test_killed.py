"""A training whose process is killed, as by the kernel for memory, goes on to the same result."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import torch

from weldgen.classifier.train import train

# Kills itself at a step, so that nothing depends on how fast the machine is. No handler sees SIGKILL: no file is
# closed, no lock released, no callback called.
PROGRAM = """
import os, signal, sys
import torch
from pathlib import Path
from weldgen.classifier import keeper
from weldgen.classifier.module import ClassifierModule
from weldgen.classifier.train import TrainConfig, train

torch.set_num_threads(int(sys.argv[4]))
keeper._SAVE_EVERY_S = 0.0
original = ClassifierModule.training_step

def step(self, batch, batch_idx):
    if self.global_step == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, batch, batch_idx)

ClassifierModule.training_step = step
train(Path(sys.argv[1]), Path(sys.argv[2]), TrainConfig.model_validate_json(sys.argv[3]))
"""


def test_a_run_that_was_killed_goes_on_to_the_same_metrics(photos, tmp_path, tiny_config):
    config = tiny_config(
        training={"epochs": 5, "patience": 0, "keep_top": 2, "oversample": "balanced"}, model={"drop_rate": 0.5}
    )
    whole, out = tmp_path / "whole", tmp_path / "killed"
    train(photos, whole, config)
    arguments = [str(photos), str(out), config.model_dump_json(), str(torch.get_num_threads())]
    killed = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (out / "last.ckpt").is_file()
    assert (out / ".lock").exists(), "the lock of the dead process is left, and must not hold up the next"
    assert not (out / "stage.json").exists()
    before = len(json.loads((out / "history.json").read_text()))
    assert 0 < before < 5

    train(photos, out, config)
    first, second = ([{**r, "seconds": 0} for r in json.loads((f / "history.json").read_text())] for f in (whole, out))
    assert first == second
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert sorted(path.name for path in (out / "top").iterdir()) == sorted(
        path.name for path in (whole / "top").iterdir()
    )
