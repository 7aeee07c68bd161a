"""Temperature scaling (Guo et al., ICML 2017) with Platt's targets, so that a perfect validation is no certainty."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# Fewer photos say nothing about confidence.
MIN_PHOTOS = 20
_RANGE = (0.05, 100.0)
_STEPS = 80
_GOLDEN = (math.sqrt(5) - 1) / 2


def fit_temperature(logits: Tensor, classes: Tensor) -> float:
    """Divisor of the logits with the least cross-entropy on validation photos.

    The target of the true class is (n + 1) / (n + K) instead of 1 (Platt 1999): after n photos without an error one
    may be about that sure, and the temperature does not run to its limit.

    Args:
        logits: (N, K).
        classes: (N,) true classes.
    """
    count, kinds = logits.shape
    other = 1 / (count + kinds)
    targets = torch.full((count, kinds), other, dtype=torch.float64)
    targets[torch.arange(count), classes] = 1 - (kinds - 1) * other

    def loss(log_temperature: float) -> float:
        scaled = logits.double() / math.exp(log_temperature)
        return float(-(targets * F.log_softmax(scaled, dim=1)).sum())

    low, high = (math.log(value) for value in _RANGE)
    for _ in range(_STEPS):  # golden section: the loss is convex in 1 / temperature, so it has one minimum
        first, second = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(first) <= loss(second):
            high = second
        else:
            low = first
    return math.exp((low + high) / 2)
