"""`model.freeze=until:<layer>`: that layer and all before it keep their weights."""

from __future__ import annotations

import pytest
import torch

from weldgen.classifier import backbones
from weldgen.classifier.backbone import Backbone
from weldgen.classifier.freezing import freeze_backbone, layers_of
from weldgen.classifier.network import WeldNetwork, parameter_groups
from weldgen.classifier.settings import ModelSettings
from weldgen.classifier.train import TrainConfig
from weldgen.config import load_config
from weldgen.errors import ConfigError


@pytest.fixture
def small() -> Backbone:
    """A network whose weights count as pre-trained."""
    torch.manual_seed(0)
    made = backbones.create_backbone("test_efficientnet", "none", (64, 64))
    return Backbone(made.model, made.name, made.features, made.mean, made.std, ({"id": "x"},))


def frozen(backbone: Backbone) -> list[str]:
    return [name for name, value in backbone.model.named_parameters() if not value.requires_grad]


@pytest.mark.parametrize("layer", ["blocks.2", "blocks.3.0.conv_pwl", "conv_stem", "blocks"])
def test_the_named_layer_and_all_before_it_are_frozen(small, layer):
    names = [name for name, _ in small.model.named_parameters()]
    share, note = freeze_backbone(small, ModelSettings(freeze=f"until:{layer}"))
    kept = frozen(small)
    assert kept == names[: len(kept)]
    assert kept[-1].startswith(f"{layer}.")
    assert not names[len(kept)].startswith(f"{layer}.")
    assert 0 < share < 1
    assert f"model.freeze=until:{layer}" in note


def test_blocks_1_is_not_blocks_10(small):
    freeze_backbone(small, ModelSettings(freeze="until:blocks.1"))
    assert frozen(small)[-1].startswith("blocks.1.")


def test_what_is_frozen_does_not_move(small):
    freeze_backbone(small, ModelSettings(freeze="until:blocks.2"))
    network = WeldNetwork(
        small.model, small.features, (small.mean, small.std), ModelSettings(embedding_size=8), 2
    ).train()
    before = {name: value.detach().clone() for name, value in small.model.named_parameters()}
    optimizer = torch.optim.SGD(parameter_groups(network, 0.1, 1.0, 0.01), lr=0.1)
    network(torch.randint(0, 256, (4, 3, 64, 64)), torch.eye(2).repeat(2, 1)).sum().backward()
    optimizer.step()
    moved = {name for name, value in small.model.named_parameters() if not torch.equal(value, before[name])}
    assert moved
    assert moved.isdisjoint(frozen(small))


@pytest.mark.parametrize(
    ("layer", "near"), [("block.2", "blocks.2"), ("blocks.9", "blocks.4"), ("conv_stm", "conv_stem"), ("x", "")]
)
def test_a_wrong_name_lists_those_that_exist(small, layer, near):
    with pytest.raises(ConfigError) as caught:
        freeze_backbone(small, ModelSettings(freeze=f"until:{layer}"))
    text = str(caught.value)
    assert f"model.freeze=until:{layer}: test_efficientnet has no such layer" in text
    assert "conv_stem, bn1, blocks, conv_head, bn2" in text
    assert near in text
    hinted = caught.value.hint.removeprefix("model.freeze=until:")
    assert hinted in layers_of(small.model)
    assert not frozen(small), "nothing is half done"


def test_random_weights_are_not_kept(small):
    random = Backbone(small.model, small.name, small.features, small.mean, small.std)
    with pytest.raises(ConfigError, match=r"until:blocks.2: test_efficientnet has random weights"):
        freeze_backbone(random, ModelSettings(freeze="until:blocks.2"))


def test_the_command_line_takes_it(tmp_path):
    config = load_config("train", TrainConfig, project=tmp_path, overrides=["model.freeze=until:stages.1.blocks"])
    assert config.model.freeze == "until:stages.1.blocks"
    for wrong in ("until:", "stage", "until"):
        with pytest.raises(ConfigError, match=r"accepted: stages, backbone, none, until:<layer>"):
            load_config("train", TrainConfig, project=tmp_path, overrides=[f"model.freeze='{wrong}'"])
