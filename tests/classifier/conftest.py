"""Tiny real networks and photos that a tiny network can tell apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from weldgen.classifier.export import check_parity, expected_probabilities
from weldgen.classifier.graph import Deployed, to_onnx
from weldgen.classifier.network import WeldNetwork
from weldgen.classifier.train import TrainConfig, train


def build_config(**sections) -> TrainConfig:
    """A configuration that trains in about a second; sections are merged into it."""
    settings = {
        "device": "cpu",
        "data": {"image_size": 64},
        "model": {"backbone": "test_efficientnet", "weights": "none", "embedding_size": 16, "freeze_stages": 0},
        "training": {"epochs": 3, "min_steps": 0, "batch_size": 8, "lr": 5e-3, "precision": "fp32"},
    }
    for name, section in sections.items():
        settings[name] = {**settings.get(name, {}), **section} if isinstance(section, dict) else section
    return TrainConfig.model_validate(settings)


def photo(seed: int, bright: bool, width: int = 80, height: int = 56) -> np.ndarray:
    """Noise around a dark or a bright grey, (H, W, 3) uint8 RGB."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(190 if bright else 70, 25, (height, width, 3)), 0, 255).astype(np.uint8)


def write_photos(root: Path, counts: dict[str, int], first: int = 0) -> Path:
    """`root/<class>/<n>.png`; classes whose name starts with "good" are bright."""
    for number, (label, count) in enumerate(counts.items()):
        (root / label).mkdir(parents=True, exist_ok=True)
        for index in range(first, first + count):
            pixels = photo(1000 * number + index, label.startswith("good"))
            Image.fromarray(pixels).save(root / label / f"{index}.png")
    return root


class Nearest(torch.nn.Module):
    """Stands for the letterbox, which takes the exporter most of its time and is tested with the export."""

    def __init__(self, frame: tuple[int, int]) -> None:
        super().__init__()
        self.frame = frame

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pairs = zip(self.frame, images.shape[1:3], strict=True)
        rows, columns = (torch.arange(side) * length // side for side, length in pairs)
        return images[:, rows][:, :, columns].permute(0, 3, 1, 2).float()


def nearest(network: WeldNetwork, frame: tuple[int, int], *, half: bool = False) -> Deployed:
    """What ships, but for its letterbox."""
    deployed = Deployed(network, frame, 1.0, half=half)
    deployed.letterbox = Nearest(frame)
    return deployed


def differences(network: WeldNetwork, frame: tuple[int, int], precision: str = "fp32") -> dict[str, float]:
    """How far the exported network is from the trained one, by runtime; see `check_parity`."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((56, 80, 3), (200, 130, 3))]
    expected = expected_probabilities(nearest(network, frame), images)
    deployed = nearest(network, frame, half=precision == "fp16")
    return check_parity(to_onnx(deployed, {}), images, expected, precision)


@pytest.fixture(scope="session")
def without_letterbox() -> Callable[..., Deployed]:
    return nearest


@pytest.fixture(scope="session")
def exported_differences() -> Callable[..., dict[str, float]]:
    return differences


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A plain folder: 10 bad, 8 good."""
    return write_photos(tmp_path / "photos", {"bad": 10, "good": 8})


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model that was trained on a plain folder, and that folder."""
    root = tmp_path_factory.mktemp("trained")
    dataset = write_photos(root / "photos", {"bad": 14, "good": 14})
    train(dataset, root / "model", build_config(training={"epochs": 14}))
    return root / "model", dataset


@pytest.fixture(scope="session")
def make_photos() -> Callable[..., Path]:
    return write_photos


@pytest.fixture(scope="session")
def tiny_config() -> Callable[..., TrainConfig]:
    return build_config
