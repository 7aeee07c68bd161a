"""The lora stage on a tiny SDXL of real classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from weldgen.cli import app
from weldgen.data.images import write_rgb
from weldgen.errors import BackendError, ConfigError, OutputError
from weldgen.pipeline import load_pipeline, plan
from weldgen.runfolder import RunFolder
from weldgen.synthesis.diffusion.generator import DiffusionGenerator
from weldgen.synthesis.diffusion.pipeline import load_pipeline as load_generator
from weldgen.synthesis.lora.folder import LORA
from weldgen.synthesis.lora.loop import Training
from weldgen.synthesis.lora.settings import LoraConfig
from weldgen.synthesis.lora.train import lora
from weldgen.synthesis.recipes import RECIPES
from weldgen.synthesis.requests import Request
from weldgen.synthesis.sdxl import SdxlConfig, licences_of

WEIGHTS = "pytorch_lora_weights.safetensors"
Settings = Callable[..., LoraConfig]


@pytest.fixture
def settings(tiny_sdxl: dict[str, str]) -> Settings:
    """A training of a few steps; sections that are given replace parts of its own."""

    def make(**sections: Any) -> LoraConfig:
        config = {
            "device": "cpu",
            "model": {"base": tiny_sdxl["model"], "turbo": tiny_sdxl["model"], "vae": tiny_sdxl["vae"]},
            "adapter": {"rank": 4, "alpha": 16},
            "data": {"size_px": 64, "prompts_per_photo": 2},
            "training": {"steps": 2, "batch_size": 2, "accumulation": 1, "lr": 1e-2, "gradient_checkpointing": False},
            "logging": {"checkpoint_every": 2, "preview_every": 0},
        }
        for name, section in sections.items():
            config[name] = {**config[name], **section} if name in config and isinstance(section, dict) else section
        return LoraConfig.model_validate(config)

    return make


def _request(photo: Path) -> Request:
    return Request(0, 0, "good", 5, 64, 64, RECIPES["good"], photo, "id")


def test_an_interrupted_run_ends_as_the_unbroken_one(
    settings: Settings, weld_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(training={"steps": 4, "accumulation": 2, "gradient_checkpointing": True})
    whole = lora(weld_dataset, tmp_path / "whole", config)
    real = Training._step

    def killed(training: Training, step: int) -> dict[str, float]:
        if step == 3:  # the checkpoint is of step 2
            raise KeyboardInterrupt
        return real(training, step)

    monkeypatch.setattr(Training, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        lora(weld_dataset, tmp_path / "broken", config)
    assert (tmp_path / "broken" / "checkpoint.pt").is_file() and not (tmp_path / "broken" / WEIGHTS).exists()
    monkeypatch.setattr(Training, "_step", real)
    torch.rand(7)  # whatever the process did meanwhile does not matter
    # what is only written on the way may change between the two
    often = config.model_copy(update={"logging": config.logging.model_copy(update={"checkpoint_every": 1})})
    lora(weld_dataset, tmp_path / "broken", often)
    assert _same_weights(tmp_path / "broken", tmp_path / "whole")
    histories = [json.loads((tmp_path / name / "lora.json").read_text())["history"] for name in ("whole", "broken")]
    assert histories[0] == histories[1] and [record["step"] for record in histories[0]] == [1, 2, 3, 4]
    assert whole.counts == {"photos": len(_record(tmp_path / "whole")["photos"]), "classes": 2, "steps": 4}
    left = {path.name for path in (tmp_path / "broken").iterdir()}
    assert left == {WEIGHTS, "lora.json", "run.json", "stage.json", "tensorboard"}
    assert lora(weld_dataset, tmp_path / "broken", config).skipped


def _same_weights(one: Path, other: Path) -> bool:
    """To the last bit; the files differ, as safetensors writes its metadata in any order."""
    from safetensors.torch import load_file

    first, second = load_file(one / WEIGHTS), load_file(other / WEIGHTS)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _record(out: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((out / "lora.json").read_text())
    return record


def test_alpha_survives_and_the_generator_takes_the_lora(
    settings: Settings, weld_dataset: Path, tiny_sdxl: dict[str, str], tmp_path: Path
) -> None:
    from safetensors import safe_open

    out = tmp_path / "lora"
    lora(weld_dataset, out, settings())
    with safe_open(out / WEIGHTS, "pt") as stored:
        metadata = json.loads(stored.metadata()["lora_adapter_metadata"])
    assert (metadata["unet.r"], metadata["unet.lora_alpha"]) == (4, 16)

    pipe = load_generator(SdxlConfig(**tiny_sdxl), "cpu")
    untouched = _unet_output(pipe.unet)
    pipe.load_lora_weights(str(out), adapter_name="weld")
    layer = next(module for module in pipe.unet.modules() if hasattr(module, "lora_A"))
    assert layer.scaling["weld"] == 4.0  # alpha / rank; without the metadata it would be 1
    pipe.unet.eval()  # a live LoRA comes with its dropout switched on
    live = _unet_output(pipe.unet)
    pipe.set_adapters("weld", 0.5)
    half = _unet_output(pipe.unet)
    pipe.unload_lora_weights()
    assert torch.equal(_unet_output(pipe.unet), untouched)
    assert (live - untouched).abs().max() > 1e-3
    for scale, expected in ((1.0, live), (0.5, half), (0.0, untouched)):  # fused into the weights, q, k and v joined
        model = SdxlConfig(**tiny_sdxl, lora=str(out), lora_scale=scale)
        assert torch.allclose(_unet_output(load_generator(model, "cpu").unet), expected, atol=1e-5)
    assert "unknown" in licences_of(model)[str(out)]  # that of the folder it was made from


def _unet_output(unet: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    condition = {"text_embeds": torch.randn(1, 16, generator=generator), "time_ids": torch.full((1, 6), 64.0)}
    with torch.no_grad():
        output: torch.Tensor = unet(
            torch.randn(1, 4, 8, 8, generator=generator),
            499,
            encoder_hidden_states=torch.randn(1, 77, 32, generator=generator),
            added_cond_kwargs=condition,
        ).sample
    return output


@pytest.fixture
def colour_model(tiny_sdxl: dict[str, str], tmp_path: Path) -> Path:
    """The tiny SDXL as a v-prediction model whose latents are colours, so that colours come out as they went in."""
    from diffusers import AutoencoderTiny, EulerDiscreteScheduler, StableDiffusionXLPipeline

    vae = AutoencoderTiny(
        encoder_block_out_channels=(4,) * 4, decoder_block_out_channels=(4,) * 4,
        num_encoder_blocks=(0,) * 4, num_decoder_blocks=(0,) * 4,
    )  # fmt: skip
    with torch.no_grad():
        for parameter in vae.parameters():
            torch.nn.init.dirac_(parameter) if parameter.ndim == 4 else parameter.zero_()
        vae.encoder.layers[-1].weight *= 2  # 0..1 to -1..1
        vae.encoder.layers[-1].bias[:3] = -1
        vae.decoder.layers[0].weight /= 2
        vae.decoder.layers[0].bias[:3] = 0.5
    pipe = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl["model"], vae=vae)
    pipe.scheduler = EulerDiscreteScheduler.from_config(
        pipe.scheduler.config, prediction_type="v_prediction", timestep_spacing="trailing"
    )
    pipe.save_pretrained(tmp_path / "colours")
    return tmp_path / "colours"


def test_a_lora_of_one_colour_moves_the_images_towards_it(
    settings: Settings, colour_model: Path, tiny_sdxl: dict[str, str], tmp_path: Path
) -> None:
    colour = np.array([200, 40, 30])
    rng = np.random.default_rng(0)
    for number in range(20):
        photo = np.clip(colour + rng.normal(0, 8, (64, 64, 3)), 0, 255).astype(np.uint8)
        write_rgb(tmp_path / "red" / "good" / f"{number}.png", photo)
    config = settings(
        train_on="turbo",
        model={"turbo": str(colour_model), "vae": ""},
        adapter={"rank": 8, "alpha": 16, "dropout": 0.0},
        training={"steps": 60, "batch_size": 4, "accumulation": 1, "gradient_checkpointing": False},
        split={"duplicate_bits": -1},
    )
    summary = lora(tmp_path / "red", tmp_path / "lora", config)
    assert summary.details["loss_last_tenth"] < 0.5 * summary.details["loss_first_tenth"]
    grey = tmp_path / "grey.png"
    write_rgb(grey, np.full((64, 64, 3), 128, np.uint8))

    def distance(lora_folder: str) -> float:
        generator = SdxlConfig(
            model=str(colour_model), controlnet=tiny_sdxl["controlnet"], vae="", lora=lora_folder, control_scale=0.0
        )
        image = DiffusionGenerator(generator, "cpu").generate([_request(grey)])[0].image
        return float(np.linalg.norm(image.mean((0, 1)) - colour))

    assert distance(str(tmp_path / "lora")) < 0.65 * distance("")


def test_previews_and_curves_change_nothing(settings: Settings, weld_dataset: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    lora(weld_dataset, tmp_path / "without", settings())
    shown = settings(logging={"preview_every": 1, "previews": 2, "preview_steps": 2})
    lora(weld_dataset, tmp_path / "with", shown)
    assert _same_weights(tmp_path / "with", tmp_path / "without")
    assert len(list((tmp_path / "with" / "previews").glob("*.png"))) == 2
    events = EventAccumulator(str(tmp_path / "with" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2]
    assert [event.step for event in events.Images("validation")] == [1, 2]


def test_half_precision_keeps_the_lora_in_fp32(settings: Settings, weld_dataset: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    shown = {"preview_every": 1, "previews": 1}
    config = settings(training={"steps": 1, "precision": "bf16"}, train_on="turbo", logging=shown)
    summary = lora(weld_dataset, tmp_path / "lora", config)
    assert summary.details["precision"] == "bf16"
    assert any("four-step" in note for note in summary.notes)
    assert (tmp_path / "lora" / "previews" / "step_000001.png").is_file()
    tensors = load_file(tmp_path / "lora" / WEIGHTS)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert all(name.startswith("unet.") for name in tensors)


def test_missing_weights_are_named_before_anything_is_written(
    settings: Settings, weld_dataset: Path, tmp_path: Path
) -> None:
    config = settings(model={"base": str(tmp_path / "nowhere"), "base_revision": "abc"})
    with pytest.raises(BackendError, match="nowhere, which is not on this machine") as raised:
        lora(weld_dataset, tmp_path / "out", config)
    assert "hf download" in raised.value.hint and "--revision abc" in raised.value.hint
    assert "--generator render" in raised.value.hint
    assert not (tmp_path / "out").exists()


def test_wrong_targets_are_named(settings: Settings, weld_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"adapter\.targets=\[to_z\]"):
        lora(weld_dataset, tmp_path / "out", settings(adapter={"targets": ["to_z"]}))


def test_foreign_files_are_refused_and_earlier_loras_moved_aside(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / WEIGHTS).write_text("mine")
    with pytest.raises(OutputError, match="not made by weldgen lora"), RunFolder(out, LORA, "one"):
        pass
    assert (out / WEIGHTS).read_text() == "mine"
    (out / WEIGHTS).unlink()
    with RunFolder(out, LORA, "one"):
        (out / WEIGHTS).write_text("first")
        with pytest.raises(OutputError, match="another weldgen run"), RunFolder(out, LORA, "one"):
            pass
    with RunFolder(out, LORA, "one") as folder:
        assert not folder.notes and (out / WEIGHTS).read_text() == "first"
    with RunFolder(out, LORA, "two") as folder:
        assert "previous" in folder.notes[0] and not (out / WEIGHTS).exists()
    assert (out / "previous" / "one" / WEIGHTS).read_text() == "first"


def test_a_damaged_photo_is_listed(settings: Settings, weld_dataset: Path, tmp_path: Path) -> None:
    torn = next((weld_dataset / "good_welds").iterdir())
    torn.write_bytes(torn.read_bytes()[:400])
    config = settings(training={"steps": 1}, split={"val": 0, "test": 0})
    summary = lora(weld_dataset, tmp_path / "out", config)
    assert summary.failures == 1
    assert torn.name in (tmp_path / "out" / "failures.jsonl").read_text()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["training.step=5"], 2, "did you mean 'training.steps'?"),
        (["train_on=both"], 2, "train_on='both'"),
        (["training.precision=fp16", "--device", "cpu"], 2, "fp16 needs a GPU"),
        (["model.base=nowhere/at_all"], 1, "nowhere/at_all, which is not on this machine"),
    ],
)
def test_errors_are_one_line(
    words: list[str], code: int, message: str, weld_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["lora", str(weld_dataset), *words])
    assert result.exit_code == code, result.output
    assert message in result.stderr and "Traceback" not in result.output
    assert not (tmp_path / "models").exists()


def test_a_chain_may_hold_it(weld_dataset: Path, tmp_path: Path) -> None:
    chain = tmp_path / "chain.yaml"
    chain.write_text(
        f"steps:\n  - stage: lora\n    inputs: {{dataset: {weld_dataset}}}\n"
        f"  - stage: synth\n    inputs: {{dataset: {weld_dataset}}}\n"
        "    config: {generator: render, sdxl: {lora: models/lora}}\n"
    )
    steps = plan(load_pipeline(chain, root=tmp_path))
    assert [(step.stage, state) for step, state in steps] == [("lora", "runs"), ("synth", "runs")]
