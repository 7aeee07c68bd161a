"""The small diffusion model that ships: its own weights, not a test's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from weldgen import weights
from weldgen.data.dataset import Dataset
from weldgen.synthesis.diffusion.generator import DiffusionGenerator
from weldgen.synthesis.diffusion.starts import view_of
from weldgen.synthesis.generate import SynthConfig, synth
from weldgen.synthesis.lora.settings import LoraConfig
from weldgen.synthesis.lora.train import lora
from weldgen.synthesis.recipes import RECIPES
from weldgen.synthesis.requests import RGB, SEED, Request
from weldgen.synthesis.tiny import TinyConfig


@pytest.fixture
def request_for(weld_dataset: Path) -> Request:
    photo = weld_dataset / "good_welds" / "good_welds_0.jpg"
    return Request(0, 0, "good", 11, 128, 96, RECIPES["good"], photo, "id", SEED)


def _made(config: TinyConfig, request: Request) -> RGB:
    return DiffusionGenerator(config, "cpu").generate([request])[0].image


def test_it_ships_whole_and_keeps_the_shape_of_a_photo(request_for: Request) -> None:
    weights.require("tiny")
    image, start = _made(TinyConfig(), request_for), view_of(request_for)
    assert image.shape == start.shape
    changed = np.abs(image.astype(int) - start)
    assert changed.mean() > 1.0  # an image of its own
    alike = np.corrcoef(image.mean(axis=2).ravel(), start.mean(axis=2).ravel())[0, 1]
    assert alike > 0.8  # of the same weld


def test_the_controlnet_holds_it_to_the_photo(request_for: Request) -> None:
    start = view_of(request_for).astype(float)
    free, held = (_made(TinyConfig(strength=0.9, control_scale=scale), request_for) for scale in (0.0, 1.0))
    away = [np.abs(image - start).mean() for image in (free, held)]
    assert away[1] < 0.8 * away[0]


def test_the_stage_makes_images_of_every_class(weld_dataset: Path, tmp_path: Path) -> None:
    config = SynthConfig(n=6, generator="tiny", device="cpu", size_px=96, tiny=TinyConfig(steps=5))
    summary = synth(weld_dataset, tmp_path / "out", config)
    assert {"id": "tiny", "licence": "MIT"} in summary.weights
    made = Dataset.open(tmp_path / "out")
    assert made.counts() == {"bad_welds": 2, "crack": 2, "good_welds": 2}
    assert all(sample.extra["licences"] == ["MIT"] for sample in made.samples)


def test_a_lora_is_trained_on_it_and_used(weld_dataset: Path, tmp_path: Path, request_for: Request) -> None:
    settings = {
        "training": {"steps": 4, "batch_size": 1, "accumulation": 1, "lr": 0.3, "warmup": 0.0},
        "data": {"size_px": 64, "prompts_per_photo": 1}, "logging": {"preview_every": 0},
    }  # fmt: skip
    lora(weld_dataset, tmp_path / "lora", LoraConfig(train_on="tiny", device="cpu", **settings))
    plain = _made(TinyConfig(), request_for)
    tuned = _made(TinyConfig(lora=str(tmp_path / "lora"), lora_scale=2.0, strength=0.4), request_for)
    assert np.abs(plain.astype(int) - tuned).max() > 2
