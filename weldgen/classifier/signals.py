"""What a process does about signals is the same after a training as before."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl

# Those that Lightning sets handlers for while it trains, and puts back.
_LIGHTNINGS = {getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)}


@contextmanager
def keep_signals(trainer: pl.Trainer) -> Iterator[None]:
    """Let Lightning put back what it changes, and nothing else.

    By itself it ends with setting every signal to what Python knows of it, which takes away the handlers of libraries,
    such as the report of a crash that `python -X faulthandler` writes; and after Ctrl-C before the first step it goes
    on to ignore Ctrl-C.

    Args:
        trainer: Trains within.
    """
    connector: Any = trainer._signal_connector
    connector._get_current_signal_handlers = _handlers
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        # None is a handler that Python cannot name; only the main thread may set one, so Lightning has set none either
        if interrupt is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, interrupt)


def _handlers() -> dict[int, Any]:
    found = {number: signal.getsignal(number) for number in signal.valid_signals()}
    return {number: handler for number, handler in found.items() if number in _LIGHTNINGS or callable(handler)}
