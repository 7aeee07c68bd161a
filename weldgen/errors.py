"""The error tree: everything the library raises on purpose.

WeldgenError            message + hint; the command line prints both and exits 1
├── ConfigError         a wrong key, value or combination (exit 2)
├── DataError           an image, dataset or folder that cannot be used
├── OutputError         a result that cannot be written (full disk, no permission)
├── BackendError        a backend, library or weight that is missing or broken
├── PipelineError       a chain of stages that cannot run
└── TargetError         a measured value that misses its target
"""

from __future__ import annotations


class WeldgenError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: What happened, the value got and what is accepted, in one sentence.
        hint: The next thing to do, or an empty string.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(WeldgenError):
    """A setting that does not exist or does not fit."""


class DataError(WeldgenError):
    """An image, dataset or folder that cannot be used."""


class OutputError(WeldgenError):
    """A result that could not be written."""


class BackendError(WeldgenError):
    """A backend, library or weight that is missing or broken."""


class PipelineError(WeldgenError):
    """A chain of stages that cannot run."""


class TargetError(WeldgenError):
    """A measured value that misses its target."""
