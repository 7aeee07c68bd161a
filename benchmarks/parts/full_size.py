"""SDXL at its full size from its public configuration, with random weights: it computes what the trained one does."""

from __future__ import annotations

from typing import Any

UNET: dict[str, Any] = {
    "sample_size": 64, "in_channels": 4, "out_channels": 4, "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "layers_per_block": 2,
    "attention_head_dim": (5, 10, 20), "transformer_layers_per_block": (1, 2, 10), "cross_attention_dim": 2048,
    "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4, "layers_per_block": 2, "latent_channels": 4,
    "scaling_factor": 0.13025, "force_upcast": False, "sample_size": 512,
}  # fmt: skip
_VOCABULARY = {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 1}
TEXT: tuple[dict[str, Any], ...] = (
    {**_VOCABULARY, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
     "projection_dim": 768},
    {**_VOCABULARY, "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
     "projection_dim": 1280, "hidden_act": "gelu"},
)  # fmt: skip
CONDITIONING = (16, 32, 96, 256)  # channels of the ControlNet's look at its image


def full_size_parts() -> dict[str, Any]:
    """`unet`, `controlnet`, `vae` and the two text encoders, on the current default device."""
    from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    shape = {name: value for name, value in UNET.items() if name not in ("sample_size", "out_channels")}
    shape.pop("up_block_types")
    return {
        "unet": UNet2DConditionModel(**UNET),
        "controlnet": ControlNetModel(conditioning_embedding_out_channels=CONDITIONING, **shape),
        "vae": AutoencoderKL(**VAE),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**TEXT[0])),
        "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**TEXT[1])),
    }
