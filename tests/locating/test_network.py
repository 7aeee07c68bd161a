"""The locator's network gives what the linear layer on its features gives, at any size of a photo."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from weldgen.inference import Network
from weldgen.locating.network import cells_of, evidence_map, feature_maps, network_input
from weldgen.locating.teach import Linear


@pytest.fixture(scope="module")
def looking():
    return Network(feature_maps(), threads=1)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_evidence_is_the_linear_layer_on_the_features(looking):
    weight = np.random.default_rng(1).normal(0, 0.05, 688).astype(np.float32)
    network = Network(evidence_map(weight, -0.3, {"who": "test"}), threads=1)
    for shape in ((96, 160), (160, 96)):
        image = noise(*shape)[None]
        features = looking(image)[0][0]
        assert features.shape == (688, shape[0] // 8, shape[1] // 8)
        np.testing.assert_allclose(network(image)[0][0, 0], Linear(weight, -0.3)(features), atol=2e-4)


def test_the_features_are_those_of_the_backbone(looking):
    from weldgen.classifier.backbones import create_backbone

    backbone = create_backbone("auto", "embedded", (64, 96))
    seen = {}
    backbone.model.blocks[2].register_forward_hook(lambda module, given, made: seen.update(made=made))
    image = noise(64, 96)
    with torch.inference_mode():
        backbone.model.eval()(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1)
    own = looking(image[None])[0][0][24:64]  # behind the 24 maps of the stage before
    np.testing.assert_allclose(own, seen["made"][0].numpy(), atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "ready", "cells", "scale"),
    [
        ((900, 2000), (288, 640), (36, 80), 3.125),
        ((100, 60), (128, 64), (12, 8), 1.0),
        ((20, 20), (32, 32), (2, 2), 1.0),
    ],
)
def test_photos_are_shrunk_and_filled_up(shape, ready, cells, scale):
    image = noise(*shape)
    made, factor = network_input(image, 640)
    assert made.shape == (1, *ready, 3)
    assert factor == pytest.approx(scale)
    assert cells_of(image, factor) == cells
