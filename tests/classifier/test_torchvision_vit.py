"""torchvision's transformers: any frame, stages, weights, maps of where they looked.

That the exported file says the same is checked with those of other sources, in `test_backbone_sources.py`.
"""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models
from torchvision.models.maxvit import MaxVit
from torchvision.models.vision_transformer import VisionTransformer
from torchvision.ops import StochasticDepth

from weldgen.classifier import backbones, torchvision_backbones
from weldgen.classifier.activation import activation_maps, cell_evidence
from weldgen.classifier.backbone import Backbone
from weldgen.classifier.local_weights import OWN_RECORD, OWN_WEIGHTS
from weldgen.classifier.network import WeldNetwork, freeze
from weldgen.classifier.settings import ModelSettings
from weldgen.classifier.torchvision_vit import TokenVit
from weldgen.errors import BackendError, ConfigError
from weldgen.runtime import file_hash

VIT, MAXVIT = "torchvision/vit_b_16", "torchvision/maxvit_t"


def small_vit(**settings):
    wanted = {"image_size": 64, "patch_size": 16, "num_layers": 4, "num_heads": 2, "hidden_dim": 24, "mlp_dim": 32}
    return VisionTransformer(**{**wanted, **settings})


def small_maxvit(**settings):
    wanted = {"stem_channels": 8, "block_channels": [8, 8, 8, 16], "block_layers": [1, 1, 1, 1], "head_dim": 4}
    return MaxVit(**{"input_size": (224, 224), "partition_size": 7, "stochastic_depth_prob": 0.2, **wanted, **settings})


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    """torchvision's own classes, with few layers."""
    whole = models.get_model

    def get_model(name, weights=None, **settings):
        made = {"vit_b_16": small_vit, "maxvit_t": small_maxvit}.get(name)
        return made(**settings) if made else whole(name, weights=weights, **settings)

    monkeypatch.setattr(models, "get_model", get_model)
    torch.manual_seed(0)


def network_of(backbone: Backbone) -> WeldNetwork:
    normalisation = (backbone.mean, backbone.std)
    return WeldNetwork(backbone.model, backbone.features, normalisation, ModelSettings(embedding_size=16), 2).eval()


def test_its_features_are_the_class_token_of_torchvision():
    network = small_vit().eval()
    nn.init.normal_(network.class_token)
    images, seen = torch.rand(2, 3, 64, 64), []
    network.heads.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.inference_mode():
        network(images)
        ours = TokenVit(network, (64, 64)).eval()
        assert torch.allclose(ours(images), seen[0], atol=1e-5)
        assert torch.allclose(ours.attended(images)[0], seen[0], atol=1e-5)


def test_positions_are_fitted_to_any_frame():
    network = small_vit()
    # A position is where it lies: columns from left to right, rows from top to bottom.
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    known = torch.zeros(1, 17, 24)
    known[0, 0], known[0, 1:, 0], known[0, 1:, 1] = 7.0, rows.flatten(), columns.flatten()
    network.encoder.pos_embedding = nn.Parameter(known)
    wide = TokenVit(network, (64, 128)).encoder.pos_embedding
    assert wide.shape == (1, 1 + 4 * 8, 24)
    assert (wide[0, 0] == 7).all()
    grid = wide[0, 1:].view(4, 8, 24)
    assert torch.allclose(grid[:, :, 0], torch.arange(4.0)[:, None].expand(4, 8), atol=1e-5)
    assert (grid[:, 1:, 1] > grid[:, :-1, 1]).all()


def test_smaller_images_pass_in_training():
    backbone = backbones.create_backbone(VIT, "none", (64, 96))
    assert not backbones.has_fixed_shape(VIT)
    assert backbone.model(torch.rand(2, 3, 32, 64)).shape == (2, 24)
    with torch.inference_mode():
        assert backbone.model.eval().forward_features(torch.rand(1, 3, 64, 96)).shape == (1, 1 + 4 * 6, 24)


@pytest.mark.parametrize(("name", "frame"), [(VIT, (64, 96)), (MAXVIT, (224, 224))])
def test_blocks_are_frozen_in_four_groups(name, frame):
    model = backbones.create_backbone(name, "none", frame).model
    stage = backbones.stages(model)
    assert set(stage) == {parameter for parameter, _ in model.named_parameters()}
    assert sorted(set(stage.values())) == [0, 1, 2, 3, 4]
    freeze(model, 2)
    frozen = {parameter for parameter, value in model.named_parameters() if not value.requires_grad}
    if name == VIT:
        assert {"class_token", "encoder.pos_embedding", "conv_proj.weight"} < frozen
        assert "encoder.layers.encoder_layer_1.ln_1.weight" in frozen
        assert not [parameter for parameter in frozen if "layer_2" in parameter or parameter.startswith("encoder.ln.")]
    else:
        assert {parameter.split(".")[2] for parameter in frozen if ".blocks." in parameter} == {"0", "1"}
        assert [p for p in frozen if ".stem." in p]


def test_weights_for_another_size_are_fitted(tmp_path):
    source = backbones.create_backbone(VIT, "none", (64, 64)).model
    file = tmp_path / OWN_WEIGHTS
    save_file({name: value.contiguous() for name, value in source.state_dict().items()}, file)
    record = {"identity": file_hash(file), "backbone": VIT, "weights": [], "seen": []}
    (tmp_path / OWN_RECORD).write_text(json.dumps(record))
    other = backbones.create_backbone("auto", str(tmp_path), (64, 96)).model
    assert other.encoder.pos_embedding.shape == (1, 25, 24)
    assert torch.equal(other.encoder.pos_embedding[:, 0], source.encoder.pos_embedding[:, 0])
    assert torch.equal(other.conv_proj.weight, source.conv_proj.weight)
    again = backbones.rebuild(VIT, (64, 96), ModelSettings())
    again.load_state_dict(other.state_dict())


def test_pretrained_weights_of_maxvit_load_at_another_size(monkeypatch):
    source = small_maxvit()
    known = torchvision_backbones._weights_of(MAXVIT)
    monkeypatch.setattr(type(known), "get_state_dict", lambda *_, **__: source.state_dict())
    backbone = backbones.create_backbone(MAXVIT, "pretrained", (448, 448))
    assert backbone.weights[0]["id"] == f"{MAXVIT}.IMAGENET1K_V1"
    assert torch.equal(backbone.model.state_dict()["body.stem.0.0.weight"], source.stem[0][0].weight)


def test_maxvit_keeps_the_norm_behind_the_pooling():
    network = small_maxvit(input_size=(28, 28), block_channels=[16], block_layers=[1]).eval()
    images, seen = torch.rand(1, 3, 28, 28), []
    network.classifier[2].register_forward_hook(lambda _, __, out: seen.append(out))
    ours = torchvision_backbones.MaxVitMap(network).eval()
    with torch.inference_mode():
        network(images)
        assert torch.allclose(ours(images), seen[0], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "frame", "message", "hint"),
    [
        ("torchvision/vit_b_32", (80, 64), "multiples of 32 px (32, 64, ...), not 64 x 80 px", "data.image_size=64"),
        ("torchvision/vit_h_14", (512, 512), "multiples of 224 px (224, 448, ...), not 512 x 512 px", "=448"),
        (MAXVIT, (384, 384), "squares with sides that are multiples of 224 px", "data.image_size=448"),
        (MAXVIT, (224, 448), "squares with sides that are multiples of 224 px", "data.image_size=448"),
    ],
)
def test_a_frame_that_does_not_fit_names_those_that_do(name, frame, message, hint):
    with pytest.raises(ConfigError) as caught:
        backbones.create_backbone(name, "none", frame)
    assert message in str(caught.value)
    assert hint in caught.value.hint
    assert backbones.has_fixed_shape(name) == (name != "torchvision/vit_b_32")


def test_a_class_token_says_where_it_looked():
    """One patch is marked, and heads and head are made to look for the mark."""
    network = network_of(backbones.create_backbone(VIT, "none", (64, 96)))
    images = torch.full((2, 3, 64, 96), 128.0)
    images[0, :, 16:32, 48:64] = 255  # row 1, column 3 of 4 x 6
    images[1, :, 48:64, 0:16] = 255  # row 3, column 0
    optimizer = torch.optim.Adam(network.parameters(), 0.003)
    plain = torch.full((1, 3, 64, 96), 128.0)
    for step in range(60):
        places = torch.randint(0, 24, (7,), generator=torch.Generator().manual_seed(step))
        marked = plain.repeat(8, 1, 1, 1)
        for image, place in zip(marked, places.tolist(), strict=False):
            row, column = 16 * (place // 6), 16 * (place % 6)
            image[:, row : row + 16, column : column + 16] = 255
        loss = nn.functional.cross_entropy(network(marked), torch.tensor([1] * 7 + [0]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for parameter in network.parameters():
        parameter.requires_grad_(False)  # frozen weights change nothing
    answers = torch.tensor([1, 1])
    assert torch.equal(network(images).argmax(dim=1), answers)
    maps = activation_maps(network, images, answers)
    assert maps.shape == (2, 4, 6)
    assert maps.sum(dim=(1, 2)) == pytest.approx(torch.ones(2), abs=1e-5)
    assert maps.flatten(1).argmax(dim=1).tolist() == [1 * 6 + 3, 3 * 6]


def test_the_evidence_of_maxvit_adds_up_to_the_margin():
    network = network_of(backbones.create_backbone(MAXVIT, "none", (224, 224)))
    images = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    evidence = cell_evidence(network, images, torch.ones(2, dtype=torch.long))
    logits = network(images).detach()
    assert evidence.shape == (2, 7, 7)
    assert evidence.sum(dim=(1, 2)) == pytest.approx(logits[:, 1] - logits[:, 0], rel=1e-3, abs=1e-4)


def test_stochastic_depth_is_maxvits_alone():
    model = torchvision_backbones.build(MAXVIT, (224, 224), 0.3)
    assert max(block.p for block in model.modules() if isinstance(block, StochasticDepth)) == 0.3
    with pytest.raises(ConfigError, match="has no stochastic depth"):
        backbones.create_backbone(VIT, "none", (64, 64), 0.1)
    with pytest.raises(BackendError, match="not on this machine"):
        backbones.create_backbone(VIT, "auto", (64, 64))
