"""Settings of the lora stage; importing this loads no torch."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, model_validator

from weldgen.config import Config, StageConfig
from weldgen.data.split import SplitConfig
from weldgen.hub_parts import SDXL_BASE, TURBO, VAE, licence_of
from weldgen.synthesis.recipes import Recipe
from weldgen.synthesis.tiny import TINY_LICENCE, tiny_folders

# What is trained: SDXL, its four-step Turbo, or the small model that ships.
BASE: Final = "base"
DISTILLED: Final = "turbo"
SMALL: Final = "tiny"
# Where a Turbo model of four steps runs: its trailing grid over 1000 timesteps.
TURBO_TIMESTEPS = (249, 499, 749, 999)


class ModelSettings(Config):
    """The frozen model that the LoRA is trained on."""

    base: str = Field(SDXL_BASE.repository, description="folder, or repository of the hub")
    base_revision: str = Field(SDXL_BASE.revision, description="commit; unused for a folder")
    turbo: str = Field(TURBO.repository, description="folder, or repository of the hub; for train_on=turbo")
    turbo_revision: str = Field(TURBO.revision, description="commit; unused for a folder")
    vae: str = Field(VAE.repository, description="folder or repository; empty: the model's own")
    vae_revision: str = Field(VAE.revision, description="commit; unused for a folder")


class AdapterSettings(Config):
    """The LoRA (Hu et al. 2021)."""

    rank: int = Field(16, ge=1, le=512, description="rank of the two matrices")
    alpha: float = Field(32.0, gt=0, description="their product counts alpha / rank times")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout before them")
    targets: tuple[str, ...] = Field(
        ("to_k", "to_q", "to_v", "to_out.0"), min_length=1, description="layers of the UNet that get one"
    )


class DataSettings(Config):
    """What the network sees."""

    size_px: int = Field(512, ge=32, le=2048, description="long side; shapes are those of the photos, as in synth")
    flip: bool = Field(True, description="also learn from each photo's mirror image")
    balance: bool = Field(True, description="photos of rare classes come more often")
    prompts_per_photo: int = Field(4, ge=1, le=64, description="prompts drawn for each photo")
    classes: tuple[str, ...] = Field((), description="classes to learn; empty: all")


class TrainingSettings(Config):
    """How it learns."""

    steps: int = Field(1000, ge=1, description="steps of the optimizer")
    batch_size: int = Field(4, ge=1, description="photos at once, on each device")
    accumulation: int = Field(4, ge=1, description="batches whose gradients make one step")
    lr: float = Field(1e-4, gt=0, description="peak learning rate")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the steps in which the learning rate rises")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="learning rate after that")
    weight_decay: float = Field(0.01, ge=0, description="of AdamW")
    clip_norm: float = Field(1.0, ge=0, description="largest norm of the gradient; 0: any")
    snr_gamma: float = Field(5.0, ge=0, description="Min-SNR weighting; 0: off")
    optimizer: Literal["auto", "adamw", "adam8bit"] = Field(
        "auto", description="auto: adam8bit on a GPU where bitsandbytes is installed, else adamw"
    )
    gradient_checkpointing: bool = Field(True, description="less memory, a third slower")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 on GPUs that compute in it, fp16 on others, fp32 elsewhere"
    )


class LoggingSettings(Config):
    """What is written on the way; no part of the result."""

    checkpoint_every: int = Field(50, ge=1, description="steps between checkpoints")
    preview_every: int = Field(250, ge=0, description="steps between validation images; 0: none")
    previews: int = Field(4, ge=1, le=16, description="validation images at a time, classes in turn")
    preview_steps: int = Field(20, ge=1, description="sampler steps of a validation image; on turbo always 4")
    preview_guidance: float = Field(5.0, ge=0, description="their guidance; on turbo always 0")


class LoraConfig(StageConfig):
    """Everything that `weldgen lora` can be told."""

    train_on: Literal["base", "turbo", "tiny"] = Field(
        BASE,
        description="base: SDXL, transferred to Turbo; turbo: Turbo itself, at its four timesteps; tiny: the small "
        "model that ships",
    )
    model: ModelSettings = ModelSettings()
    adapter: AdapterSettings = AdapterSettings()
    data: DataSettings = DataSettings()
    training: TrainingSettings = TrainingSettings()
    recipes: dict[str, str | Recipe] = Field(
        default_factory=dict, description="class -> known recipe or one in full, as in synth; they hold the prompts"
    )
    split: SplitConfig = SplitConfig()
    logging: LoggingSettings = LoggingSettings()

    @model_validator(mode="after")
    def _check(self) -> LoraConfig:
        if self.training.precision == "fp16" and self.device == "cpu":
            raise ValueError("training.precision=fp16 needs a GPU; on a CPU fp32 and bf16 are accepted")
        return self

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """Source and revision of the model and, where one is set, the autoencoder."""
        model = self.model
        if self.train_on == SMALL:
            folder, _, autoencoder = tiny_folders()
            return (str(folder), ""), (str(autoencoder), "")
        trained = (model.base, model.base_revision) if self.train_on == BASE else (model.turbo, model.turbo_revision)
        return (trained, (model.vae, model.vae_revision)) if model.vae else (trained,)

    @property
    def licences(self) -> dict[str, str]:
        """Source -> licence of every part."""
        if self.train_on == SMALL:
            return dict(TINY_LICENCE)
        return {source: licence_of(source) for source, _ in self.parts}
