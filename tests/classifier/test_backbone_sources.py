"""Names of timm and of torchvision, CLIP's towers, what freezes, and that all of it can be exported."""

from __future__ import annotations

import copy
import json

import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision.models.maxvit import MaxVit
from torchvision.models.vision_transformer import VisionTransformer

from weldgen.classifier import backbones, luna, timm_backbones, torchvision_backbones
from weldgen.classifier.backbone import Backbone, licence_notes
from weldgen.classifier.freezing import freeze_backbone
from weldgen.classifier.local_weights import OWN_RECORD, OWN_WEIGHTS
from weldgen.classifier.network import WeldNetwork, freeze
from weldgen.classifier.settings import ModelSettings
from weldgen.classifier.torchvision_vit import TokenVit
from weldgen.errors import BackendError, ConfigError
from weldgen.runtime import file_hash

# The smallest of timm's CLIP towers.
TOWER = "vit_xsmall_patch16_clip_224.tinyclip_yfcc15m"
SMALL = "torchvision/mobilenet_v3_small"
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)


@pytest.fixture(scope="module")
def small() -> Backbone:
    torch.manual_seed(0)
    return backbones.create_backbone(SMALL, "none", (64, 96))


@pytest.fixture(scope="module")
def tower() -> Backbone:
    torch.manual_seed(0)
    return backbones.create_backbone(TOWER, "none", (64, 64))


def network_of(backbone: Backbone, settings: ModelSettings | None = None) -> WeldNetwork:
    settings = settings or ModelSettings(embedding_size=16)
    return WeldNetwork(backbone.model, backbone.features, (backbone.mean, backbone.std), settings, 2)


def test_a_torchvision_network_gives_its_last_map_at_any_shape(small):
    model = small.model.eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 96, 64)).shape == (2, small.features) == (2, 576)
        assert model.forward_features(torch.zeros(1, 3, 64, 96)).shape == (1, 576, 2, 3)
    assert not [name for name, _ in model.named_parameters() if "classifier" in name]
    assert (small.mean[0], small.weights) == (0.485, ())


def test_its_features_are_those_of_torchvision():
    from torchvision.models import convnext_tiny

    torch.manual_seed(0)
    network = convnext_tiny(num_classes=7).eval()
    images, seen = torch.rand(1, 3, 64, 64), []
    network.classifier[1].register_forward_hook(lambda _, __, out: seen.append(out))
    ours = torchvision_backbones.TorchvisionMap(network).eval()
    with torch.inference_mode():
        network(images)
        assert torch.allclose(ours(images), seen[0], atol=1e-5)  # ConvNeXt's norm behind the pooling is kept


@pytest.mark.parametrize(("name", "count"), [("mobilenet_v3_small", 4), ("squeezenet1_1", 3), ("resnet18", 4)])
def test_its_stages_end_where_the_map_gets_smaller(name, count):
    model = backbones.create_backbone(f"torchvision/{name}", "none", (64, 64)).model
    stage = backbones.stages(model)
    assert set(stage) == {name for name, _ in model.named_parameters()}
    assert sorted(set(stage.values())) == list(range(count + 1))
    if name == "resnet18":
        assert (stage["body.bn1.weight"], stage["body.layer2.0.conv1.weight"]) == (0, 2)
        assert freeze(model, 2) == pytest.approx(0.94, abs=0.005)


def test_its_maximum_is_taken_after_a_rebuild_too(small):
    model, images = copy.deepcopy(small.model).eval(), torch.rand(1, 3, 64, 64)
    backbones.set_pool(Backbone(model, SMALL, small.features, small.mean, small.std), "max")
    again = backbones.rebuild(SMALL, (64, 64), ModelSettings(pool="max")).eval()
    again.load_state_dict(model.state_dict())
    with torch.inference_mode():
        assert torch.equal(again(images), model.forward_features(images).amax(dim=(2, 3)))


def test_weights_of_torchvision_are_read_where_they_lie(monkeypatch, tmp_path, small):
    from torchvision.models import mobilenet_v3_small

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(BackendError, match="not on this machine") as caught:
        backbones.create_backbone(SMALL, "auto", (64, 64))
    assert "model.weights=pretrained" in caught.value.hint
    assert "mobilenet_v3_small-047dcff4.pth" in caught.value.hint
    source = mobilenet_v3_small()
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(source.state_dict(), tmp_path / "hub" / "checkpoints" / "mobilenet_v3_small-047dcff4.pth")
    backbone = backbones.create_backbone(SMALL, "auto", (64, 64))
    assert backbone.weights == ({"id": f"{SMALL}.IMAGENET1K_V1", "licence": "BSD-3-Clause"},)
    assert torch.equal(backbone.model.state_dict()["body.features.0.0.weight"], source.features[0][0].weight)
    assert "BSD-3-Clause" in backbone.notes[0]


def test_weights_of_pretrain_fit_a_torchvision_network(tmp_path, small):
    file = tmp_path / OWN_WEIGHTS
    save_file({name: value.contiguous() for name, value in small.model.state_dict().items()}, file)
    record = {"identity": file_hash(file), "backbone": SMALL, "weights": [{"id": "x", "licence": "y"}], "seen": []}
    (tmp_path / OWN_RECORD).write_text(json.dumps(record))
    backbone = backbones.create_backbone("auto", str(tmp_path), (64, 64))
    assert (backbone.name, backbone.weights) == (SMALL, ({"id": "x", "licence": "y"},))
    assert all(torch.equal(value, small.model.state_dict()[k]) for k, value in backbone.model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "weights", "message", "hint"),
    [
        ("torchvision/resnet81", "none", "not a torchvision network", "torchvision/resnet18"),
        ("torchvision/maxvit_t", "none", "multiples of 224 px", "image_size=224"),
        (SMALL, "embedded", "ship with weldgen", "auto"),
        ("torchvision/alexnet", "none", "cannot see photos of 32 x 32 px", "image_size"),
        ("resnet81", "none", "not a timm network", "resnet18"),
        ("lunar", "none", "not a timm network", "luna"),
        (TOWER.replace("yfcc", "yfc"), "none", "no such weights", TOWER),
    ],
)
def test_a_wrong_name_gets_the_nearest_right_one(name, weights, message, hint):
    with pytest.raises(ConfigError, match=message) as caught:
        backbones.create_backbone(name, weights, (32, 32))
    assert hint in caught.value.hint


def test_clip_is_the_tower_of_openai():
    name = timm_backbones.full_name("clip")
    assert timm.is_model(name)
    assert backbones.has_fixed_shape("clip")
    assert not backbones.has_fixed_shape(SMALL)
    config = timm.get_pretrained_cfg(name)
    assert (tuple(config.mean), config.hf_hub_id) == (CLIP_MEAN, "timm/vit_base_patch32_clip_224.openai")
    with pytest.raises(BackendError, match="not on this machine"):
        backbones.create_backbone("clip", "auto", (224, 224))


def test_a_tower_sees_other_sizes_than_it_was_made_for(tower):
    assert tower.mean == CLIP_MEAN
    with torch.inference_mode():
        assert tower.model.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, tower.features)
    assert tower.model.pos_embed.shape == (1, 17, tower.features)


def test_position_embeddings_are_fitted_to_the_size(tmp_path, tower):
    file = tmp_path / "tower.safetensors"
    save_file({name: value.contiguous() for name, value in tower.model.state_dict().items()}, file)
    other = backbones.create_backbone(TOWER, str(file), (96, 96)).model
    assert other.pos_embed.shape == (1, 37, tower.features)
    assert torch.equal(other.pos_embed[:, 0], tower.model.pos_embed[:, 0])


def test_patches_fill_the_frame_or_an_error_says_which_size_does():
    with pytest.raises(ConfigError, match="patches of 14 x 14 px") as caught:
        timm_backbones.build("eva02_tiny_patch14_224", (384, 384))
    assert caught.value.hint == "data.image_size=448"


class Beside(torch.nn.Module):
    """Features of several networks, one behind the other."""

    def __init__(self, *models: torch.nn.Module) -> None:
        super().__init__()
        self.models = torch.nn.ModuleList(models)

    def forward(self, images):
        return torch.cat([model(images) for model in self.models], dim=1)


def test_the_exported_file_says_the_same(monkeypatch, exported_differences):
    """All kinds in one file, each with few layers: the exporter takes seconds for every one."""
    torch.manual_seed(0)
    monkeypatch.setattr(luna, "_DEPTHS", (1, 1, 0, 0))
    own = luna.Luna()
    theirs = backbones.create_backbone("torchvision/alexnet", "none", (64, 64)).model
    clip = timm.create_model(TOWER, num_classes=0, img_size=(64, 64), depth=1)
    tokens = TokenVit(VisionTransformer(32, 16, num_layers=1, num_heads=2, hidden_dim=24, mlp_dim=32), (64, 64))
    maxvit = torchvision_backbones.MaxVitMap(MaxVit((64, 64), 4, 4, [8], [1], head_dim=4, stochastic_depth_prob=0))
    features = own.num_features + 256 + clip.num_features + 24 + 8
    made = Backbone(
        Beside(own, theirs, clip, tokens, maxvit), "five", features, clip.pretrained_cfg["mean"], (0.3, 0.3, 0.3)
    )
    network = network_of(made)
    differences = exported_differences(network, (64, 64))
    assert differences["onnxruntime"] < 1e-3
    # The normalisation of the pre-trained network is inside, not one that all share.
    assert torch.allclose(network.mean.flatten(), torch.tensor(CLIP_MEAN) * 255)


def with_weights(backbone: Backbone) -> Backbone:
    return Backbone(
        copy.deepcopy(backbone.model), backbone.name, backbone.features, backbone.mean, backbone.std, ({"id": "x"},)
    )


@pytest.mark.parametrize(
    ("settings", "share", "text"),
    [
        ({"freeze_stages": 2}, 0.98, "model.freeze_stages=2"),
        ({"freeze": "backbone"}, 0.0, "0.0% of the backbone's parameters learn (model.freeze=backbone)"),
        ({"freeze": "none", "freeze_stages": 3}, 1.0, "model.freeze=none"),
    ],
)
def test_stages_the_whole_backbone_or_nothing_is_frozen(small, settings, share, text):
    backbone = with_weights(small)
    found, note = freeze_backbone(backbone, ModelSettings(**settings))
    assert found == pytest.approx(share, abs=0.02)
    assert text in note
    network = network_of(backbone)
    assert network.embedding.weight.requires_grad
    assert any(p.requires_grad for p in network.backbone.parameters()) == (share > 0)


def test_random_weights_are_never_frozen(small):
    backbone = Backbone(copy.deepcopy(small.model), SMALL, small.features, small.mean, small.std)
    assert freeze_backbone(backbone, ModelSettings(freeze_stages=2))[0] == 1
    with pytest.raises(ConfigError, match="random weights"):
        freeze_backbone(backbone, ModelSettings(freeze="backbone"))


@pytest.mark.parametrize("name", ["luna", "test_vit", "torchvision/efficientnet_b0"])
def test_blocks_can_be_left_out_in_training(name):
    torch.manual_seed(0)
    frame = (160, 160)
    model = backbones.create_backbone(name, "none", frame, 0.9).model
    images = torch.rand(1, 3, *frame).repeat(4, 1, 1, 1)
    with torch.inference_mode():
        rows = model.eval()(images)
        slack = 1e-4 * float(rows.abs().max())
        assert torch.allclose(rows[0], rows[1], atol=slack)
        for module in model.train().modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        rows = model(images)
        assert not all(torch.allclose(rows[0], row, atol=slack) for row in rows)
    assert set(model.state_dict()) == set(backbones.rebuild(name, frame, ModelSettings()).state_dict())


@pytest.mark.parametrize("name", ["repghostnet_050", SMALL])
def test_a_backbone_without_stochastic_depth_refuses_it(name):
    with pytest.raises(ConfigError, match=f"{name} has no stochastic depth"):
        backbones.create_backbone(name, "none", (64, 64), 0.1)


def test_licences_that_forbid_commercial_use_are_marked():
    assert len(licence_notes("x", "BSD-3-Clause")) == 1
    for licence in ("cc-by-nc-4.0", "fair-noncommercial-research-license", "apple-amlr", "seer-license"):
        assert "forbids commercial use" in licence_notes("x", licence)[1]
    assert timm_backbones.licence_of(timm.get_pretrained_cfg("vit_base_patch32_clip_224.openai").to_dict()) == "MIT"
    preferred = timm.get_pretrained_cfg("convnextv2_nano.fcmae_ft_in22k_in1k_384").to_dict()
    assert timm_backbones.licence_of(preferred) == "cc-by-nc-4.0"
