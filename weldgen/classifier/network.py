"""The classifier's network: normalise, backbone, embedding, head."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from weldgen.classifier.backbones import stages
from weldgen.classifier.heads import HEADS
from weldgen.classifier.settings import ModelSettings


class WeldNetwork(nn.Module):
    """Letterboxed images in, logits out.

    Args:
        backbone: Network that turns (B, 3, H, W) normalised images into (B, F) features.
        features: F.
        normalisation: Mean and standard deviation of RGB from 0 to 1.
        settings: Head, embedding, dropout.
        classes: Number of classes.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        features: int,
        normalisation: tuple[tuple[float, ...], tuple[float, ...]],
        settings: ModelSettings,
        classes: int,
    ) -> None:
        super().__init__()
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in normalisation)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)
        self.backbone = backbone
        self.dropout = nn.Dropout(settings.drop_rate)
        self.embedding = nn.Linear(features, settings.embedding_size, bias=False)
        nn.init.orthogonal_(self.embedding.weight)  # keeps the angles of the pre-trained features
        self.head = HEADS[settings.head](settings, classes)
        self._layout = torch.channels_last

    def lay_out(self, *, channels_last: bool) -> None:
        """Choose how kernels and images lie in memory; it changes the speed, and sums in their last bits."""
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self._layout)

    def normalised(self, images: Tensor) -> Tensor:
        """What the backbone takes, of (B, 3, H, W) RGB from 0 to 255, uint8 or float."""
        return ((images.float() - self.mean) / self.std).contiguous(memory_format=self._layout)

    def features(self, images: Tensor) -> Tensor:
        """(B, F) features of (B, 3, H, W) RGB from 0 to 255, uint8 or float."""
        return cast(Tensor, self.backbone(self.normalised(images)))

    def embed(self, images: Tensor) -> Tensor:
        """(B, E) embeddings of (B, 3, H, W) RGB from 0 to 255, uint8 or float."""
        return cast(Tensor, self.embedding(self.dropout(self.features(images))))

    def forward(self, images: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits, (B, K) float32; with soft targets, (B, K), those of training.

        Args:
            images: (B, 3, H, W) RGB from 0 to 255, uint8 or float.
            targets: Shares of each class, or None for prediction.
        """
        return cast(Tensor, self.head(self.embed(images), targets))


def freeze(backbone: nn.Module, count: int, until: str = "") -> float:
    """Freeze the stem and the first `count` stages; returns the share of the parameters that still learn.

    Args:
        backbone: Changed in place.
        count: Stages, besides the stem; 0: no stage, nor the stem.
        until: Name of a layer with parameters, instead of stages: it and all that the network holds before it.
    """
    if until:
        named = list(backbone.named_parameters())
        last = max(i for i, (name, _) in enumerate(named) if name.startswith(f"{until}."))
        for number, (_, parameter) in enumerate(named):
            parameter.requires_grad_(number > last)
    elif count:
        stage = stages(backbone)
        for name, parameter in backbone.named_parameters():
            parameter.requires_grad_(stage[name] > count)
    total = sum(parameter.numel() for parameter in backbone.parameters())
    learning = sum(parameter.numel() for parameter in backbone.parameters() if parameter.requires_grad)
    return learning / total


def keep_statistics(backbone: nn.Module, *, frozen_only: bool) -> None:
    """Put layers with running statistics (batch norms) into evaluation mode, so that these stay as they are.

    Args:
        backbone: In training mode.
        frozen_only: Only layers whose own weights are frozen.
    """
    for module in _layers_with_statistics(backbone):
        if not (frozen_only and _learns(module)):
            module.eval()


@torch.no_grad()
def adapt_statistics(network: WeldNetwork, batches: Iterable[Tensor]) -> None:
    """Take the running statistics of the layers that learn from the user's photos (AdaBN, Li et al. 2017).

    Statistics that follow the training lag behind in a short one. Measured with EfficientNet-Lite0 on 78 casting photos
    and 30 steps, balanced accuracy on 400 others: 78 % with those, 92 % with ImageNet's, 93 % with adapted ones.

    Args:
        network: With a pre-trained backbone.
        batches: (B, 3, H, W) uint8 RGB each.
    """
    layers = [module for module in _layers_with_statistics(network.backbone) if _learns(module)]
    if not layers:
        return
    network.eval()
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.train()
        layer.reset_running_stats()
        layer.momentum = None  # plain averages
    for images in batches:
        network.embed(images.to(network.mean.device))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def _layers_with_statistics(backbone: nn.Module) -> list[Any]:
    return [module for module in backbone.modules() if "running_mean" in dict(module.named_buffers(recurse=False))]


def _learns(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters(recurse=False))


def parameter_groups(
    network: WeldNetwork, lr: float, backbone_ratio: float, weight_decay: float
) -> list[dict[str, object]]:
    """Parameters for an optimizer: backbone slower than the rest, no decay on biases and norms.

    Args:
        network: The network; frozen parameters are left out.
        lr: Learning rate of embedding and head.
        backbone_ratio: Factor on it for the backbone.
        weight_decay: For matrices and kernels.
    """
    groups = []
    for where, rate in (("backbone", lr * backbone_ratio), ("head", lr)):
        learning = [
            parameter
            for name, parameter in network.named_parameters()
            if parameter.requires_grad and name.startswith("backbone.") == (where == "backbone")
        ]
        for kind, decay, chosen in (
            ("weights", weight_decay, [p for p in learning if p.ndim > 1]),
            ("biases", 0.0, [p for p in learning if p.ndim <= 1]),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": rate, "weight_decay": decay, "name": f"{where} {kind}"})
    return groups
