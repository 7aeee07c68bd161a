"""Backbones from timm, our own luna among them, which is in timm's registry."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from torch import nn

from weldgen import weights as registry
from weldgen.classifier.backbone import RANDOM_NOTE, Backbone, licence_notes, no_drop_path
from weldgen.classifier.embedded import embedded_state
from weldgen.classifier.local_weights import EMBEDDED, EMBEDDED_WEIGHT, cached_weights_path, find_timm_weights
from weldgen.classifier.luna import LUNA
from weldgen.classifier.preprocess import Frame
from weldgen.errors import BackendError, ConfigError
from weldgen.runtime import log

# `clip` is CLIP's ViT-B/32 with the activation that OpenAI trained it with (vit_base_patch32_clip_224.openai are the
# same weights with another one, to which they must get used first).
SHORT_NAMES = {"clip": "vit_base_patch32_clip_quickgelu_224.openai"}
# timm records Apache-2.0, which is that of its copies; https://github.com/openai/CLIP gives the weights under MIT.
_OPENAI_TAG, _OPENAI_LICENCE = "openai", "MIT"
# `data.image_size` is a multiple of this.
_SIZE_STEP_PX = 32


def full_name(name: str) -> str:
    """The name of timm for a short name; any other as it is."""
    return SHORT_NAMES.get(name, name)


def check_name(name: str) -> None:
    """Refuse what timm does not know.

    Raises:
        ConfigError: It knows no such network, or no such weights of it.
    """
    architecture, _, tag = name.partition(".")
    if not timm.is_model(name):
        known = [*timm.list_models(), *SHORT_NAMES]
        near = difflib.get_close_matches(architecture, known, 3) or [
            other for other in known if other.startswith(architecture.split("_", maxsplit=1)[0])
        ]
        raise ConfigError(
            f"model.backbone={name} is not a timm network",
            f"nearest: {', '.join(near[:5])}" if near else "timm.list_models(), or torchvision/<name>",
        )
    if tag and name not in timm.list_models(f"{architecture}.*", pretrained=True):
        known = timm.list_models(f"{architecture}.*", pretrained=True)
        near = difflib.get_close_matches(name, known, 3, cutoff=0) or [architecture]
        raise ConfigError(f"model.backbone={name}: timm has no such weights", f"nearest: {', '.join(near)}")


def is_square(name: str) -> bool:
    """Whether a timm network is built for square input alone."""
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return config is not None and bool(config.fixed_input_size)


def find_local(name: str) -> Path | None:
    """File with a timm backbone's weights on this machine, or None."""
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if config is None:
        return None
    return find_timm_weights(f"{config.architecture}.{config.tag}", config.hf_hub_id or "")


def create_timm(name: str, weights: str, frame: Frame, drop_path: float) -> Backbone:
    """A timm network; see `weldgen.classifier.backbones.create_backbone`."""
    check_name(name)
    if weights == "none" or (weights == "auto" and name == LUNA):
        return describe(build(name, frame, drop_path), name, (), (RANDOM_NOTE,))
    if weights == "embedded" or (weights == "auto" and name == EMBEDDED and not find_local(name)):
        return _create_embedded(name, frame, drop_path)
    if name == LUNA:
        raise ConfigError(
            f"there are no pre-trained weights of {LUNA}", "model.weights=none, or weldgen pretrain model.backbone=luna"
        )
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
        model = build(name, frame, drop_path, source)
    except ConfigError:
        raise
    except Exception as error:  # hub libraries raise many kinds
        raise BackendError(
            f"the weights of {name} could not be loaded: {error}", "check the connection, or use model.backbone=auto"
        ) from error
    licence = licence_of(model.pretrained_cfg)
    return describe(model, name, ({"id": f"timm/{name}", "licence": licence},), licence_notes(name, licence))


def load_file(name: str, frame: Frame, drop_path: float, file: Path) -> nn.Module:
    """A timm network with the weights of a safetensors file; position embeddings are fitted to the size."""
    overlay = {"file": str(file), "custom_load": False}
    network: nn.Module = build(name, frame, drop_path, {"pretrained": True, "pretrained_cfg_overlay": overlay})
    return network


def describe(model: Any, name: str, weights: tuple[Mapping[str, str], ...], notes: tuple[str, ...]) -> Backbone:
    """What timm says of its network."""
    # Networks with a layer between pooling and classifier give longer features than `num_features` says.
    features = getattr(model, "head_hidden_size", None) or model.num_features
    mean, std = model.pretrained_cfg["mean"], model.pretrained_cfg["std"]
    return Backbone(model, name, features, tuple(mean), tuple(std), weights, notes)


def build(name: str, frame: Frame, drop_path: float = 0.0, source: Mapping[str, Any] | None = None) -> Any:
    """A timm network without a classifier.

    Args:
        name: timm name.
        frame: Height and width of the input in pixels, for networks that are built for one size.
        drop_path: Stochastic depth; 0: as the network comes.
        source: Where its weights come from; None: random ones.

    Raises:
        ConfigError: It has no stochastic depth, or its patches do not fill the frame.
    """
    settings: dict[str, Any] = {"img_size": frame} if is_square(name) else {}
    if drop_path:
        settings["drop_path_rate"] = drop_path
    try:
        model = timm.create_model(name, num_classes=0, **settings, **(source or {}))
    except TypeError as error:
        if drop_path and "drop_path_rate" in str(error):
            raise no_drop_path(name) from error
        raise
    if drop_path and not any(getattr(module, "drop_prob", None) for module in model.modules()):
        raise no_drop_path(name)
    if "img_size" in settings:
        _check_patches(name, model, frame)
    return model


def _check_patches(name: str, model: Any, frame: Frame) -> None:
    """Refuse a frame that its patches do not fill: timm leaves out the edge, and a defect may be there."""
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    if not patch or not any(side % step for side, step in zip(frame, patch, strict=True)):
        return
    step = math.lcm(_SIZE_STEP_PX, *patch)
    near = step * max(1, round(max(frame) / step))
    raise ConfigError(
        f"{name} sees patches of {patch[1]} x {patch[0]} px, which do not fill {frame[1]} x {frame[0]} px",
        f"data.image_size={near}",
    )


def _create_embedded(name: str, frame: Frame, drop_path: float) -> Backbone:
    if name != EMBEDDED:
        raise ConfigError(f"no weights of {name} ship with weldgen; those of {EMBEDDED} do", "model.backbone=auto")
    model = build(name, frame, drop_path)
    model.load_state_dict(embedded_state())
    return describe(model, name, (registry.get(EMBEDDED_WEIGHT).record,), ())


def licence_of(config: Mapping[str, Any]) -> str:
    """Licence of a timm network's weights."""
    return _OPENAI_LICENCE if config.get("tag") == _OPENAI_TAG else str(config.get("license") or "unknown")
