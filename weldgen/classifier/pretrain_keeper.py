"""History, progress and checkpoint of a self-supervised run: one callback, whose state travels in the checkpoint."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl

from weldgen.classifier.dino import DinoModule, Length
from weldgen.classifier.keeper import HISTORY, LAST
from weldgen.runtime import log, output_errors, temporary_for, track, write_atomic

# An interrupted run loses at most so much.
_SAVE_EVERY_S = 20.0


class PretrainKeeper(pl.Callback):
    """Records each epoch, and saves now and then.

    Args:
        folder: Where they go.
        length: Length of the run.

    Attributes:
        history: One record an epoch.
    """

    def __init__(self, folder: Path, length: Length) -> None:
        self.history: list[dict[str, Any]] = []
        self._folder = folder
        self._length = length
        self._saved = self._epoch_started = time.monotonic()
        self._progress: Iterator[int] = iter(())

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps of this callback."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint was made."""
        self.history = list(state_dict["history"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the progress bar."""
        left = self._length.steps - trainer.global_step
        self._progress = track(range(left), total=left, description="pretrain", unit="steps")
        next(self._progress, None)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of the epoch."""
        self._epoch_started = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Move the progress bar."""
        next(self._progress, None)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch, and save now and then."""
        epoch = trainer.current_epoch + 1
        metrics = cast(DinoModule, pl_module).epoch_metrics
        seconds = round(time.monotonic() - self._epoch_started, 3)
        self.history.append({"epoch": epoch, "step": trainer.global_step, **metrics, "seconds": seconds})
        if not sys.stderr.isatty():  # on a terminal the bar is enough
            log.info("epoch %d/%d: loss %.3f", epoch, self._length.epochs, metrics["loss"])
        if epoch == self._length.epochs or time.monotonic() - self._saved > _SAVE_EVERY_S:
            path = self._folder / LAST
            with output_errors(path):
                trainer.save_checkpoint(temporary_for(path))  # Lightning writes in place
                temporary_for(path).replace(path)
            write_atomic(self._folder / HISTORY, json.dumps(self.history, indent=1) + "\n")
            self._saved = time.monotonic()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End the progress bar."""
        self._progress = iter(())
