"""Optimizers and schedules of the learning rate, by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from weldgen.classifier.training_settings import TrainingSettings
from weldgen.errors import BackendError

Groups = list[dict[str, Any]]

_SGD_MOMENTUM = 0.9
# One cycle starts at 1/25 of the peak and ends at 1/10 000 of that (fastai's and torch's numbers).
_CYCLE_START, _CYCLE_END = 1 / 25, 1 / 25 / 1e4


class Lion(Optimizer):
    """Steps of one length, in the direction of the sign of the momentum (Chen et al., NeurIPS 2023).

    A step is as long as the learning rate for every weight, so the rate is a third to a tenth of AdamW's, and the decay
    as many times larger.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        betas: Shares of the momentum in the direction of a step, and in the momentum itself.
        weight_decay: Decoupled, as in AdamW.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Groups,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; returns what the closure returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            direction, memory = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"]
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(momentum.lerp(parameter.grad, 1 - direction).sign_(), alpha=-group["lr"])
                momentum.lerp_(parameter.grad, 1 - memory)
        return loss


def _adamw(groups: Groups, steps: int) -> Optimizer:
    return torch.optim.AdamW(groups)


def _adam(groups: Groups, steps: int) -> Optimizer:
    return torch.optim.Adam(groups)


def _sgd(groups: Groups, steps: int) -> Optimizer:
    return torch.optim.SGD(groups, momentum=_SGD_MOMENTUM, nesterov=True)


def _lion(groups: Groups, steps: int) -> Optimizer:
    return Lion(groups)


def _ranger21(groups: Groups, steps: int) -> Optimizer:
    """Ranger21 (Wright and Demeure, 2021) of pytorch-optimizer, with our schedule in place of its own.

    On, as its authors have them: centralised gradients (each kernel's and row's less their mean; vectors stay),
    gradients clipped to 1/100 of the weights' length and then divided by their spread, positive-negative momentum
    (0.9), the softplus of the divisor (50), stable weight decay (decoupled; each group its own, over the root mean
    square of all scaled gradients), norm loss (1e-4), and Lookahead, whose slow weights go half the way every 5 steps.
    Off: its linear warm-up over 2 / (1 - beta2) steps and its warm-down in the last 28 % of the steps, which ends with
    one rate for all groups; `training.warmup` and `training.schedule` are in their place, so that a backbone stays as
    many times slower than the head as it should.

    The momentum's noise halves what a step goes, and Lookahead halves it again, so the rate is two to four times that
    of AdamW. Its state holds the slow weights and whose turn they are, so a resumed run makes the same steps.
    """
    try:
        from pytorch_optimizer import Ranger21
    except ImportError as error:
        raise BackendError(
            "training.optimizer=ranger21 needs pytorch-optimizer, which is not installed",
            "pip install 'weldgen[optimizers]', or training.optimizer=adamw",
        ) from error
    optimizer: Optimizer = Ranger21(groups, num_iterations=steps, disable_lr_scheduler=True)
    return optimizer


# Groups of parameters, each with its rate and decay, and the number of steps -> the optimizer.
OPTIMIZERS: dict[str, Callable[[Groups, int], Optimizer]] = {
    "adamw": _adamw,
    "adam": _adam,
    "sgd": _sgd,
    "lion": _lion,
    "ranger21": _ranger21,
}


def group_options(settings: TrainingSettings) -> dict[str, Any]:
    """What every group of parameters sets instead of the optimizer's own defaults."""
    return {name: value for name in ("betas", "eps") if (value := getattr(settings, name)) is not None}


def _cosine(step: int, warmup: int, steps: int) -> float:
    """A linear rise, then a fall along a cosine to zero."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))


def _one_cycle(step: int, warmup: int, steps: int) -> float:
    """A rise and a fall along cosines (Smith and Topin, 2019); the momentum stays as it is."""
    peak = warmup - 1
    if step < peak:
        return _between(_CYCLE_START, 1.0, step / peak)
    return _between(1.0, _CYCLE_END, min(1.0, (step - peak) / max(1, steps - 1 - peak)))


def _constant(step: int, warmup: int, steps: int) -> float:
    """A linear rise, then no change."""
    return min(1.0, (step + 1) / warmup)


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


# Number of the step from 0, steps of the rise (at least 1), steps altogether -> factor of the learning rates.
SCHEDULES: dict[str, Callable[[int, int, int], float]] = {
    "cosine": _cosine,
    "one_cycle": _one_cycle,
    "constant": _constant,
}


def rate_factor(settings: TrainingSettings, step: int, steps: int) -> float:
    """Factor of the learning rates at a step, from 0 to 1; after the rise no lower than `min_lr` asks for.

    Args:
        settings: `schedule`, `warmup`, `lr` and `min_lr`.
        step: Number of the step, from 0.
        steps: Altogether.
    """
    warmup = max(1, round(settings.warmup * steps))
    factor = SCHEDULES[settings.schedule](step, warmup, steps)
    floor = settings.min_lr / settings.lr
    return factor if step < warmup else floor + (1 - floor) * factor
