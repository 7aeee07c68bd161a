"""Time exported models on a CPU: a process of its own, one thread, one model after the other on the same photos.

`python -m weldgen.classifier.latency` takes a job as JSON and prints what it found. No torch is loaded there: its pool
of threads would take time from the runtime that is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from weldgen.errors import BackendError
from weldgen.runtime import timed_ms

RUNS, WARM_UP, THREADS = 20, 3, 1


@dataclass(frozen=True)
class Latency:
    """What a prediction takes, from the decoded photo to its probabilities.

    Attributes:
        runtime: What the models ran on.
        runs: Predictions of each model that were timed.
        median_ms: Name of each model -> median time of a photo.
    """

    runtime: str
    runs: int
    median_ms: Mapping[str, float]

    def sentence(self) -> str:
        """How it was measured."""
        return (
            f"latency: median of {self.runs} predictions of one photo after a warm-up, {self.runtime} on the CPU, one "
            "thread, all models one after the other in one process on this machine; reading the file is not part of it"
        )


def measure_latency(models: Mapping[str, Path], photos: Sequence[Path]) -> Latency:
    """Time exported models on the same photos.

    Args:
        models: Name -> `.onnx` file.
        photos: Image files, of which each prediction takes the next.

    Raises:
        BackendError: A model cannot be run, or the process died.
    """
    job = {"models": [str(path) for path in models.values()], "photos": [str(path) for path in photos]}
    command = [sys.executable, "-m", "weldgen.classifier.latency"]
    environment = os.environ | {"OMP_NUM_THREADS": str(THREADS)}
    run = subprocess.run(
        command, input=json.dumps(job), capture_output=True, text=True, check=False, env=environment
    )  # fmt: skip
    if run.returncode != 0:
        last = (run.stderr.strip().splitlines() or ["no message"])[-1]
        raise BackendError(f"the models could not be timed: {last}")
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])  # runtimes may print before
    return Latency(found["runtime"], found["runs"], dict(zip(models, found["median_ms"], strict=True)))


def _main() -> None:
    import numpy as np

    from weldgen.data.images import read_rgb
    from weldgen.inference import Network

    job = json.load(sys.stdin)
    images = [read_rgb(Path(photo)) for photo in job["photos"]]
    runtime, medians = "", []
    for model in job["models"]:
        network = Network(Path(model), threads=THREADS)
        runtime = network.runtime
        for number in range(max(WARM_UP, len(images))):  # the first photo of each size is slower
            network(images[number % len(images)][None])
        times_ms = [timed_ms(network, images[number % len(images)][None]) for number in range(RUNS)]
        medians.append(float(np.median(times_ms)))
    print(json.dumps({**asdict(Latency(runtime, RUNS, {})), "median_ms": medians}))


if __name__ == "__main__":
    _main()
