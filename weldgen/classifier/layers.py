"""Features of several layers of a backbone: its last map and what its last stages end with, averaged over the image.

The last map of an ImageNet network knows objects; scratches, crazing and rust are told by textures, which earlier
stages hold and later ones drop (Head2Toe, Evci et al., ICML 2022, classifies the features of all layers in the same
way). The square root of each mean with its sign kept (power normalisation, Perronnin et al., ECCV 2010) keeps few
strong features from drowning the others; the head then scales the whole to length 1.

Measured with EfficientNet-Lite0 at 224 px, logistic regression, five folds, wrong answers of the last map's means alone
and of several layers: dandelion 9 and 9 of 280, rust 34 and 27 of 500, rolled steel 7 and 1 of 480, castings 18 and 5
of 1200. One stage fewer, all seven stages, or maxima as well as means made no difference beyond chance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from weldgen.classifier.backbone import AVERAGE, Backbone, has_map
from weldgen.classifier.cells import CELLS
from weldgen.errors import ConfigError

LAST_MAP, STAGES = "last", "stages"
# Stages that count besides the last map: in most networks those whose maps have 1/4 to 1/32 of the sides.
_STAGES = 4
# Means nearer to zero than the square of this are divided by it instead of by their root.
_LEAST_ROOT = 1e-3


class StageFeatures(nn.Module):
    """Photos to the features of several layers.

    Args:
        body: A timm network without a classifier that gives its stages' maps (`forward_intermediates`).
        pool: `avg` or `max`, over each map.
    """

    def __init__(self, body: Any, pool: str = AVERAGE) -> None:
        super().__init__()
        self.body = body
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images to (B, F) features, float32."""
        return self.gather(self.maps(x))

    def maps(self, x: Tensor) -> list[Tensor]:
        """The maps that count, (B, C, h, w) each, the last one last: from (B, 3, H, W) normalised images."""
        last, stages = self.body.forward_intermediates(x, indices=_STAGES)
        return [*stages, last]

    def gather(self, maps: list[Tensor]) -> Tensor:
        """(B, F) float32 features of the maps: pooled, side by side, and the root of each with its sign kept."""
        *stages, last = maps
        over = (2, 3)
        pooled = [m.mean(dim=over) if self.pool == AVERAGE else m.amax(dim=over) for m in stages]
        whole = torch.cat([*pooled, self.body.forward_head(last)], dim=1).float()
        # The root is a constant to gradients, so that the evidence of all cells adds up (see activation.py).
        return whole / whole.detach().abs().sqrt().clamp(min=_LEAST_ROOT)


def check_layers(wanted: str, *, linear: bool) -> None:
    """Refuse layers that the fine-tuning does not take.

    Raises:
        ConfigError: Stages or cells are asked for, and the backbone learns.
    """
    if wanted in (STAGES, CELLS) and not linear:
        raise ConfigError(
            f"model.layers={wanted} is for a backbone that stays as it is",
            "training.method=linear, or model.layers=auto",
        )


def has_stages(backbone: Backbone) -> bool:
    """Whether a backbone gives maps of its stages besides the last one."""
    model: Any = backbone.model
    return has_map(backbone) and hasattr(model, "forward_intermediates") and hasattr(model, "feature_info")


def with_stages(backbone: Backbone, pool: str) -> Backbone:
    """A backbone whose features are those of its last stages too.

    Args:
        backbone: Its pooling is that of the last map, set to `pool` already.
        pool: `avg` or `max`.

    Raises:
        ConfigError: It does not give maps of its stages.
    """
    if not has_stages(backbone):
        raise ConfigError(
            f"model.layers={STAGES}: {backbone.name} gives no maps of its stages",
            "model.layers=last, or another model.backbone",
        )
    model: Any = backbone.model
    channels = [int(stage["num_chs"]) for stage in list(model.feature_info)[-_STAGES:]]
    features = StageFeatures(model, pool)
    return replace(backbone, model=cast(nn.Module, features), features=sum(channels) + backbone.features)
