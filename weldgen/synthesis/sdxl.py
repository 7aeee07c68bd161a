"""The `sdxl` generator: SDXL-Turbo as image-to-image on a real photo, held to its shape by a ControlNet Tile.

What is notable: guidance is off, as the distilled model needs; the sampler is Euler-ancestral on the trailing grid;
one random generator an image, so that batches do not matter; no hidden watermark; each prompt is encoded once.
Nothing is downloaded: the parts are local folders, or lie in the hub's cache (`weldgen models pull sdxl`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import Field, model_validator

from weldgen import hub_weights
from weldgen.config import Config
from weldgen.errors import BackendError
from weldgen.hub_parts import GENERATOR, PARTS, TILE, TURBO, UNKNOWN_LICENCE, VAE, licence_of, remedy
from weldgen.runtime import derive_seed
from weldgen.synthesis.prompts import draw_prompt
from weldgen.synthesis.requests import RGB, Generated, Request

_MULTIPLE_PX = 8  # the autoencoder's factor; other sizes are cut down silently

# What `weldgen lora` writes beside its weights.
LORA_RECORD = "lora.json"
# The name that diffusers gives to a LoRA's weights.
LORA_WEIGHTS = "pytorch_lora_weights.safetensors"


class SdxlConfig(Config):
    """The diffusion model and how it is run."""

    model: str = Field(TURBO.repository, description="folder, or repository of the hub")
    model_revision: str = Field(TURBO.revision, description="commit; unused for a folder")
    controlnet: str = Field(TILE.repository, description="folder, or repository of the hub")
    controlnet_revision: str = Field(TILE.revision, description="commit")
    vae: str = Field(VAE.repository, description="folder or repository; empty: the model's own")
    vae_revision: str = Field(VAE.revision, description="commit")
    lora: str = Field("", description="folder or file of a LoRA, e.g. models/lora; empty: none")
    lora_id: str = Field("", description="hash of the LoRA's weights; weldgen fills it in, so that a new LoRA counts")
    lora_scale: float = Field(1.0, ge=0, le=2, description="its weight")
    steps: int = Field(4, ge=1, description="steps of the full schedule")
    strength: float = Field(0.5, gt=0, le=1, description="share of the schedule that runs: 0 the photo, 1 all new")
    control_scale: float = Field(0.6, ge=0, le=2, description="weight of the ControlNet")
    tile_factor: int = Field(4, ge=1, description="how much coarser the control image is than the photo")
    batch_size: int = Field(4, ge=1, description="images at once; does not change them")
    precision: str = Field("auto", pattern="^(auto|fp32|fp16|bf16)$", description="auto: fp16 on a GPU, else fp32")

    @model_validator(mode="after")
    def _check(self) -> SdxlConfig:
        if int(self.steps * self.strength) < 1:
            raise ValueError(
                f"steps={self.steps} x strength={self.strength:g} runs no step at all; their product must be 1 or more"
            )
        return self

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """Source and revision of the model, the ControlNet and, where one is set, the autoencoder."""
        parts = ((self.model, self.model_revision), (self.controlnet, self.controlnet_revision))
        return (*parts, (self.vae, self.vae_revision)) if self.vae else parts

    @property
    def licences(self) -> dict[str, str]:
        """Source -> licence of every part."""
        licences = {source: licence_of(source) for source, _ in self.parts}
        return {**licences, self.lora: lora_licence(Path(self.lora))} if self.lora else licences


def find_part(source: str, revision: str) -> Path | None:
    """Folder of a part that is on this machine, or None."""
    if Path(source).is_dir():
        return Path(source)
    if source in PARTS and PARTS[source].revision == revision:  # only some of its files are ever downloaded
        return hub_weights.find(PARTS[source])
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source, revision=revision or None, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def lora_file(path: Path) -> Path:
    """The weights of a LoRA that is given by its file or its folder.

    Raises:
        BackendError: The folder holds none.
    """
    file = path / LORA_WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise BackendError(f"{path} holds no {LORA_WEIGHTS}", "weldgen lora makes one")
    return file


def lora_licence(path: Path) -> str:
    """Licence of a LoRA: those of what it was trained on, where `weldgen lora` made it."""
    record = (path if path.is_dir() else path.parent) / LORA_RECORD
    if not record.is_file():
        return UNKNOWN_LICENCE
    return "; ".join(sorted(set(json.loads(record.read_text(encoding="utf-8"))["licences"].values())))


def missing_parts(config: SdxlConfig) -> list[str]:
    """Parts that are not on this machine; a LoRA counts."""
    missing = [source for source, revision in config.parts if find_part(source, revision) is None]
    return missing + ([config.lora] if config.lora and not Path(config.lora).exists() else [])


def load_pipeline(config: SdxlConfig, device: str) -> Any:
    """The diffusers pipeline, ready on its device.

    Raises:
        BackendError: A part is missing or cannot be loaded.
    """
    require_parts(config)
    import torch
    from diffusers import (
        AutoencoderKL,
        ControlNetModel,
        EulerAncestralDiscreteScheduler,
        StableDiffusionXLControlNetImg2ImgPipeline,
    )

    precision = config.precision if config.precision != "auto" else "fp32" if device == "cpu" else "fp16"
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    folders = [find_part(source, revision) for source, revision in config.parts]
    try:
        parts: dict[str, Any] = {"controlnet": load_part(ControlNetModel, folders[1], dtype)}
        if config.vae:
            parts["vae"] = load_part(AutoencoderKL, folders[2], dtype)
        pipe = load_part(StableDiffusionXLControlNetImg2ImgPipeline, folders[0], dtype, add_watermarker=False, **parts)
        pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")
        if config.lora:
            pipe.load_lora_weights(config.lora, adapter_name="weld")
            pipe.set_adapters("weld", config.lora_scale)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise BackendError(f"the sdxl parts cannot be loaded: {error}", "weldgen doctor") from error
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


def require_parts(config: SdxlConfig) -> None:
    """Raise a `BackendError` that says what is missing and how to get it."""
    missing = missing_parts(config)
    if missing:
        own_lora = missing[0] == config.lora
        fetch = "weldgen lora" if own_lora else remedy(GENERATOR, missing[0], dict(config.parts)[missing[0]])
        raise BackendError(
            f"the generator sdxl needs {', '.join(missing)}, which is not on this machine",
            f"{fetch} (or set sdxl.model, sdxl.controlnet and sdxl.vae to folders); "
            "--generator render needs no weights",
        )


def load_part(kind: Any, folder: Path | None, dtype: Any, **parts: Any) -> Any:
    """`from_pretrained` on a folder, with the half-precision files where the folder has them."""
    halves = folder is not None and any(folder.rglob("*.fp16.safetensors"))
    return kind.from_pretrained(
        str(folder), dtype=dtype, variant="fp16" if halves else None, local_files_only=True, **parts
    )


class SdxlGenerator:
    """Makes images with SDXL from real photos, or from renderings for a class that has no photo.

    Args:
        config: Settings.
        device: `auto`, `cpu`, `cuda`, ...

    Raises:
        BackendError: A part or the device is missing.
    """

    def __init__(self, config: SdxlConfig, device: str) -> None:
        from weldgen.runtime import resolve_device

        require_parts(config)
        self._config = config
        self._device = resolve_device(device)
        self._pipe = load_pipeline(config, self._device)
        self._prompts: dict[str, tuple[Any, Any]] = {}

    def generate(self, requests: Sequence[Request]) -> list[Generated]:
        """One image for each request, in order; requests of one size run together."""
        by_size: dict[tuple[int, int], list[int]] = {}
        for position, request in enumerate(requests):
            by_size.setdefault((request.width, request.height), []).append(position)
        made: dict[int, Generated] = {}
        for positions in by_size.values():
            for start in range(0, len(positions), self._config.batch_size):
                batch = positions[start : start + self._config.batch_size]
                made.update(zip(batch, self._run([requests[position] for position in batch]), strict=True))
        return [made[position] for position in range(len(requests))]

    def _run(self, requests: Sequence[Request]) -> list[Generated]:
        """A batch of one size."""
        import torch

        seeds = [seed_image(request) for request in requests]
        padded = [pad_to_multiple(image) for image in seeds]
        prompts = [draw_prompt(r.recipe, np.random.default_rng(derive_seed(r.seed, "prompt"))) for r in requests]
        encoded = [self._encode(prompt) for prompt in prompts]
        with torch.inference_mode():
            images = self._pipe(
                prompt_embeds=torch.cat([embeds for embeds, _ in encoded]),  # (B, 77, 2048)
                pooled_prompt_embeds=torch.cat([pooled for _, pooled in encoded]),  # (B, 1280)
                image=[Image.fromarray(image) for image in padded],
                control_image=[Image.fromarray(control_image(image, self._config.tile_factor)) for image in padded],
                strength=self._config.strength,
                num_inference_steps=self._config.steps,
                guidance_scale=0.0,
                controlnet_conditioning_scale=self._config.control_scale,
                generator=[torch.Generator("cpu").manual_seed(request.seed) for request in requests],
                output_type="np",
            ).images  # (B, H, W, 3) float 0..1
        results = []
        for request, prompt, image in zip(requests, prompts, images, strict=True):
            whole = np.round(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8)
            results.append(Generated(np.ascontiguousarray(whole[: request.height, : request.width]), prompt=prompt))
        return results

    def _encode(self, prompt: str) -> tuple[Any, Any]:
        """Embeddings of a prompt, (1, 77, 2048) and (1, 1280), kept for the next image."""
        if prompt not in self._prompts:
            import torch

            with torch.inference_mode():
                embeds, _, pooled, _ = self._pipe.encode_prompt(
                    prompt, device=self._device, num_images_per_prompt=1, do_classifier_free_guidance=False
                )
            self._prompts[prompt] = (embeds, pooled)
        return self._prompts[prompt]


def seed_image(request: Request) -> RGB:
    """What an image starts from: its photo at the wanted size, or a rendering where it has none.

    Raises:
        DataError: The photo cannot be read.
    """
    if request.photo is None:
        from weldgen.synthesis.render.generator import RenderGenerator

        return RenderGenerator().generate([request])[0].image
    from weldgen.data.images import read_rgb

    photo = Image.fromarray(read_rgb(request.photo))
    return np.asarray(photo.resize((request.width, request.height), Image.Resampling.LANCZOS))


def pad_to_multiple(image: RGB) -> RGB:
    """Grow an image, (H, W, 3), to the right and below until its sides are multiples of 8."""
    height, width = image.shape[:2]
    return np.pad(image, ((0, -height % _MULTIPLE_PX), (0, -width % _MULTIPLE_PX), (0, 0)), mode="edge")


def control_image(image: RGB, factor: int) -> RGB:
    """The ControlNet's condition: the image without its fine detail, (H, W, 3) of the same size."""
    height, width = image.shape[:2]
    coarse = Image.fromarray(image).resize((max(1, width // factor), max(1, height // factor)), Image.Resampling.BOX)
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
