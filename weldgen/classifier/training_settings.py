"""Settings of how the classifier learns; light, so that `--help` loads no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from weldgen.config import Config


class TrainingSettings(Config):
    """How it learns."""

    method: Literal["auto", "finetune", "linear"] = Field(
        "auto",
        description="finetune: the backbone learns too; linear: a linear classifier on its features; "
        "auto: linear where a class has too few real photos to spare one for validation",
    )
    refit: bool = Field(
        True,
        description="linear: after validation, learn the validation photos too; thresholds are chosen by the model "
        "that has not seen them",
    )
    epochs: int = Field(40, ge=1, description="passes over the training images")
    min_steps: int = Field(150, ge=0, description="few images: more epochs, until so many optimisation steps are made")
    cpu_max_steps: int = Field(
        600, ge=0, description="on a CPU, many images: fewer epochs, so that no more steps are made; 0: any number"
    )
    batch_size: int = Field(
        16, ge=1, description="images that pass through the network at once, on all devices together"
    )
    accumulation: int = Field(1, ge=1, description="batches a step: like larger batches, in the memory of one")
    devices: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        1,
        description="GPUs that share each batch, each in a process of its own; all: as many as there are; on a CPU so "
        "many processes",
    )
    progressive: tuple[Annotated[int, Field(ge=32, le=2048, multiple_of=32)], ...] = Field(
        (),
        description="image sizes of equally long parts of the training, the last one data.image_size, e.g. [256, 384]: "
        "the first epochs are cheaper; []: data.image_size throughout",
    )
    optimizer: Literal["adamw", "adam", "sgd", "lion", "ranger21"] = Field(
        "adamw",
        description="adamw, adam, sgd (Nesterov, momentum 0.9), lion (takes a third to a tenth of the rate), or "
        "ranger21, which needs `pip install 'weldgen[optimizers]'`",
    )
    schedule: Literal["cosine", "one_cycle", "constant"] = Field(
        "cosine",
        description="the learning rate after its rise: falls along a cosine, stays, or one_cycle: rises and falls "
        "along cosines, from 1/25",
    )
    lr: float = Field(1e-3, gt=0, description="peak learning rate of the head")
    min_lr: float = Field(
        0.0,
        ge=0,
        description="the head's learning rate falls no lower; the backbone's ends at the same share of its peak",
    )
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] | None = Field(
        None, description="adamw, adam, lion, ranger21: shares that the two averages keep; null: the optimizer's own"
    )
    eps: float | None = Field(
        None,
        gt=0,
        le=1,
        description="adamw, adam, ranger21: is added to the divisor of a step; null: the optimizer's own",
    )
    weight_decay: float = Field(0.01, ge=0, description="the optimizer's, not on biases and norms")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps in which the learning rate rises")
    clip_norm: float = Field(1.0, ge=0, description="largest norm of the gradient; 0: any")
    patience: int = Field(12, ge=0, description="stop after so many epochs without a better validation; 0: never")
    monitor: Literal["balanced_accuracy", "accuracy", "loss"] = Field(
        "balanced_accuracy",
        description="what of the validation chooses the best epoch and stops the training; among equal accuracies the "
        "loss decides",
    )
    min_delta: float = Field(
        1e-3, ge=0, allow_inf_nan=False, description="a validation loss that is lower by less is not better"
    )
    keep_top: int = Field(
        1, ge=1, le=100, description="so many of the best epochs are kept, in top/ beside best.ckpt; 1: best.ckpt alone"
    )
    ema_decay: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="the model is a moving average of the weights, which keeps so much of itself a step (0.999; less "
        "in the first steps); 0: the weights themselves",
    )
    loss: Literal["cross_entropy", "focal"] = Field(
        "cross_entropy", description="cross_entropy, or focal: images that are right already count less"
    )
    focal_gamma: float = Field(2.0, ge=0, le=10, description="focal: how much less; 0: cross-entropy")
    focal_alpha: float | str | tuple[float, ...] = Field(
        "none",
        description="focal: none: classes count by class_weights; auto: two classes count 0.25 and 0.75, more ones by "
        "class_weights; a number: of two classes, the one that is not sound counts so much and the other the rest; or "
        "a list with a number for each class, in their order",
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of each target that is spread over all classes")
    class_weights: str | dict[str, Annotated[float, Field(gt=0)]] = Field(
        "balanced",
        description="balanced: rare classes count more (inverse frequency); none; or a YAML or JSON file of class: "
        "weight",
    )
    class_weight_max: float = Field(10.0, ge=1, description="balanced: largest ratio between two class weights")
    oversample: float | str | dict[str, float] = Field(
        1.0,
        description="scarce classes are drawn more often in training: up to so many times; balanced: all classes "
        "equally often; or a factor for each class that is named, e.g. {bad: 3}; 1: as they are",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 where the device computes in it, fp16 on other GPUs, fp32 elsewhere"
    )
    channels_last: bool = Field(
        True, description="the colours of a pixel lie side by side in memory: faster convolutions on most devices"
    )
    compile: bool = Field(
        False, description="torch.compile the network: minutes at the start, then faster steps; needs a C++ compiler"
    )
    deterministic: bool = Field(
        False, description="on a GPU, the same numbers each time for some speed; a CPU gives the same ones anyhow"
    )

    @field_validator("progressive")
    @classmethod
    def _rises(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if list(sizes) != sorted(sizes):
            raise ValueError("no size is smaller than the one before it, e.g. [256, 384]")
        return sizes

    @field_validator("min_lr")
    @classmethod
    def _below_peak(cls, rate: float, info: ValidationInfo) -> float:
        if rate > info.data.get("lr", rate):
            raise ValueError(f"it is above the peak, training.lr={info.data['lr']:g}")
        return rate

    @field_validator("betas", "eps")
    @classmethod
    def _is_used(cls, value: Any, info: ValidationInfo) -> Any:
        optimizer = info.data.get("optimizer")
        if value is not None and (optimizer == "sgd" or (optimizer == "lion" and info.field_name == "eps")):
            raise ValueError(f"training.optimizer={optimizer} has none; null is accepted")
        return value

    @field_validator("focal_alpha", mode="before")
    @classmethod
    def _read_alpha(cls, value: Any, info: ValidationInfo) -> Any:
        alpha = focal_alpha_from(value)
        if alpha != "none" and info.data.get("loss", "focal") != "focal":
            raise ValueError(f"it is a part of training.loss=focal, not of {info.data['loss']}")
        return alpha

    @field_validator("oversample", mode="before")
    @classmethod
    def _read_oversample(cls, value: Any) -> Any:
        return oversample_from(value)


def oversample_from(value: Any) -> float | str | dict[str, float]:
    """`training.oversample` as it is kept: a factor, `balanced`, or factors by class.

    Raises:
        ValueError: It is none of them.
    """
    if value == "balanced":
        return "balanced"
    if isinstance(value, Mapping) and value:
        factors = {}
        for label, given in value.items():
            own = _number(given)
            if own is None or own <= 0:
                raise ValueError(f"{label}: {given!r}; a factor above 0 is accepted for each class")
            factors[str(label)] = own
        return factors
    factor = _number(value)
    if factor is None or factor < 1:
        raise ValueError(
            "accepted are 1 (off) or a larger factor, balanced, or factors above 0 by class, e.g. {bad: 3}"
        )
    return factor


def focal_alpha_from(value: Any) -> float | str | tuple[float, ...]:
    """`training.focal_alpha` as it is kept: `none`, `auto`, a share, or a number for each class.

    Raises:
        ValueError: It is none of them.
    """
    if value in ("none", "auto"):
        return str(value)
    if isinstance(value, list | tuple):
        weights = tuple(number for number in map(_number, value) if number is not None and number > 0)
        if value and len(weights) == len(value):
            return weights
    share = _number(value)
    if share is None or not 0 < share < 1:
        raise ValueError(
            "accepted are none, auto, a number between 0 and 1, or a list of numbers above 0, e.g. [0.25, 0.75]"
        )
    return share


def _number(value: Any) -> float | None:
    """A finite number, which a search writes as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
