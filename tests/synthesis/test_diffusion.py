"""What a diffusion starts from, what it may change, and the autoencoder and gate around it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from weldgen.data.dataset import Dataset
from weldgen.data.images import read_rgb
from weldgen.synthesis.diffusion.autoencoder import PatchAutoencoder, images_of, latents_of
from weldgen.synthesis.diffusion.generator import DiffusionGenerator
from weldgen.synthesis.diffusion.pipeline import load_autoencoder
from weldgen.synthesis.diffusion.starts import start_of, view_of
from weldgen.synthesis.generate import SynthConfig, synth
from weldgen.synthesis.recipes import RECIPES
from weldgen.synthesis.requests import PATTERN, SEED, TRANSPLANT, Request
from weldgen.synthesis.sdxl import SdxlConfig
from weldgen.synthesis.transfer import RECORD, Trial, best_scale, best_strength, with_transfer


def _request(photo: Path | None, use: str, label: str = "crack", seed: int = 7) -> Request:
    return Request(0, 0, label, seed, 96, 64, RECIPES[label], photo, "id" if photo else "", use)


@pytest.fixture
def photo(weld_dataset: Path) -> Path:
    return weld_dataset / "good_welds" / "good_welds_0.jpg"


def test_patches_come_back_as_they_were(tmp_path: Path) -> None:
    images = torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    deviations = [float(value) for value in np.linspace(2.0, 0.1, 48)]
    plain, scaled = PatchAutoencoder(4), PatchAutoencoder(4, deviations)
    latents = scaled.encode(images).latents
    assert latents.shape == (2, 48, 6, 8)
    assert torch.allclose(scaled.decode(latents).sample, images, atol=1e-5)
    assert torch.allclose(latents * torch.tensor(deviations).view(1, 48, 1, 1), plain.encode(images).latents, atol=1e-5)
    # orthonormal: the length of a picture stays; its first coefficient is the patch's mean, four times
    assert torch.allclose(plain.encode(images).latents.norm(), images.norm(), rtol=1e-5)
    brightness = images[0, :, :4, :4].sum(dim=0).mean() / 3**0.5
    assert torch.allclose(plain.encode(images).latents[0, 0, 0, 0], brightness * 4, atol=1e-5)
    grey = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(1)).expand(1, 3, 8, 8)
    assert plain.encode(grey).latents[:, 16:].abs().max() < 1e-5  # grey has no colour
    scaled.save_pretrained(tmp_path / "vae")
    again = load_autoencoder(tmp_path / "vae", torch.float32)
    assert isinstance(again, PatchAutoencoder) and torch.equal(again.encode(images).latents, latents)
    assert torch.allclose(images_of(again, latents_of(again, images)[0]), images / 2 + 0.5, atol=1e-5)
    with pytest.raises(ValueError, match="48 deviations are needed, not 3"):
        PatchAutoencoder(4, [1.0, 2.0, 3.0])


def test_views_of_a_photo_differ_and_keep_its_size(photo: Path) -> None:
    one, other = (view_of(_request(photo, SEED, seed=seed)) for seed in (1, 2))
    assert one.shape == other.shape == (64, 96, 3)
    assert np.abs(one.astype(int) - other).mean() > 2
    assert np.array_equal(one, view_of(_request(photo, SEED, seed=1)))


def test_inpainting_changes_the_defects_alone(tiny_sdxl: dict[str, str], photo: Path) -> None:
    config = SdxlConfig(**tiny_sdxl, mode="inpaint", strength=1.0)
    request = _request(photo, TRANSPLANT)
    start = start_of(request, 0.8, inpaint=True)
    assert start.free is not None and start.known is not None and 0 < (start.free > 0).mean() < 0.6
    made = DiffusionGenerator(config, "cpu", 0.8).generate([request])[0]
    stays = start.free == 0
    assert np.array_equal(made.image[stays], start.image[stays])
    assert np.abs(made.image[~stays].astype(int) - start.image[~stays]).max() > 8
    assert set(made.defect_masks) == {"crack"} and made.defects == start.known.defects
    # a sound weld has no defect to change: all of it may
    assert start_of(_request(photo, TRANSPLANT, "good"), 0.8, inpaint=True).free is None


def test_what_stays_is_put_back_in_every_step(tiny_sdxl: dict[str, str], photo: Path) -> None:
    """Without it the seam would be between an image and a quite different one."""
    request = _request(photo, TRANSPLANT)
    generator = DiffusionGenerator(SdxlConfig(**tiny_sdxl, mode="inpaint", strength=1.0), "cpu", 0.8)
    start = start_of(request, 0.8, inpaint=True)
    seeds = [np.pad(start.image, ((0, 0), (0, 0), (0, 0)))]
    latents: list[torch.Tensor] = []
    original = generator._latents(seeds)
    keep = generator._keeper([start], original)

    def spy(pipe: Any, step: int, timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = keep(pipe, step, timestep, given)
        latents.append(kept["latents"])
        return kept

    generator._keeper = lambda *_: spy  # type: ignore[method-assign, assignment]
    generator.generate([request])
    assert len(latents) == 4
    still = torch.nn.functional.interpolate(torch.from_numpy(start.free)[None, None], original.shape[-2:], mode="area")
    unchanged = (still == 0).expand_as(original)
    assert unchanged.any() and torch.allclose(latents[-1][unchanged], original[unchanged], atol=1e-5)


def test_renderings_keep_their_masks_through_the_stage(
    tiny_sdxl: dict[str, str], weld_dataset: Path, tmp_path: Path
) -> None:
    model = SdxlConfig(**tiny_sdxl, mode="render", strength=0.25)
    config = SynthConfig(n=6, generator="sdxl", device="cpu", size_px=96, annotations="masks", sdxl=model)
    synth(weld_dataset, tmp_path / "out", config)
    made = Dataset.open(tmp_path / "out")
    cracked = made.select(label="crack")
    assert {sample.extra["use"] for sample in made.samples} == {PATTERN}
    assert all(sample.extra["defects"][0]["kind"] == "crack" and sample.extra["prompt"] for sample in cracked)
    masks = [read_rgb(tmp_path / "out" / "masks" / s.label / f"{Path(s.file_name).stem}.png") for s in cracked]
    assert all(mask.any() for mask in masks)


def test_text_alone_needs_no_photo(tiny_sdxl: dict[str, str]) -> None:
    config = SdxlConfig(**tiny_sdxl, mode="text", batch_size=2)
    requests = [replace(_request(None, "", seed=seed), width=60, height=44) for seed in (1, 2)]
    made = DiffusionGenerator(config, "cpu").generate(requests)
    assert [image.image.shape for image in made] == [(44, 60, 3)] * 2
    assert np.abs(made[0].image.astype(int) - made[1].image).max() > 8
    alone = DiffusionGenerator(config, "cpu").generate(requests[1:])[0]
    assert np.abs(alone.image.astype(int) - made[1].image).max() <= 1


def test_a_negative_prompt_counts_with_guidance_and_is_refused_without(tiny_sdxl: dict[str, str], photo: Path) -> None:
    with pytest.raises(ValidationError, match="negative means nothing with guidance=0"):
        SdxlConfig(negative="blurred")
    images = [
        DiffusionGenerator(SdxlConfig(**tiny_sdxl, guidance=6.0, negative=negative, strength=1.0), "cpu")
        .generate([_request(photo, SEED)])[0]
        .image
        for negative in ("", "crack on steel")
    ]
    assert np.abs(images[0].astype(int) - images[1]).max() > 2


def _trial(scale: float, strength: float, agreement: float, kid: float, error: float = 0.002) -> Trial:
    return Trial(scale, strength, agreement, kid, error)


def test_a_lora_is_used_only_where_it_brings_images_nearer() -> None:
    without, half, whole = _trial(0, 0.5, 1.0, 0.050), _trial(0.5, 0.5, 1.0, 0.040), _trial(1, 0.5, 1.0, 0.045)
    assert best_scale([without, half, whole]) == 0.5
    assert best_scale([without, replace(half, kid=0.049), replace(whole, kid=0.055)]) == 0.0  # within the error
    assert best_scale([without, replace(half, agreement=0.5), whole]) == 1.0  # nearer, but of the wrong class
    assert best_scale([replace(without, agreement=0.5), half, whole]) == 0.5


def test_the_strength_is_the_largest_that_is_as_near() -> None:
    trials = [_trial(1, 0.25, 1.0, 0.020), _trial(1, 0.5, 1.0, 0.023), _trial(1, 0.75, 1.0, 0.060)]
    assert best_strength(trials) == 0.5
    assert best_strength([*trials[:1], replace(trials[1], agreement=0.7)]) == 0.25
    few_photos = [replace(trial, error=0.6) for trial in (*trials[:2], replace(trials[2], kid=0.2))]
    assert best_strength(few_photos) == 0.5  # a large error does not excuse every strength


def test_the_gate_decides_once_and_is_remembered(
    tiny_sdxl: dict[str, str], weld_dataset: Path, tmp_path: Path, random_lora: Path
) -> None:
    model = SdxlConfig(**tiny_sdxl, lora=str(random_lora), steps=2)
    assert set(model.undecided) == {"lora_scale", "strength"}
    for index in range(5, 9):  # photos enough for distances; the first ones are also validation and test
        for label in ("good_welds", "bad_welds"):
            source = weld_dataset / label / f"{label}_{index - 5}.jpg"
            pixels = np.asarray(read_rgb(source))[:, ::-1]
            from weldgen.data.images import write_rgb

            write_rgb(weld_dataset / label / f"{label}_{index}.png", np.ascontiguousarray(pixels))
    config = SynthConfig(n=4, generator="sdxl", device="cpu", size_px=64, sdxl=model, quality_images=0)
    summary = synth(weld_dataset, tmp_path / "out", config)
    record = json.loads((random_lora / RECORD).read_text())
    assert {trial["lora_scale"] for trial in record["trials"]} >= {0.0, 0.5, 1.0}
    assert {trial["strength"] for trial in record["trials"]} >= {0.5}
    note = next(note for note in summary.notes if note.startswith("transfer gate"))
    assert "kernel distance by weight of the LoRA: 0:" in note
    known = with_transfer(model.model_copy(update={"lora_id": record["for"]["lora_id"]}), "sdxl")
    assert (known.lora_scale, known.strength) == (record["lora_scale"], record["strength"])
    assert with_transfer(model.model_copy(update={"lora_id": "another"}), "sdxl").undecided
    again = synth(weld_dataset, tmp_path / "out", config)  # done already, with what was decided
    assert again.counts["images"] == 4 and not (tmp_path / "previous").exists()


@pytest.fixture
def random_lora(tiny_sdxl: dict[str, str], tmp_path: Path) -> Path:
    """A LoRA that nobody trained."""
    from diffusers import UNet2DConditionModel
    from diffusers.loaders import StableDiffusionXLLoraLoaderMixin
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(0)
    unet = UNet2DConditionModel.from_pretrained(tiny_sdxl["model"], subfolder="unet")
    unet.add_adapter(LoraConfig(r=2, lora_alpha=8, init_lora_weights="gaussian", target_modules=["to_q", "to_v"]))
    state = {key: torch.randn_like(value) for key, value in get_peft_model_state_dict(unet).items()}
    StableDiffusionXLLoraLoaderMixin.save_lora_weights(tmp_path / "lora", unet_lora_layers=state)
    return tmp_path / "lora"
