"""Our own small network: about a million parameters, found like any timm network, learns from random weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from weldgen.classifier import backbones
from weldgen.classifier.model_file import load_card, load_model
from weldgen.classifier.network import freeze
from weldgen.classifier.train import train
from weldgen.errors import ConfigError


@pytest.fixture(scope="module")
def luna():
    torch.manual_seed(0)
    return backbones.create_backbone("luna", "auto", (64, 96))


def test_it_makes_features_of_any_shape_and_says_that_it_is_random(luna):
    assert 0.9e6 < sum(p.numel() for p in luna.model.parameters()) < 1.1e6
    assert (luna.weights, luna.notes) == ((), ("the backbone starts from random weights",))
    with torch.inference_mode():
        assert luna.model.eval()(torch.zeros(2, 3, 64, 96)).shape == (2, luna.features)
        assert luna.model.forward_features(torch.zeros(1, 3, 64, 96)).shape == (1, luna.features, 2, 3)


def test_it_has_a_stem_four_stages_and_a_map():
    luna = backbones.create_backbone("luna", "none", (64, 64))
    assert sorted(set(backbones.stages(luna.model).values())) == [0, 1, 2, 3, 4, 5]  # 5: the norm behind them
    shares = [freeze(luna.model, count) for count in range(5)]
    assert shares == sorted(shares, reverse=True)
    assert shares[2] == pytest.approx(0.907, abs=0.001)
    backbones.set_pool(luna, "max")
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        model = luna.model.eval()
        assert torch.equal(model(images), model.forward_features(images).amax(dim=(2, 3)))


def test_there_are_no_weights_of_it_to_download():
    with pytest.raises(ConfigError, match="no pre-trained weights of luna"):
        backbones.create_backbone("luna", "pretrained", (64, 64))


def test_weights_of_pretrain_fit(luna, tmp_path):
    file = tmp_path / "own.safetensors"
    save_file({name: value.contiguous() for name, value in luna.model.state_dict().items()}, file)
    loaded = backbones.create_backbone("luna", str(file), (64, 64))
    assert all(torch.equal(value, luna.model.state_dict()[k]) for k, value in loaded.model.state_dict().items())
    assert loaded.weights


def test_it_learns_two_colours_in_a_few_steps():
    torch.manual_seed(1)
    model = backbones.create_backbone("luna", "none", (32, 32)).model
    head = torch.nn.Linear(model.num_features, 2)
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=1e-3)
    targets = torch.arange(8) % 2
    for _ in range(12):
        images = torch.randn(8, 3, 32, 32) + 0.5 * (2 * targets[:, None, None, None] - 1)
        optimizer.zero_grad()
        loss = F.cross_entropy(head(model(images)), targets)
        loss.backward()
        optimizer.step()
    assert loss < 0.2


def test_it_trains_and_loads_like_any_other(photos, tmp_path, tiny_config):
    config = tiny_config(
        data={"image_size": 32},
        model={"backbone": "luna", "weights": "auto", "freeze_stages": 2, "drop_path": 0.1},
        training={"epochs": 1},
    )
    summary = train(photos, tmp_path / "model", config)
    assert summary.details["learning_share"] == 1
    assert any("no pre-trained weights to keep" in note for note in summary.notes)
    assert load_card(tmp_path / "model").backbone == "luna"
    assert load_model(tmp_path / "model")[0].backbone.num_features == 176
