from __future__ import annotations

import numpy as np
import pytest
import torch

from weldgen import weights
from weldgen.classifier.backbones import create_backbone
from weldgen.features import FEATURES, SIDE_PX, FeatureExtractor, feature_network, letterbox
from weldgen.synthesis.render.photos import render_photo


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    network = feature_network()
    assert network is not None
    return FeatureExtractor(network)


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [render_photo(seed, "good", width, 64, marked=False) for seed, width in enumerate((96, 128, 96))]


def test_the_network_is_timms(extractor: FeatureExtractor, images: list[np.ndarray]) -> None:
    model = create_backbone("auto", "embedded", SIDE_PX).model.eval()
    pixels = torch.from_numpy(letterbox(images[0])).float().permute(2, 0, 1)[None]
    with torch.inference_mode():
        wanted = model(pixels / 127.5 - 1).numpy()[0]
    assert np.allclose(extractor(images[:1])[0], wanted / np.linalg.norm(wanted), atol=1e-5)


def test_features_do_not_depend_on_the_batch(extractor: FeatureExtractor, images: list[np.ndarray]) -> None:
    together = extractor(images)
    assert together.shape == (3, FEATURES) and np.allclose(np.linalg.norm(together, axis=1), 1)
    for index in (2, 0, 1):
        assert np.array_equal(extractor([images[index]])[0], together[index])
    assert extractor([]).shape == (0, FEATURES)


def test_an_image_is_nearer_to_itself_than_to_others(extractor: FeatureExtractor, images: list[np.ndarray]) -> None:
    seen = extractor([*images, images[0][:, ::-1].copy()])
    away = 1 - seen @ seen.T
    assert away[3, 0] < away[3, 1] and away[3, 0] < away[3, 2]


def test_letterbox_keeps_the_shape() -> None:
    square = letterbox(np.zeros((20, 80, 3), np.uint8))
    dark = np.flatnonzero((square == 0).all(axis=2).any(axis=1))
    assert square.shape == (SIDE_PX, SIDE_PX, 3) and len(dark) == SIDE_PX // 4
    assert (square[0] == 128).all() and dark[0] == (SIDE_PX - len(dark)) // 2


def test_without_weights_there_is_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "find", lambda name: None)
    assert feature_network() is None
