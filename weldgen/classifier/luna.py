"""Luna: our own small network, trained from scratch, for photos of metal at 224 to 448 px.

About a million parameters (EfficientNet-Lite0's features have 3.4), for shops that may use no weights of others, and to
compare with. The name is that of the small network of a casting inspection that this project takes the place of, whose
shape is not known. Why this one, for few photos of metal and training from random weights:

- The stem is two overlapping 3x3 convolutions. ConvNeXt's single one of 4x4 px side by side is cheaper, but a pore or a
  crack of three pixels then depends on which square it falls into.
- Blocks are ConvNeXt's (Liu et al. 2022, https://arxiv.org/abs/2201.03545): a 7x7 depthwise convolution sees a whole
  pore with its rim, and almost all parameters lie in 1x1 convolutions. Most blocks work at a sixteenth of the side,
  where defects are a few cells large.
- A squeeze-and-excite gate (Hu et al. 2018, https://arxiv.org/abs/1709.01507) ends each block: what a dark spot means
  depends on the photo as a whole, on metal, light and rust.
- Batch norms, unlike ConvNeXt: a layer norm scales each place by itself, so that a faint grain and a deep pore look
  alike. Measured on 120 drawn photos of 96 px, brushed metal with pores of three to seven pixels or without, 400 steps
  from random weights: 97 % right on 120 others with batch norms, 48 % with layer norms (one seed; another, in 240 steps
  without augmentation: 76 and 59 %).
- No layer scale, which starts each block at almost nothing and needs long trainings.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from timm.layers import DropPath, SelectAdaptivePool2d, SqueezeExcite
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

LUNA = "luna"
_WIDTHS = (32, 64, 112, 176)
_DEPTHS = (2, 2, 4, 2)
_EXPANSION = 3


class Block(nn.Module):
    """Depthwise convolution, two pointwise ones, a gate; added to what came in.

    Args:
        width: Channels.
        drop_path: Probability that an image skips the block in training.
    """

    def __init__(self, width: int, drop_path: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.expand = nn.Conv2d(width, _EXPANSION * width, 1)
        self.act = nn.GELU()
        self.project = nn.Conv2d(_EXPANSION * width, width, 1)
        self.gate = SqueezeExcite(width, rd_ratio=0.25)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        inner = self.project(self.act(self.expand(self.norm(self.depthwise(x)))))
        return cast(Tensor, x + self.drop_path(self.gate(inner)))


class Luna(nn.Module):
    """The network, with the methods that timm's networks have.

    Args:
        num_classes: 0 for features alone, or outputs of a linear classifier.
        in_chans: Channels of the images.
        global_pool: How the map becomes a vector: `avg` or `max`.
        drop_rate: Dropout before the classifier.
        drop_path_rate: Stochastic depth of the last block; it rises evenly from 0.
    """

    def __init__(
        self,
        num_classes: int = 0,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_features = self.head_hidden_size = _WIDTHS[-1]
        self.stem = nn.Sequential(
            nn.Conv2d(in_chans, _WIDTHS[0] // 2, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(_WIDTHS[0] // 2, _WIDTHS[0], 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(_WIDTHS[0]),
        )
        rates = iter(torch.linspace(0, drop_path_rate, sum(_DEPTHS)).tolist())
        stages, before = [], _WIDTHS[0]
        for width, depth in zip(_WIDTHS, _DEPTHS, strict=True):
            halve = [] if width == before else [nn.BatchNorm2d(before), nn.Conv2d(before, width, 2, stride=2)]
            stages.append(nn.Sequential(*halve, *(Block(width, next(rates)) for _ in range(depth))))
            before = width
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(before)
        self.drop_rate = drop_rate
        self.reset_classifier(num_classes, global_pool)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=(2 / module.weight[0].numel()) ** 0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def reset_classifier(self, num_classes: int, global_pool: str = "avg") -> None:
        """Another number of classes, 0 for none, and another pooling."""
        self.num_classes = num_classes
        self.global_pool = SelectAdaptivePool2d(pool_type=global_pool, flatten=True)
        self.drop = nn.Dropout(self.drop_rate)
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return self.head

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """How timm divides the parameters: 0 is the stem, then the four stages, or their blocks."""
        return {"stem": r"^stem", "blocks": r"^stages\.(\d+)" if coarse else r"^stages\.(\d+)\.(\d+)"}

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images to a map, (B, 176, H / 32, W / 32)."""
        return cast(Tensor, self.norm(self.stages(self.stem(x))))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """The map to (B, 176) features, or to logits where there is a classifier."""
        features = self.drop(self.global_pool(x))
        return cast(Tensor, features if pre_logits else self.head(features))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images to (B, 176) features, or logits."""
        return self.forward_head(self.forward_features(x))


# timm looks here for the normalisation; there are no weights to load.
default_cfgs = generate_default_cfgs(
    {
        LUNA: {
            "num_classes": 0, "input_size": (3, 224, 224), "pool_size": (7, 7), "crop_pct": 1.0,
            "interpolation": "bilinear", "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25),
            "first_conv": "stem.0", "classifier": "head",
        }
    }
)  # fmt: skip


def luna(pretrained: bool = False, **settings: Any) -> Luna:
    """The entry in timm's registry, by which the network is found wherever a timm name is."""
    return cast(Luna, build_model_with_cfg(Luna, LUNA, pretrained, **settings))


register_model(luna)
