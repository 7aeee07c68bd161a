"""A tiny SDXL of real classes, and a small dataset of rendered photos."""

from __future__ import annotations

from pathlib import Path

import pytest

from weldgen.data.images import write_rgb
from weldgen.synthesis.render.photos import render_photo

_WORDS = ("weld", "bead", "crack", "steel", "photo", "of", "a", "on", "with")


@pytest.fixture
def weld_dataset(tmp_path: Path) -> Path:
    """Five photos of each of two classes and an empty third, no metadata."""
    root = tmp_path / "clean"
    for index in range(5):
        for label in ("good_welds", "bad_welds"):
            height = (96, 64)[index % 2]
            photo = render_photo(10 * index + len(label), label, 128, height, marked=False)
            write_rgb(root / label / f"{label}_{index}.jpg", photo)
    (root / "crack").mkdir()
    return root


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of a model, a ControlNet and an autoencoder at a tiny config, untrained."""
    import torch
    from diffusers import (
        AutoencoderKL,
        ControlNetModel,
        EulerDiscreteScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    torch.manual_seed(0)
    torch.set_num_threads(1)
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *(word + "</w>" for word in _WORDS)]
    tokens += ["ab</w>", "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[("a", "b</w>")], model_max_length=77)
    text = CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        projection_dim=16, bos_token_id=len(vocabulary) - 2, eos_token_id=len(vocabulary) - 1, pad_token_id=1,
    )  # fmt: skip
    shape = {
        "cross_attention_dim": 32, "block_out_channels": (16, 32), "layers_per_block": 1, "attention_head_dim": 8,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "norm_num_groups": 8,
        "addition_embed_type": "text_time", "addition_time_embed_dim": 8, "transformer_layers_per_block": 1,
        "projection_class_embeddings_input_dim": 6 * 8 + 16,
    }  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=8, up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), use_linear_projection=True, **shape
    )
    # log2 of the autoencoder's factor, plus one entry
    control = ControlNetModel(conditioning_embedding_out_channels=(8, 8, 16, 16), use_linear_projection=True, **shape)
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=4, latent_channels=4, force_upcast=False,
    )  # fmt: skip
    pipe = StableDiffusionXLPipeline(
        vae=vae, text_encoder=CLIPTextModel(text), text_encoder_2=CLIPTextModelWithProjection(text),
        tokenizer=tokenizer, tokenizer_2=tokenizer, unet=unet, scheduler=EulerDiscreteScheduler(),
    )  # fmt: skip
    root = tmp_path_factory.mktemp("tiny_sdxl")
    pipe.save_pretrained(root / "model")
    control.save_pretrained(root / "controlnet")
    vae.save_pretrained(root / "vae")
    return {"model": str(root / "model"), "controlnet": str(root / "controlnet"), "vae": str(root / "vae")}
