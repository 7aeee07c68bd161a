"""Tiny real networks and photos that a tiny network can tell apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
