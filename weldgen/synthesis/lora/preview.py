"""Validation images: what the model makes of a prompt of each class while it learns, always from the same noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from weldgen.runtime import derive_seed
from weldgen.synthesis.diffusion.autoencoder import images_of
from weldgen.synthesis.lora.data import Shot, TrainingData
from weldgen.synthesis.lora.settings import DISTILLED, TURBO_TIMESTEPS, LoraConfig


def choose_shots(data: TrainingData, count: int) -> list[Shot]:
    """Shots whose prompt and shape are shown: classes in turn, at most as many as there are."""
    by_label: dict[str, list[Shot]] = {}
    for shot in data.shots:
        by_label.setdefault(shot.sample.label, []).append(shot)
    turns = [shots[turn] for turn in range(count) for shots in by_label.values() if turn < len(shots)]
    return turns[:count]


def make_previews(pipe: Any, data: TrainingData, config: LoraConfig) -> list[npt.NDArray[np.uint8]]:
    """Images from text alone, (H, W, 3) uint8 each.

    Args:
        pipe: The base with the UNet under training; its dropout is off meanwhile.
        data: Encoded photos and prompts.
        config: Settings.
    """
    turbo = config.train_on == DISTILLED
    learning = pipe.unet.training
    pipe.unet.eval()
    images = []
    for number, shot in enumerate(choose_shots(data, config.logging.previews)):
        embeds, pooled = (tensor[None].to(pipe.unet.device) for tensor in data.embeddings[shot.prompts[0]])
        height, width = (int(side) for side in shot.time_ids[0, 4:])
        with torch.inference_mode():
            latents = pipe(
                prompt_embeds=embeds,
                pooled_prompt_embeds=pooled,
                # no text at all is all zeros to SDXL (force_zeros_for_empty_prompt)
                negative_prompt_embeds=torch.zeros_like(embeds),
                negative_pooled_prompt_embeds=torch.zeros_like(pooled),
                height=height,
                width=width,
                num_inference_steps=len(TURBO_TIMESTEPS) if turbo else config.logging.preview_steps,
                guidance_scale=0.0 if turbo else config.logging.preview_guidance,
                generator=torch.Generator().manual_seed(derive_seed(config.seed, "preview", number)),
                output_type="latent",
            ).images
            image = images_of(pipe.vae, latents.to(pipe.vae.device, torch.float32))[0]
        pixels = np.nan_to_num(image.permute(1, 2, 0).cpu().numpy())
        images.append(np.round(pixels * 255).astype(np.uint8))
    pipe.unet.train(learning)
    return images


def row_of(images: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Images side by side on black, (H, W, 3) uint8."""
    height = max(image.shape[0] for image in images)
    padded = [np.pad(image, ((0, height - image.shape[0]), (0, 0), (0, 0))) for image in images]
    return np.concatenate(padded, axis=1)
