"""What the models of a comparison cost: memory to train, size of the file that ships, time of a prediction."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from weldgen.classifier.latency import Latency
from weldgen.config import StageConfig
from weldgen.receipts import Summary, run_key
from weldgen.runtime import give_back_memory, write_atomic

_MEMORY, _SHARED = "memory.json", "side_by_side.json"
_EVERY_S = 0.05
MEMORY_SENTENCE = (
    "peak memory: the most that the process held in RAM while a model trained, libraries and decoded photos "
    f"included, looked at every {_EVERY_S:g} s; not the memory of a GPU"
)
SHARED_SENTENCE = (
    "training marked *: it ran beside others, up to {most} at a time, with a share of the CPU's cores; alone it takes "
    "less time, so compare it with no other row's"
)
FILE_SENTENCE = "file: the exported network, ONNX in fp32"


@dataclass(frozen=True)
class Costs:
    """What one value costs; None where it was not measured.

    Attributes:
        training_s: Mean training time.
        parameters: Of the network.
        licences: Third-party weights in it -> licence.
        memory_mb: Peak memory of training, the highest of its runs.
        file_mb: Size of the exported file.
        latency_ms: Median time of a prediction.
        beside: How many trainings ran at the same time; above 1 their times are no measure of the training.
    """

    training_s: float
    parameters: int
    licences: Mapping[str, str]
    memory_mb: float | None = None
    file_mb: float | None = None
    latency_ms: float | None = None
    beside: int = 1

    def record(self) -> dict[str, Any]:
        """What `comparison.json` keeps."""
        return {
            "training_seconds": round(self.training_s, 1),
            "trained_side_by_side": self.beside,
            "peak_memory_mb": self.memory_mb,
            "parameters": self.parameters,
            "file_mb": self.file_mb,
            "latency_ms": self.latency_ms,
            "licences": dict(self.licences),
        }

    @property
    def licence(self) -> str:
        """The licences in words."""
        return ", ".join(dict.fromkeys(self.licences.values())) or "no third-party weights"


@dataclass(frozen=True)
class Deployed:
    """What was measured of exported models.

    Attributes:
        file_mb: Value -> size of its file.
        latency: Their times; None where they could not be measured.
    """

    file_mb: Mapping[str, float]
    latency: Latency | None = None


class PeakMemory:
    """Looks how much memory this process holds while a block runs.

    Attributes:
        mb: The most that was seen, in MB.
    """

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.mb = 0.0

    def __enter__(self) -> PeakMemory:
        gc.collect()
        give_back_memory()  # what the model before it left is not this one's
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._done.wait(_EVERY_S):
            self._look()

    def _look(self) -> None:
        self.mb = max(self.mb, self._process.memory_info().rss / 1e6)


def train_watched(train: Callable[[], Summary], folder: Path) -> tuple[Summary, float | None]:
    """Train, and the peak memory of it in MB; of a model that was there already, what its training left in `folder`."""
    with PeakMemory() as memory:
        trained = train()
    if not trained.skipped:
        write_atomic(folder / _MEMORY, json.dumps({"peak_memory_mb": round(memory.mb, 1)}) + "\n")
    kept = folder / _MEMORY
    peak_mb: float | None = json.loads(kept.read_text())["peak_memory_mb"] if kept.is_file() else None
    return trained, peak_mb


def mark_shared(folder: Path, settings: StageConfig, beside: int) -> None:
    """Note, before it starts, that a training runs beside others; an interrupted one that goes on alone keeps it."""
    most = max(beside, read_shared(folder, settings))
    write_atomic(folder / _SHARED, json.dumps({"training": _identity(settings), "side_by_side": most}) + "\n")


def read_shared(folder: Path, settings: StageConfig) -> int:
    """How many trainings ran at the same time as the one with these settings, itself among them."""
    try:
        kept = json.loads((folder / _SHARED).read_text())
    except (OSError, ValueError):
        return 1
    return int(kept["side_by_side"]) if kept["training"] == _identity(settings) else 1


def _identity(settings: StageConfig) -> str:
    return run_key("train", settings, {})
