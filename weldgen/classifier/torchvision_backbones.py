"""Backbones from torchvision: `torchvision/resnet18`.

Of each network the last map of features is taken (torchvision's feature extraction), and what torchvision has behind it
is left out: its classifier, and the wide layers that AlexNet and VGG have before that. So photos of any shape pass.
Vision transformers make no map; see `weldgen.classifier.torchvision_vit`. MaxViT makes one, of squares alone.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import torch
from timm.layers import SelectAdaptivePool2d
from torch import Tensor, nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names
from torchvision.ops import StochasticDepth

from weldgen.classifier.backbone import RANDOM_NOTE, Backbone, licence_notes, no_drop_path
from weldgen.classifier.preprocess import Frame
from weldgen.classifier.torchvision_vit import TokenVit
from weldgen.errors import BackendError, ConfigError
from weldgen.runtime import log

PREFIX = "torchvision/"
_LICENCE = "BSD-3-Clause"
# Weights that state a licence of their own are those of SWAG (https://github.com/facebookresearch/SWAG).
_SWAG_LICENCE = "CC-BY-NC-4.0"
# What may follow the last map.
_BEHIND_MAP = {"avgpool", "adaptive_avg_pool2d", "mean", "classifier"}
_VIT, _MAXVIT = "vit_", "maxvit_"
# MaxViT divides the maps of all its stages, the last of which has 1/32 of the sides, into 7 x 7 windows and as many
# cells.
_MAXVIT_STEP_PX = 224
# `data.image_size` is a multiple of this.
_SIZE_STEP_PX = 32
# With pre-trained weights torchvision sets these by itself; without, they have to be the same.
_SETTINGS = {own: {"transform_input": True, "init_weights": False} for own in ("googlenet", "inception_v3")}
# Modules that only hold the parts of a network.
_HOLDERS = {"features", "trunk_output", "layers", "blocks"}
_PROBE_PX = 128


class TorchvisionMap(nn.Module):
    """A torchvision network up to its last map, and pooling; with the methods of timm's networks that are needed here.

    Args:
        network: As torchvision builds it.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        nodes = get_graph_node_names(network, suppress_diff_warning=True)[1]
        end = next(i for i, node in enumerate(nodes) if node.split(".", maxsplit=1)[0] in _BEHIND_MAP)
        self.body = create_feature_extractor(network, {nodes[end - 1]: "map"}, suppress_diff_warning=True)
        self.global_pool = SelectAdaptivePool2d(flatten=False)
        # ConvNeXt and MaxViT normalise what was pooled, before their classifiers.
        behind = getattr(network, "classifier", nn.Module()).children()
        norm = next((layer for layer in behind if isinstance(layer, nn.LayerNorm)), nn.Identity())
        self.norm = nn.Sequential(nn.Flatten(1), norm) if type(norm) is nn.LayerNorm else norm

    def reset_classifier(self, num_classes: int, global_pool: str) -> None:
        """Another pooling; there is no classifier."""
        if num_classes:
            raise ValueError("it gives features only")
        self.global_pool = SelectAdaptivePool2d(pool_type=global_pool, flatten=False)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images to a map, (B, F, h, w)."""
        return cast(Tensor, self.body(x)["map"])

    def forward_head(self, x: Tensor) -> Tensor:
        """The map to (B, F) features."""
        return cast(Tensor, self.norm(self.global_pool(x)).flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images to (B, F) features."""
        return self.forward_head(self.forward_features(x))

    @torch.no_grad()
    def stages(self) -> dict[str, int]:
        """Name of each parameter -> its stage: a stage ends where the map gets smaller; 0 is the stem."""
        sides = self._sides()
        parts = {name: _part(name) for name, _ in self.body.named_parameters()}
        stem = next(iter(parts.values()))
        # Single layers that go on at the stem's size, such as its batch norm, belong to it.
        layers = {name.rpartition(".")[0] for name in parts}
        in_stem = {part for part, side in sides.items() if part == stem or (part in layers and side == sides[stem])}
        ordered = sorted({side for part, side in sides.items() if part not in in_stem}, reverse=True)
        stage = {part: 0 if part in in_stem else 1 + ordered.index(side) for part, side in sides.items()}
        found = {f"body.{name}": stage[part] for name, part in parts.items()}
        return found | {f"norm.{name}": len(ordered) for name, _ in self.norm.named_parameters()}

    def _sides(self) -> dict[str, int]:
        """Part of the network -> side of the map that it makes of a square photo."""
        sides: dict[str, int] = {}

        def hook_of(part: str) -> Any:
            def note(_: nn.Module, __: Any, out: Tensor) -> None:
                # Swin's maps have their channels last, so that the second side is in the same place in all. What gates
                # make of a map has no sides.
                if out.ndim == 4 and out.shape[2] > 1:
                    sides[part] = out.shape[2]

            return note

        kinds = (nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.LayerNorm)
        layers = [(name, module) for name, module in self.body.named_modules() if isinstance(module, kinds)]
        hooks = [module.register_forward_hook(hook_of(_part(name))) for name, module in layers]
        mode, device = self.training, next(self.parameters()).device
        try:
            self.eval()(torch.zeros(1, 3, _PROBE_PX, _PROBE_PX, device=device))
        finally:
            self.train(mode)
            for hook in hooks:
                hook.remove()
        return sides


class MaxVitMap(TorchvisionMap):
    """MaxViT up to its last map; its windows hide the sides of its maps, and each of its blocks is a stage."""

    def stages(self) -> dict[str, int]:
        """Name of each parameter -> its stage; 0 is the stem."""
        parts = {name: _part(name).split(".") for name, _ in self.body.named_parameters()}
        found = {f"body.{name}": 0 if part[0] == "stem" else 1 + int(part[1]) for name, part in parts.items()}
        return found | {f"norm.{name}": max(found.values()) for name, _ in self.norm.named_parameters()}


def check_name(name: str) -> None:
    """Refuse what torchvision does not know, and what makes no map.

    Raises:
        ConfigError: The name with the prefix is no such network.
    """
    own = name.removeprefix(PREFIX)
    known = models.list_models(module=models)
    if own not in known:
        near = ", ".join(PREFIX + other for other in difflib.get_close_matches(own, known, 3))
        raise ConfigError(
            f"model.backbone={name} is not a torchvision network",
            f"nearest: {near}" if near else f"accepted: {', '.join(known)}",
        )


def is_square(name: str) -> bool:
    """Whether a network is for square input alone: MaxViT, and where the steps of a frame are no whole patches."""
    own = name.removeprefix(PREFIX)
    return own.startswith(_MAXVIT) or bool(own.startswith(_VIT) and _SIZE_STEP_PX % _step_px(own))


def create_torchvision(name: str, weights: str, frame: Frame, drop_path: float) -> Backbone:
    """A torchvision network; see `weldgen.classifier.backbones.create_backbone`."""
    check_name(name)
    if weights == "embedded":
        raise ConfigError(f"no weights of {name} ship with weldgen", "model.backbone=auto")
    if weights == "none":
        return describe(build(name, frame, drop_path), name, frame, notes=(RANDOM_NOTE,))
    known = _weights_of(name)
    local = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(known.url).path).name
    if not local.is_file() and weights == "auto":
        raise BackendError(
            f"the weights of {name} are not on this machine",
            "model.weights=pretrained downloads them, model.weights=none starts from random ones, "
            f"model.backbone=auto takes what is here; or put {known.url} at {local}",
        )
    if not local.is_file():
        log.info("torchvision downloads the weights of %s", name)
    try:
        model = build(name, frame, drop_path, known)
    except ConfigError:
        raise
    except Exception as error:  # of the connection, or of a file cut short
        raise BackendError(
            f"the weights of {name} could not be loaded: {error}", "check the connection, or use model.backbone=auto"
        ) from error
    licence = _SWAG_LICENCE if "license" in known.meta else _LICENCE
    backbone = describe(model, name, frame, notes=licence_notes(name, licence))
    return replace(backbone, weights=({"id": f"{name}.{known.name}", "licence": licence},))


def load_file(name: str, frame: Frame, drop_path: float, file: Path) -> nn.Module:
    """A torchvision network with the weights of a safetensors file; position embeddings are fitted to the size."""
    from safetensors.torch import load_file as read

    network, state = build(name, frame, drop_path), read(file)
    if isinstance(network, TokenVit):
        network.load_fitted(state)
    else:
        network.load_state_dict(state)
    return network


def build(name: str, frame: Frame, drop_path: float = 0.0, weights: Any = None) -> TorchvisionMap | TokenVit:
    """A torchvision network up to its last map, or to its tokens.

    Args:
        name: With the prefix.
        frame: Height and width of the input in pixels, for networks that are built for one size.
        drop_path: Stochastic depth of the last block, rising evenly from 0; 0: as the network comes.
        weights: What torchvision calls them; None: random ones.

    Raises:
        ConfigError: It has no stochastic depth, or its parts do not fill the frame.
    """
    own = name.removeprefix(PREFIX)
    _check_frame(name, frame)
    if own.startswith(_MAXVIT):
        network = models.get_model(own, input_size=frame)
        if weights is not None:
            network.load_state_dict(weights.get_state_dict(progress=True, check_hash=True))
    else:
        network = models.get_model(own, weights=weights, **_SETTINGS.get(own, {}))
    blocks = [module for module in network.modules() if isinstance(module, StochasticDepth)]
    if drop_path and not blocks:
        raise no_drop_path(name)
    if drop_path:
        for number, block in enumerate(blocks):
            block.p = drop_path * number / max(1, len(blocks) - 1)
    if own.startswith(_VIT):
        return TokenVit(network, frame)
    return MaxVitMap(network) if own.startswith(_MAXVIT) else TorchvisionMap(network)


def describe(model: nn.Module, name: str, frame: Frame, notes: tuple[str, ...]) -> Backbone:
    """What is known of a network; its features are counted on a small image.

    Raises:
        ConfigError: The frame is too small for it.
    """
    height, width = frame if is_square(name) else (min(side, _PROBE_PX) for side in frame)
    device = next(model.parameters()).device
    try:
        with torch.inference_mode():
            features = model.eval()(torch.zeros(1, 3, height, width, device=device)).shape[1]
    except RuntimeError as error:
        raise ConfigError(
            f"{name} cannot see photos of {frame[1]} x {frame[0]} px: {str(error).splitlines()[0]}",
            "data.image_size=224",
        ) from error
    usual = _weights_of(name).transforms()
    return Backbone(model.train(), name, features, tuple(usual.mean), tuple(usual.std), notes=notes)


def _weights_of(name: str) -> Any:
    """The best weights that torchvision has of a network."""
    return models.get_model_weights(name.removeprefix(PREFIX)).DEFAULT


def _check_frame(name: str, frame: Frame) -> None:
    """Refuse a frame that is not made of whole patches, or not of whole windows."""
    own = name.removeprefix(PREFIX)
    if not own.startswith((_VIT, _MAXVIT)):
        return
    step = _step_px(own)
    if not any(side % step for side in frame) and (frame[0] == frame[1] or not is_square(name)):
        return
    step = math.lcm(step, _SIZE_STEP_PX)
    near = step * max(1, round(max(frame) / step))
    kind = "squares with sides" if is_square(name) else "photos with sides"
    raise ConfigError(
        f"{name} sees {kind} that are multiples of {step} px ({step}, {2 * step}, ...), not {frame[1]} x {frame[0]} px",
        f"data.image_size={near}",
    )


def _step_px(own: str) -> int:
    """What divides the sides of the photos that a transformer sees; a ViT's patches stand in its name."""
    return _MAXVIT_STEP_PX if own.startswith(_MAXVIT) else int(own.rpartition("_")[2])


def _part(name: str) -> str:
    """The part of a network that a layer or a parameter belongs to."""
    levels = name.split(".")
    return ".".join(levels[: 2 if levels[0] in _HOLDERS else 1])
