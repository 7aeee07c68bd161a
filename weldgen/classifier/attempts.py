"""What may fail for one value of a comparison and not for the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from weldgen.data.dataset import Failure
from weldgen.errors import BackendError, OutputError, WeldgenError
from weldgen.runtime import log

T = TypeVar("T")


class Attempts:
    """Runs what may fail for one value and not for the others, and keeps the reasons.

    Attributes:
        failures: What failed, with the reason.
        errors: The errors in the same order, without their tracebacks: those would keep a model's memory.
    """

    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self.errors: list[WeldgenError] = []

    def run(self, name: str, function: Callable[[], T]) -> T | None:
        """The function's result, or None where it failed.

        Raises:
            OutputError: A full disk is full for all values.
        """
        try:
            return function()
        except OutputError:
            raise
        except WeldgenError as error:
            kept = type(error)(error.message, error.hint)
        except (MemoryError, RuntimeError) as error:  # torch reports a full device as RuntimeError
            hint = "lower training.batch_size or data.image_size" if "memory" in repr(error).lower() else ""
            kept = BackendError(f"{type(error).__name__}: {error}", hint)
        log.warning("%s failed: %s", name, kept.message)
        self.keep(name, kept)
        return None

    def keep(self, name: str, error: WeldgenError) -> None:
        """Keep an error that was told already."""
        self.failures.append(Failure(name, error.message))
        self.errors.append(error)
