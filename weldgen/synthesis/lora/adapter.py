"""The LoRA itself: put into the UNet, its parameters, written in diffusers' format with its metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from weldgen.errors import ConfigError
from weldgen.runtime import output_errors, temporary_for
from weldgen.synthesis.lora.settings import AdapterSettings
from weldgen.synthesis.sdxl import LORA_WEIGHTS


def add_adapter(unet: Any, settings: AdapterSettings) -> dict[str, torch.nn.Parameter]:
    """Put a fresh LoRA into a frozen UNet; it changes nothing yet, as its second matrix is zero.

    Args:
        unet: A diffusers UNet without an adapter.
        settings: Its size.

    Returns:
        Name -> parameter of the LoRA, in fp32 whatever the UNet computes in.

    Raises:
        ConfigError: No layer has one of the names in `targets`.
    """
    import peft
    from diffusers.training_utils import cast_training_params

    adapter = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        init_lora_weights="gaussian",
        target_modules=list(settings.targets),
    )
    try:
        unet.add_adapter(adapter)  # under the name "default", which the metadata is collected from
    except ValueError as error:
        given = ", ".join(settings.targets)
        raise ConfigError(f"adapter.targets=[{given}]: {error}", "e.g. adapter.targets=[to_q,to_v]") from error
    cast_training_params(unet, torch.float32)
    return {name: parameter for name, parameter in unet.named_parameters() if parameter.requires_grad}


def save_adapter(unet: Any, out: Path) -> Path:
    """Write `pytorch_lora_weights.safetensors` with rank and alpha in its metadata.

    Without the metadata a loader takes alpha for the rank, and the LoRA counts less than it was trained to.

    Args:
        unet: The UNet with its adapter.
        out: Folder, which exists.
    """
    from diffusers import StableDiffusionXLPipeline
    from diffusers.training_utils import _collate_lora_metadata
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft.utils import get_peft_model_state_dict

    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet))
    target = out / LORA_WEIGHTS
    temporary = temporary_for(target)
    with output_errors(target):
        StableDiffusionXLPipeline.save_lora_weights(
            out,
            unet_lora_layers={name: tensor.detach().cpu().contiguous() for name, tensor in layers.items()},
            weight_name=temporary.name,
            **_collate_lora_metadata({"unet": unet}),
        )
        temporary.replace(target)
    return target
