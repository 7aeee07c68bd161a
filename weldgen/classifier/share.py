"""Several processes train one network: each computes its part of every batch, and what counts is the whole batch.

The functions that talk to the other processes must be called by all of them, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import Sampler


@dataclass(frozen=True)
class Share:
    """Which part of each batch this process computes.

    Attributes:
        rank: Number of the process, from 0.
        count: Number of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.count == 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes, logs and shows how far it is."""
        return self.rank == 0

    def size_of(self, batch: int) -> int:
        """How many images of a batch are this process's."""
        return len(range(self.rank, batch, self.count))

    def rows_of(self, total: int) -> list[int]:
        """Every `count`-th of so many rows; the last processes take some once more, so that all have equally many."""
        return [(first + self.rank) % total for first in range(0, total, self.count)]

    def seed_parts(self, *parts: object) -> tuple[object, ...]:
        """What a seed is derived from: the first process draws what one process alone would, the others their own."""
        return parts if self.leads else (*parts, "process", self.rank)


ALONE = Share()


class PartOfBatches(Sampler[tuple[int, int]]):
    """This process's part of each batch of an order, so that all processes together see that order's batches.

    Args:
        order: Keys of whole batches, the same on all processes; Lightning calls `set_epoch`.
        batch_size: Images a batch.
        share: Of this process.
    """

    def __init__(self, order: Sampler[tuple[int, int]], batch_size: int, share: Share) -> None:
        self._order = order
        self._batch_size = batch_size
        self._share = share

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self._order.set_epoch(epoch)  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return len(self._order) // self._batch_size * self._share.size_of(self._batch_size)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for position, key in enumerate(self._order):
            if position % self._batch_size % self._share.count == self._share.rank:
                yield key


def of_whole_batch(loss: Tensor, weight: Tensor, share: Share) -> tuple[Tensor, Tensor]:
    """Turn the loss of this process's images into its part of the weighted mean over the batch.

    The gradients of the processes are averaged afterwards. If each loss were divided by its own weights, an image would
    count more where its process happens to hold few images of heavy classes.

    Args:
        loss: Weighted mean over this process's images.
        weight: Sum of their weights.
        share: Of this process.

    Returns:
        What to derive gradients of, and the loss of the whole batch.
    """
    sums = torch.stack([loss.detach() * weight, weight])
    dist.all_reduce(sums)
    return loss * (weight * share.count / sums[1]), sums[0] / sums[1]


def gather_rows(columns: Sequence[Tensor], total: int, share: Share, device: torch.device) -> list[Tensor]:
    """What all processes found for the rows of `Share.rows_of`, in the order of the rows, on the CPU.

    Args:
        columns: Tensors with a line for each of this process's rows.
        total: Number of rows.
        share: Of this process.
        device: Where the processes talk to each other.
    """
    gathered = []
    for column in columns:
        own = column.to(device)
        parts = [torch.empty_like(own) for _ in range(share.count)]
        dist.all_gather(parts, own)
        gathered.append(torch.stack(parts, dim=1).flatten(0, 1)[:total].cpu())
    return gathered


def same_statistics(network: nn.Module) -> None:
    """Give all processes the first one's statistics of batch norms, which follow each process's own images on a CPU."""
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            dist.broadcast(buffer, 0)
