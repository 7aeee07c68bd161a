"""The generator itself: requests in, images of a diffusion model out.

What is notable: one random generator an image, so that batches do not matter; each prompt is encoded once; no hidden
watermark; where an image may change in places only, the rest is put back after each step (blended latent diffusion:
Avrahami, Lischinski and Fried, CVPR 2022) and at the end, pixel by pixel.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from weldgen.runtime import derive_seed, resolve_device
from weldgen.synthesis.diffusion.pipeline import load_pipeline, offloads
from weldgen.synthesis.diffusion.settings import INPAINT, TEXT, DiffusionConfig
from weldgen.synthesis.diffusion.starts import Start, control_image, hold_structure, padded, start_of
from weldgen.synthesis.diffusion.texts import Texts
from weldgen.synthesis.prompts import draw_prompt
from weldgen.synthesis.requests import RGB, Generated, Request
from weldgen.synthesis.sdxl import require_parts


class DiffusionGenerator:
    """Makes images with a diffusion model.

    Args:
        config: Settings.
        device: `auto`, `cpu`, `cuda`, ...
        fit: How far renderings take after their photo.

    Raises:
        BackendError: A part or the device is missing.
    """

    def __init__(self, config: DiffusionConfig, device: str, fit: float = 0.0) -> None:
        require_parts(config)
        self._config, self._fit = config, fit
        self._device = resolve_device(device)
        self._pipe = load_pipeline(config, self._device)
        self._texts = Texts(self._pipe, self._device, managed=offloads(config, self._device))
        self._from_text = _text_pipeline(self._pipe) if config.mode == TEXT else None

    def at(self, config: DiffusionConfig) -> DiffusionGenerator:
        """The same loaded model under settings that differ in how it is run, not in its parts or its LoRA."""
        other = copy.copy(self)
        other._config = config
        return other

    def generate(self, requests: Sequence[Request]) -> list[Generated]:
        """One image for each request, in order; requests of one size run together."""
        by_size: dict[tuple[int, int], list[int]] = {}
        for position, request in enumerate(requests):
            by_size.setdefault((request.width, request.height), []).append(position)
        made: dict[int, Generated] = {}
        for positions in by_size.values():
            for first in range(0, len(positions), self._config.batch_size):
                batch = positions[first : first + self._config.batch_size]
                made.update(zip(batch, self._run([requests[position] for position in batch]), strict=True))
        return [made[position] for position in range(len(requests))]

    def _run(self, requests: Sequence[Request]) -> list[Generated]:
        """A batch of one size."""
        prompts = [draw_prompt(r.recipe, np.random.default_rng(derive_seed(r.seed, "prompt"))) for r in requests]
        if self._from_text is not None:
            images = self._sample_text(requests, prompts)
            return [Generated(image, prompt=prompt) for image, prompt in zip(images, prompts, strict=True)]
        inpaint = self._config.mode == INPAINT
        starts = [start_of(request, self._fit, inpaint=inpaint) for request in requests]
        images = self._sample(requests, prompts, starts)
        results = []
        for start, prompt, image in zip(starts, prompts, images, strict=True):
            held = hold_structure(image, start.image) if self._config.hold_structure else image
            whole = held if start.free is None else _blend(start, held)
            known = start.known or Generated(whole)
            results.append(replace(known, image=whole, prompt=prompt))
        return results

    def _sample(self, requests: Sequence[Request], prompts: Sequence[str], starts: Sequence[Start]) -> list[RGB]:
        import torch

        config = self._config
        seeds = [np.asarray(padded(start.image), np.uint8) for start in starts]
        controls = [Image.fromarray(control_image(image, config.tile_factor)) for image in seeds]
        with torch.inference_mode():
            latents = self._latents(seeds)
            # the pipeline knows latents by their four channels; others it encodes itself, one by one
            given = latents if latents.shape[1] == 4 else [Image.fromarray(image) for image in seeds]
            output = self._pipe(
                image=given,
                control_image=controls,
                strength=config.chosen_strength,
                controlnet_conditioning_scale=config.control_scale,
                control_guidance_end=config.control_end,
                callback_on_step_end=self._keeper(starts, latents),
                **self._common(requests, prompts),
            )
        return [_pixels(image, request) for image, request in zip(output.images, requests, strict=True)]

    def _sample_text(self, requests: Sequence[Request], prompts: Sequence[str]) -> list[RGB]:
        import torch

        height, width = padded(np.zeros((requests[0].height, requests[0].width), np.uint8)).shape
        assert self._from_text is not None
        with torch.inference_mode():
            output = self._from_text(height=height, width=width, **self._common(requests, prompts))
        return [_pixels(image, request) for image, request in zip(output.images, requests, strict=True)]

    def _common(self, requests: Sequence[Request], prompts: Sequence[str]) -> dict[str, Any]:
        """What every pipeline is told."""
        import torch

        embeds, pooled = self._texts.embed(prompts, [request.recipe for request in requests])
        given: dict[str, Any] = {
            "prompt_embeds": embeds,
            "pooled_prompt_embeds": pooled,
            "num_inference_steps": self._config.steps,
            "guidance_scale": self._config.guidance,
            "generator": [torch.Generator("cpu").manual_seed(request.seed) for request in requests],
            "output_type": "np",
        }
        if self._config.guidance > 1:
            negative, negative_pooled = self._texts.embed([self._config.negative] * len(requests))
            given |= {"negative_prompt_embeds": negative, "negative_pooled_prompt_embeds": negative_pooled}
        return given

    def _latents(self, seeds: Sequence[RGB]) -> Any:
        """Latents of a batch of images, encoded together, (B, C, h, w)."""
        import torch

        from weldgen.synthesis.diffusion.autoencoder import latents_of

        vae = self._pipe.vae
        dtype = vae.dtype
        if vae.config.force_upcast and dtype == torch.float16:  # SDXL's own autoencoder overflows in half precision
            vae.to(torch.float32)
        pixels = torch.from_numpy(np.stack(seeds)).permute(0, 3, 1, 2).float() / 127.5 - 1
        latents = latents_of(vae, pixels.to(self._device, vae.dtype))[0]
        vae.to(dtype)
        return latents.to(dtype)

    def _keeper(self, starts: Sequence[Start], original: Any) -> Any:
        """After each step, puts back what must stay of `original`, latents; None where all may change."""
        if all(start.free is None for start in starts):
            return None
        import torch

        pipe = self._pipe
        masks = [np.ones(start.image.shape[:2], np.float32) if start.free is None else start.free for start in starts]
        free = torch.from_numpy(np.stack([padded(mask) for mask in masks]))[:, None].to(original)
        free = torch.nn.functional.interpolate(free, original.shape[-2:], mode="area")

        def keep(_: Any, step: int, timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
            sigma = pipe.scheduler.sigmas[pipe.scheduler.step_index].to(original)
            noise = torch.randn(original.shape[1:], generator=torch.Generator().manual_seed(step)).to(original)
            latents = given["latents"]
            return {"latents": free * latents + (1 - free) * (original + sigma * noise).to(latents.dtype)}

        return keep


def _text_pipeline(pipe: Any) -> Any:
    """The same model without a photo and without the ControlNet."""
    from diffusers import StableDiffusionXLPipeline

    names = ("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "scheduler")
    plain = StableDiffusionXLPipeline(**{name: getattr(pipe, name) for name in names}, add_watermarker=False)
    plain.set_progress_bar_config(disable=True)
    return plain


def _pixels(image: Any, request: Request) -> RGB:
    """A pipeline's image, (H, W, 3) float 0..1, as bytes of the size that was asked for."""
    whole = np.round(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(whole[: request.height, : request.width])


def _blend(start: Start, image: RGB) -> RGB:
    """The new image where it may change, what it started from elsewhere."""
    assert start.free is not None
    share = start.free[:, :, None]
    mixed = start.image + share * (image.astype(np.float32) - start.image)
    return np.asarray(np.round(mixed), np.uint8)
