"""Heads: embeddings in, logits out; with soft targets they also give the logits of training.

A head is a module with `forward(embeddings, targets=None)`. Without targets the logits are those of prediction; with
targets, (B, K) shares of each class, a head may make them harder to reach. The margin of class k is always the full one
times the share of k in the target: for hard targets that is the method as published, for mixed ones each class gets
its part.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weldgen.classifier.settings import ModelSettings

# (B, K) cosines and (B, K) targets -> (B, K) cosines that are harder to reach.
Margin = Callable[[Tensor, Tensor], Tensor]
# Keeps the square root's slope finite where an embedding lies exactly on its class centre.
_EPSILON = 1e-7


@dataclass(frozen=True)
class AngularMargin:
    """Additive angular margin (ArcFace, Deng et al., CVPR 2019).

    Attributes:
        angle_rad: Added to the angle between embedding and centre.
        easy: Only where that angle is below 90 degrees, as in the authors' code; elsewhere nothing is added.
    """

    angle_rad: float
    easy: bool = False

    def __call__(self, cosine: Tensor, targets: Tensor) -> Tensor:
        """Cosines, (B, K), of the wider angles."""
        margin = self.angle_rad * targets
        sine = torch.sqrt(torch.clamp(1 - cosine.square(), min=_EPSILON))
        wider = cosine * torch.cos(margin) - sine * torch.sin(margin)  # cos(angle + margin)
        if self.easy:
            return torch.where(cosine > 0, wider, cosine)
        # Beyond 180 degrees the cosine would rise again; the straight line of the original code goes on falling.
        beyond = cosine < -torch.cos(margin)
        return torch.where(beyond, cosine - margin * torch.sin(margin), wider)


@dataclass(frozen=True)
class CosineMargin:
    """Additive cosine margin (CosFace, Wang et al., CVPR 2018).

    Attributes:
        size: Taken off the cosine.
    """

    size: float

    def __call__(self, cosine: Tensor, targets: Tensor) -> Tensor:
        """Smaller cosines, (B, K)."""
        return cosine - self.size * targets


class CosineHead(nn.Module):
    """Cosines between an embedding and the centres of the classes, with a margin in training.

    With several centres a class, the nearest one counts (Sub-center ArcFace, Deng et al., ECCV 2020): a class may have
    several looks, and wrongly labelled photos gather at a centre of their own.

    Args:
        features: Length of an embedding.
        classes: Number of classes.
        margin: What makes the cosines harder to reach.
        scale: Factor of the cosines.
        centres: Centres a class.
    """

    def __init__(self, features: int, classes: int, margin: Margin, *, scale: float = 30.0, centres: int = 1) -> None:
        super().__init__()
        self.margin = margin
        self.scale = scale
        self.centres = centres
        self.weight = nn.Parameter(torch.empty(classes * centres, features))  # the centres of a class lie together
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embeddings: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits, (B, K) float32, of (B, E) embeddings."""
        with torch.autocast(embeddings.device.type, enabled=False):  # cosines need more than eight bits
            cosine = F.linear(F.normalize(embeddings.float()), F.normalize(self.weight.float()))
            if self.centres > 1:
                cosine = cosine.view(cosine.shape[0], -1, self.centres).amax(dim=2)
            if targets is not None:
                cosine = self.margin(cosine, targets.float())
            return self.scale * cosine


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


class MlpHead(nn.Module):
    """A hidden layer before the linear one: for classes that no straight border divides.

    Args:
        features: Length of an embedding, and of the hidden layer.
        classes: Number of classes.
        drop_rate: Dropout behind the hidden layer.
    """

    def __init__(self, features: int, classes: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        # A layer norm, for batches are small.
        self.hidden = nn.Sequential(
            nn.Linear(features, features), nn.LayerNorm(features), nn.GELU(), nn.Dropout(drop_rate)
        )
        self.output = SoftmaxHead(features, classes)

    def forward(self, embeddings: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits, (B, K) float32, of (B, E) embeddings; targets change nothing."""
        with torch.autocast(embeddings.device.type, enabled=False):
            logits: Tensor = self.output(self.hidden(embeddings.float()))
            return logits


def _arcface(settings: ModelSettings, classes: int) -> nn.Module:
    margin = AngularMargin(settings.margin, settings.easy_margin)
    return CosineHead(settings.embedding_size, classes, margin, scale=settings.scale)


def _cosface(settings: ModelSettings, classes: int) -> nn.Module:
    return CosineHead(settings.embedding_size, classes, CosineMargin(settings.margin), scale=settings.scale)


def _subcenter(settings: ModelSettings, classes: int) -> nn.Module:
    margin = AngularMargin(settings.margin, settings.easy_margin)
    return CosineHead(settings.embedding_size, classes, margin, scale=settings.scale, centres=settings.subcenters)


def _softmax(settings: ModelSettings, classes: int) -> nn.Module:
    return SoftmaxHead(settings.embedding_size, classes)


def _unit_softmax(settings: ModelSettings, classes: int) -> nn.Module:
    return SoftmaxHead(settings.embedding_size, classes, unit=True)


def _mlp(settings: ModelSettings, classes: int) -> nn.Module:
    return MlpHead(settings.embedding_size, classes, settings.drop_rate)


HEADS: dict[str, Callable[[ModelSettings, int], nn.Module]] = {
    "arcface": _arcface,
    "cosface": _cosface,
    "subcenter": _subcenter,
    "softmax": _softmax,
    "unit_softmax": _unit_softmax,
    "mlp": _mlp,
}
