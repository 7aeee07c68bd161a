"""Backbones: the embedded weights fit, auto says what it took, nothing is downloaded unasked."""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file

from weldgen.classifier import backbones
from weldgen.classifier.embedded import embedded_state
from weldgen.classifier.local_weights import EMBEDDED, cached_weights_path
from weldgen.classifier.network import WeldNetwork, adapt_statistics, freeze, keep_statistics, parameter_groups
from weldgen.classifier.settings import ModelSettings
from weldgen.errors import BackendError, ConfigError


def test_the_embedded_weights_fill_timms_network():
    network = timm.create_model(EMBEDDED, num_classes=0)
    result = network.load_state_dict(embedded_state(), strict=False)
    assert (result.missing_keys, result.unexpected_keys) == ([], [])


def test_auto_takes_what_is_here_and_says_what_would_be_better():
    backbone = backbones.create_backbone("auto", "auto", (64, 64))
    assert (backbone.name, backbone.features) == (EMBEDDED, 1280)
    assert "convnextv2_nano" in backbone.notes[0]
    assert backbone.weights == ({"id": "efficientnet_lite0", "licence": "Apache-2.0"},)


def test_weights_in_the_cache_are_taken():
    name = "test_resnet.r160_in1k"
    source = timm.create_model(name)
    path = cached_weights_path(name)
    path.parent.mkdir(parents=True)
    save_file(source.state_dict(), path)
    backbone = backbones.create_backbone(name, "auto", (64, 64))
    assert torch.equal(backbone.model.state_dict()["conv1.0.weight"], source.state_dict()["conv1.0.weight"])
    assert backbone.weights[0]["id"] == f"timm/{name}"


def test_missing_weights_are_an_error_with_the_way_out():
    with pytest.raises(BackendError, match="not on this machine") as caught:
        backbones.create_backbone("test_resnet.r160_in1k", "auto", (64, 64))
    assert "model.weights=pretrained" in caught.value.hint


@pytest.mark.parametrize(("name", "weights"), [("no_such_net", "none"), ("test_resnet", "embedded")])
def test_wrong_names_are_refused(name, weights):
    with pytest.raises(ConfigError):
        backbones.create_backbone(name, weights, (64, 64))


@pytest.mark.parametrize("name", ["test_convnext", "test_vit", "test_resnet", "mobilenetv3_small_050"])
def test_features_are_as_long_as_they_say(name):
    backbone = backbones.create_backbone(name, "none", (64, 64))
    assert backbone.model.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, backbone.features)


@pytest.fixture
def network():
    backbone = backbones.create_backbone("test_efficientnet", "none", (64, 64))
    settings = ModelSettings(embedding_size=16)
    return WeldNetwork(backbone.model, backbone.features, (backbone.mean, backbone.std), settings, 2)


def test_frozen_stages_stay_as_they_are(network):
    assert freeze(network.backbone, 2) < 1
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    network.train()
    keep_statistics(network.backbone, frozen_only=True)
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    network(torch.rand(4, 3, 64, 64) * 255).square().sum().backward()
    optimizer.step()
    stage = backbones.stages(network.backbone)
    for name, value in network.backbone.state_dict().items():
        owner = next((p for p in stage if p.rsplit(".", 1)[0] == name.rsplit(".", 1)[0]), None)
        if owner is not None and not name.endswith("num_batches_tracked"):
            assert torch.equal(value, before[name]) == (stage[owner] <= 2), name


def test_the_backbone_learns_more_slowly_and_norms_do_not_decay(network):
    groups = {group["name"]: group for group in parameter_groups(network, 1e-3, 0.1, 0.01)}
    assert groups["backbone weights"]["lr"] == pytest.approx(1e-4)
    assert groups["head weights"]["lr"] == 1e-3
    assert groups["backbone biases"]["weight_decay"] == 0
    listed = sum(len(group["params"]) for group in groups.values())
    assert listed == len(list(network.parameters()))


def test_statistics_are_adapted_where_layers_learn(network):
    freeze(network.backbone, 2)
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    adapt_statistics(network, [torch.randint(0, 80, (4, 3, 64, 64), dtype=torch.uint8) for _ in range(3)])
    stage = backbones.stages(network.backbone)
    for name, value in network.backbone.state_dict().items():
        if name.endswith("running_mean"):
            assert torch.equal(value, before[name]) == (stage[name.replace("running_mean", "weight")] <= 2), name
        elif not name.endswith(("running_var", "num_batches_tracked")):
            assert torch.equal(value, before[name])


def test_features_are_the_mean_or_the_maximum_of_the_map():
    backbone = backbones.create_backbone("test_efficientnet", "none", (64, 64))
    model = backbone.model.eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        features = model.forward_features(images)
        assert torch.allclose(model(images), features.mean(dim=(2, 3)), atol=1e-5)
        backbones.set_pool(backbone, "max")
        assert torch.allclose(model(images), features.amax(dim=(2, 3)), atol=1e-5)
    again = backbones.rebuild("test_efficientnet", (64, 64), ModelSettings(pool="max")).eval()
    again.load_state_dict(model.state_dict())
    with torch.inference_mode():
        assert torch.equal(again(images), model(images))


def test_a_backbone_without_a_map_refuses_other_pooling():
    backbone = backbones.create_backbone("test_vit", "none", (160, 160))
    assert not backbones.has_map(backbone)
    backbones.set_pool(backbone, "avg")
    with pytest.raises(ConfigError, match="makes no map"):
        backbones.set_pool(backbone, "max")
