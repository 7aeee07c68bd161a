"""Heads: embeddings in, logits out; with soft targets they also give the logits of training.

A head is a module with `forward(embeddings, targets=None)`. Without targets the logits are those of prediction; with
targets, (B, K) shares of each class, a head may make them harder to reach.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weldgen.classifier.settings import ModelSettings

# Keeps the square root's slope finite where an embedding lies exactly on its class centre.
_EPSILON = 1e-7


class ArcFaceHead(nn.Module):
    """Additive angular margin (Deng et al., CVPR 2019), with soft targets.

    The margin of class k is `margin` times the share of k in the target: for hard targets this is ArcFace, for mixed
    ones each class gets its part. Predictions are the plain cosines times `scale`.

    Args:
        features: Length of an embedding.
        classes: Number of classes.
        scale: Factor of the cosines.
        margin: Angle in radians.
    """

    def __init__(self, features: int, classes: int, scale: float = 30.0, margin: float = 0.5) -> None:
        super().__init__()
        self.scale = scale
        self.margin = margin
        self.weight = nn.Parameter(torch.empty(classes, features))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embeddings: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits, (B, K) float32, of (B, E) embeddings."""
        with torch.autocast(embeddings.device.type, enabled=False):  # cosines need more than eight bits
            cosine = F.linear(F.normalize(embeddings.float()), F.normalize(self.weight.float()))
            if targets is not None:
                cosine = self._with_margin(cosine, targets.float())
            return self.scale * cosine

    def _with_margin(self, cosine: Tensor, targets: Tensor) -> Tensor:
        margin = self.margin * targets
        sine = torch.sqrt(torch.clamp(1 - cosine.square(), min=_EPSILON))
        wider = cosine * torch.cos(margin) - sine * torch.sin(margin)  # cos(angle + margin)
        # Beyond 180 degrees the cosine would rise again; the straight line of the original code goes on falling.
        beyond = cosine < -torch.cos(margin)
        return torch.where(beyond, cosine - margin * torch.sin(margin), wider)


class SoftmaxHead(nn.Module):
    """A plain linear layer.

    Args:
        features: Length of an embedding.
        classes: Number of classes.
        unit: Whether embeddings are scaled to length 1 first.
    """

    def __init__(self, features: int, classes: int, *, unit: bool = False) -> None:
        super().__init__()
        self.unit = unit
        self.linear = nn.Linear(features, classes)
        nn.init.normal_(self.linear.weight, std=1 / math.sqrt(features))
        nn.init.zeros_(self.linear.bias)

    def forward(self, embeddings: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits, (B, K) float32, of (B, E) embeddings; targets change nothing."""
        with torch.autocast(embeddings.device.type, enabled=False):
            own = F.normalize(embeddings.float()) if self.unit else embeddings.float()
            logits: Tensor = self.linear(own)
            return logits


def _arcface(settings: ModelSettings, classes: int) -> nn.Module:
    return ArcFaceHead(settings.embedding_size, classes, settings.scale, settings.margin)


def _softmax(settings: ModelSettings, classes: int) -> nn.Module:
    return SoftmaxHead(settings.embedding_size, classes)


def _unit_softmax(settings: ModelSettings, classes: int) -> nn.Module:
    return SoftmaxHead(settings.embedding_size, classes, unit=True)


HEADS: dict[str, Callable[[ModelSettings, int], nn.Module]] = {
    "arcface": _arcface,
    "softmax": _softmax,
    "unit_softmax": _unit_softmax,
}
