"""Settings that the diffusion generators share; importing this loads no torch."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from weldgen.config import Config

PHOTO, RENDERING, INPAINT, TEXT = "photo", "render", "inpaint", "text"


class DiffusionConfig(Config):
    """How a diffusion model is run."""

    mode: Literal["photo", "render", "inpaint", "text"] = Field(
        "photo",
        description="photo: from a training photo of the class; render: from a rendering that takes after one, so that "
        "defects have masks; inpaint: a sound photo with defects in it, changed there alone; text: from nothing",
    )
    lora: str = Field("", description="folder or file of a LoRA, e.g. models/lora; empty: none")
    lora_id: str = Field("", description="hash of the LoRA's weights; weldgen fills it in, so that a new LoRA counts")
    lora_scale: float | None = Field(
        None, ge=0, le=2, description="its weight; null: what the transfer gate finds on the training photos"
    )
    strength: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of the schedule that runs: 0 the photo, 1 all new; null: with a LoRA what the gate finds",
    )
    steps: int = Field(4, ge=1, description="steps of the full schedule")
    control_scale: float = Field(0.6, ge=0, le=2, description="weight of the ControlNet")
    control_end: float = Field(1.0, gt=0, le=1, description="share of the steps after which the ControlNet stops")
    tile_factor: int = Field(4, ge=1, description="how much coarser the control image is than the photo")
    hold_structure: bool = Field(
        False,
        description="leave structures between fine texture and broad tone, and fine colours, as they were at the "
        "start: for a small model that is unsure of them",
    )
    guidance: float = Field(0.0, ge=0, description="classifier-free guidance; 0 for distilled models")
    negative: str = Field("", description="what images should not show; it needs guidance above 1")
    batch_size: int = Field(4, ge=1, description="images at once; does not change them")
    precision: str = Field("auto", pattern="^(auto|fp32|fp16|bf16)$", description="auto: fp16 on a GPU, else fp32")
    compile: bool = Field(False, description="torch.compile: faster after a slow start, for thousands of images")
    offload: Literal["auto", "none", "model"] = Field(
        "auto", description="model: parts wait in main memory until they are used; auto: on GPUs below 12 GB"
    )

    # Where `strength` is null and no transfer gate has been through.
    _usual_strength: ClassVar[float] = 0.5

    @model_validator(mode="after")
    def _check(self) -> DiffusionConfig:
        strength = self.chosen_strength
        if self.mode != TEXT and int(self.steps * strength) < 1:
            raise ValueError(
                f"steps={self.steps} x strength={strength:g} runs no step at all; their product must be 1 or more: "
                f"strength={1 / self.steps:.2g} or more, or more steps"
            )
        if self.negative and self.guidance <= 1:
            raise ValueError(
                f"negative means nothing with guidance={self.guidance:g}: a distilled model such as SDXL-Turbo runs "
                "without guidance and never looks at it; take negative away, or set guidance above 1 for another model"
            )
        return self

    @property
    @abstractmethod
    def parts(self) -> tuple[tuple[str, str], ...]:
        """Source and revision of the model, the ControlNet and, where one is set, the autoencoder."""

    @property
    @abstractmethod
    def licences(self) -> dict[str, str]:
        """Source -> licence of every part but the LoRA."""

    @property
    def chosen_strength(self) -> float:
        """`strength`, or what is usual."""
        return self._usual_strength if self.strength is None else self.strength

    @property
    def chosen_scale(self) -> float:
        """`lora_scale`, or all of it."""
        return 1.0 if self.lora_scale is None else self.lora_scale

    @property
    def undecided(self) -> dict[str, Any]:
        """What the transfer gate is to decide: nothing without a LoRA."""
        settings = {"lora_scale": self.lora_scale, "strength": self.strength if self.mode != TEXT else 0.0}
        return {name: value for name, value in settings.items() if value is None} if self.lora else {}
