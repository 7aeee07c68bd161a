"""Features of several layers: what they are, where they are taken, and that the exported file has them."""

from __future__ import annotations

import pytest
import torch

from weldgen.classifier import backbones
from weldgen.classifier.activation import cell_evidence
from weldgen.classifier.layers import StageFeatures, has_stages, with_stages
from weldgen.classifier.model_file import load_model
from weldgen.classifier.network import WeldNetwork
from weldgen.classifier.settings import ModelSettings
from weldgen.classifier.train import train
from weldgen.errors import ConfigError

FRAME = (64, 96)
NAMES = ["test_efficientnet", "test_convnext", "test_resnet", "swin_s3_tiny_224"]


def layered(name, pool="avg"):
    torch.manual_seed(0)
    backbone = backbones.create_backbone(name, "none", FRAME)
    backbones.set_pool(backbone, pool)
    return backbone, with_stages(backbone, pool)


@pytest.mark.parametrize("pool", ["avg", "max"])
@pytest.mark.parametrize("name", NAMES)
def test_they_are_the_roots_of_what_the_stages_and_the_network_give(name, pool):
    plain, several = layered(name, pool)
    images = torch.rand(2, 3, *FRAME)
    with torch.inference_mode():
        last = plain.model.eval()(images)
        found = several.model.eval()(images)
        maps = several.model.maps(images)[:-1]
    assert found.shape == (2, several.features) and [m.shape[2] for m in maps] == [16, 8, 4, 2]
    pooled = [m.mean(dim=(2, 3)) if pool == "avg" else m.amax(dim=(2, 3)) for m in maps]
    expected = torch.cat([*pooled, last], dim=1)
    seen = expected.abs() > 1e-5
    assert torch.allclose((found * found.abs())[seen], expected[seen], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("pool", ["avg", "max"])
@pytest.mark.parametrize("name", NAMES)
def test_the_evidence_of_all_cells_adds_up_to_the_margin(name, pool):
    _, backbone = layered(name, pool)
    settings = ModelSettings(head="unit_softmax", embedding_size=16)
    network = WeldNetwork(backbone.model, backbone.features, (backbone.mean, backbone.std), settings, 2).eval()
    images = torch.randint(0, 256, (3, 3, *FRAME), dtype=torch.uint8)
    evidence = cell_evidence(network, images, torch.ones(3, dtype=torch.long))
    logits = network(images).detach()
    assert evidence.shape == (3, 2, 3)
    assert evidence.sum(dim=(1, 2)) == pytest.approx(logits[:, 1] - logits[:, 0], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", ["luna", "test_vit", "torchvision/squeezenet1_1"])
def test_a_network_without_maps_of_stages_is_refused(name):
    backbone = backbones.create_backbone(name, "none", (160, 160))
    assert not has_stages(backbone)
    with pytest.raises(ConfigError, match="gives no maps of its stages"):
        with_stages(backbone, "avg")


def test_a_backbone_that_learns_is_refused(class_folder, tmp_path, tiny_config):
    config = tiny_config(model={"layers": "stages"}, training={"method": "finetune"})
    with pytest.raises(ConfigError, match="stays as it is"):
        train(class_folder, tmp_path / "model", config)


@pytest.fixture(scope="module")
def photos(make_photos, tmp_path_factory):
    return make_photos(tmp_path_factory.mktemp("layers") / "photos", {"bad": 18, "good": 18})


@pytest.mark.parametrize(("backbone", "layers"), [("test_efficientnet", "stages"), ("luna", "last")])
def test_ten_photos_of_each_class_are_told_by_the_means_of_several_layers(
    photos, tmp_path, tiny_config, backbone, layers
):
    train(photos, tmp_path / "model", tiny_config(model={"backbone": backbone}, training={"method": "linear"}))
    network, card = load_model(tmp_path / "model")
    assert (card.settings["pool"], card.settings["layers"]) == ("avg", layers)
    assert card.features == network.embedding.in_features
    assert isinstance(network.backbone, StageFeatures) == (layers == "stages")


def test_the_exported_file_has_them(photos, tmp_path, tiny_config, exported_differences):
    train(photos, tmp_path / "model", tiny_config(training={"method": "linear"}))
    network, card = load_model(tmp_path / "model")
    assert card.settings["layers"] == "stages"
    assert max(exported_differences(network, card.frame).values()) < 5e-3


def test_folds_have_them_too(photos, tmp_path, tiny_config):
    own = {"model": {"layers": "stages"}, "training": {"method": "linear"}, "split": {"test": 0}}
    train(photos, tmp_path / "model", tiny_config(folds=2, **own))
    layers = [load_model(tmp_path / "model" / f"fold-{k}")[1].settings["layers"] for k in (1, 2)]
    assert layers == ["stages", "stages"]
