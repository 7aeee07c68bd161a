"""Sections of the configuration of `weldgen pretrain`; light, so that `--help` loads no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from weldgen.config import Config, StageConfig
from weldgen.data.split import SplitConfig


class PretrainModel(Config):
    """The network."""

    backbone: str = Field("auto", description="as for train: auto, a timm name, torchvision/<name>, clip or luna")
    weights: str = Field(
        "auto",
        min_length=1,
        description="where it starts: auto, pretrained, embedded, none, or the folder of an earlier pretrain",
    )
    hidden: int = Field(1024, ge=8, le=8192, description="width of the projection head, which is thrown away")
    prototypes: int = Field(2048, ge=8, le=131072, description="outputs of the projection head")


class CropSettings(Config):
    """What student and teacher see of a photo."""

    global_px: int = Field(128, ge=32, le=1024, multiple_of=32, description="side of the two large crops")
    local_px: int = Field(64, ge=32, le=1024, multiple_of=32, description="side of the small crops")
    local_count: int = Field(4, ge=0, le=16, description="small crops of a photo")
    global_area: float = Field(0.4, gt=0, le=1, description="a large crop covers this share of the photo or more")
    local_area: float = Field(0.08, gt=0, le=1, description="a small crop covers this share, up to global_area")
    hflip: float = Field(0.5, ge=0, le=1, description="probability of a left-right flip")
    vflip: float = Field(0.3, ge=0, le=1, description="probability of an up-down flip")
    colour: float = Field(0.5, ge=0, le=1, description="strength of changes of brightness, contrast, saturation, hue")


class PretrainSettings(Config):
    """How it learns."""

    epochs: int = Field(50, ge=1, description="passes over the images")
    min_steps: int = Field(100, ge=0, description="few images: more epochs, until so many optimisation steps are made")
    cpu_max_steps: int = Field(
        300, ge=0, description="on a CPU, many images: fewer epochs, so that no more steps are made; 0: any number"
    )
    batch_size: int = Field(16, ge=2, description="photos a step")
    lr: float = Field(1e-4, gt=0, description="peak learning rate")
    weight_decay: float = Field(0.04, ge=0, description="AdamW's, not on biases and norms")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps in which the learning rate rises")
    momentum: float = Field(
        0.99, ge=0, le=1, description="of the teacher's moving average at the start; it rises to 1 along a cosine"
    )
    teacher_temperature: float = Field(0.04, gt=0, le=1, description="sharpness of the teacher")
    student_temperature: float = Field(0.1, gt=0, le=1, description="sharpness of the student")
    clip_norm: float = Field(3.0, ge=0, description="largest norm of the gradient; 0: any")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 where the device computes in it, fp16 on other GPUs, fp32 elsewhere"
    )


class PretrainConfig(StageConfig):
    """Everything that `weldgen pretrain` can be told."""

    cache_gb: float = Field(2.0, ge=0, description="decoded photos are kept in memory up to this size")
    model: PretrainModel = PretrainModel()
    crops: CropSettings = CropSettings()
    training: PretrainSettings = PretrainSettings()
    split: SplitConfig = SplitConfig()
