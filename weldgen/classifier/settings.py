"""Sections of the training configuration; light, so that `--help` loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from weldgen.classifier.training_settings import TrainingSettings
from weldgen.config import Config, StageConfig
from weldgen.data.split import SplitConfig

# Keys that other programs keep elsewhere -> where they are here.
ALIASES = {"training.mixup": "augmentation.mixup", "training.cutmix": "augmentation.cutmix"}

# What stands before the name of a layer in model.freeze.
UNTIL = "until:"
_FREEZE = ("stages", "backbone", "none")

# More folds take longer and tell hardly more.
MAX_FOLDS = 20


class DataSettings(Config):
    """What the network sees."""

    image_size: int = Field(
        384, ge=32, le=2048, multiple_of=32, description="the input has the pixels of a square of this side"
    )
    shape: Literal["photos", "square"] = Field(
        "photos", description="shape of the input: the middle one of the training photos, or square; others are padded"
    )
    cache_gb: float = Field(
        4.0, ge=0, description="decoded images are kept in memory up to this size, beyond it in a temporary file"
    )


class MlpSettings(Config):
    """Hidden layers of the head `mlp`."""

    hidden: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        (), max_length=4, description="widths of the hidden layers, e.g. [512]; []: one as wide as the embedding"
    )
    norm: Literal["layer", "batch", "none"] = Field(
        "layer", description="behind each of them; batch wants large batches"
    )
    activation: Literal["gelu", "relu"] = Field("gelu", description="behind the norm")


class ModelSettings(Config):
    """The network."""

    backbone: str = Field(
        "auto",
        description="auto; any timm name, e.g. tiny_vit_21m_384.dist_in22k_ft_in1k; torchvision/<name>; clip: CLIP's "
        "image tower; or luna: our own small network, trained from scratch",
    )
    weights: str = Field(
        "auto",
        min_length=1,
        description="auto: what is on this machine; pretrained: timm or torchvision may download; embedded: shipped; "
        "none: random; or the folder that weldgen pretrain made",
    )
    freeze: str = Field(
        "stages",
        description="what keeps its pre-trained weights: stages: the stem and the first freeze_stages stages; "
        "backbone: all of it; none: nothing; until:<layer>: the named layer and all before it, e.g. until:blocks.3",
    )
    freeze_stages: int = Field(
        2,
        ge=0,
        le=16,
        description="the stem and so many stages keep their pre-trained weights; two stages of ConvNeXtV2-nano are 4 % "
        "of its parameters, three are 50 %",
    )
    backbone_lr_ratio: float = Field(
        0.1, ge=0, le=1, description="learning rate of the backbone relative to the head's"
    )
    pool: Literal["auto", "avg", "max"] = Field(
        "auto",
        description="how the map of each feature becomes one number: its mean, or its maximum, which small defects "
        "reach; auto: max where the backbone does not learn and a class has fewer than ten real photos beside "
        "synthetic images, else avg",
    )
    layers: Literal["auto", "last", "stages", "cells"] = Field(
        "auto",
        description="training.method=linear: what is classified: last: the last map's features; stages: those of the "
        "last four stages too, where textures are; cells: the worst cells of a finer map, by the masks of synthetic "
        "defects; auto: stages where every class has ten real photos, of three parts, or there are no synthetic "
        "images, else cells where there are masks, else last",
    )
    embedding_size: int = Field(512, ge=1, le=4096, description="length of the embedding that the head compares")
    drop_rate: float = Field(0.2, ge=0, lt=1, description="dropout before the embedding")
    drop_path: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="stochastic depth: how often the backbone's last block is left out in training, earlier ones less; "
        "0: as the backbone comes",
    )
    head: Literal["arcface", "cosface", "subcenter", "softmax", "unit_softmax", "mlp"] = Field(
        "arcface",
        description="arcface; cosface; subcenter: arcface with several centres a class; softmax; unit_softmax: softmax "
        "of embeddings scaled to length 1; mlp: softmax behind hidden layers",
    )
    scale: float = Field(30.0, gt=0, description="arcface, cosface, subcenter: factor of the cosines")
    margin: float = Field(
        0.5,
        ge=0,
        lt=1.5,
        description="arcface, subcenter: angle in radians; cosface: taken off the cosine, 0.35 is usual",
    )
    easy_margin: bool = Field(
        False, description="arcface, subcenter: the margin only where the angle is below 90 degrees"
    )
    subcenters: int = Field(3, ge=1, le=64, description="subcenter: centres of a class; the nearest one counts")
    mlp: MlpSettings = MlpSettings()

    @field_validator("freeze")
    @classmethod
    def _check_freeze(cls, freeze: str) -> str:
        if freeze not in _FREEZE and (not freeze.startswith(UNTIL) or freeze == UNTIL):
            raise ValueError(f"accepted: {', '.join(_FREEZE)}, {UNTIL}<layer>")
        return freeze


class AugmentationSettings(Config):
    """Random changes of the training images; 0 switches one off."""

    hflip: float = Field(0.5, ge=0, le=1, description="probability of a left-right flip")
    vflip: float = Field(0.3, ge=0, le=1, description="probability of an up-down flip")
    rotate_deg: float = Field(15.0, ge=0, le=180, description="largest angle of rotation")
    shift: float = Field(0.05, ge=0, lt=1, description="largest shift, as a share of the side")
    scale: float = Field(0.1, ge=0, lt=1, description="largest change of size")
    brightness: float = Field(0.2, ge=0, lt=1, description="largest change of brightness")
    contrast: float = Field(0.2, ge=0, lt=1, description="largest change of contrast")
    saturation: float = Field(0.2, ge=0, lt=1, description="largest change of saturation")
    hue_deg: float = Field(10.0, ge=0, le=180, description="largest turn of the hue")
    blur: float = Field(0.1, ge=0, le=1, description="probability of a Gaussian blur")
    noise: float = Field(0.02, ge=0, lt=1, description="largest standard deviation of noise, as a share of white")
    mixup: float = Field(
        0.0, ge=0, description="MixUp: images are blended in pairs, by a share from Beta(mixup, mixup)"
    )
    cutmix: float = Field(
        0.0, ge=0, description="CutMix: a piece of another image, whose area is a share from Beta(cutmix, cutmix)"
    )
    mix_prob: float = Field(
        1.0, ge=0, le=1, description="share of the batches that are mixed, by either where both are on"
    )

    @field_validator("mixup", "cutmix", mode="before")
    @classmethod
    def _from_alpha(cls, given: Any) -> Any:
        """`mixup.alpha=0.3`, as other programs write it, is `mixup=0.3`."""
        return given["alpha"] if isinstance(given, Mapping) and set(given) == {"alpha"} else given


class WandbSettings(Config):
    """Weights & Biases, beside TensorBoard; needs `pip install 'weldgen[wandb]'`."""

    enabled: bool = Field(False, description="also log to Weights & Biases")
    project: str = Field("weldgen", min_length=1, description="project the run belongs to")
    entity: str | None = Field(None, description="user or team; null: the account's own")
    mode: Literal["offline", "online"] = Field(
        "offline", description="offline: files that `wandb sync` sends later; online: sent at once"
    )


class MlflowSettings(Config):
    """MLflow, beside TensorBoard; needs `pip install 'weldgen[mlflow]'`."""

    enabled: bool = Field(False, description="also log to MLflow")
    experiment: str = Field("weldgen", min_length=1, description="experiment the run belongs to")
    tracking_uri: str | None = Field(None, description="server or database; null: mlflow.db in the model's folder")


class LoggingSettings(Config):
    """Where the training curves go besides TensorBoard; no part of the result."""

    tags: tuple[str, ...] = Field(
        (), description="words to find the run by; name=value is a tag with a value in MLflow"
    )
    notes: str = Field("", description="what the run is about, in words")
    pictures: bool = Field(True, description="also log the confusion matrices of the validation photos, as pictures")
    model: bool = Field(False, description="also log the model: its weights and its description")
    wandb: WandbSettings = WandbSettings()
    mlflow: MlflowSettings = MlflowSettings()


class TrainConfig(StageConfig):
    """Everything that `weldgen train` can be told."""

    folds: int = Field(
        0,
        ge=0,
        le=MAX_FOLDS,
        description="cross-validation: so many models, each trained without a part of the photos that it is measured "
        "on; together they are an ensemble; 0: one model",
    )
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    split: SplitConfig = SplitConfig()
    logging: LoggingSettings = LoggingSettings()

    @field_validator("folds")
    @classmethod
    def _check_folds(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("one fold holds nothing back; 0 (off) or 2 and more are accepted")
        return folds

    @model_validator(mode="before")
    @classmethod
    def _from_aliases(cls, data: Any) -> Any:
        """Settings under one of `ALIASES` go where they belong."""
        for alias, key in ALIASES.items():
            (section, name), (own_section, own_name) = alias.split("."), key.split(".")
            given = data.get(section) if isinstance(data, Mapping) else None
            if isinstance(given, Mapping) and name in given:
                rest = {other: value for other, value in given.items() if other != name}
                own = {**data.get(own_section, {}), own_name: given[name]}
                data = {**data, section: rest, own_section: own}
        return data
