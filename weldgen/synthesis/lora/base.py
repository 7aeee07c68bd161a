"""The frozen model under the LoRA: found on this machine, loaded whole, its noise schedule for training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weldgen.errors import BackendError
from weldgen.hub_parts import GENERATOR, TRAINING, remedy
from weldgen.synthesis.lora.settings import BASE, DISTILLED, LoraConfig
from weldgen.synthesis.sdxl import find_part, hush, load_part

_PREDICTIONS = ("epsilon", "v_prediction")


def require_base(config: LoraConfig) -> list[Path]:
    """Folders of the model and of the autoencoder where one is set.

    Raises:
        BackendError: One is not on this machine; nothing is downloaded.
    """
    found = [(source, revision, find_part(source, revision)) for source, revision in config.parts]
    for source, revision, folder in found:
        if folder is None:
            fetch = remedy(TRAINING if config.train_on == BASE else GENERATOR, source, revision)
            raise BackendError(
                f"weldgen lora needs {source}, which is not on this machine",
                f"{fetch} (or set model.{config.train_on} and model.vae to folders); "
                "weldgen synth --generator render needs no weights and no LoRA",
            )
    return [folder for _, _, folder in found if folder is not None]


def load_base(config: LoraConfig, precision: str) -> Any:
    """The diffusers pipeline in main memory; its autoencoder in fp32, as photos are encoded only once.

    Args:
        config: Settings.
        precision: `fp32`, `bf16` or `fp16`: of the UNet and the text encoders.

    Raises:
        BackendError: A part is missing, cannot be loaded or predicts what the loss does not know.
    """
    folders = require_base(config)
    import torch
    from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline

    from weldgen.synthesis.diffusion.pipeline import load_autoencoder

    hush()
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    try:
        parts = {"vae": load_autoencoder(folders[1], torch.float32)} if len(folders) > 1 else {}
        pipe = load_part(StableDiffusionXLPipeline, folders[0], dtype, add_watermarker=False, **parts)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise BackendError(f"{config.parts[0][0]} cannot be loaded: {error}", "weldgen doctor") from error
    prediction = pipe.scheduler.config.prediction_type
    if prediction not in _PREDICTIONS:
        raise BackendError(
            f"{config.parts[0][0]} predicts '{prediction}'; a LoRA can be trained for {' and '.join(_PREDICTIONS)}"
        )
    if config.train_on == DISTILLED:  # as the generator samples it
        pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")
    for part in (pipe.vae, pipe.unet, pipe.text_encoder, pipe.text_encoder_2):
        part.requires_grad_(False)
        part.eval()
    if pipe.vae.dtype != torch.float32:
        pipe.vae.to(torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def noise_schedule(pipe: Any) -> Any:
    """The model's own noise schedule and prediction type as a `DDPMScheduler`, which adds noise at any timestep."""
    from diffusers import DDPMScheduler

    return DDPMScheduler.from_config(pipe.scheduler.config)


def release_text_encoders(pipe: Any) -> None:
    """Drop the text encoders once the prompts are encoded: 1.6 GB in half precision."""
    pipe.register_modules(text_encoder=None, text_encoder_2=None, tokenizer=None, tokenizer_2=None)
