"""Optimizers and schedules against steps worked out by hand and against torch's own."""

from __future__ import annotations

import copy
import json
import sys

import pytest
import torch

from weldgen.classifier.ema import averaged_copy, decay_at, follow
from weldgen.classifier.optimizers import OPTIMIZERS, SCHEDULES, Lion, group_options, rate_factor
from weldgen.classifier.train import TrainConfig, train
from weldgen.classifier.training_settings import TrainingSettings
from weldgen.config import load_config
from weldgen.errors import BackendError, ConfigError


def groups(parameter, lr=0.1, decay=0.0):
    return [{"params": [parameter], "lr": lr, "weight_decay": decay, "name": "head weights"}]


def test_two_steps_of_lion():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
    optimizer = Lion([weight], lr=0.1, betas=(0.9, 0.99), weight_decay=0.5)
    for gradient in ([1.0, -2.0, 0.0], [-0.05, 3.0, 1.0]):
        weight.grad = torch.tensor(gradient)
        optimizer.step()
    # Step 1 from no momentum: decay by 1 - 0.1 * 0.5, then 0.1 against the sign (0 for no gradient):
    #   0.95 - 0.1 = 0.85, -1.9 + 0.1 = -1.8, 2.85; momentum 0.01 * gradient = 0.01, -0.02, 0.
    # Step 2: directions 0.9 * 0.01 - 0.1 * 0.05 = 0.004, -0.018 + 0.3 = 0.282, 0.1, all above zero:
    #   0.85 * 0.95 - 0.1 = 0.7075, -1.71 - 0.1 = -1.81, 2.7075 - 0.1 = 2.6075.
    torch.testing.assert_close(weight.detach(), torch.tensor([0.7075, -1.81, 2.6075]))
    momentum = optimizer.state[weight]["momentum"]
    torch.testing.assert_close(momentum, torch.tensor([0.99 * 0.01 - 0.0005, -0.0198 + 0.03, 0.01]))


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "ranger21"])
def test_every_optimizer_descends_and_its_state_can_be_saved(name):
    weight = torch.nn.Parameter(torch.full((4, 4), 2.0))

    def run(parameter, steps, state=None):
        optimizer = OPTIMIZERS[name](groups(parameter, lr=0.05), 40)
        if state:
            optimizer.load_state_dict(state)
        for _ in range(steps):
            optimizer.zero_grad()
            parameter.square().sum().backward()
            optimizer.step()
        return copy.deepcopy(optimizer.state_dict())

    half = run(weight, 20)
    resumed = torch.nn.Parameter(weight.detach().clone())
    run(resumed, 20, half)
    whole = torch.nn.Parameter(torch.full((4, 4), 2.0))
    run(whole, 40)
    assert torch.equal(resumed, whole)
    assert float(whole.detach().square().sum()) < 0.5 * 64


def test_groups_keep_their_own_rate_and_decay():
    for build in (build for name, build in OPTIMIZERS.items() if name != "ranger21"):
        made = build(groups(torch.nn.Parameter(torch.ones(2)), lr=0.03, decay=0.2), 10).param_groups[0]
        assert (made["lr"], made["weight_decay"]) == (0.03, 0.2)


def test_ranger21_missing_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(BackendError, match="ranger21 needs pytorch-optimizer") as raised:
        OPTIMIZERS["ranger21"](groups(torch.nn.Parameter(torch.ones(2))), 10)
    assert "pip install 'weldgen[optimizers]'" in raised.value.hint


@pytest.mark.parametrize(("warmup", "steps"), [(3, 30), (30, 100), (6, 20)])
def test_one_cycle_is_that_of_torch(warmup, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=steps, pct_start=warmup / steps, cycle_momentum=False
    )
    for step in range(steps):
        assert SCHEDULES["one_cycle"](step, warmup, steps) == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_the_rate_falls_no_lower_than_its_least(name):
    settings = TrainingSettings(schedule=name, lr=1e-2, min_lr=1e-3, warmup=0.1)
    factors = [rate_factor(settings, step, 100) for step in range(100)]
    plain = [rate_factor(settings.model_copy(update={"min_lr": 0.0}), step, 100) for step in range(100)]
    assert factors[:10] == plain[:10], "the rise is as it was"
    assert factors[9] == max(factors) == 1
    assert min(factors[10:]) >= 0.1
    assert factors[-1] == pytest.approx(1.0 if name == "constant" else 0.1, abs=2e-3)


def test_the_cosine_with_a_least_rate_is_that_of_torch():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.05)
    settings = TrainingSettings(schedule="cosine", lr=0.5, min_lr=0.05, warmup=0.0)
    for step in range(1, 21):  # a rise takes one step at least
        assert 0.5 * rate_factor(settings, step, 21) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_betas_and_eps_are_those_of_every_group():
    weight = torch.nn.Parameter(torch.ones(2))
    options = group_options(TrainingSettings(betas=(0.8, 0.95), eps=1e-4))
    made = OPTIMIZERS["adamw"]([group | options for group in groups(weight)], 10).param_groups[0]
    assert (made["betas"], made["eps"]) == ((0.8, 0.95), 1e-4)
    own = OPTIMIZERS["adamw"]([group | group_options(TrainingSettings()) for group in groups(weight)], 10)
    assert (own.param_groups[0]["betas"], own.param_groups[0]["eps"]) == ((0.9, 0.999), 1e-8)
    lion = OPTIMIZERS["lion"](
        [group | group_options(TrainingSettings(betas=(0.5, 0.6))) for group in groups(weight)], 10
    )
    assert lion.param_groups[0]["betas"] == (0.5, 0.6)


@pytest.mark.parametrize("settings", [{"betas": (0.5, 0.95)}, {"eps": 0.1}, {"min_lr": 2e-3}])
def test_a_training_uses_them(settings, photos, tmp_path, tiny_config):
    ends = []
    for name, own in (("own", settings), ("plain", {})):
        train(photos, tmp_path / name, tiny_config(training=own))
        ends.append(json.loads((tmp_path / name / "history.json").read_text())[-1])
    assert [end["lr"] for end in ends] == pytest.approx([settings.get("min_lr", 0), 0])
    assert ends[0]["train_loss"] != ends[1]["train_loss"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["min_lr=0.01"], "min_lr=0.01: .*above the peak, training.lr=0.001"),
        (["min_lr=-1"], "min_lr=-1"),
        (["optimizer=sgd", "betas=[0.9,0.99]"], "training.optimizer=sgd has none"),
        (["optimizer=lion", "eps=1e-6"], "training.optimizer=lion has none"),
        (["betas=[0.9,1.0]"], "betas.1=1.0"),
        (["betas=[0.9]"], "betas"),
        (["eps=0"], "eps=0"),
        (["monitor=f1"], "monitor='f1'"),
        (["min_delta=-1"], "min_delta=-1"),
        (["keep_top=0"], "keep_top=0"),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(settings, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        load_config("train", TrainConfig, project=tmp_path, overrides=[f"training.{text}" for text in settings])


@pytest.mark.parametrize("name", list(SCHEDULES))
@pytest.mark.parametrize(("warmup", "steps"), [(1, 1), (1, 2), (5, 5), (10, 100)])
def test_every_schedule_peaks_at_the_end_of_its_rise(name, warmup, steps):
    factors = [SCHEDULES[name](step, warmup, steps) for step in range(steps)]
    assert factors[warmup - 1] == max(factors) == 1
    assert factors[:warmup] == sorted(factors[:warmup])
    assert factors[warmup - 1 :] == sorted(factors[warmup - 1 :], reverse=True)
    if steps == 100:
        assert (factors[-1] < 0.01) == (name != "constant")


def test_the_average_of_a_ramp_has_a_closed_form():
    network = torch.nn.BatchNorm1d(2)
    average = averaged_copy(network)
    assert not any(parameter.requires_grad for parameter in average.parameters())
    keep, steps = 0.9, 25
    for step in range(1, steps + 1):
        with torch.no_grad():
            network.weight.fill_(1.0 + step)
            network.running_mean.fill_(float(step))
            network.num_batches_tracked.fill_(step)
        follow(average, network, keep)
    # a_n = sum (1-k) k^(n-i) i = n - k (1 - k^n) / (1 - k), for what starts at 0 and grows by 1
    expected = steps - keep * (1 - keep**steps) / (1 - keep)
    torch.testing.assert_close(average.running_mean, torch.full((2,), expected))
    torch.testing.assert_close(average.weight.detach(), torch.full((2,), 1 + expected))
    assert int(average.num_batches_tracked) == steps
    assert [decay_at(step, 0.999) for step in (1, 8, 10**6)] == [2 / 11, 0.5, 0.999]
