"""A batch that does not fit into the device's memory: smaller ones, and more of them a step, which stays as large.

What a run came down to lies in its folder until it is done, so that after an interruption it goes on with the same
batches: the statistics of a batch and its dropout depend on its size.
"""

from __future__ import annotations

import gc
import json
from dataclasses import replace
from pathlib import Path

import torch

from weldgen.classifier.plan import Plan
from weldgen.errors import BackendError
from weldgen.runtime import log, write_atomic

BATCH = "batch.json"
# CUDA and MPS, and the allocator of CPUs.
_SIGNS = ("out of memory", "can't allocate memory")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that the device has no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in _SIGNS)


def smaller_batches(plan: Plan, folder: Path, error: RuntimeError) -> None:
    """Halve the batches from the next try on.

    A batch of odd size is divided by its smallest divisor instead, or the step would have another size and the run
    another length. Several devices still share each batch, equally where they did.

    Args:
        plan: Of the run that failed.
        folder: Of the model; what is decided is written there, for `with_batches_of`.
        error: What it failed with.

    Raises:
        BackendError: There is nothing to halve.
    """
    sizes = [n for n in range(plan.batch_size - 1, 0, -1) if plan.batch_size % n == 0 and _is_shared(n, plan)]
    if not sizes:
        raise BackendError(
            "the device has too little memory for this batch", "lower training.batch_size or data.image_size"
        ) from error
    size = sizes[0]
    accumulation = plan.accumulation * plan.batch_size // size
    write_atomic(folder / BATCH, json.dumps({"batch_size": size, "accumulation": accumulation}) + "\n")
    log.warning(
        "the device has too little memory for batches of %d: going on with batches of %d, %d a step",
        plan.batch_size, size, accumulation,
    )  # fmt: skip


def _is_shared(size: int, plan: Plan) -> bool:
    """Whether each device gets images of a batch of this size, and equally many where it did so far."""
    count = plan.share.count
    return size >= count and (size % count == 0 or plan.batch_size % count != 0)


def with_batches_of(folder: Path, plan: Plan) -> Plan:
    """The plan with the batches that the run in a folder came down to."""
    path = folder / BATCH
    return replace(plan, **json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else plan


def free_memory(device: str) -> None:
    """Give back what the failed try held."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()


def batch_notes(planned: Plan, plan: Plan) -> list[str]:
    """A sentence on batches that are smaller than was planned."""
    if plan.batch_size == planned.batch_size:
        return []
    return [
        f"the device has too little memory for batches of {planned.batch_size}: it trained on batches of "
        f"{plan.batch_size}, {plan.accumulation} a step (training.batch_size, training.accumulation)"
    ]
