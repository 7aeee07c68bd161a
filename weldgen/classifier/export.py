"""Write the file that ships: preprocessing, temperature and class names inside, its answers checked against torch."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from weldgen.config import StageConfig
from weldgen.data.dataset import Dataset
from weldgen.decision import Decision, read_decision
from weldgen.errors import BackendError, OutputError
from weldgen.receipts import Summary, finished, read_receipt, stage_key, write_receipt
from weldgen.runtime import derive_seed, output_errors, temporary_for, write_atomic

if TYPE_CHECKING:
    from torch import nn

    from weldgen.classifier.model_file import ModelCard
    from weldgen.classifier.operating_point import OperatingPoint
    from weldgen.data.images import RGB

_SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "tensorrt": ".engine"}
# Largest difference of a probability between torch and the exported file. OpenVINO's convolutions sum in another
# order; half precision moves a cosine by about 0.002, which the head's scale of 30 multiplies.
_TOLERANCE = {
    "fp32": {"onnxruntime": 1e-3, "openvino": 5e-3},
    "fp16": {"onnxruntime": 5e-2, "openvino": 5e-2},
}
_PARITY_PHOTOS = 8
_LABELS = "labels.json"


class ExportConfig(StageConfig):
    """What is written."""

    format: Literal["onnx", "openvino", "tensorrt"] = Field("onnx", description="onnx, openvino or tensorrt")
    precision: Literal["fp32", "fp16"] = Field("fp32", description="fp32 or fp16 (half the size; faster on GPUs)")
    threshold: float = Field(0.0, ge=0, lt=1, description="predictions with a lower probability abstain; 0: never")
    operating: bool = Field(True, description="decide by the threshold and the abstention that evaluate chose")


def export(model: Path, out: Path, config: ExportConfig) -> Summary:
    """Export a trained model and check that it says what the original says.

    Args:
        model: Folder of a trained model, or of an ensemble, which becomes one file with all its members.
        out: The file to write; its suffix follows the format. `labels.json` is written beside it.
        config: Settings.

    Raises:
        DataError: There is no trained model.
        BackendError: The exported file differs from the original, or a library is missing.
        OutputError: The file cannot be written, or stands there and was not made by weldgen.
    """
    from weldgen.classifier.ensemble import load_members
    from weldgen.classifier.exported import metadata_of
    from weldgen.classifier.graph import deploy, to_onnx
    from weldgen.classifier.model_file import load_card
    from weldgen.classifier.operating_point import load_point
    from weldgen.classifier.tensorrt import load_tensorrt

    started = time.monotonic()
    inputs = {"model": model}
    key = stage_key("export", config, inputs)
    target = out.with_suffix(_SUFFIXES[config.format])
    done = finished(target.parent, key)
    if done and target.is_file():
        return done
    written = _check_target(target)
    if config.format == "tensorrt":
        load_tensorrt()  # before the work, not after it
    card, members = load_card(model), load_members(model)
    images, source = parity_images(model, card, config.seed)
    expected = expected_probabilities(deploy(members, half=False), images)
    point = load_point(model if model.is_dir() else model.parent) if config.operating else None
    metadata = metadata_of(card, config.threshold, config.precision, point)
    data = to_onnx(deploy(members, half=config.precision == "fp16"), metadata)
    differences = check_parity(data, images, expected, config.precision)
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, data, config, metadata)
    decision = read_decision(metadata)
    labels = _labels(card, decision)
    write_atomic(target.parent / _LABELS, json.dumps(labels, indent=1, ensure_ascii=False) + "\n")
    size_mb = sum(p.stat().st_size for p in {target, target.with_suffix(".bin")} if p.is_file()) / 1e6
    summary = Summary(
        "export",
        target,
        {"parity photos": len(images), "classes": len(card.classes)},
        notes=(*_trust_notes(card, decision, point), *_notes(card, differences, source, len(images), size_mb)),
        weights=tuple({"id": name, "licence": licence} for name, licence in card.licences.items()),
        details={
            "file": target.name,
            "files": sorted({*written, target.name, _LABELS}),
            "format": config.format,
            "precision": config.precision,
            "size_mb": round(size_mb, 2),
            "warnings": list(card.warnings),
            "parity": {
                "max_difference": differences, "tolerance": _TOLERANCE[config.precision], "photos": len(images),
                "source": source,
            },
        },
        seconds=time.monotonic() - started,
    )  # fmt: skip
    write_receipt(target.parent, key, config, inputs, summary)
    return summary


def parity_images(model: Path, card: ModelCard, seed: int) -> tuple[list[RGB], str]:
    """Photos to compare on: real training photos where the dataset is still there, else random textures.

    Returns:
        The images, (H, W, 3) uint8 RGB of several sizes, and where they come from.
    """
    receipt = read_receipt(model if model.is_dir() else model.parent)
    root = Path(receipt["inputs"].get("dataset", "")) if receipt else None
    if root is not None and root != Path() and root.is_dir():
        from weldgen.data.images import read_rgb

        dataset = Dataset.open(root)
        seen = set(card.seen["train"])
        photos = [sample for sample in dataset.samples if sample.id in seen]
        by_class = [[s for s in photos if s.label == label] for label in card.classes]
        mixed = [samples[k] for k in range(_PARITY_PHOTOS) for samples in by_class if k < len(samples)]
        if mixed:
            return [read_rgb(dataset.path(sample)) for sample in mixed[:_PARITY_PHOTOS]], "real training photos"
    return _textures(seed), "random textures, because the training photos are not where they were"


def expected_probabilities(deployed: nn.Module, images: Sequence[RGB]) -> list[Any]:
    """What torch says: one (K,) float32 for each photo."""
    import torch

    with torch.inference_mode():
        return [deployed.eval()(torch.from_numpy(image.copy())[None])[0].numpy() for image in images]


def check_parity(data: bytes, images: Sequence[RGB], expected: Sequence[Any], precision: str) -> dict[str, float]:
    """Largest difference of a probability, relative to the largest one, by runtime.

    Raises:
        BackendError: It is above the tolerance.
    """
    from weldgen.inference import RUNTIMES, Network

    differences = {}
    for runtime in RUNTIMES:
        tolerance = _TOLERANCE[precision][runtime]
        network = Network(data, runtime=runtime)
        found = [network(image[None])[0][0] for image in images]
        worst = max(float(abs(f - e).max() / e.max()) for f, e in zip(found, expected, strict=True))
        differences[runtime] = worst
        if not worst <= tolerance:  # a NaN fails too
            raise BackendError(
                f"the exported network differs from the trained one by {worst:.2g} on {runtime}; "
                f"at most {tolerance:g} is accepted",
                "export with --precision fp32, or choose another model.backbone",
            )
    return differences


def _textures(seed: int) -> list[RGB]:
    import numpy as np

    images = []
    for number, (height, width) in enumerate(((480, 640), (333, 1217), (64, 48), (1500, 1000))):
        random = np.random.default_rng(derive_seed(seed, "parity", number))
        coarse = random.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3))
        fine = np.kron(coarse, np.ones((16, 16, 1)))[:height, :width] + random.normal(0, 12, (height, width, 3))
        images.append(np.clip(fine, 0, 255).astype(np.uint8))
    return images


def _check_target(target: Path) -> list[str]:
    """Names of the files that weldgen wrote into the folder before.

    Raises:
        OutputError: The target is a file of another origin.
    """
    receipt = read_receipt(target.parent) or {"details": {}}
    written: list[str] = receipt["details"].get("files", [])
    if target.exists() and target.name not in written:
        raise OutputError(
            f"{target} exists and was not made by weldgen export", "move it away, or choose another --out"
        )
    return written


def _write(target: Path, data: bytes, config: ExportConfig, metadata: dict[str, str]) -> None:
    if config.format == "onnx":
        write_atomic(target, data)
    elif config.format == "tensorrt":
        from weldgen.classifier.tensorrt import build_engine

        write_atomic(target, build_engine(data, half=config.precision == "fp16"))
    else:
        _write_openvino(target, data, metadata, compress=config.precision == "fp16")


def _write_openvino(target: Path, data: bytes, metadata: dict[str, str], *, compress: bool) -> None:
    import openvino

    from weldgen.inference import METADATA_KEY

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "network.onnx"
        source.write_bytes(data)
        network = openvino.convert_model(str(source))
        for name, text in metadata.items():
            network.set_rt_info(text, [METADATA_KEY, name])
        built = Path(folder) / target.name
        openvino.save_model(network, str(built), compress_to_fp16=compress)
        # The weights first: a .xml that is there is whole.
        for path in (built.with_suffix(".bin"), built):
            place = target.with_suffix(path.suffix)
            temporary_for(place).write_bytes(path.read_bytes())
            temporary_for(place).replace(place)


def _labels(card: ModelCard, decision: Decision) -> dict[str, Any]:
    """What stands beside the file for programs that do not read its metadata."""
    labels: dict[str, Any] = {
        "classes": list(card.classes), "threshold": decision.confidence, "frame": list(card.frame),
    }  # fmt: skip
    if decision.positive:
        labels["operating"] = decision.record()
    return labels | ({"warnings": list(card.warnings)} if card.warnings else {})


def _trust_notes(card: ModelCard, decision: Decision, point: OperatingPoint | None) -> list[str]:
    """What whoever uses the file has to know of its answers."""
    notes = list(card.warnings)
    if not card.temperature_fitted_on:
        guessed = decision.confidence and not point  # one that evaluate chose fits the probabilities as they are
        abstains = f", so the threshold of {decision.confidence:g} is a guess" if guessed else ""
        notes.append(f"the probabilities are not calibrated{abstains}; too few real validation photos")
    if point and decision.sentences():
        views = f"; each photo is asked from {point.tta} views" if point.tta > 1 else ""
        notes.append(f"as evaluate chose: {', '.join(decision.sentences())}{views}")
    return notes


def _notes(card: ModelCard, differences: dict[str, float], source: str, photos: int, size_mb: float) -> list[str]:
    compared = ", ".join(f"{runtime} {value:.1g}" for runtime, value in differences.items())
    notes = [f"{size_mb:.1f} MB; largest difference of a probability on {photos} {source}: {compared}"]
    restricted = {name: text for name, text in card.licences.items() if "nc" in text.lower().split("-")}
    for name, text in restricted.items():
        notes.append(f"{name} is under {text}: no commercial use")
    synthetic = card.licences.get("synthetic images")
    if synthetic:
        notes.append(f"synthetic training images were made under {synthetic}; check that it allows your use")
    return notes
