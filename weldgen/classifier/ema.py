"""An exponential moving average of a network's weights, which is often better than the last step's."""

from __future__ import annotations

import copy

import torch

from weldgen.classifier.network import WeldNetwork


def averaged_copy(network: WeldNetwork) -> WeldNetwork:
    """A network to hold the average: it learns nothing itself and stays in evaluation mode."""
    return copy.deepcopy(network).requires_grad_(False).eval()


def decay_at(step: int, decay: float) -> float:
    """What the average keeps of itself at a step, counted from 1.

    In a short training, 0.999 from the first step on would mostly average what was there before it learned; so the
    average reaches back over about a tenth of the steps until then (the rule of TensorFlow's moving average).
    """
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def follow(average: WeldNetwork, network: WeldNetwork, keep: float) -> None:
    """Move the average towards the network: parameters and statistics; what counts whole numbers is copied.

    Args:
        average: Changed in place.
        network: What is averaged.
        keep: Share of the average that stays.
    """
    for mine, own in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mine.is_floating_point():
            mine.lerp_(own, 1 - keep)
        else:
            mine.copy_(own)
