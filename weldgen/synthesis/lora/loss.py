"""Timesteps, targets and the Min-SNR weighted loss (Hang et al. 2023), for epsilon and v-prediction."""

from __future__ import annotations

from typing import Any

import torch

from weldgen.synthesis.lora.settings import DISTILLED, TURBO_TIMESTEPS


def draw_timesteps(count: int, schedule: Any, train_on: str, generator: torch.Generator) -> torch.Tensor:
    """Timesteps of a batch, (count,) int64: any of the schedule, or for `turbo` one of the four that it samples at."""
    if train_on != DISTILLED:
        return torch.randint(0, schedule.config.num_train_timesteps, (count,), generator=generator)
    return torch.tensor(TURBO_TIMESTEPS)[torch.randint(0, len(TURBO_TIMESTEPS), (count,), generator=generator)]


def training_target(schedule: Any, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """What the UNet should say: the noise, or the velocity where the model predicts that."""
    if schedule.config.prediction_type == "epsilon":
        return noise
    velocity: torch.Tensor = schedule.get_velocity(latents, noise, timesteps)
    return velocity


def min_snr_weights(schedule: Any, timesteps: torch.Tensor, gamma: float) -> torch.Tensor:
    """Weight of each sample's loss, (B,) float32: min(SNR, gamma) / SNR for epsilon, / (SNR + 1) for v-prediction.

    Args:
        schedule: The noise schedule with its prediction type.
        timesteps: (B,) int64.
        gamma: Signal-to-noise ratio from which on a timestep gains no weight; 0: all weigh 1.
    """
    if not gamma:
        return torch.ones(len(timesteps), device=timesteps.device)
    kept: torch.Tensor = schedule.alphas_cumprod.to(timesteps.device)[timesteps].float()
    snr = kept / (1 - kept)
    if schedule.config.prediction_type == "epsilon":
        return (gamma / snr).clamp(max=1.0)  # the same, and 1 instead of 0 / 0 where no signal is left
    return snr.clamp(max=gamma) / (snr + 1)


def diffusion_loss(prediction: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean over the batch of the weighted squared error.

    Args:
        prediction: (B, C, h, w).
        target: Of the same shape.
        weights: (B,).
    """
    each = (prediction.float() - target.float()).square().mean(dim=(1, 2, 3))
    return (each * weights).mean()
