"""A model as a function from photos to probabilities: a trained folder on torch, an exported file on its runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from weldgen.classifier.exported import read_exported
from weldgen.classifier.operating_point import OperatingPoint, load_point
from weldgen.inference import Network
from weldgen.runtime import resolve_device

RGB = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]

EXPORTED_SUFFIXES = (".onnx", ".xml")


@dataclass(frozen=True)
class Scorer:
    """A model that can be asked.

    Attributes:
        classes: Names, in the order of the probabilities.
        seen: Ids of the real photos of training and validation, by split.
        probabilities: One (H, W, 3) uint8 RGB photo -> (K,) float32.
        operating: How it decides; None where the most probable class wins and nothing abstains.
        judge: Whether it answers as it was before it learned the validation photos.
    """

    classes: tuple[str, ...]
    seen: Mapping[str, Sequence[str]]
    probabilities: Callable[[RGB], Probabilities]
    operating: OperatingPoint | None = None
    judge: bool = False


def open_scorer(model: Path, device: str, jobs: int, *, judge: bool = False) -> Scorer:
    """Open a trained folder or an exported file.

    Args:
        model: The folder or file.
        device: `auto`, `cpu` or `cuda`.
        jobs: Threads of an exported file.
        judge: A folder's model as it was before it learned the validation photos, if it did: for questions about them.

    Raises:
        DataError: There is no model.
        BackendError: Its runtime is missing.
    """
    if model.suffix in EXPORTED_SUFFIXES:
        return _exported(model, resolve_device(device), jobs)
    return _trained(model, resolve_device(device), judge=judge)


def _exported(model: Path, device: str, jobs: int) -> Scorer:
    card = read_exported(model)
    runtime = "openvino" if model.suffix == ".xml" else "auto"
    network = Network(model, runtime=runtime, device="cuda" if device.startswith("cuda") else "cpu", threads=jobs)

    def probabilities(image: RGB) -> Probabilities:
        found: Probabilities = network(image[None])[0][0]
        return found

    return Scorer(card.classes, card.seen, probabilities, card.operating)


def _trained(model: Path, device: str, *, judge: bool) -> Scorer:
    import torch

    from weldgen.classifier.ensemble import load_members
    from weldgen.classifier.model_file import load_card
    from weldgen.classifier.preprocess import letterbox

    card, members = load_card(model), load_members(model, device, judge=judge)
    frames = {own.frame for _, own in members}

    @torch.inference_mode()
    def probabilities(image: RGB) -> Probabilities:
        framed = {frame: torch.from_numpy(letterbox(image, frame))[None].to(device) for frame in frames}
        rows = [(network(framed[own.frame]) / own.temperature).softmax(dim=1)[0].float() for network, own in members]
        found: Probabilities = torch.stack(rows).mean(dim=0).cpu().numpy()
        return found

    point = load_point(model if model.is_dir() else model.parent)
    return Scorer(card.classes, card.seen, probabilities, point, judge=judge and card.learned_validation)
