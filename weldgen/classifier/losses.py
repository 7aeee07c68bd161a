"""Losses over soft targets, and the weights of rare classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_cross_entropy(logits: Tensor, targets: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy with soft targets.

    For hard targets this equals `torch.nn.functional.cross_entropy(..., weight=class_weights)`.

    Args:
        logits: (B, K).
        targets: (B, K) shares that sum to 1.
        class_weights: (K,) or None.
    """
    weighted = targets if class_weights is None else targets * class_weights
    return -(weighted * F.log_softmax(logits.float(), dim=1)).sum() / weighted.sum()


def balanced_class_weights(counts: Sequence[float], max_ratio: float) -> Tensor:
    """Inverse class frequencies, (K,) float32 with mean 1.

    Args:
        counts: Training images of each class, all above zero.
        max_ratio: Largest ratio between two weights.
    """
    weights = 1 / torch.tensor(counts, dtype=torch.float32)
    weights = torch.clamp(weights, max=float(weights.min()) * max_ratio)
    return weights / weights.mean()
