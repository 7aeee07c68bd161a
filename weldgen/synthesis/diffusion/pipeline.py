"""The diffusers pipeline of a configuration: its parts put together, its LoRA fused, ready on its device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weldgen.errors import BackendError
from weldgen.synthesis.diffusion.settings import DiffusionConfig
from weldgen.synthesis.sdxl import find_part, hush, load_part, lora_file

_OFFLOAD_BELOW_BYTES = 12e9


def load_pipeline(config: DiffusionConfig, device: str) -> Any:
    """A `StableDiffusionXLControlNetImg2ImgPipeline`.

    Args:
        config: Settings, whose parts are all on this machine.
        device: `cpu`, `cuda`, ...

    Raises:
        BackendError: A part cannot be loaded.
    """
    import torch
    from diffusers import ControlNetModel, EulerAncestralDiscreteScheduler, StableDiffusionXLControlNetImg2ImgPipeline

    hush()
    precision = config.precision if config.precision != "auto" else "fp32" if device == "cpu" else "fp16"
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    folders = [find_part(source, revision) for source, revision in config.parts]
    try:
        parts: dict[str, Any] = {"controlnet": load_part(ControlNetModel, folders[1], dtype)}
        if len(folders) > 2:
            parts["vae"] = load_autoencoder(folders[2], dtype)
        pipe = load_part(StableDiffusionXLControlNetImg2ImgPipeline, folders[0], dtype, add_watermarker=False, **parts)
        pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")
        if config.lora and config.chosen_scale:
            _fuse_lora(pipe, lora_file(Path(config.lora)), config.chosen_scale)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise BackendError(f"the diffusion model cannot be loaded: {error}", "weldgen doctor") from error
    pipe.set_progress_bar_config(disable=True)
    if config.compile:
        pipe.unet.compile_repeated_blocks()
        pipe.controlnet = torch.compile(pipe.controlnet)  # its blocks cannot be compiled one by one
    return _to_device(pipe, config, device)


def offloads(config: DiffusionConfig, device: str) -> bool:
    """Whether diffusers moves each part to the device when it is needed, and back."""
    import torch

    if not device.startswith("cuda"):
        return False
    small = torch.cuda.get_device_properties(device).total_memory < _OFFLOAD_BELOW_BYTES
    return config.offload == "model" or (config.offload == "auto" and small)


def _to_device(pipe: Any, config: DiffusionConfig, device: str) -> Any:
    if offloads(config, device):
        pipe.enable_model_cpu_offload(device=device)
        return pipe
    return pipe.to(device)


def _fuse_lora(pipe: Any, file: Path, scale: float) -> None:
    """Add a LoRA to the weights, then join the projections of queries, keys and values.

    In this order only: with a live LoRA the joined projections are silently wrong.
    """
    pipe.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name="weld")
    pipe.fuse_lora(components=["unet"], lora_scale=scale, adapter_names=["weld"])
    pipe.unload_lora_weights()
    pipe.unet.fuse_qkv_projections()


def load_autoencoder(folder: Path | None, dtype: Any) -> Any:
    """The autoencoder of a folder by the class that its configuration names: SDXL's, TAESDXL, or the fixed one."""
    import json

    from diffusers import AutoencoderKL, AutoencoderTiny

    from weldgen.synthesis.diffusion.autoencoder import PatchAutoencoder

    kinds = {kind.__name__: kind for kind in (AutoencoderKL, AutoencoderTiny, PatchAutoencoder)}
    assert folder is not None
    named = json.loads((folder / "config.json").read_text(encoding="utf-8"))["_class_name"]
    if named not in kinds:
        raise ValueError(f"{folder} holds a {named}; known autoencoders: {', '.join(kinds)}")
    return load_part(kinds[named], folder, dtype)
