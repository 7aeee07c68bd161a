"""Losses over soft targets, and the weights of classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from weldgen.classifier.class_weights import focal_alpha_of
from weldgen.classifier.training_settings import TrainingSettings

# Keeps the slope of a power below 1 finite where a prediction is certain.
_EPSILON = 1e-7


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


def soft_focal(logits: Tensor, targets: Tensor, class_weights: Tensor | None = None, gamma: float = 2.0) -> Tensor:
    """Focal loss (Lin et al., ICCV 2017) with soft targets: the term of class k counts `(1 - p_k) ** gamma`.

    The class weights are the paper's alpha (`training.focal_alpha`); as in `soft_cross_entropy`, the sum is divided by
    theirs, so that gamma 0 gives cross-entropy.

    Args:
        logits: (B, K).
        targets: (B, K) shares that sum to 1.
        class_weights: (K,) or None.
        gamma: How much less what is right already counts.
    """
    logs = F.log_softmax(logits.float(), dim=1)
    weighted = targets if class_weights is None else targets * class_weights
    missing = torch.clamp(-torch.expm1(logs), min=_EPSILON)  # 1 - p, exact where p is close to 1
    return -(weighted * missing**gamma * logs).sum() / weighted.sum()


def _cross_entropy(logits: Tensor, targets: Tensor, class_weights: Tensor, settings: TrainingSettings) -> Tensor:
    return soft_cross_entropy(logits, targets, class_weights)


def _focal(logits: Tensor, targets: Tensor, class_weights: Tensor, settings: TrainingSettings) -> Tensor:
    return soft_focal(logits, targets, class_weights, settings.focal_gamma)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor, TrainingSettings], Tensor]] = {
    "cross_entropy": _cross_entropy,
    "focal": _focal,
}


def training_loss(logits: Tensor, targets: Tensor, class_weights: Tensor, settings: TrainingSettings) -> Tensor:
    """The loss that the settings ask for.

    Args:
        logits: (B, K), those of training.
        targets: (B, K) shares that sum to 1, before they are smoothed.
        class_weights: (K,).
        settings: Kind of loss, smoothing.
    """
    return LOSSES[settings.loss](logits, smooth(targets, settings.label_smoothing), class_weights, settings)


def smooth(targets: Tensor, share: float) -> Tensor:
    """Spread a share of each target, (B, K), evenly over all classes (Szegedy et al., CVPR 2016)."""
    return targets if not share else (1 - share) * targets + share / targets.shape[1]


def balanced_class_weights(counts: Sequence[float], max_ratio: float) -> Tensor:
    """Inverse class frequencies, (K,) float32 with mean 1.

    Args:
        counts: Training images of each class, all above zero.
        max_ratio: Largest ratio between two weights.
    """
    weights = 1 / torch.tensor(counts, dtype=torch.float32)
    weights = torch.clamp(weights, max=float(weights.min()) * max_ratio)
    return weights / weights.mean()


def class_weights_of(settings: TrainingSettings, labels: Sequence[str], counts: Sequence[float]) -> Tensor:
    """Weights of the classes in the loss, (K,) float32.

    Args:
        settings: `focal_alpha`, and `class_weights`, a file read already.
        labels: The K classes.
        counts: How often images of each class are drawn, all above zero.
    """
    alpha = focal_alpha_of(settings.focal_alpha, labels)
    if alpha:
        return torch.tensor(alpha, dtype=torch.float32)
    given = settings.class_weights
    if isinstance(given, Mapping):
        return torch.tensor([given[label] for label in labels], dtype=torch.float32)
    return torch.ones(len(labels)) if given == "none" else balanced_class_weights(counts, settings.class_weight_max)
