"""One tiny trained and exported classifier for all tests of this room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weldgen.classifier.export import ExportConfig, export
from weldgen.classifier.train import TrainConfig, train

_TINY = {
    "device": "cpu",
    "data": {"image_size": 64},
    "model": {"backbone": "test_efficientnet", "weights": "none", "embedding_size": 16, "freeze_stages": 0},
    "training": {"epochs": 14, "min_steps": 0, "batch_size": 8, "lr": 5e-3, "precision": "fp32"},
}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file that tells dark photos (`bad`) from bright ones (`good`)."""
    root = tmp_path_factory.mktemp("serving")
    random = np.random.default_rng(0)
    for label, level in {"bad": 70, "good": 190}.items():
        (root / "photos" / label).mkdir(parents=True)
        for index in range(14):
            pixels = random.normal(level, 25, (56, 80, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / "photos" / label / f"{index}.png")
    train(root / "photos", root / "model", TrainConfig.model_validate(_TINY))
    export(root / "model", root / "classifier.onnx", ExportConfig())
    return root / "classifier.onnx"


@pytest.fixture(scope="session")
def strict_model(tiny_model: Path) -> Path:
    """The same network with a threshold that no probability reaches."""
    import onnx

    network = onnx.load(str(tiny_model))
    next(entry for entry in network.metadata_props if entry.key == "threshold").value = "1.1"
    onnx.save(network, str(tiny_model.with_name("strict.onnx")))
    return tiny_model.with_name("strict.onnx")


@pytest.fixture(scope="session")
def doubtful_model(tiny_model: Path) -> Path:
    """The same network with a warning on its card."""
    import onnx

    network = onnx.load(str(tiny_model))
    next(entry for entry in network.metadata_props if entry.key == "warnings").value = '["validation was synthetic"]'
    onnx.save(network, str(tiny_model.with_name("doubtful.onnx")))
    return tiny_model.with_name("doubtful.onnx")
