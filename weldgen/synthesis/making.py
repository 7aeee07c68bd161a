"""Run a generator over many requests: in this process, or in several; results come back in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from threading import Thread
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen.data.images import decode_photo, encode_rgb
from weldgen.errors import BackendError, DataError
from weldgen.synthesis.gates import GateConfig, check_image, nearest_bits, picture_hash
from weldgen.synthesis.generators import GENERATORS, GeneratorSettings
from weldgen.synthesis.judge import COPY_HELD_OUT, WRITING, Judge, Reference, Verdict
from weldgen.synthesis.recipes import DEFECT_KINDS
from weldgen.synthesis.requests import UNKNOWN, Generated, Generator, Request
from weldgen.synthesis.writing import HasWriting, WritingFinder

# Value of a defect's pixels in a mask file; 255 where nobody has said of what kind it is.
MASK_VALUES: Mapping[str, int] = {kind: number for number, kind in enumerate(DEFECT_KINDS, start=1)} | {UNKNOWN: 255}
_WAITING_PER_JOB = 4  # results that a worker may be ahead of the writer; bounds the memory
_LOSSLESS = {".png"}  # formats whose files show what was made
_BATCHES_AT_ONCE = 4  # so that images of one size find each other


@dataclass(frozen=True)
class MakeSettings:
    """What a worker needs to know.

    Attributes:
        generator: Key of `GENERATORS`.
        own: Settings of the generators.
        gates: What an image must be.
        suffix: Format of the files.
        masks: Whether mask files are wanted.
        held_out: (N, 32) hashes of the real photos of validation and test.
        reference: The real photos, for the gates on features; None: these are off.
        find_writing: Makes what looks for writing on each image; None: nothing does.
    """

    generator: str
    own: GeneratorSettings
    gates: GateConfig
    suffix: str
    masks: bool
    held_out: npt.NDArray[np.uint8]
    reference: Reference | None = None
    find_writing: WritingFinder | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one request.

    Attributes:
        request: The request.
        data: The encoded image.
        hash: Its perceptual hash, (32,) uint8.
        defects: Metadata of its defects.
        prompt: Text that made it, or empty.
        mask: The encoded mask file, or empty.
        verdict: What the comparison with the real photos gave.
        rejected: Why a gate refused it, or empty.
        error: Why it could not be made, or empty.
    """

    request: Request
    data: bytes = b""
    hash: bytes = b""
    defects: tuple[Mapping[str, Any], ...] = ()
    prompt: str = ""
    mask: bytes = b""
    verdict: Verdict = field(default_factory=Verdict)
    rejected: str = ""
    error: str = ""


class Workers:
    """A context manager that makes images; what it makes does not depend on `jobs`.

    Args:
        settings: What is to be made, and how.
        jobs: Processes; a generator that cannot run in several runs in this one.
    """

    def __init__(self, settings: MakeSettings, jobs: int) -> None:
        self._settings = settings
        self._jobs = jobs if GENERATORS[settings.generator].parallel else 1
        self._pool: ProcessPoolExecutor | None = None
        self._maker: Maker | None = None

    def __enter__(self) -> Workers:
        if self._jobs > 1:
            # Spawned, not forked: the parent may hold threads of torch or OpenCV.
            self._pool = ProcessPoolExecutor(
                self._jobs, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(self._settings,)
            )
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def run(self, requests: Iterable[Request]) -> Iterator[Outcome]:
        """Make images, in the order of their requests.

        Raises:
            BackendError: A library or weight is missing, or a worker died.
        """
        return self._run_here(requests) if self._pool is None else self._run_pool(self._pool, requests)

    def _run_here(self, requests: Iterable[Request]) -> Iterator[Outcome]:
        settings = self._settings
        if self._maker is None:
            self._maker = Maker(settings)
        diffusion = settings.own.diffusion(settings.generator)
        size = 1 if diffusion is None else diffusion.batch_size * _BATCHES_AT_ONCE
        waiting = iter(requests)
        while batch := list(islice(waiting, size)):
            yield from self._maker.make(batch)

    def _run_pool(self, pool: ProcessPoolExecutor, requests: Iterable[Request]) -> Iterator[Outcome]:
        futures: deque[Future[Outcome]] = deque()
        try:
            for request in requests:
                futures.append(pool.submit(_make_in_worker, request))
                if len(futures) >= self._jobs * _WAITING_PER_JOB:
                    yield futures.popleft().result()
            while futures:
                yield futures.popleft().result()
        except BrokenProcessPool as error:
            raise BackendError(
                "a worker process died, most likely for want of memory", "run the same command with --jobs 1"
            ) from error


class Maker:
    """A generator and the gates behind it.

    Args:
        settings: What is to be made, and how.

    Raises:
        BackendError: A library or weight is missing.
    """

    def __init__(self, settings: MakeSettings) -> None:
        self._settings = settings
        self._generator: Generator = GENERATORS[settings.generator].build(settings.own)
        self._judge = Judge(settings.reference) if settings.reference else None
        self._has_writing: HasWriting | None = settings.find_writing(True) if settings.find_writing else None

    def make(self, requests: Sequence[Request]) -> list[Outcome]:
        """Make a batch; a request whose photo cannot be read does not spoil the others."""
        try:
            made = self._generator.generate(requests)
        except DataError as error:
            if len(requests) == 1:
                return [Outcome(requests[0], error=error.message)]
            return [outcome for request in requests for outcome in self.make([request])]
        return [self._finish(request, result) for request, result in zip(requests, made, strict=True)]

    def _finish(self, request: Request, result: Generated) -> Outcome:
        """Pass an image through the gates that need no other synthetic image, and encode it."""
        settings = self._settings
        if result.use is not None:
            request = replace(request, use=result.use)
        bits = picture_hash(result.image)
        rejected = check_image(result.image, result.defects, settings.gates)
        if not rejected and nearest_bits(bits, settings.held_out) <= settings.gates.duplicate_bits:
            rejected = COPY_HELD_OUT
        if rejected:
            return Outcome(request, hash=bits.tobytes(), rejected=rejected)
        data = encode_rgb(result.image, settings.suffix)
        # what is judged is what the file shows, so that it can be judged again from the file
        stored = result.image if settings.suffix in _LOSSLESS else decode_photo(data, "").pixels
        verdict = self._judge.judge(stored, request) if self._judge else Verdict()
        rejected = verdict.reason or (WRITING if self._has_writing and self._has_writing(result.image) else "")
        if rejected:
            return Outcome(request, hash=bits.tobytes(), rejected=rejected)
        mask = _mask_file(result) if settings.masks else b""
        defects = tuple(defect.record for defect in result.defects)
        return Outcome(request, data, bits.tobytes(), defects, result.prompt, mask, verdict)


def _mask_file(result: Generated) -> bytes:
    values = np.zeros(result.image.shape[:2], np.uint8)
    for kind, where in result.defect_masks.items():
        values[where > 0] = MASK_VALUES[kind]
    return encode_rgb(values, ".png")


# What a worker process holds; set once when it starts.
_worker: dict[str, Any] = {}


def _start_worker(settings: MakeSettings) -> None:
    import cv2

    Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)  # one core for each worker
    _worker["maker"] = Maker(settings)


def _end_with_parent() -> None:
    """Leave when the main process was killed; a worker would otherwise wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _make_in_worker(request: Request) -> Outcome:
    maker: Maker = _worker["maker"]
    return maker.make([request])[0]
