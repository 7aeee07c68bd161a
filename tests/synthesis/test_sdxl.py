from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from weldgen.data.dataset import Dataset
from weldgen.data.images import read_rgb, write_rgb
from weldgen.errors import BackendError, DataError
from weldgen.synthesis import gates, shards
from weldgen.synthesis.diffusion.generator import DiffusionGenerator
from weldgen.synthesis.diffusion.starts import control_image, padded, view_of
from weldgen.synthesis.generate import SynthConfig, synth
from weldgen.synthesis.generators import choose_generator
from weldgen.synthesis.prompts import draw_prompt, every_prompt
from weldgen.synthesis.recipes import RECIPES
from weldgen.synthesis.requests import Request
from weldgen.synthesis.sdxl import SdxlConfig


def _requests(photo: Path | None) -> list[Request]:
    sizes = [(64, 48), (64, 44), (64, 48)]
    return [
        Request(index, 0, "crack", 100 + index, width, height, RECIPES["crack"], photo, "id" if photo else "")
        for index, (width, height) in enumerate(sizes)
    ]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    write_rgb(path, np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8))
    return path


def test_output_does_not_depend_on_the_batch(tiny_sdxl: dict[str, str], photo: Path) -> None:
    requests = _requests(photo)
    made = DiffusionGenerator(SdxlConfig(**tiny_sdxl, batch_size=3), "cpu").generate(requests)
    assert [image.image.shape for image in made] == [(48, 64, 3), (44, 64, 3), (48, 64, 3)]
    single = DiffusionGenerator(SdxlConfig(**tiny_sdxl, batch_size=1), "cpu")
    for request, together in zip(requests, made, strict=True):
        alone = single.generate([request])[0]
        assert alone.prompt == together.prompt
        assert np.abs(alone.image.astype(int) - together.image).max() <= 1
    assert np.abs(made[0].image.astype(int) - made[2].image).max() > 8  # another seed, another image


def test_photo_prompt_and_lora_reach_the_result(tiny_sdxl: dict[str, str], photo: Path, tmp_path: Path) -> None:
    import torch
    from diffusers import UNet2DConditionModel
    from diffusers.loaders import StableDiffusionXLLoraLoaderMixin
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    request = _requests(photo)[0]
    plain = DiffusionGenerator(SdxlConfig(**tiny_sdxl), "cpu").generate([request])[0].image
    rendered = DiffusionGenerator(SdxlConfig(**tiny_sdxl), "cpu").generate([_requests(None)[0]])[0].image
    # The untrained autoencoder lets little of the photo through, but not nothing.
    assert np.abs(plain.astype(int) - rendered).max() >= 3
    unet = UNet2DConditionModel.from_pretrained(tiny_sdxl["model"], subfolder="unet")
    unet.add_adapter(LoraConfig(r=2, lora_alpha=8, init_lora_weights="gaussian", target_modules=["to_q", "to_v"]))
    state = get_peft_model_state_dict(unet)
    state = {key: torch.randn_like(value) for key, value in state.items()}
    StableDiffusionXLLoraLoaderMixin.save_lora_weights(tmp_path / "lora", unet_lora_layers=state)
    config = SdxlConfig(**tiny_sdxl, lora=str(tmp_path / "lora"))
    adapted = DiffusionGenerator(config, "cpu").generate([request])[0].image
    assert np.abs(plain.astype(int) - adapted).max() > 2


@pytest.mark.parametrize("managed", [False, True])
def test_text_encoders_leave_the_pipeline_between_visits(tiny_sdxl: dict[str, str], managed: bool) -> None:
    import torch

    from weldgen.synthesis.diffusion.pipeline import load_pipeline
    from weldgen.synthesis.diffusion.texts import Texts

    pipe, untouched = (load_pipeline(SdxlConfig(**tiny_sdxl), "cpu") for _ in range(2))
    texts = Texts(pipe, "cpu", managed=managed)
    assert (pipe.text_encoder is None) == (pipe.text_encoder_2 is None) == (not managed)
    embeds, pooled = texts.embed(["a crack", "a sound weld", "a crack"])
    assert (pipe.text_encoder is None) == (not managed)
    wanted, _, wanted_pooled, _ = untouched.encode_prompt("a sound weld", do_classifier_free_guidance=False)
    torch.testing.assert_close(embeds[1:2], wanted, rtol=0, atol=0)
    torch.testing.assert_close(pooled[1:2], wanted_pooled, rtol=0, atol=0)
    assert torch.equal(embeds[0], embeds[2]) and not torch.equal(embeds[0], embeds[1])


def test_every_prompt_is_all_that_may_be_drawn() -> None:
    every = set(every_prompt(RECIPES["crack"]))
    drawn = {draw_prompt(RECIPES["crack"], np.random.default_rng(seed)) for seed in range(600)}
    assert drawn == every and all("{" not in prompt for prompt in every)


def test_pipeline_is_set_up_for_a_distilled_model(tiny_sdxl: dict[str, str]) -> None:
    from weldgen.synthesis.diffusion.pipeline import load_pipeline

    pipe = load_pipeline(SdxlConfig(**tiny_sdxl), "cpu")
    assert type(pipe.scheduler).__name__ == "EulerAncestralDiscreteScheduler"
    pipe.scheduler.set_timesteps(4)
    assert pipe.scheduler.timesteps.tolist() == [999, 749, 499, 249]
    assert pipe.watermark is None


def test_stage_records_parents_and_licences(tiny_sdxl: dict[str, str], weld_dataset: Path, tmp_path: Path) -> None:
    # An untrained network's pictures are noise, which the gates are not asked to like here.
    config = SynthConfig(n=4, generator="sdxl", device="cpu", size_px=64, sdxl=SdxlConfig(**tiny_sdxl))
    synth(weld_dataset, tmp_path / "out", config)
    made = Dataset.open(tmp_path / "out")
    real = {sample.id for sample in Dataset.open(weld_dataset).samples}
    by_label = {label: made.select(label=label) for label in made.labels}
    assert all(sample.parents and set(sample.parents) <= real for sample in by_label["bad_welds"])
    assert by_label["crack"][0].parents == ()  # no photo of this class: it starts from a rendering
    assert all(sample.extra["prompt"] and sample.extra["licences"] for sample in made.samples)


def test_a_schedule_without_steps_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"steps=4 x strength=0\.2 runs no step"):
        SdxlConfig(steps=4, strength=0.2)
    assert SdxlConfig(steps=4, strength=0.25).steps == 4


def test_missing_weights_are_named(tmp_path: Path) -> None:
    config = SdxlConfig(model=str(tmp_path / "nowhere"))
    with pytest.raises(BackendError, match="nowhere"):
        DiffusionGenerator(config, "cpu")
    name, notes = choose_generator("auto", config, "auto")
    assert name == "render" and "sdxl would need" in notes[0]


def test_auto_needs_a_gpu_too(tiny_sdxl: dict[str, str]) -> None:
    assert choose_generator("auto", SdxlConfig(**tiny_sdxl), "cpu")[0] == "render"


def test_sizes_and_control() -> None:
    image = np.random.default_rng(1).integers(0, 255, (45, 61, 3), np.uint8)
    grown = np.asarray(padded(image), np.uint8)
    assert grown.shape == (48, 64, 3) and np.array_equal(grown[:45, :61], image)
    control = control_image(grown, 4)
    assert control.shape == grown.shape and control.std() < grown.std()


def test_unreadable_seed_photo(tmp_path: Path) -> None:
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")
    request = Request(0, 0, "good", 1, 64, 64, RECIPES["good"], tmp_path / "torn.jpg", "id")
    with pytest.raises(DataError, match=r"torn\.jpg"):
        view_of(request)


def test_shards_make_what_one_run_makes(
    tiny_sdxl: dict[str, str], weld_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (gates, shards):
        monkeypatch.setattr(module, "BLOCK", 2)
    model = SdxlConfig(**tiny_sdxl, batch_size=3)
    config = SynthConfig(n=6, generator="sdxl", device="cpu", size_px=64, quality_images=0, sdxl=model)
    made = []
    for name, shard in (("whole", "1/1"), ("first", "1/2"), ("second", "2/2")):
        synth(weld_dataset, tmp_path / name, config.model_copy(update={"shard": shard}))
        opened = Dataset.open(tmp_path / name)
        made.append({sample.id: read_rgb(opened.path(sample)) for sample in opened.samples})
    whole, *parts = made
    joined = parts[0] | parts[1]
    assert len(parts[0]) == 4 and whole.keys() == joined.keys()
    assert all(np.abs(whole[name].astype(int) - joined[name]).max() <= 1 for name in whole)
