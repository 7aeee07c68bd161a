"""Time an exported model on this machine, runtime by runtime, each alone in a process of its own."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from weldgen.errors import BackendError, ConfigError, DataError
from weldgen.inference import read_metadata
from weldgen.runtime import cpu_count, log
from weldgen.serving.predict import find_photos
from weldgen.serving.timing import BenchRow, PhotoTimes, Target

DEVICES = ("auto", "cpu", "cuda")
_SUFFIXES = (".onnx", ".xml")
# Photos that are timed from file to answer.
_MOST_PHOTOS = 32
_NVIDIA_TIMEOUT_S = 10


TARGETS = (
    Target("openvino"),
    Target("openvino", precision="bf16"),
    Target("onnxruntime"),
    Target("onnxruntime", "cuda", provider="CUDAExecutionProvider"),
    Target("onnxruntime", "cuda", provider="TensorrtExecutionProvider"),
)


@dataclass(frozen=True)
class BenchConfig:
    """What is timed.

    Attributes:
        batch_sizes: Photos that go through the network together.
        size_px: (width, height) of the photos; None: the model's own input.
        runs: Timed runs.
        warm_up: Runs before them; the first ones allocate and compile.
        threads: CPU threads, 0 for all cores.
        device: `auto` for all that can be used, or `cpu` or `cuda` alone.
        photos: A photo or a folder, to time prediction from file to answer too.

    Raises:
        ConfigError: A value is out of its range.
    """

    batch_sizes: tuple[int, ...] = (1, 8)
    size_px: tuple[int, int] | None = None
    runs: int = 30
    warm_up: int = 5
    threads: int = 0
    device: str = "auto"
    photos: Path | None = None

    def __post_init__(self) -> None:
        numbers = {"batch": min(self.batch_sizes, default=0), "runs": self.runs, "warm_up": self.warm_up}
        numbers |= {"size_px": min(self.size_px)} if self.size_px else {}
        for name, value in numbers.items():
            if value < 1:
                raise ConfigError(f"{name}={value}; at least 1 is needed")
        if self.threads < 0:
            raise ConfigError(f"threads={self.threads} is negative; 0 means all cores")
        if self.device not in DEVICES:
            raise ConfigError(f"device '{self.device}' is not known; accepted: {', '.join(DEVICES)}")


@dataclass(frozen=True)
class BenchReport:
    """What was measured, and on what.

    Attributes:
        model: The exported file.
        file_bytes: Its size, weights beside it included.
        size_px: (width, height) of the photos in the network's runs.
        cpu: Name of the processor.
        cores: Cores that this process may use.
        threads: CPU threads that were used.
        gpu: Names of the GPUs, where one was used.
        rows: Times by runtime and batch size.
        photos: Times from file to answer, where photos were given.
        notes: What was left out, and why.
    """

    model: Path
    file_bytes: int
    size_px: tuple[int, int]
    cpu: str
    cores: int
    threads: int
    gpu: str | None
    rows: tuple[BenchRow, ...]
    photos: PhotoTimes | None
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return asdict(self) | {"model": str(self.model)}

    def lines(self) -> list[str]:
        """A table for the eye."""
        width = max(len(row.runtime) for row in self.rows)
        device = f"{self.cpu}, {self.cores} cores, {self.threads} threads" + (f"; {self.gpu}" if self.gpu else "")
        found = [
            f"{self.model}, {self.file_bytes / 1e6:.1f} MB",
            device,
            f"photos of {self.size_px[0]} x {self.size_px[1]} pixels",
            "",
            f"{'runtime':{width}}  batch  median ms   p95 ms  images/s  load s",
        ]
        found += [
            f"{row.runtime:{width}}  {row.batch:5}  {row.median_ms:9.2f}  {row.p95_ms:7.2f}  {row.images_per_s:8.1f}"
            f"  {row.load_s:6.2f}"
            for row in self.rows
        ]
        if times := self.photos:
            found += [
                "",
                f"predict, from file to answer, {times.photos} photos one by one: median {times.median_ms:.2f} ms "
                f"({times.decode_ms:.2f} ms of it to read the file), p95 {times.p95_ms:.2f} ms, "
                f"{times.photos_per_s:.1f} photos/s",
            ]
        return found + [f"note: {note}" for note in self.notes]


def bench(model: Path, config: BenchConfig) -> BenchReport:
    """Time an exported model with each runtime that can run it.

    Args:
        model: The exported `.onnx` file, or OpenVINO's `.xml`.
        config: Settings.

    Raises:
        BackendError: The file is missing or damaged, or no runtime can run it.
        ConfigError: A setting is out of its range.
        DataError: The file was not exported by weldgen, or no photo can be read.
    """
    own_px = _own_size(model)  # looks at the file too
    if config.photos:
        find_photos(config.photos)  # before the work, not after it
    size_px = config.size_px or own_px
    threads = config.threads or cpu_count()
    job = {
        "model": str(model), "batch_sizes": config.batch_sizes, "size_px": size_px, "runs": config.runs,
        "warm_up": config.warm_up, "threads": threads,
    }  # fmt: skip
    rows: list[BenchRow] = []
    notes: list[str] = []
    gpu = False
    for target in TARGETS:
        if config.device not in ("auto", target.device):
            continue
        log.info("timing %s", target.name)
        found = _in_own_process(job | {"target": asdict(target)})
        if "error" in found:
            notes.append(f"{target.name} left out: {found['error']}")
            continue
        rows += [BenchRow(**row) for row in found["rows"]]
        gpu = gpu or target.device == "cuda"
    if not rows:
        raise BackendError(f"no runtime can run {model}: {'; '.join(notes)}", "weldgen doctor")
    photos = None
    if config.photos:
        photos, note = _time_files(job, config)
        notes += [note] if note else []
    size = sum(path.stat().st_size for path in {model, model.with_suffix(".bin")} if path.is_file())
    return BenchReport(
        model, size, size_px, cpu_name(), cpu_count(), threads, _gpu_names() if gpu else None, tuple(rows), photos,
        tuple(notes),
    )  # fmt: skip


def cpu_name() -> str:
    """Name of the processor, as far as the system tells it."""
    listed = Path("/proc/cpuinfo")
    if listed.is_file():
        for line in listed.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", maxsplit=1)[1].strip()
    return platform.processor() or platform.machine()


def _own_size(model: Path) -> tuple[int, int]:
    if model.is_file() and model.suffix not in _SUFFIXES:
        raise DataError(
            f"{model} has the suffix '{model.suffix}'; accepted: {', '.join(_SUFFIXES)}", "weldgen export --format onnx"
        )
    metadata = read_metadata(model)
    if "classes" not in metadata:
        raise DataError(f"{model} was not exported by weldgen: it names no classes", "weldgen export")
    if "frame" not in metadata:
        raise DataError(f"{model} was exported by an older weldgen and names no input size", "weldgen export")
    height, width = json.loads(metadata["frame"])
    return width, height


def _gpu_names() -> str | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, "--query-gpu=name", "--format=csv,noheader"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=_NVIDIA_TIMEOUT_S, check=False)
    return "; ".join(run.stdout.split("\n")).strip("; ") or None if run.returncode == 0 else None


def _time_files(job: dict[str, Any], config: BenchConfig) -> tuple[PhotoTimes, str]:
    """Times from file to answer, and a note about photos that were left out."""
    assert config.photos is not None
    files = find_photos(config.photos)
    log.info("timing predict on %d photos", min(len(files), _MOST_PHOTOS))
    chosen = [str(file) for file in files[:: -(-len(files) // _MOST_PHOTOS)]]
    found = _in_own_process(job | {"files": chosen, "device": config.device})
    if "error" in found:
        raise BackendError(f"predict cannot be timed: {found['error']}", "weldgen doctor")
    bad: list[str] = found.pop("bad")
    if not found:
        raise DataError(f"predict cannot be timed, because no photo of {config.photos} can be read: {bad[0]}")
    return PhotoTimes(**found), f"{len(bad)} of {len(chosen)} photos cannot be read: {bad[0]}" if bad else ""


def _in_own_process(job: dict[str, Any]) -> dict[str, Any]:
    """What `timing` prints about a job, or `{"error"}` where the process died."""
    command = [sys.executable, "-m", "weldgen.serving.timing"]
    run = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, check=False)
    if run.returncode != 0:
        last = (run.stderr.strip().splitlines() or ["no message"])[-1]
        return {"error": f"its process ended with {run.returncode}: {last}"}
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])  # runtimes may print before
    return found
