"""Commands that run side by side, each in a process of its own, and end with the one that started them.

A command reads its job as one line of JSON from standard input, which stays open as long as its parent lives, writes
its log to standard error (`log_with_levels`) and says on the last line of standard output what became of it
(`Outcome.line`).
"""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, Literal

import weldgen.errors as tree
from weldgen.errors import BackendError, OutputError, WeldgenError
from weldgen.runtime import cpu_count, log

_LEVEL_AND_TEXT = re.compile(r"^<(\d+)> (.*)$")
_END_S = 10.0
_GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Job:
    """What one process does.

    Attributes:
        name: What its lines of the log begin with.
        command: The process.
        content: Its job, as JSON.
    """

    name: str
    command: Sequence[str]
    content: Mapping[str, Any]


def plan_slots(parallel: int | Literal["auto"], jobs: int, *, spread: bool) -> list[dict[str, str]]:
    """The environment of each process that runs beside the others; none where all jobs run one after the other.

    Args:
        parallel: `auto` is one for each GPU.
        jobs: How many there are.
        spread: Whether each can do with whichever GPU it gets, and with one.
    """
    gpus = _gpus() if spread else []
    count = min(max(len(gpus), 1) if parallel == "auto" else parallel, jobs)
    if count < 2:
        return []
    slots = []
    for number in range(count):
        slot = {"OMP_NUM_THREADS": str(_share(count))}
        if len(gpus) > 1:
            slot[_GPU_VARIABLE] = gpus[number % len(gpus)]
        slots.append(slot)
    return slots


def _share(count: int) -> int:
    """Threads of each of so many processes; no more than the user allows one."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    share = max(1, cpu_count() // count)
    return min(share, int(asked)) if asked.isdecimal() and int(asked) > 0 else share


def _gpus() -> list[str]:
    """The GPUs that this process sees, as their variable names them."""
    import torch

    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get(_GPU_VARIABLE, "").split(",") if name.strip()]
    return (named or [str(number) for number in range(count)])[:count]


def run_side_by_side(jobs: Sequence[Job], slots: Sequence[Mapping[str, str]]) -> dict[str, WeldgenError | None]:
    """Run all jobs, as many at a time as there are slots; whatever ends this function ends the processes too.

    Args:
        jobs: What is to be done; the first ones start first.
        slots: What the environment of each process adds to this one's.

    Returns:
        Name of each job -> its error, or None where it was done.

    Raises:
        OutputError: A full disk is full for all.
    """
    free: queue.SimpleQueue[Mapping[str, str]] = queue.SimpleQueue()
    for slot in slots:
        free.put(slot)
    children = _Children()
    found: dict[str, WeldgenError | None] = {}
    with ThreadPoolExecutor(len(slots)) as pool:
        try:
            running = {pool.submit(_run_one, job, free, children): job for job in jobs}
            for future in as_completed(running):
                error = future.result()
                if isinstance(error, OutputError):
                    raise error
                name = running[future].name
                found[name] = error
                log.info("%s: %s (%d of %d)", name, "failed" if error else "done", len(found), len(jobs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            children.end()
            raise
    return found


class _Children:
    """The processes that run; after `end` none is started any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen[str]] = []
        self._ended = False

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str] | None:
        with self._lock:
            if self._ended:
                return None
            pipe = subprocess.PIPE
            process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, encoding="utf-8", errors="replace",
                env={**os.environ, **environment},
            )  # fmt: skip
            self._running.append(process)
            return process

    def end(self) -> None:
        with self._lock:
            self._ended = True
        for process in self._running:
            process.terminate()
        for process in self._running:
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _run_one(
    job: Job, free: queue.SimpleQueue[Mapping[str, str]], children: _Children
) -> WeldgenError | None:  # in a thread of its own
    slot = free.get()
    try:
        process = children.start(job.command, slot)
        if process is None:
            return BackendError(f"{job.name} was not started")
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise RuntimeError("a process without its pipes")
        lines: list[str] = []
        reader = threading.Thread(target=_pass_on, args=(job.name, process.stderr, lines), daemon=True)
        reader.start()
        try:
            process.stdin.write(json.dumps({**job.content, "level": log.getEffectiveLevel()}) + "\n")
            process.stdin.flush()  # and stays open: its end tells the child that this process is gone
        except OSError:
            log.debug("%s: ended before it read its job", job.name)
        said = process.stdout.read().splitlines()
        code = process.wait()
        reader.join()
        for stream in (process.stdin, process.stdout, process.stderr):
            try:
                stream.close()
            except OSError:
                log.debug("%s: a pipe broke", job.name)
        return _read_outcome(said, code, lines)
    except OSError as error:
        return BackendError(f"no process could be started: {error.strerror or error}", "use fewer side by side")
    finally:
        free.put(slot)


def _pass_on(name: str, stream: Any, lines: list[str]) -> None:
    """Give a child's log to this process's, and keep the rest for what is said of a crash."""
    for line in stream:
        found = _LEVEL_AND_TEXT.match(line.rstrip("\n"))
        if found:
            log.log(int(found[1]), "%s: %s", name, found[2])
        elif line.strip():
            log.debug("%s: %s", name, line.rstrip())
            lines[:] = [*lines[-9:], line.strip()]


def _read_outcome(said: Sequence[str], code: int, lines: Sequence[str]) -> WeldgenError | None:
    """What a child said last, or how it died."""
    try:
        last = json.loads(said[-1]) if code == 0 else None
    except (IndexError, ValueError):
        last = None
    if not isinstance(last, dict) or "error" not in last:
        if code < 0:
            return BackendError(
                f"the process was ended by signal {-code}", "if memory ran out, run fewer trainings side by side"
            )
        return BackendError(f"the process died: {lines[-1] if lines else f'exit code {code}'}")
    error = last["error"]
    if error is None:
        return None
    kind = getattr(tree, error["kind"], WeldgenError)
    known = isinstance(kind, type) and issubclass(kind, WeldgenError)
    return (kind if known else WeldgenError)(error["message"], error["hint"])


# --- in the child --------------------------------------------------------------------------------------------------


def read_job() -> dict[str, Any]:
    """The job; from now on this process ends when its parent does, and the parent alone answers Ctrl-C."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    job: dict[str, Any] = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    log_with_levels(job["level"])
    return job


def _end_with_parent() -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock would hang the interpreter's end
        pass
    os._exit(1)


def log_with_levels(level: int) -> None:
    """Write the log so that the parent knows how important a line is."""
    import logging

    from weldgen.runtime import configure_logging

    configure_logging(quiet=level > logging.INFO, debug=level <= logging.DEBUG)
    log.setLevel(level)
    for handler in log.handlers:
        handler.setFormatter(logging.Formatter("<%(levelno)d> %(message)s"))


def say_outcome(error: WeldgenError | None) -> None:
    """Tell the parent what became of the job: the last thing on standard output."""
    kept = error and {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    print(json.dumps({"error": kept}), flush=True)
