"""What the training scripts share: the stream of examples, the learning rate, the log, and the file that ships."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from assets.training.pictures import Pictures

WARM_UP_STEPS = 60
LOG_MINUTES = 5.0
HELD_OUT = 32
_SMALL_TENSOR = 64  # biases and constants stay as they are


class Stream(torch.utils.data.IterableDataset[tuple[torch.Tensor, ...]]):
    """Examples from an index on, for one worker."""

    def __init__(self, example: Callable[[int], tuple[Any, ...]], first: int) -> None:
        self.example, self.first = example, first

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        index = self.first
        while True:
            yield tuple(torch.from_numpy(array) for array in self.example(index))
            index += 1


def split_pictures(backgrounds: Path, photo_folders: list[Path], photo_share: float) -> tuple[Pictures, Pictures]:
    """Pictures to train on, and pictures of rendered welds that are in none of them."""
    rendered = sorted(backgrounds.glob("*.jpg"))
    photos = [file for folder in photo_folders for file in sorted(folder.rglob("*.jpg"))]
    kept, train = rendered[:HELD_OUT], rendered[HELD_OUT:]
    weights = [(1 - photo_share * bool(photos)) / len(train)] * len(train)
    weights += [photo_share / max(1, len(photos))] * len(photos)
    return Pictures([*train, *photos], weights), Pictures(kept, [1] * len(kept))


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
    """The training log, a JSON object every five minutes."""

    def __init__(self, path: Path) -> None:
        self._path, self._begun, self._next = path, time.monotonic(), LOG_MINUTES
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
        self._next, self._sum, self._seen = self._next + LOG_MINUTES, 0.0, 0
