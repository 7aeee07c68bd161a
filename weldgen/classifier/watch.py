"""Let a search look into a training: Lightning callbacks that `train` adds to its own.

Where several processes train, the callbacks stay in the one that started them, and get to know what the first of the
others saw: `on_train_epoch_end` is called, with a trainer that has the history and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl

from weldgen.classifier.keeper import Keeper
from weldgen.classifier.plan import Plan

_WATCHERS: ContextVar[tuple[pl.Callback, ...]] = ContextVar("watchers", default=())


@contextmanager
def watching(callback: pl.Callback) -> Iterator[None]:
    """Trainings inside this block call `callback` too, after their own callbacks.

    It may stop a training by raising: what was saved until then stays, and the exception comes out of `train`.
    """
    token = _WATCHERS.set((*_WATCHERS.get(), callback))
    try:
        yield
    finally:
        _WATCHERS.reset(token)


def watchers() -> tuple[pl.Callback, ...]:
    """The callbacks of the blocks that this code runs in."""
    return _WATCHERS.get()


class HistoryTold(pl.Callback):
    """Tells another process of each epoch.

    Args:
        keeper: What has seen the epochs; is called before this.
        tell: Takes its history.
    """

    def __init__(self, keeper: Keeper, tell: Callable[[object], None]) -> None:
        self._keeper = keeper
        self._tell = tell

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell it."""
        self._tell(self._keeper.history)


def told_to_watchers(keeper: Keeper, plan: Plan, module: pl.LightningModule) -> Callable[[list[dict[str, Any]]], None]:
    """What takes the history of another process: it calls the watchers of this one.

    Args:
        keeper: Of this process; takes the history over.
        plan: Length of the run.
        module: Of this process, with the weights that the training started from.
    """

    def hear(history: list[dict[str, Any]]) -> None:
        keeper.history = history
        trainer: Any = SimpleNamespace(max_epochs=plan.epochs, current_epoch=len(history) - 1, callbacks=[keeper])
        for watcher in watchers():
            watcher.on_train_epoch_end(trainer, module)

    return hear
