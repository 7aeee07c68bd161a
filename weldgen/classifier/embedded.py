"""The weights that come with the installation: ImageNet's, of EfficientNet-Lite0, from a package of the registry."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from weldgen import weights as registry
from weldgen.classifier.local_weights import EMBEDDED_WEIGHT


def embedded_state() -> dict[str, Tensor]:
    """ImageNet weights of EfficientNet-Lite0 under timm's names (the classifier layer left out)."""
    state = torch.load(registry.require(EMBEDDED_WEIGHT), map_location="cpu", weights_only=True)
    blocks = iter(sorted({int(key.split(".")[1]) for key in state if key.startswith("_blocks.")}))
    places = {
        next(blocks): f"blocks.{stage}.{index}"
        for stage, repeats in enumerate((1, 2, 2, 3, 3, 4, 1))
        for index in range(repeats)
    }
    return {_timm_key(key, places): value for key, value in state.items() if not key.startswith("_fc.")}


def _timm_key(key: str, places: Mapping[int, str]) -> str:
    """The name that timm gives to a weight of the package's EfficientNet."""
    outside = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    if not key.startswith("_blocks."):
        layer, rest = key.split(".", 1)
        return f"{outside[layer]}.{rest}"
    _, number, layer, rest = key.split(".", 3)
    place = places[int(number)]
    # A block with expansion has one more convolution in front, which shifts timm's numbers.
    if place == "blocks.0.0":
        inside = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    else:
        inside = {
            "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw",
            "_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3",
        }  # fmt: skip
    return f"{place}.{inside[layer]}.{rest}"
