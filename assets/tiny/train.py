"""Train the tiny SDXL that ships: UNet, ControlNet Tile and text encoders together, on rendered welds.

The same classes as SDXL-Turbo, small: v-prediction, latents by a fixed cosine transform of 4 x 4 patches. See README.md
beside this file for the data, the seed and what was measured.

    python -m assets.tiny.train FOLDER --count 5000 --minutes 45
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

from assets.tiny.stack import FACTOR, make_parts, save_parts
from assets.tiny.welds import read_weld, render_welds, weld_of
from assets.training.tools import HELD_OUT, Log, rate_factor
from weldgen.synthesis.diffusion.autoencoder import PatchAutoencoder
from weldgen.synthesis.diffusion.starts import control_image

SEED = 30
FIRST_SEED = 200_000
TRAINED = ("unet", "controlnet", "text_encoder", "text_encoder_2")
CROP_PX, BATCH = 128, 8
# Shares of batches of whole pictures, of samples without a prompt, of samples without the ControlNet.
WHOLE_SHARE, NO_PROMPT, NO_CONTROL = 0.2, 0.15, 0.3
# Most samples are as noisy as image-to-image starts from.
LATE_SHARE, LATE_STEPS = 0.7, 650
# What an error of the colours counts beside one of brightness; they deviate, and so err, a tenth as much.
COLOUR_SHARE = 0.4
LEAST_DEVIATION = 0.03
TILE_FACTORS = (4, 4, 4, 8, 2)
EMA = 0.997


class Batches:
    """Crops with their prompt and size conditioning."""

    def __init__(self, folder: Path, seeds: list[int]) -> None:
        self.images = [read_weld(folder, seed) for seed in seeds]
        self.prompts = [weld_of(seed).prompt for seed in seeds]

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, list[str], Tensor]:
        """Images and control images, (B, 3, h, w) in -1..1 and 0..1; prompts; time ids, (B, 6)."""
        whole = rng.random() < WHOLE_SHARE
        chosen = rng.integers(len(self.images), size=BATCH)
        if whole:
            shape = self.images[int(chosen[0])].shape
            same = [index for index, image in enumerate(self.images) if image.shape == shape]
            chosen = rng.choice(same, BATCH // 4)
        crops, controls, ids = [], [], []
        for index in chosen:
            image = self.images[int(index)]
            height, width = image.shape[:2]
            size = (height, width) if whole else (CROP_PX, CROP_PX)
            top, left = (
                int(rng.integers(0, side - part + 1)) for side, part in zip((height, width), size, strict=True)
            )
            crop = image[top : top + size[0], left : left + size[1]]
            if rng.random() < 0.5:
                crop, left = crop[:, ::-1], width - size[1] - left
            crops.append(np.ascontiguousarray(crop))
            controls.append(control_image(crops[-1], int(rng.choice(TILE_FACTORS))))
            ids.append((height, width, top, left, *size))
        images, control = (torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2).float() for part in (crops, controls))
        prompts = [self.prompts[int(index)] for index in chosen]
        return images / 127.5 - 1, control / 255, prompts, torch.tensor(ids, dtype=torch.float32)


def encode(parts: dict[str, Any], prompts: list[str]) -> tuple[Tensor, Tensor]:
    """Embeddings as `StableDiffusionXLPipeline.encode_prompt` makes them, with gradients."""
    tokens = parts["tokenizer"](prompts, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    outputs = [parts[name](tokens.input_ids, output_hidden_states=True) for name in ("text_encoder", "text_encoder_2")]
    return torch.cat([output.hidden_states[-2] for output in outputs], dim=2), outputs[1][0]


def predict(parts: dict[str, Any], noisy: Tensor, steps: Tensor, given: dict[str, Any]) -> Tensor:
    """The UNet's velocity, with the ControlNet's help as far as `given["help"]`, (B,), says."""
    conditions = {
        "encoder_hidden_states": given["embeds"],
        "added_cond_kwargs": {"text_embeds": given["pooled"], "time_ids": given["ids"]},
    }
    noisy = noisy.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        down, middle = parts["controlnet"](
            noisy, steps, controlnet_cond=given["control"], return_dict=False, **conditions
        )
        share = given["help"].view(-1, 1, 1, 1)
        velocity: Tensor = parts["unet"](
            noisy, steps, **conditions,
            down_block_additional_residuals=[residual * share for residual in down],
            mid_block_additional_residual=middle * share,
        ).sample  # fmt: skip
    return velocity.float()


def noised(latents: Tensor, noise: Tensor, steps: Tensor, schedule: Tensor) -> tuple[Tensor, Tensor]:
    """Noisy latents, and the velocity (Salimans and Ho 2022) that the UNet is to say."""
    kept = schedule[steps].view(-1, 1, 1, 1)
    signal, spread = kept.sqrt(), (1 - kept).sqrt()
    return signal * latents + spread * noise, signal * noise - spread * latents


def deviations(images: list[np.ndarray]) -> list[float]:
    """Deviation of each coefficient of the patches over pictures, and at least four grey levels.

    Fine colours hardly exist on metal; at unit deviation the few that do would rule the loss.
    """
    plain = PatchAutoencoder(FACTOR)
    found = []
    for image in images:
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
        found.append(plain.encode(pixels).latents.flatten(2)[0])
    return [round(max(float(value), LEAST_DEVIATION), 5) for value in torch.cat(found, dim=1).std(dim=1)]


@torch.no_grad()
def measure(parts: dict[str, Any], batches: Batches, schedule: Tensor) -> dict[str, float]:
    """Error of the velocity on pictures that were not trained on, by noise, with the ControlNet."""
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    errors: dict[str, list[float]] = {}
    for _ in range(6):
        images, control, prompts, ids = batches.draw(rng)
        latents = parts["vae"].encode(images).latents
        embeds, pooled = encode(parts, prompts)
        given = {"embeds": embeds, "pooled": pooled, "ids": ids, "control": control, "help": torch.ones(len(ids))}
        for at in (150, 350, 600):
            steps = torch.full((len(ids),), at)
            noisy, velocity = noised(latents, torch.randn(latents.shape, generator=generator), steps, schedule)
            error = (predict(parts, noisy, steps, given) - velocity).square().mean()
            errors.setdefault(f"error_{at}", []).append(float(error))
    return {name: float(np.mean(values)) for name, values in errors.items()}


def train(folder: Path, out: Path, count: int, minutes: float, rate: float, first: int) -> None:
    """Train for some minutes, or go on from what `folder` holds, and write the parts."""
    torch.manual_seed(SEED)
    seeds = list(range(FIRST_SEED, FIRST_SEED + count))
    render_welds(folder, seeds, torch.get_num_threads())
    held, taught = Batches(folder, seeds[:HELD_OUT]), Batches(folder, seeds[HELD_OUT:])
    parts = make_parts(deviations(taught.images[:400]))
    state = folder / "tiny.pt"
    if first:
        for name, weights in torch.load(state, weights_only=True).items():
            parts[name].load_state_dict(weights)
    schedule = parts["scheduler"].alphas_cumprod.float()
    averaged = {name: copy.deepcopy(parts[name]).requires_grad_(False).eval() for name in TRAINED}
    for name in ("unet", "controlnet"):  # on a CPU two and a half times as fast as the defaults
        parts[name].set_attn_processor(AttnProcessor())
        parts[name].to(memory_format=torch.channels_last)
        averaged[name].set_attn_processor(AttnProcessor())
    weights = [weight for name in TRAINED for weight in parts[name].parameters()]
    optimizer = torch.optim.AdamW(weights, rate, betas=(0.9, 0.99), weight_decay=0.01)
    importance = torch.ones(3 * FACTOR**2)
    importance[FACTOR**2 :] = COLOUR_SHARE
    rng = np.random.default_rng([SEED, first])
    log = Log(folder / "log.jsonl")
    while log.minutes < minutes:
        images, control, prompts, ids = taught.draw(rng)
        many = len(ids)
        embeds, pooled = encode(parts, prompts)
        asked = torch.from_numpy(rng.random(many) > NO_PROMPT).float()
        given = {"embeds": embeds * asked.view(-1, 1, 1), "pooled": pooled * asked.view(-1, 1), "ids": ids}
        given |= {"control": control, "help": torch.from_numpy(rng.random(many) > NO_CONTROL).float()}
        most = np.where(rng.random(many) < LATE_SHARE, LATE_STEPS, len(schedule))
        steps = torch.from_numpy((rng.random(many) * most).astype(np.int64))
        latents = parts["vae"].encode(images).latents
        noisy, velocity = noised(latents, torch.randn_like(latents), steps, schedule)
        error = (predict(parts, noisy, steps, given) - velocity).square().mean(dim=(0, 2, 3))
        loss = (error * importance).sum() / importance.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate * rate_factor(first + log.step, log.minutes / minutes)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        # an average over the last steps only, while there are few
        decay = min(EMA, (1 + first + log.step) / (10 + first + log.step))
        with torch.no_grad():
            for name in TRAINED:
                for mean, weight in zip(averaged[name].parameters(), parts[name].parameters(), strict=True):
                    mean.lerp_(weight, 1 - decay)
        if log.take(float(loss.detach())) or log.minutes >= minutes:
            log.write(measure({**parts, **averaged}, held, schedule))
            torch.save({name: averaged[name].state_dict() for name in TRAINED}, state)
    save_parts({**parts, **averaged}, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the tiny SDXL that ships.")
    parser.add_argument("folder", type=Path, help="for the renderings, the log and the state")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--count", type=int, default=5000, help="renderings")
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--rate", type=float, default=7e-4)
    parser.add_argument("--first", type=int, default=0, help="steps that were made before; 0 starts anew")
    asked = parser.parse_args()
    train(asked.folder, asked.out, asked.count, asked.minutes, asked.rate, asked.first)
