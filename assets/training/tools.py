"""What the training scripts share: the stream of examples, the learning rate, the log, and the file that ships."""

from __future__ import annotations

import argparse
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from assets.training.pictures import Pictures

WARM_UP_STEPS = 60
DECAY = 0.998  # of averaged weights: over about 500 steps
HELD_OUT = 32
# Workers are forked, which OpenCV's threads do not survive.
cv2.setNumThreads(1)
_SMALL_TENSOR = 64  # biases and constants stay as they are


class Stream(torch.utils.data.IterableDataset[tuple[torch.Tensor, ...]]):
    """Examples from an index on; several workers take turns."""

    def __init__(self, example: Callable[[int], tuple[Any, ...]], first: int) -> None:
        self.example, self.first = example, first

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        worker = torch.utils.data.get_worker_info()
        index = self.first + (worker.id if worker else 0)
        while True:
            yield tuple(torch.from_numpy(array) for array in self.example(index))
            index += worker.num_workers if worker else 1


class Replay:
    """Examples that are drawn again and again, turned and mirrored, while new ones come in and the oldest go.

    A fast device learns faster than processors can draw. On a CPU, where both share the cores, no more are made than
    are drawn.

    Args:
        example: Makes one from its index.
        workers: Processes that make them; 0 makes them in this one.
        device: Where they are kept.
        first: Index of the first.
        most: How many are kept.
        least: How many there must be before any is drawn.
    """

    def __init__(
        self,
        example: Callable[[int], tuple[Any, ...]],
        workers: int,
        device: torch.device,
        first: int = 0,
        most: int = 16_384,
        least: int = 256,
    ) -> None:
        self.seen, self._drawn, self._least, self._most, self._device = 0, 0, least, most, device
        self._closed = threading.Event()
        self._kept: list[torch.Tensor] = []
        ahead = 4 if workers else None
        loader = torch.utils.data.DataLoader(Stream(example, first), 16, num_workers=workers, prefetch_factor=ahead)
        self._thread = threading.Thread(target=self._take, args=(iter(loader),), daemon=True)
        self._thread.start()
        while self.seen < least:
            time.sleep(0.2)
            if not self._thread.is_alive():
                raise RuntimeError("no example could be made")

    def _take(self, batches: Iterator[list[torch.Tensor]]) -> None:
        for batch in batches:
            if not self._kept:
                self._kept = [
                    torch.empty((self._most, *part.shape[1:]), dtype=part.dtype, device=self._device) for part in batch
                ]
            place = self.seen % self._most
            for kept, part in zip(self._kept, batch, strict=True):
                kept[place : place + len(part)] = part[: self._most - place].to(self._device)
            self.seen += len(batch[0])
            while self._device.type == "cpu" and self.seen > self._drawn + self._least and not self._closed.is_set():
                time.sleep(0.05)
            if self._closed.is_set():
                return

    def close(self) -> None:
        """Take no more."""
        self._closed.set()
        self._thread.join()

    def draw(self, count: int) -> tuple[torch.Tensor, ...]:
        """So many examples, all turned and mirrored alike; height and width are the parts' second and third axis."""
        self._drawn += count
        which = torch.randint(min(self.seen, self._most), (count,), device=self._device)
        turns, mirrored = int(torch.randint(4, ())), bool(torch.rand(()) < 0.5)
        drawn = (torch.rot90(kept[which], turns, (1, 2)) for kept in self._kept)
        return tuple(part.flip(2) if mirrored else part for part in drawn)


@torch.no_grad()
def follow(average: torch.nn.Module, net: torch.nn.Module, decay: float = DECAY) -> None:
    """Move averaged weights and statistics towards the present ones; counters are taken over."""
    for mean, value in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if value.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def arguments(description: str | None, photo_share: float, out: Path) -> argparse.ArgumentParser:
    """The part of the command line that all training has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backgrounds", type=Path, help="folder that assets.training.pictures filled")
    parser.add_argument("--photos", type=Path, nargs="*", default=[], help="folders of photos without writing")
    parser.add_argument("--photo-share", type=float, default=photo_share)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw examples")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=out)
    return parser


def split_pictures(
    backgrounds: Path, photo_folders: list[Path], photo_share: float, littered: float = 1.0
) -> tuple[Pictures, Pictures]:
    """Pictures to train on, and pictures of rendered welds that are in none of them."""
    rendered = sorted(backgrounds.glob("*.jpg"))
    photos = [file for folder in photo_folders for file in sorted(folder.rglob("*.jpg"))]
    kept, train = rendered[:HELD_OUT], rendered[HELD_OUT:]
    weights = [(1 - photo_share * bool(photos)) / len(train)] * len(train)
    weights += [photo_share / max(1, len(photos))] * len(photos)
    return Pictures([*train, *photos], weights, littered), Pictures(kept, [1] * len(kept), littered)


def rate_factor(step: int, share_done: float) -> float:
    """Learning rate relative to its peak: linear warm-up, then a cosine down to a fiftieth."""
    return min(1.0, (step + 1) / WARM_UP_STEPS) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share_done)))


def write_halved(model: onnx.ModelProto, path: Path) -> None:
    """Write a network with fp16 weights behind casts to fp32: small, and the same on every runtime."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) > _SMALL_TENSOR:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}_half"))
            casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    for index, node in enumerate(casts):
        model.graph.node.insert(index, node)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


class Log:
    """The training log, a JSON object every so many minutes."""

    def __init__(self, path: Path, every_minutes: float = 5.0) -> None:
        self._path, self._begun = path, time.monotonic()
        self._every = self._next = every_minutes
        self.step, self._sum, self._seen = 0, 0.0, 0

    @property
    def minutes(self) -> float:
        """Since the start."""
        return (time.monotonic() - self._begun) / 60

    def take(self, loss: float) -> bool:
        """Count a step; whether it is time for a line."""
        self.step, self._sum, self._seen = self.step + 1, self._sum + loss, self._seen + 1
        return self.minutes > self._next

    def write(self, measured: dict[str, float]) -> None:
        """Append a line."""
        line = {"minutes": round(self.minutes, 1), "step": self.step, "loss": round(self._sum / max(1, self._seen), 4)}
        line |= {name: round(value, 4) for name, value in measured.items()}
        with self._path.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        self._next, self._sum, self._seen = self.minutes + self._every, 0.0, 0
