"""Class-activation maps: the evidence lies where the class is, and adds up to the answer's margin."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from weldgen.classifier.activation import activation_maps, cell_evidence
from weldgen.classifier.backbones import create_backbone, set_pool
from weldgen.classifier.network import WeldNetwork
from weldgen.classifier.preprocess import letterbox, photo_in_frame
from weldgen.classifier.settings import ModelSettings
from weldgen.errors import BackendError


def network_of(name: str, head: str = "arcface", pool: str = "avg", classes: int = 2) -> WeldNetwork:
    torch.manual_seed(0)
    backbone = create_backbone(name, "none", (64, 96) if "vit" not in name else (64, 64))
    set_pool(backbone, pool)
    settings = ModelSettings(head=head, embedding_size=16)
    network = WeldNetwork(backbone.model, backbone.features, (backbone.mean, backbone.std), settings, classes)
    return network.eval()


def images_of(height: int = 64, width: int = 96) -> torch.Tensor:
    return torch.randint(0, 256, (3, 3, height, width), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


@pytest.mark.parametrize("pool", ["avg", "max"])
@pytest.mark.parametrize("head", ["arcface", "subcenter", "unit_softmax", "softmax"])
@pytest.mark.parametrize("name", ["test_efficientnet", "test_convnext", "luna", "torchvision/squeezenet1_1"])
def test_the_evidence_of_all_cells_adds_up_to_the_margin(name, head, pool):
    network, images = network_of(name, head, pool), images_of()
    evidence = cell_evidence(network, images, torch.ones(3, dtype=torch.long))
    logits = network(images).detach()
    assert evidence.sum(dim=(1, 2)) == pytest.approx(logits[:, 1] - logits[:, 0], rel=1e-3, abs=1e-4)


def test_a_layer_norm_behind_the_map_gives_what_it_gave():
    network, images = network_of("test_convnext"), images_of()
    before = network(images)
    cell_evidence(network, images, torch.tensor([0, 1, 0]))
    assert torch.equal(network(images), before)


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("test_efficientnet", (2, 3)),
        ("torchvision/squeezenet1_1", (3, 5)),
        ("test_vit2", (4, 4)),
        ("test_vit3", (4, 4)),
    ],
)
def test_a_map_holds_shares(name, cells):
    images = images_of(*((64, 64) if "vit" in name else (64, 96)))
    network = network_of(name, classes=3)
    maps = activation_maps(network, images, network(images).argmax(dim=1))
    assert tuple(maps.shape) == (3, *cells)
    assert maps.dtype == torch.float32
    assert maps.min() >= 0
    assert maps.sum(dim=(1, 2)) == pytest.approx(torch.ones(3), abs=1e-5)


def test_channels_may_come_last():
    maps = activation_maps(network_of("swin_s3_tiny_224", head="mlp"), images_of(), torch.tensor([0, 1, 1]))
    assert tuple(maps.shape) == (3, 2, 3)


def test_a_class_token_is_refused():
    with pytest.raises(BackendError, match="answers from a class token"):
        activation_maps(network_of("test_vit"), images_of(64, 64), torch.tensor([0, 1, 1]))


@pytest.mark.parametrize("shape", [(100, 300), (300, 100), (77, 78), (16, 500), (64, 96)])
def test_a_photo_lies_in_the_frame_where_the_letterbox_puts_it(shape):
    framed = letterbox(np.zeros((*shape, 3), np.uint8), (64, 96))
    dark = (framed == 0).all(axis=0)
    top, left, height, width = photo_in_frame(shape, (64, 96))
    assert dark[top : top + height, left : left + width].all()
    assert dark.sum() == height * width
