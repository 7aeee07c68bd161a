"""The door to all backbones: a network by name, with weights from this machine, from the package, or none.

Names are timm's, `luna` for our own, or `torchvision/` and torchvision's. Nothing is downloaded unless
`weights="pretrained"` asks for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import timm
from torch import nn

from weldgen.classifier import timm_backbones, torchvision_backbones
from weldgen.classifier.backbone import AVERAGE, MAXIMUM, Backbone, has_map, set_pool
from weldgen.classifier.cells import CELLS, CellFeatures
from weldgen.classifier.layers import STAGES, StageFeatures
from weldgen.classifier.local_weights import EMBEDDED, PREFERRED, WEIGHT_CHOICES, auto_backbone, read_own_weights
from weldgen.classifier.preprocess import Frame
from weldgen.classifier.settings import ModelSettings
from weldgen.classifier.timm_backbones import create_timm, find_local, full_name
from weldgen.classifier.torchvision_backbones import PREFIX, TorchvisionMap, create_torchvision
from weldgen.classifier.torchvision_vit import TokenVit
from weldgen.errors import ConfigError, DataError

__all__ = [
    "AVERAGE",
    "MAXIMUM",
    "Backbone",
    "create_backbone",
    "has_fixed_shape",
    "has_map",
    "rebuild",
    "set_pool",
    "stages",
]


def create_backbone(name: str, weights: str, frame: Frame, drop_path: float = 0.0) -> Backbone:
    """Build a backbone.

    Args:
        name: `auto`, a timm name, `luna`, `clip`, or `torchvision/<name>`. `auto` is ConvNeXtV2-nano where its weights
            are, else EfficientNet-Lite0.
        weights: `auto` (those on this machine; luna has none), `pretrained` (timm or torchvision may download),
            `embedded`, `none`, or the path of weights that `weldgen pretrain` made; these say which network `auto` is.
        frame: Height and width of the input in pixels, for networks that are built for one size.
        drop_path: Stochastic depth; 0: as the network comes.

    Raises:
        ConfigError: There is no such name, nothing is embedded under it, the weights are of another network, or it
            cannot be built for the frame or with stochastic depth.
        DataError: The path holds no finished weights.
        BackendError: The weights are not on this machine, or the download failed.
    """
    name = full_name(name)
    if weights not in WEIGHT_CHOICES:
        return _create_own(name, weights, frame, drop_path)
    if name.startswith(PREFIX):
        return create_torchvision(name, weights, frame, drop_path)
    if name != "auto":
        return create_timm(name, weights, frame, drop_path)
    if weights == "pretrained" or (weights == "auto" and find_local(PREFERRED)):
        return create_timm(PREFERRED, weights, frame, drop_path)
    note = f"backbone: {EMBEDDED if weights == 'none' else auto_backbone()}"
    backbone = create_timm(EMBEDDED, "none" if weights == "none" else "embedded", frame, drop_path)
    return replace(backbone, notes=(note, *backbone.notes))


def has_fixed_shape(name: str) -> bool:
    """Whether a network is built for square input alone, as timm's transformers with a grid of positions are.

    Raises:
        ConfigError: There is no such network.
    """
    name = full_name(name)
    if name == "auto":
        return False
    if name.startswith(PREFIX):
        torchvision_backbones.check_name(name)
        return torchvision_backbones.is_square(name)
    timm_backbones.check_name(name)
    return timm_backbones.is_square(name)


def rebuild(name: str, frame: Frame, settings: ModelSettings) -> nn.Module:
    """The network of a backbone without weights: those of the trained model are loaded into it."""
    built: Any = _build(name, frame)
    if settings.pool == MAXIMUM:
        built.reset_classifier(0, settings.pool)
    if settings.layers == STAGES:
        return StageFeatures(built, settings.pool)
    network: nn.Module = CellFeatures(built, settings.embedding_size) if settings.layers == CELLS else built
    return network


def stages(model: nn.Module) -> dict[str, int]:
    """Name of each parameter -> its stage; 0 is the stem.

    Raises:
        ConfigError: This network is not divided into stages.
    """
    from timm.models import group_parameters

    if isinstance(model, TorchvisionMap | TokenVit):
        return model.stages()
    matcher: Any = getattr(model, "group_matcher", None)
    if matcher is None:
        raise ConfigError("this backbone has no stages, so none can be frozen", "set model.freeze=none")
    named: dict[str, int] = group_parameters(model, matcher(coarse=True), reverse=True)
    return named


def _create_own(name: str, weights: str, frame: Frame, drop_path: float) -> Backbone:
    """A network with weights from a file of the user's."""
    from safetensors import SafetensorError, safe_open

    own = read_own_weights(weights)
    if own.backbone and name not in ("auto", own.backbone):
        raise ConfigError(
            f"model.backbone={name}, but the weights in {weights} are those of {own.backbone}",
            f"model.backbone=auto takes {own.backbone}",
        )
    if not own.backbone and (name == "auto" or not (name.startswith(PREFIX) or timm.is_model(name))):
        raise ConfigError(
            f"model.weights={weights} does not say of which network it is", "name it: model.backbone=<timm name>"
        )
    name = own.backbone or name
    try:
        with safe_open(own.file, "pt") as stored:
            found = set(stored.keys())
    except SafetensorError as error:
        raise DataError(
            f"{own.file} is no whole safetensors file: {error}",
            "safetensors.torch.save_file writes one from a network's state_dict()",
        ) from error
    wanted = set(_build(name, frame).state_dict())
    if not wanted <= found:
        raise DataError(
            f"{own.file} does not hold the weights of {name}: {len(wanted - found)} of {len(wanted)} are missing, e.g. "
            f"{min(wanted - found)}",
            "weldgen pretrain writes such a file",
        )
    notes = (f"backbone: {name}, weights from {weights}",)
    if name.startswith(PREFIX):
        loaded = torchvision_backbones.load_file(name, frame, drop_path, own.file)
        return replace(torchvision_backbones.describe(loaded, name, frame, notes), weights=own.weights)
    model = timm_backbones.load_file(name, frame, drop_path, own.file)
    return timm_backbones.describe(model, name, own.weights, notes)


def _build(name: str, frame: Frame) -> nn.Module:
    """A network with random weights."""
    if name.startswith(PREFIX):
        torchvision_backbones.check_name(name)
        return torchvision_backbones.build(name, frame)
    network: nn.Module = timm_backbones.build(name, frame)
    return network
