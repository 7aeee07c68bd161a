"""Time one runtime: the process that `bench` starts for each, a JSON object in and one out.

Two runtimes in one process share and fight for thread pools, which slows the second; hence a process for each.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from weldgen.errors import BackendError, DataError, WeldgenError
from weldgen.inference import Array, Network
from weldgen.runtime import timed_ms


@dataclass(frozen=True)
class Target:
    """A runtime with what it runs on."""

    runtime: str
    device: str = "cpu"
    precision: str = "fp32"
    provider: str = ""

    @property
    def name(self) -> str:
        """What the table calls it."""
        kind = {"TensorrtExecutionProvider": "TensorRT", "CUDAExecutionProvider": "CUDA"}.get(self.provider, "CPU")
        return f"{self.runtime} {self.precision}" if self.runtime == "openvino" else f"{self.runtime} {kind}"


@dataclass(frozen=True)
class BenchRow:
    """One runtime at one batch size; `load_s` is reading and compiling, without importing the library."""

    runtime: str
    batch: int
    median_ms: float
    p95_ms: float
    images_per_s: float
    load_s: float


@dataclass(frozen=True)
class PhotoTimes:
    """Prediction one photo after the other, from file to answer; `decode_ms` is the part that reads the file."""

    photos: int
    median_ms: float
    p95_ms: float
    decode_ms: float
    photos_per_s: float


def _main() -> None:
    job = json.load(sys.stdin)
    try:
        found = _run_files(job) if "files" in job else _run_target(job, Target(**job["target"]))
    except WeldgenError as error:
        found = {"error": error.message}
    print(json.dumps(found))


def _run_target(job: dict[str, Any], target: Target) -> dict[str, Any]:
    import numpy as np

    run, load_s = _load(Path(job["model"]), target, job["threads"])
    width, height = job["size_px"]
    random = np.random.default_rng(0)
    rows = []
    for batch in job["batch_sizes"]:
        images = random.integers(0, 256, (batch, height, width, 3), np.uint8)
        for _ in range(job["warm_up"]):
            run(images)
        times_ms = [timed_ms(run, images) for _ in range(job["runs"])]
        median_ms = float(np.median(times_ms))
        rows.append(
            BenchRow(
                target.name, batch, median_ms, float(np.percentile(times_ms, 95)), 1000 * batch / median_ms, load_s
            )
        )
    return {"rows": [asdict(row) for row in rows]}


def _load(model: Path, target: Target, threads: int) -> tuple[Callable[[Array], Any], float]:
    """The network as a function of a batch, and the seconds that reading and compiling took.

    Raises:
        BackendError: The runtime cannot run it here.
    """
    if target.runtime == "onnxruntime" and model.suffix == ".xml":
        raise BackendError("it does not read OpenVINO's format")
    if target.precision == "bf16":
        import openvino

        if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise BackendError("this CPU has no bfloat16")
    if target.provider:
        return _load_on_gpu(model, target.provider)
    __import__(target.runtime)  # loading the library is not loading the model
    started = time.perf_counter()
    network = Network(model, runtime=target.runtime, precision=target.precision, threads=threads)
    return network, time.perf_counter() - started


def _load_on_gpu(model: Path, provider: str) -> tuple[Callable[[Array], Any], float]:
    """A session with one provider, so that CUDA and TensorRT are told apart; ONNX Runtime falls back without a word."""
    import onnxruntime

    available = onnxruntime.get_available_providers()
    if provider not in available:
        raise BackendError(f"this ONNX Runtime has only {', '.join(available)} (pip install onnxruntime-gpu)")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    started = time.perf_counter()
    # As in prediction: CUDA takes what TensorRT does not know, the CPU the rest.
    providers = list(dict.fromkeys((provider, "CUDAExecutionProvider", "CPUExecutionProvider")))
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=providers)
    except Exception as error:  # bare RuntimeErrors of its own
        raise BackendError(f"it cannot load the network: {str(error).splitlines()[0]}") from error
    load_s = time.perf_counter() - started
    if session.get_providers()[0] != provider:
        raise BackendError("ONNX Runtime lists it, but could not start it (its libraries or the GPU are missing)")
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images}), load_s


def _run_files(job: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    from weldgen.data.images import read_rgb
    from weldgen.serving.predictor import WeldClassifierInference

    classifier = WeldClassifierInference(Path(job["model"]), job["device"], job["threads"])
    files, bad = [], []
    for file in map(Path, job["files"]):  # warm-up: the first photo of each size is slower
        try:
            classifier.predict(read_rgb(file))
            files.append(file)
        except DataError as error:
            bad.append(error.message)
    if not files:
        return {"bad": bad}
    repeats = -(-job["runs"] // len(files))
    times_ms = np.array([timed_ms(classifier.predict, file) for _ in range(repeats) for file in files])
    decode_ms = [timed_ms(read_rgb, file) for _ in range(repeats) for file in files]
    times = PhotoTimes(
        len(files), float(np.median(times_ms)), float(np.percentile(times_ms, 95)), float(np.median(decode_ms)),
        1000 / float(times_ms.mean()),
    )  # fmt: skip
    return {**asdict(times), "bad": bad}


if __name__ == "__main__":
    _main()
