"""The best epochs of a run: which they are, and their states on disk.

The very best one is `best.ckpt`; with `training.keep_top` above 1 it and those that follow are also kept in `top/`,
under names that say epoch, step and the value that ranks them.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from weldgen.runtime import output_errors, write_atomic

BEST, TOP = "best.ckpt", "top"


@dataclass(frozen=True)
class Kept:
    """An epoch that was validated.

    Attributes:
        epoch: Its number, from 1.
        step: Steps of the optimizer until its end.
        score: The higher the better; 0 where only the loss counts, or nothing was validated.
        loss: Of the validation; among equal scores the lower the better.
        monitor: Name of what ranks it and its value, for its file; empty where nothing was validated.
    """

    epoch: int
    step: int
    score: float = 0.0
    loss: float = 0.0
    monitor: str = ""

    @property
    def file_name(self) -> str:
        """E.g. `epoch-012-step-000480-balanced_accuracy-0.9500.ckpt`; by name they lie in the order of the epochs."""
        value = f"-{self.monitor}-{self.loss if self.monitor == 'loss' else self.score:.4f}" if self.monitor else ""
        return f"epoch-{self.epoch:03d}-step-{self.step:06d}{value}.ckpt"


class TopStates:
    """Ranks epochs, holds the states of the best ones, and writes them when it is told to.

    Args:
        folder: Of the model.
        count: How many epochs are kept.

    Attributes:
        ranked: The best epochs so far: first that of `best.ckpt`, then by score, loss, and the later one first.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.ranked: list[Kept] = []
        self._folder = folder
        self._count = count
        self._pending: dict[int, dict[str, Any]] = {}  # by epoch: not on disk yet

    def state_dict(self) -> list[dict[str, Any]]:
        """What the last checkpoint keeps of the ranking."""
        return [asdict(kept) for kept in self.ranked]

    def load_state_dict(self, state: list[Mapping[str, Any]]) -> None:
        """Go on with a ranking; files of epochs that come after it are removed, and will be written again."""
        self.ranked = [Kept(**kept) for kept in state]
        self.prune()

    def add(self, kept: Kept, module: nn.Module, best_epoch: int) -> None:
        """Rank one more epoch, and hold a copy of its state where it is among the best.

        Args:
            kept: The epoch that has ended.
            module: With its weights.
            best_epoch: The epoch of `best.ckpt`: that one, or an earlier one which stays the best.
        """

        def rank(one: Kept) -> tuple[bool, float, float, int]:
            return one.epoch != best_epoch, -one.score, one.loss, -one.epoch

        self.ranked = sorted([*self.ranked, kept], key=rank)[: self._count]
        if kept in self.ranked:
            state = {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}
            self._pending[kept.epoch] = {
                "state_dict": state, "epoch": kept.epoch, "pytorch-lightning_version": version("lightning"),
            }  # fmt: skip
        epochs = {one.epoch for one in self.ranked}
        self._pending = {epoch: state for epoch, state in self._pending.items() if epoch in epochs}

    def write(self) -> None:
        """Write the states that are not on disk yet, each whole or not at all."""
        for place, kept in enumerate(self.ranked):
            state = self._pending.pop(kept.epoch, None)
            if state is None:
                continue
            stream = io.BytesIO()
            torch.save(state, stream)
            if place == 0:
                write_atomic(self._folder / BEST, stream.getvalue())
            if self._count > 1:
                write_atomic(self._folder / TOP / kept.file_name, stream.getvalue())

    def prune(self) -> None:
        """Remove the files of epochs that are not among the best, after the checkpoint that says so is written."""
        names = {kept.file_name for kept in self.ranked}
        for path in (self._folder / TOP).glob("*.ckpt"):
            if path.name not in names:
                with output_errors(path):
                    path.unlink()
