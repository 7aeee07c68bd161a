"""Backbones: any timm network, with pre-trained weights from this machine, from the package, or none.

Nothing is downloaded unless `weights="pretrained"` asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import SelectAdaptivePool2d
from torch import Tensor, nn

from weldgen import weights as registry
from weldgen.classifier.local_weights import (
    EMBEDDED,
    EMBEDDED_WEIGHT,
    PREFERRED,
    WEIGHT_CHOICES,
    auto_backbone,
    cached_weights_path,
    find_timm_weights,
    read_own_weights,
)
from weldgen.classifier.preprocess import Frame
from weldgen.errors import BackendError, ConfigError, DataError
from weldgen.runtime import log

# How the map of features becomes one vector, as timm calls it.
AVERAGE, MAXIMUM = "avg", "max"


@dataclass(frozen=True)
class Backbone:
    """A feature extractor.

    Attributes:
        model: timm network that turns (B, 3, S, S) normalised images into (B, F) features.
        name: timm name.
        features: F.
        mean: Normalisation, for RGB from 0 to 1.
        std: Normalisation, for RGB from 0 to 1.
        weights: Records of the third-party weights in it: `{"id", "licence"}`.
        notes: What was chosen and what would be better.
    """

    model: nn.Module
    name: str
    features: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights: tuple[Mapping[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def create_backbone(name: str, weights: str, frame: Frame) -> Backbone:
    """Build a backbone.

    Args:
        name: `auto` or a timm name. `auto` is ConvNeXtV2-nano where its weights are, else EfficientNet-Lite0.
        weights: `auto` (those on this machine), `pretrained` (timm may download), `embedded`, `none`, or the path of
            weights that `weldgen pretrain` made; these say which network `auto` is.
        frame: Height and width of the input in pixels, for networks that are built for one size.

    Raises:
        ConfigError: timm does not know the name, nothing is embedded under it, or the weights are of another network.
        DataError: The path holds no finished weights.
        BackendError: The weights are not on this machine, or the download failed.
    """
    if weights not in WEIGHT_CHOICES:
        return _create_own(name, weights, frame)
    if name != "auto":
        return _create(name, weights, frame)
    if weights == "pretrained" or (weights == "auto" and find_local(PREFERRED)):
        return _create(PREFERRED, weights, frame)
    note = f"backbone: {EMBEDDED if weights == 'none' else auto_backbone()}"
    backbone = _create(EMBEDDED, "none" if weights == "none" else "embedded", frame)
    return replace(backbone, notes=(note, *backbone.notes))


def has_map(backbone: Backbone) -> bool:
    """Whether a backbone makes a map of features, which can be pooled by its mean or by its maximum."""
    model: Any = backbone.model
    pool = getattr(getattr(model, "head", model), "global_pool", None) or getattr(model, "global_pool", None)
    return isinstance(pool, SelectAdaptivePool2d)


def set_pool(backbone: Backbone, pool: str) -> None:
    """Choose how the map of features becomes one vector.

    Args:
        backbone: Changed in place.
        pool: `avg`, as backbones come, or `max`.

    Raises:
        ConfigError: It makes no map.
    """
    if pool == AVERAGE:
        return
    if not has_map(backbone):
        raise ConfigError(f"model.pool={pool}: {backbone.name} makes no map of features to pool", "model.pool=avg")
    model: Any = backbone.model
    model.reset_classifier(0, pool)


def has_fixed_shape(name: str) -> bool:
    """Whether a timm network is built for square input alone, as transformers with a grid of positions are."""
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return config is not None and bool(config.fixed_input_size)


def rebuild(name: str, frame: Frame, pool: str = AVERAGE) -> nn.Module:
    """The network of a backbone without weights: those of the trained model are loaded into it."""
    built = _network(name, frame, {})
    if pool == MAXIMUM:
        built.reset_classifier(0, pool)
    network: nn.Module = built
    return network


def find_local(name: str) -> Path | None:
    """File with a timm backbone's weights on this machine, or None."""
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if config is None:
        return None
    return find_timm_weights(f"{config.architecture}.{config.tag}", config.hf_hub_id or "")


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


def stages(model: nn.Module) -> dict[str, int]:
    """Name of each parameter -> its stage; 0 is the stem.

    Raises:
        ConfigError: timm does not divide this network into stages.
    """
    from timm.models import group_parameters

    matcher: Any = getattr(model, "group_matcher", None)
    if matcher is None:
        raise ConfigError("this backbone has no stages, so none can be frozen", "set model.freeze_stages=0")
    named: dict[str, int] = group_parameters(model, matcher(coarse=True), reverse=True)
    return named


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


def _create(name: str, weights: str, frame: Frame) -> Backbone:
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('.', maxsplit=1)[0].split('_', maxsplit=1)[0]}*")[:5]
        raise ConfigError(
            f"model.backbone={name} is not a timm network",
            f"nearest: {', '.join(near)}" if near else "timm.list_models()",
        )
    if weights == "none":
        return _describe(_network(name, frame, {}), name, (), ("the backbone starts from random weights",))
    if weights == "embedded" or (weights == "auto" and name == EMBEDDED and not find_local(name)):
        return _create_embedded(name, frame)
    local = find_local(name)
    if local is None and weights == "auto":
        raise BackendError(
            f"the weights of {name} are not on this machine",
            "model.weights=pretrained downloads them, model.weights=none starts from random ones, "
            f"model.backbone=auto takes what is here; or put the file at {cached_weights_path(name)}",
        )
    source: dict[str, Any] = {"pretrained": True}
    if local is not None:
        source["pretrained_cfg_overlay"] = {"file": str(local)}
    else:
        log.info("timm downloads the weights of %s", name)
    try:
        model = _network(name, frame, source)
    except Exception as error:  # hub libraries raise many kinds
        raise BackendError(
            f"the weights of {name} could not be loaded: {error}", "check the connection, or use model.backbone=auto"
        ) from error
    licence = str(model.pretrained_cfg.get("license") or "unknown")
    notes = [f"backbone: {name}, weights under {licence}"]
    if "-nc" in licence.lower():
        notes.append(f"{licence} forbids commercial use; convnext_nano.in12k_ft_in1k is a stand-in under Apache-2.0")
    return _describe(model, name, ({"id": f"timm/{name}", "licence": licence},), tuple(notes))


def _create_embedded(name: str, frame: Frame) -> Backbone:
    if name != EMBEDDED:
        raise ConfigError(f"no weights of {name} ship with weldgen; those of {EMBEDDED} do", "model.backbone=auto")
    model = _network(name, frame, {})
    model.load_state_dict(embedded_state())
    return _describe(model, name, (registry.get(EMBEDDED_WEIGHT).record,), ())


def _create_own(name: str, weights: str, frame: Frame) -> Backbone:
    """A network with weights from a file of the user's."""
    from safetensors import safe_open

    own = read_own_weights(weights)
    if own.backbone and name not in ("auto", own.backbone):
        raise ConfigError(
            f"model.backbone={name}, but the weights in {weights} are those of {own.backbone}",
            f"model.backbone=auto takes {own.backbone}",
        )
    if not own.backbone and (name == "auto" or not timm.is_model(name)):
        raise ConfigError(
            f"model.weights={weights} does not say of which network it is", "name it: model.backbone=<timm name>"
        )
    name = own.backbone or name
    with safe_open(own.file, "pt") as stored:
        found = set(stored.keys())
    wanted = set(_network(name, frame, {}).state_dict())
    if not wanted <= found:
        raise DataError(
            f"{own.file} does not hold the weights of {name}: {len(wanted - found)} of {len(wanted)} are missing, e.g. "
            f"{min(wanted - found)}",
            "weldgen pretrain writes such a file",
        )
    # timm fits position embeddings to the size that is asked for.
    model = _network(
        name, frame, {"pretrained": True, "pretrained_cfg_overlay": {"file": str(own.file), "custom_load": False}}
    )
    return _describe(model, name, own.weights, (f"backbone: {name}, weights from {weights}",))


def _network(name: str, frame: Frame, source: Mapping[str, Any]) -> Any:
    size = {"img_size": frame} if has_fixed_shape(name) else {}
    return timm.create_model(name, num_classes=0, **size, **source)


def _describe(model: Any, name: str, weights: tuple[Mapping[str, str], ...], notes: tuple[str, ...]) -> Backbone:
    # Networks with a layer between pooling and classifier give longer features than `num_features` says.
    features = getattr(model, "head_hidden_size", None) or model.num_features
    mean, std = model.pretrained_cfg["mean"], model.pretrained_cfg["std"]
    return Backbone(model, name, features, tuple(mean), tuple(std), weights, notes)
