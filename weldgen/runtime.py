"""Device, seeds, threads, logging, progress and files that are never half-written."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from weldgen.errors import BackendError, ConfigError, OutputError

T = TypeVar("T")

log = logging.getLogger("weldgen")

_PLAIN_PROGRESS_EVERY_S = 10.0
_TEMPORARY_PREFIX = ".writing-"


def resource_dir(name: str) -> Path:
    """Folder of shipped data (`configs`, `pipelines` or `assets`).

    A wheel carries it inside the package, a checkout beside it.
    """
    inside = Path(__file__).parent / name
    return inside if inside.is_dir() else Path(__file__).parent.parent / name


def cache_dir() -> Path:
    """Where downloaded weights lie: `$WELDGEN_CACHE`, else the user's cache folder."""
    import platformdirs

    override = os.environ.get("WELDGEN_CACHE")
    return Path(override) if override else Path(platformdirs.user_cache_dir("weldgen", appauthor=False))


def cpu_count() -> int:
    """Cores that this process may use (not those that the machine has)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def give_back_memory() -> None:
    """Hand memory that was freed back to the system, which the C library of Linux keeps otherwise."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl has not
        if trim is not None:
            trim(0)


def resolve_jobs(jobs: int) -> int:
    """Number of workers: `jobs`, or all cores where it is 0."""
    if jobs < 0:
        raise ConfigError(f"jobs={jobs} is negative; 0 means all cores", "pass --jobs 0 or a positive number")
    return jobs or cpu_count()


def resolve_device(device: str) -> str:
    """Turn `auto` into `cuda`, `mps` or `cpu`; check that a named device is there.

    Raises:
        BackendError: The named device is not present.
        ConfigError: The name is none of auto, cpu, cuda, cuda:N, mps.
    """
    if device == "cpu":
        return device
    import torch

    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next((name for name, there in present.items() if there), "cpu")
    kind = device.split(":", maxsplit=1)[0]
    if kind not in present:
        raise ConfigError(f"device '{device}' is not known; accepted: auto, cpu, cuda, cuda:N, mps")
    if not present[kind]:
        raise BackendError(f"device '{device}' was asked for, but torch finds none", "use --device auto or cpu")
    return device


def derive_seed(seed: int, *parts: object) -> int:
    """A 63-bit seed from the run's seed and an image's identity.

    Results therefore do not depend on batch size, on the number of workers or on where a run was resumed.
    """
    text = "\x1f".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def evenly(items: Sequence[T], most: int) -> list[T]:
    """At most so many of the items, evenly from first to last."""
    if len(items) <= most:
        return list(items)
    return [items[index * len(items) // most] for index in range(most)]


def timed_ms(function: Callable[[Any], Any], argument: Any) -> float:
    """How long a call takes, in milliseconds."""
    started = time.perf_counter()
    function(argument)
    return 1000 * (time.perf_counter() - started)


def content_hash(data: bytes) -> str:
    """Identity of a file's bytes: 20 hex digits of BLAKE2b."""
    return hashlib.blake2b(data, digest_size=10).hexdigest()


def file_hash(path: Path) -> str:
    """`content_hash` of a file, read in pieces."""
    digest = hashlib.blake2b(digest_size=10)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# --- files ---------------------------------------------------------------------------------------------------------


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn a failing write below `path` into one sentence."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}",
            "free some space and run the same command again; it goes on where it stopped"
            if full
            else "check the folder's permissions, or choose another --out",
        ) from error


def temporary_for(path: Path) -> Path:
    """The name under which `path` is written before it is renamed; `remove_temporaries` knows it."""
    return path.with_name(_TEMPORARY_PREFIX + path.name)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file whole or not at all.

    Raises:
        OutputError: The disk is full or the folder cannot be written.
    """
    temporary = temporary_for(path)
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data.encode() if isinstance(data, str) else data)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def remove_temporaries(folder: Path) -> None:
    """Remove what an interrupted run left half-written below `folder`."""
    for leftover in folder.rglob(_TEMPORARY_PREFIX + "*"):
        leftover.unlink(missing_ok=True)


# --- what the user sees --------------------------------------------------------------------------------------------


class _StandardError(logging.Handler):
    """Prints to whatever `sys.stderr` is at that moment, so that a redirection holds."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def configure_logging(*, quiet: bool = False, debug: bool = False) -> None:
    """Send weldgen's messages to standard error; silence chatty libraries unless `debug`."""
    level = logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO
    log.handlers[:] = [_StandardError()]
    log.setLevel(level)
    log.propagate = False
    if not debug:
        import warnings

        warnings.filterwarnings("ignore", category=UserWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("TQDM_DISABLE", "1")


def track(items: Iterable[T], *, total: int, description: str, unit: str = "images") -> Iterator[T]:
    """Yield `items` and show how far they are: a bar on a terminal, plain lines elsewhere."""
    if not log.isEnabledFor(logging.INFO) or total == 0:
        yield from items
    elif sys.stderr.isatty():
        yield from _track_bar(items, total, description)
    else:
        yield from _track_lines(items, total, description, unit)


def _track_bar(items: Iterable[T], total: int, description: str) -> Iterator[T]:
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[rate]}"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total, rate="")
        for item in items:
            yield item
            speed = bar.tasks[0].speed
            bar.update(task, advance=1, rate=f"{speed:.1f}/s" if speed else "")


def _track_lines(items: Iterable[T], total: int, description: str, unit: str) -> Iterator[T]:
    started = printed = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - printed >= _PLAIN_PROGRESS_EVERY_S or count == total:
            printed = now
            rate = count / max(now - started, 1e-9)
            left_s = (total - count) / rate
            log.info("%s: %d/%d %s, %.1f/s, %.0f s left", description, count, total, unit, rate, left_s)
