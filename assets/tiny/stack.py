"""The untrained parts of the tiny SDXL: its sizes, its words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from weldgen.synthesis.book import shipped_book
from weldgen.synthesis.diffusion.autoencoder import PatchAutoencoder

FACTOR = 4
WIDTHS = (64, 128, 192)
_TEXT_WIDTH, _TEXT_LAYERS, _TOKENS = 64, 2, 77
_TIME_WIDTH = 32


def words() -> list[str]:
    """Words of all prompts that the shipped recipes draw, sorted."""
    book = shipped_book()
    texts = [*book.defective, *book.metals, *book.lighting]
    for recipe in book.recipes.values():
        texts += recipe.prompts
    found = {word for text in texts for word in re.findall(r"[a-z]+", text.lower())}
    return sorted(found)


def make_tokenizer() -> Any:
    """A CLIP tokenizer that knows the prompts' words whole and spells the others."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    merges, tokens = _merges(words())
    listed = [*letters, *(letter + "</w>" for letter in letters), *tokens, "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(listed))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=_TOKENS)


def _merges(known: Iterable[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Merges that put each word together from its letters, left to right, and the tokens that come of them."""
    merges: dict[tuple[str, str], None] = {}
    tokens: dict[str, None] = {}
    for word in known:
        parts = [*word[:-1], word[-1] + "</w>"]
        whole = parts[0]
        for part in parts[1:]:
            merges.setdefault((whole, part))
            whole += part
            tokens.setdefault(whole)
    return list(merges), list(tokens)


def make_parts(deviations: list[float]) -> dict[str, Any]:
    """Untrained `unet`, `controlnet`, `vae`, two text encoders and their tokenizer, the scheduler."""
    from diffusers import ControlNetModel, EulerAncestralDiscreteScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    tokenizer = make_tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=_TEXT_WIDTH, intermediate_size=2 * _TEXT_WIDTH,
        num_hidden_layers=_TEXT_LAYERS, num_attention_heads=4, projection_dim=_TEXT_WIDTH,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    channels = 3 * FACTOR**2
    shape: Mapping[str, Any] = {
        "in_channels": channels, "cross_attention_dim": 2 * _TEXT_WIDTH, "block_out_channels": WIDTHS,
        "layers_per_block": 1, "attention_head_dim": 32, "norm_num_groups": 16,
        "down_block_types": ("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        "addition_embed_type": "text_time", "addition_time_embed_dim": _TIME_WIDTH, "use_linear_projection": True,
        "transformer_layers_per_block": 1, "projection_class_embeddings_input_dim": 6 * _TIME_WIDTH + _TEXT_WIDTH,
    }  # fmt: skip
    unet = UNet2DConditionModel(
        out_channels=channels, up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"), **shape
    )
    # log2 of the autoencoder's factor, plus one entry
    control = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32, 64))
    scheduler = EulerAncestralDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
        timestep_spacing="trailing",
    )  # fmt: skip
    return {
        "unet": unet, "controlnet": control, "vae": PatchAutoencoder(FACTOR, deviations),
        "text_encoder": CLIPTextModel(text), "text_encoder_2": CLIPTextModelWithProjection(text),
        "tokenizer": tokenizer, "tokenizer_2": tokenizer, "scheduler": scheduler,
    }  # fmt: skip


def save_parts(parts: Mapping[str, Any], out: Path) -> None:
    """Write the three folders that the generator loads: model, controlnet, vae; weights in fp16."""
    import torch
    from diffusers import StableDiffusionXLPipeline

    model = {name: part for name, part in parts.items() if name not in ("controlnet", "vae")}
    pipe = StableDiffusionXLPipeline(vae=None, **model).to(dtype=torch.float16)
    pipe.save_pretrained(out / "model")
    parts["controlnet"].to(torch.float16).save_pretrained(out / "controlnet")
    parts["vae"].save_pretrained(out / "vae")
