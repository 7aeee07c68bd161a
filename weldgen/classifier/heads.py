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
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weldgen.classifier.settings import MlpSettings, ModelSettings

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


class _BatchNorm(nn.BatchNorm1d):
    """Batch normalisation of (B, E) embeddings that takes a last batch of one by its running statistics."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training and len(input) == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer": nn.LayerNorm, "batch": _BatchNorm, "none": lambda width: nn.Identity()
}  # fmt: skip
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}


class MlpHead(nn.Module):
    """Hidden layers before the linear one: for classes that no straight border divides.

    Args:
        features: Length of an embedding.
        classes: Number of classes.
        settings: Widths of the hidden layers, norm and activation.
        drop_rate: Dropout behind each of them.
    """

    def __init__(self, features: int, classes: int, settings: MlpSettings, drop_rate: float = 0.0) -> None:
        super().__init__()
        widths = [features, *(settings.hidden or [features])]
        layers: list[nn.Module] = []
        for before, width in pairwise(widths):
            layers += [nn.Linear(before, width), _NORMS[settings.norm](width)]
            layers += [_ACTIVATIONS[settings.activation](), nn.Dropout(drop_rate)]
        self.hidden = nn.Sequential(*layers)
        self.output = SoftmaxHead(widths[-1], classes)

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
    return MlpHead(settings.embedding_size, classes, settings.mlp, settings.drop_rate)


HEADS: dict[str, Callable[[ModelSettings, int], nn.Module]] = {
    "arcface": _arcface,
    "cosface": _cosface,
    "subcenter": _subcenter,
    "softmax": _softmax,
    "unit_softmax": _unit_softmax,
    "mlp": _mlp,
}
