from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr

from weldgen.data.dataset import Dataset
from weldgen.errors import BackendError, ConfigError, DataError
from weldgen.synthesis.lora.batches import Batches, Order
from weldgen.synthesis.lora.data import encode_data, shape_groups
from weldgen.synthesis.lora.loop import learning_rate
from weldgen.synthesis.lora.loss import diffusion_loss, draw_timesteps, min_snr_weights, training_target
from weldgen.synthesis.lora.machine import choose_precision, make_optimizer
from weldgen.synthesis.lora.settings import TURBO_TIMESTEPS, LoraConfig, TrainingSettings
from weldgen.synthesis.lora.shapes import cut_photo, fit_photo
from weldgen.synthesis.lora.train import training_photos
from weldgen.synthesis.prompts import draw_photo_prompt
from weldgen.synthesis.recipes import DEFECT_KINDS, RECIPES, Recipe


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_min_snr_weights_are_those_of_the_paper(prediction: str) -> None:
    schedule = DDPMScheduler(beta_schedule="scaled_linear", prediction_type=prediction)
    timesteps = torch.tensor([0, 100, 500, 999])
    snr = compute_snr(schedule, timesteps)  # an oracle of diffusers' own
    expected = torch.minimum(snr, torch.full_like(snr, 5.0)) / (snr if prediction == "epsilon" else snr + 1)
    assert torch.allclose(min_snr_weights(schedule, timesteps, 5.0), expected)
    assert min_snr_weights(schedule, timesteps, 0.0).tolist() == [1.0] * 4


def test_no_signal_at_all_gives_no_nan() -> None:
    schedule = DDPMScheduler(beta_schedule="scaled_linear", rescale_betas_zero_snr=True)
    schedule.alphas_cumprod[-1] = 0.0
    assert min_snr_weights(schedule, torch.tensor([999]), 5.0).tolist() == [1.0]


def test_targets_follow_the_prediction_type() -> None:
    latents, noise, timesteps = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3), torch.tensor([10, 900])
    epsilon, velocity = (DDPMScheduler(prediction_type=kind) for kind in ("epsilon", "v_prediction"))
    assert training_target(epsilon, latents, noise, timesteps) is noise
    kept = velocity.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    expected = kept.sqrt() * noise - (1 - kept).sqrt() * latents
    assert torch.allclose(training_target(velocity, latents, noise, timesteps), expected, atol=1e-6)
    assert diffusion_loss(latents, latents + 2, torch.tensor([1.0, 0.5])).item() == pytest.approx(3.0)


def test_turbo_sees_its_four_timesteps_alone() -> None:
    schedule, generator = DDPMScheduler(), torch.Generator().manual_seed(0)
    assert set(draw_timesteps(200, schedule, "turbo", generator).tolist()) == set(TURBO_TIMESTEPS)
    drawn = draw_timesteps(2000, schedule, "base", generator)
    assert drawn.min() < 20 and drawn.max() > 980 and len(drawn.unique()) > 700


def test_turbo_timesteps_are_those_of_the_generator() -> None:
    from diffusers import EulerAncestralDiscreteScheduler

    sampler = EulerAncestralDiscreteScheduler(timestep_spacing="trailing")
    sampler.set_timesteps(4)
    assert sorted(sampler.timesteps.tolist()) == list(TURBO_TIMESTEPS)


def test_photos_keep_their_shape_and_say_what_was_cut() -> None:
    fit = fit_photo(2000, 3000, 512, 32)
    assert fit.target_px == (352, 512)  # 341 to the nearest multiple
    assert fit.resized_px == (352, 528) and fit.corner_px == (0, 8)
    assert fit.time_ids(mirrored=False) == (2000, 3000, 0, 8, 352, 512)
    odd = fit_photo(101, 80, 64, 16)
    assert odd.target_px == (64, 48) and min(np.subtract(odd.resized_px, odd.target_px)) >= 0
    right = odd.time_ids(mirrored=True)[3] + odd.corner_px[1]
    assert right == odd.resized_px[1] - odd.target_px[1]
    assert fit_photo(100, 1000, 512, 32).target_px == (128, 512)  # as narrow as synth goes
    photo = np.random.default_rng(0).integers(0, 255, (101, 80, 3), np.uint8)
    assert cut_photo(photo, odd).shape == (64, 48, 3)


def test_size_conditioning_has_the_pipelines_order(tiny_sdxl: dict[str, str]) -> None:
    from diffusers import StableDiffusionXLPipeline

    pipe = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl["model"])
    fit = fit_photo(90, 140, 64, 16)
    expected = pipe._get_add_time_ids(fit.original_px, fit.corner_px, fit.target_px, torch.float32, 16)
    assert expected[0].tolist() == list(fit.time_ids(mirrored=False))


def test_a_pass_holds_every_shot_and_one_shape_a_batch() -> None:
    groups = [[0, 1, 2, 3, 4], [5, 6]]
    order = Order(groups, 2, seed=3)
    batches = [order.at(number) for number in range(4)]
    assert {shot for batch in batches for shot in batch} == set(range(7))
    assert all(any(set(batch) <= set(group) for group in groups) for batch in batches)
    assert [order.at(number) for number in range(4, 8)] != batches
    assert order.at(1) == batches[1] == Order(groups, 2, seed=3).at(1)


def test_prompts_name_no_defect_that_a_photo_need_not_show() -> None:
    rng = np.random.default_rng(0)
    drawn = {draw_photo_prompt(RECIPES["bad"], rng) for _ in range(50)}
    assert all("{" not in prompt and not any(kind in prompt for kind in DEFECT_KINDS) for prompt in drawn)
    assert all("crack" in draw_photo_prompt(RECIPES["crack"], rng) for _ in range(10))
    own = Recipe(defects={"crack": 1, "spatter": 1}, prompts=("a weld on {metal}",))
    assert draw_photo_prompt(own, rng).startswith("a weld on ")


def test_cached_tensors_equal_fresh_ones(tiny_sdxl: dict[str, str], weld_dataset: Path, tmp_path: Path) -> None:
    from weldgen.synthesis.lora.base import load_base

    config = LoraConfig(device="cpu", data={"size_px": 64}, model={"base": tiny_sdxl["model"], "vae": tiny_sdxl["vae"]})
    photos, recipes = training_photos(weld_dataset, config)
    pipe = load_base(config, "fp32")
    first = encode_data(pipe, photos, recipes, tmp_path / "cache", config)
    again = encode_data(pipe, photos, recipes, tmp_path / "cache", config)
    shot, same = first.shots[0], again.shots[0]
    assert shot.mean.shape[0] == 2 and torch.equal(shot.mean, same.mean) and torch.equal(shot.std, same.std)
    height, width = (int(side) for side in shot.time_ids[0, 4:])
    assert shot.mean.shape[-2:] == (height // 8, width // 8)
    with torch.no_grad():
        for prompt, (embeds, pooled) in again.embeddings.items():
            fresh, _, fresh_pooled, _ = pipe.encode_prompt(prompt, do_classifier_free_guidance=False)
            assert torch.equal(embeds, fresh[0]) and torch.equal(pooled, fresh_pooled[0])
        image = cut_photo(_photo(photos, shot.sample), fit_photo(*_photo(photos, shot.sample).shape[:2], 64, 16))
        pixels = torch.from_numpy(np.stack([image, image[:, ::-1]])).permute(0, 3, 1, 2).float() / 127.5 - 1
        fresh = pipe.vae.encode(pixels).latent_dist.mean * pipe.vae.config.scaling_factor
    assert torch.allclose(shot.mean, fresh, atol=1e-6)
    batches = [Batches(data, DDPMScheduler(), config).at(5) for data in (first, again)]
    assert all(torch.equal(getattr(batches[0], name), getattr(batches[1], name)) for name in vars(batches[0]))


def _photo(photos: Dataset, sample: object) -> np.ndarray:
    from weldgen.data.images import read_rgb

    return read_rgb(photos.path(sample))  # type: ignore[arg-type]


def test_only_real_training_photos_are_learnt(weld_dataset: Path) -> None:
    config = LoraConfig(split={"val": 0.2, "test": 0.2, "duplicate_bits": -1})
    photos, recipes = training_photos(weld_dataset, config)
    assert Counter(sample.split for sample in photos.samples) == {"train": len(photos.samples)}
    assert len(photos.samples) < 10 and set(recipes) == {"good_welds", "bad_welds"}
    one, _ = training_photos(weld_dataset, LoraConfig(data={"classes": ("good_welds",)}))
    assert {sample.label for sample in one.samples} == {"good_welds"}
    with pytest.raises(ConfigError, match="no class 'goood'"):
        training_photos(weld_dataset, LoraConfig(data={"classes": ("goood",)}))
    (weld_dataset / "good_welds").rename(weld_dataset / "batch_7")
    with pytest.raises(ConfigError, match="batch_7") as raised:
        training_photos(weld_dataset, LoraConfig())
    assert "lora.recipes.batch_7" in raised.value.hint


def test_no_photo_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        training_photos(tmp_path / "nowhere", LoraConfig())
    (tmp_path / "empty" / "good").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no image"):
        training_photos(tmp_path / "empty", LoraConfig())


def test_rare_classes_come_as_often(tiny_sdxl: dict[str, str]) -> None:
    from weldgen.data.dataset import Sample
    from weldgen.synthesis.lora.data import Shot

    def shot(number: int, label: str) -> Shot:
        empty = torch.zeros(1, 4, 8, 8)
        return Shot(Sample(f"{number}.png", str(number), label), (), empty, empty, torch.zeros(1, 6))

    shots = [shot(number, "good" if number < 6 else "bad") for number in range(8)]
    assert Counter(number < 6 for number in shape_groups(shots, balance=True)[0]) == {True: 6, False: 6}
    assert shape_groups(shots, balance=False) == [list(range(8))]


def test_learning_rate_rises_then_falls() -> None:
    settings = TrainingSettings(steps=100, lr=1.0, warmup=0.1)
    rates = [learning_rate(step, settings) for step in range(100)]
    assert rates[0] < 0.1 and rates[10] == 1.0 and rates[-1] < 0.01
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)
    level = settings.model_copy(update={"schedule": "constant"})
    assert learning_rate(99, level) == 1.0


def test_precision_and_optimizer_fit_the_machine() -> None:
    assert choose_precision("auto", "cpu") == "fp32" and choose_precision("bf16", "cpu") == "bf16"
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        choose_precision("fp16", "cpu")
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer, name = make_optimizer([parameter], TrainingSettings(), "cpu")
    assert (type(optimizer).__name__, name) == ("AdamW", "adamw")
    if not _has_bitsandbytes():
        with pytest.raises(BackendError, match="bitsandbytes") as raised:
            make_optimizer([parameter], TrainingSettings(optimizer="adam8bit"), "cuda")
        assert "pip install bitsandbytes" in raised.value.hint


def _has_bitsandbytes() -> bool:
    import importlib.util

    return importlib.util.find_spec("bitsandbytes") is not None
