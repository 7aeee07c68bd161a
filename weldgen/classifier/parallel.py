"""Several processes of one machine that work on the same task, and a parent that watches over them.

They are started afresh, since a GPU cannot be handed to a fork, and meet over a file, so that no port has to be free.
Only the parent hears Ctrl-C. When one process fails or dies, the others wait for it within a step that they share: the
parent ends them all at once. When the parent dies, they end themselves.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from logging.handlers import QueueHandler
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from weldgen.classifier.share import Share
from weldgen.errors import BackendError
from weldgen.runtime import log

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")
# What a process does: its share, the job, and how it tells the parent something.
Work = Callable[[Share, JobT, Callable[[object], None]], ResultT]

# Only a compilation takes minutes; who died or failed is found out by the parent long before.
_TIMEOUT = timedelta(hours=1)
_LOOK_EVERY_S = 1.0
_END_WITHIN_S = 30.0
# On a CPU they are forked from one process that has loaded what loads slowly.
_SLOW = ["weldgen.classifier.run", "timm"]


@dataclass(frozen=True)
class _Place:
    """What a process needs to find the others.

    Attributes:
        share: Its own.
        device: `cpu` or `cuda`.
        meeting: The file over which they meet.
        threads: That each may use.
        level: Of the messages that the parent wants.
    """

    share: Share
    device: str
    meeting: Path
    threads: int
    level: int


def together(
    work: Work[JobT, ResultT], job: JobT, count: int, device: str, heard: Callable[[Any], None] = lambda told: None
) -> ResultT:
    """Do a piece of work in several processes; they can use `torch.distributed` in it.

    Args:
        work: A function of a module. The first process's messages to the log are passed on.
        job: Is pickled.
        count: Number of processes.
        device: `cpu`, or `cuda` for as many GPUs.
        heard: Is called with what the first process tells, in this process; what it raises ends the work.

    Returns:
        What the first process returned.

    Raises:
        BackendError: A process died.
        Exception: What one of them raised.
    """
    context = _context(device)
    threads = max(1, torch.get_num_threads() // count)
    processes: list[BaseProcess] = []
    ears: list[connection.Connection] = []
    with tempfile.TemporaryDirectory(prefix="weldgen-") as folder:
        try:
            for rank in range(count):
                place = _Place(Share(rank, count), device, Path(folder) / "meeting", threads, log.getEffectiveLevel())
                ear, mouth = context.Pipe()
                process = context.Process(target=_member, args=(work, job, place, mouth), name=f"weldgen {rank + 1}")
                processes.append(process)
                ears.append(ear)
                with _no_interrupt():
                    process.start()
                mouth.close()  # ours, so that the end of the process ends the line
            result: ResultT = _listen(processes, ears, heard)
            return result
        finally:
            for process in processes:
                if process.pid is not None:
                    process.kill()
                    process.join()


def _context(device: str) -> Any:
    if device != "cpu" or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_SLOW)
    return context


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Processes that are started in here never hear Ctrl-C; this one does afterwards, when it knows them all."""
    if threading.current_thread() is not threading.main_thread():
        yield  # the main thread alone hears it
        return
    heard: list[int] = []
    masks = hasattr(signal, "pthread_sigmask")
    if masks:
        resource_tracker.ensure_running()  # it is started beside the first process, and would change the mask
    handler = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number)) or signal.SIG_DFL
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if masks else set()
    try:
        yield
    finally:
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGINT, handler)
    if heard:
        signal.raise_signal(signal.SIGINT)


def _listen(processes: list[BaseProcess], ears: list[connection.Connection], heard: Callable[[Any], None]) -> Any:
    """Wait for all processes to end; returns what the first one found."""
    result = None
    left = list(ears)
    while left:
        errors: list[BaseException] = []
        ready: list[Any] = connection.wait(left, timeout=_LOOK_EVERY_S)
        for ear in ready:
            try:
                kind, content = ear.recv()
            except (EOFError, ConnectionResetError):
                left.remove(ear)
                processes[ears.index(ear)].join(_END_WITHIN_S)
                continue
            if kind == "error":
                errors.append(content)
            elif kind == "log":
                log.handle(content)
            elif kind == "told":
                heard(content)
            else:
                result = content
        # The others of a process that died fail too, with an error that says less.
        _check_alive(processes)
        if errors:
            raise errors[0]
    return result


def _check_alive(processes: list[BaseProcess]) -> None:
    for number, process in enumerate(processes, start=1):
        if process.exitcode:
            reason = f"signal {-process.exitcode}" if process.exitcode < 0 else f"exit code {process.exitcode}"
            raise BackendError(
                f"process {number} of {len(processes)} of the training died ({reason})",
                "if memory was short, lower training.batch_size or training.devices; the same command goes on where it "
                "stopped",
            )


def _member(work: Work[JobT, Any], job: JobT, place: _Place, mouth: connection.Connection) -> None:
    """What one of the processes runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for systems without `_no_interrupt`
    threading.Thread(target=_end_with_parent, daemon=True).start()
    lock = threading.Lock()

    def send(kind: str, content: object) -> None:
        with lock:
            mouth.send((kind, content))

    log.handlers[:] = [_Passing(lambda record: send("log", record))]
    log.setLevel(place.level if place.share.leads else logging.CRITICAL + 1)
    log.propagate = False
    try:
        _meet(place)
        result = work(place.share, job, lambda told: send("told", told))
        dist.destroy_process_group()
        if place.share.leads:
            send("result", result)
    except BaseException as error:
        send("error", _portable(error))
        # Ending would make the others fail too, with less to say; the parent ends this process.
        mouth.recv()


def _meet(place: _Place) -> None:
    """Set up threads and device of this process, and wait for the others."""
    share = place.share
    torch.set_num_threads(place.threads)
    # Lightning takes this for a sign that its processes were started by somebody else.
    os.environ |= {"LOCAL_RANK": str(share.rank), "NODE_RANK": "0"}
    gpu = torch.device("cuda", share.rank) if place.device == "cuda" else None
    if gpu:
        torch.cuda.set_device(gpu)
    dist.init_process_group(
        "nccl" if gpu else "gloo",
        init_method=place.meeting.as_uri(),
        rank=share.rank,
        world_size=share.count,
        timeout=_TIMEOUT,
        device_id=gpu,
    )


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


class _Passing(QueueHandler):
    """Hands records on, made ready for another process."""

    def __init__(self, hand_on: Callable[[logging.LogRecord], None]) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self._hand_on = hand_on

    def enqueue(self, record: logging.LogRecord) -> None:
        self._hand_on(record)


def _portable(error: BaseException) -> BaseException:
    """The error with its traceback in words, or, where it cannot go to another process, one that says the same."""
    words = "".join(traceback.format_exception(error))
    try:
        error = pickle.loads(pickle.dumps(error))
    except Exception:  # an exception's own __reduce__ may raise anything
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"in a process of the training:\n{words}")
    return error
