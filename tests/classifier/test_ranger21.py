"""Ranger21 with the real package: it learns, resumes exactly, and keeps our rates of each group and our schedule."""

from __future__ import annotations

import copy
import json
import math

import pytest
import torch
from torch import nn

from weldgen.classifier.optimizers import OPTIMIZERS
from weldgen.classifier.train import train

STEPS = 30


def made(rates=(0.01, 0.01), decay=0.0):
    """Two equal layers, one a group each, and their optimizer."""
    torch.manual_seed(0)
    first = nn.Linear(6, 4)
    network = nn.ModuleList([first, copy.deepcopy(first)])
    groups = [
        {"params": list(layer.parameters()), "lr": rate, "weight_decay": decay, "name": name}
        for layer, rate, name in zip(network, rates, ("backbone weights", "head weights"), strict=True)
    ]
    return network, OPTIMIZERS["ranger21"](groups, STEPS)


def step(network, optimizer, number):
    """One step on a loss that both layers share evenly; returns it."""
    images = torch.randn(16, 6, generator=torch.Generator().manual_seed(number))
    wanted = images @ torch.linspace(-1, 1, 24).view(6, 4)
    loss = sum((layer(images) - wanted).square().mean() for layer in network)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def weights(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def test_steps_lower_the_loss():
    network, optimizer = made(rates=(0.05, 0.05))
    losses = [step(network, optimizer, number) for number in range(STEPS)]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


@pytest.mark.parametrize("half", [12, 13])
def test_a_resumed_run_makes_the_same_steps(half):
    """Its memory includes how long ago the slow weights followed, and whose turn the two momenta are."""
    whole, optimizer = made()
    for number in range(half):
        step(whole, optimizer, number)
    saved = copy.deepcopy((whole.state_dict(), optimizer.state_dict()))
    for number in range(half, STEPS):
        step(whole, optimizer, number)
    resumed, again = made()
    resumed.load_state_dict(saved[0])
    again.load_state_dict(saved[1])
    for number in range(half, STEPS):
        step(resumed, again, number)
    assert torch.equal(weights(resumed), weights(whole))


def test_each_group_keeps_its_rate_to_the_last_step():
    """Its own schedule would bring all groups to one rate in the last 28 % of the steps."""
    network, optimizer = made(rates=(0.0005, 0.005))
    ratios = []
    for number in range(STEPS):
        before = [layer.weight.detach().clone() for layer in network]
        step(network, optimizer, number)
        moved = [float((layer.weight.detach() - old).norm()) for layer, old in zip(network, before, strict=True)]
        ratios.append(moved[1] / moved[0])
    assert [group["lr"] for group in optimizer.param_groups] == [0.0005, 0.005]
    assert all(6 < ratio < 16 for ratio in ratios)


def test_a_step_is_as_long_as_our_schedule_says():
    lengths = {}
    for factor in (1.0, 0.1, 0.0):
        network, optimizer = made()
        before = weights(network)
        for group in optimizer.param_groups:
            group["lr"] *= factor
        step(network, optimizer, 0)
        lengths[factor] = float((weights(network) - before).norm())
    assert lengths[0.0] == 0
    assert lengths[0.1] == pytest.approx(0.1 * lengths[1.0], rel=0.01)


def test_weights_decay_by_the_groups_own_decay():
    plain, decayed = (made(decay=decay) for decay in (0.0, 0.5))
    for network, optimizer in (plain, decayed):
        step(network, optimizer, 0)
    shrunk = weights(plain[0]) - weights(decayed[0])
    # Decoupled: by the rate times the decay, over the usual size of gradients, which are scaled to about 1.
    assert float(shrunk.norm()) == pytest.approx(0.01 * 0.5 * float(weights(made()[0]).norm()), rel=0.25)


def test_a_training_runs_on_it(photos, tmp_path, tiny_config):
    settings = {"optimizer": "ranger21", "epochs": 4, "lr": 0.05}
    train(photos, tmp_path / "model", tiny_config(training=settings))
    history = json.loads((tmp_path / "model" / "history.json").read_text())
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert history[-1]["lr"] == pytest.approx(0, abs=1e-9)
    assert math.isfinite(history[-1]["val_loss"])
