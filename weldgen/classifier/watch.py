"""Let a search look into a training: Lightning callbacks that `train` adds to its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import lightning.pytorch as pl

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
