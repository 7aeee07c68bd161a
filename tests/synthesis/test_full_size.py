"""SDXL's own sizes, without its weights: every part is built on the meta device, where tensors have shapes alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.parts.full_size import full_size_parts
from weldgen.synthesis.lora.adapter import add_adapter
from weldgen.synthesis.lora.settings import AdapterSettings


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    with torch.device("meta"):
        return full_size_parts()


def _size(part: Any) -> int:
    return sum(parameter.numel() for parameter in part.parameters())


def test_sizes_are_those_of_the_published_weights(parts: dict[str, Any]) -> None:
    assert _size(parts["unet"]) == 2_567_463_684
    assert _size(parts["vae"]) == 83_653_863
    assert _size(parts["text_encoder"]) == 123_060_480
    assert _size(parts["text_encoder_2"]) == 694_659_840


def test_shapes_fit_together_from_text_and_photo_to_image(parts: dict[str, Any]) -> None:
    batch, height, width = 2, 384, 512
    with torch.device("meta"), torch.no_grad():
        tokens = torch.zeros(batch, 77, dtype=torch.long)
        said = [
            parts[name](tokens, output_hidden_states=True, return_dict=True)
            for name in ("text_encoder", "text_encoder_2")
        ]
        embeds = torch.cat([output.hidden_states[-2] for output in said], dim=2)
        assert embeds.shape == (batch, 77, 2048)
        pooled = said[1].text_embeds
        assert pooled.shape == (batch, 1280)
        latents = parts["vae"].encode(torch.empty(batch, 3, height, width)).latent_dist.mean
        assert latents.shape == (batch, 4, height // 8, width // 8)
        given = {
            "encoder_hidden_states": embeds,
            "added_cond_kwargs": {"text_embeds": pooled, "time_ids": torch.empty(batch, 6)},
        }
        down, middle = parts["controlnet"](
            latents, torch.tensor(499), controlnet_cond=torch.empty(batch, 3, height, width), return_dict=False, **given
        )
        assert len(down) == 9 and middle.shape == (batch, 1280, height // 32, width // 32)
        predicted = parts["unet"](
            latents,
            torch.tensor(499),
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            **given,
        ).sample
        assert predicted.shape == latents.shape
        assert parts["vae"].decode(predicted).sample.shape == (batch, 3, height, width)


def test_the_lora_of_the_mission_has_its_size(parts: dict[str, Any]) -> None:
    """Rank 16 on the query, key, value and output layers of all 70 transformer blocks, two attentions each."""
    added = add_adapter(parts["unet"], AdapterSettings())
    names = {name.split(".lora_")[0] for name in added}
    assert len(names) == 70 * 2 * 4
    expected = sum(
        16 * (layer.in_features + layer.out_features)
        for name, layer in parts["unet"].named_modules()
        if name in {f"{own}.base_layer" for own in names}
    )
    assert sum(parameter.numel() for parameter in added.values()) == expected == 23_224_320
