"""Images a second of weldgen's diffusion loop against a plain diffusers loop with the same weights; LoRA steps too.

The plain loop is what scripts do: for each image one call with the prompt as text, the photo and the control image.
Ours goes through the generator: prompts encoded once, latents encoded together, batches. What it costs besides the
networks is measured too.

    python benchmarks/synth.py                    the tiny model that ships, on this machine
    python benchmarks/synth.py --full             SDXL's own sizes with random weights, on a GPU
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from weldgen.data.images import read_rgb, write_rgb
from weldgen.runtime import derive_seed
from weldgen.synthesis.diffusion.generator import DiffusionGenerator
from weldgen.synthesis.diffusion.pipeline import load_pipeline
from weldgen.synthesis.diffusion.settings import DiffusionConfig
from weldgen.synthesis.diffusion.starts import control_image
from weldgen.synthesis.prompts import draw_prompt
from weldgen.synthesis.recipes import RECIPES
from weldgen.synthesis.render.photos import render_photo
from weldgen.synthesis.requests import SEED, Request
from weldgen.synthesis.sdxl import SdxlConfig
from weldgen.synthesis.tiny import TinyConfig

FULL_BATCHES, TINY_BATCHES = (1, 4, 16, 32), (1, 4)


@dataclass
class Clock:
    """Seconds inside the networks."""

    seconds: float = 0.0
    wait: Callable[[], None] = field(default=lambda: None)

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **given: Any) -> Any:
            self.wait()
            start = time.perf_counter()
            result = call(*args, **given)
            self.wait()
            self.seconds += time.perf_counter() - start
            return result

        return timed


def requests_for(photo: Path, count: int, long_px: int) -> list[Request]:
    labels = ("good", "porosity", "crack", "spatter")
    return [
        Request(
            index, 0, labels[index % 4], derive_seed(0, index), long_px, 3 * long_px // 4, RECIPES[labels[index % 4]],
            photo, "id", SEED,
        )
        for index in range(count)
    ]  # fmt: skip


def plain_loop(pipe: Any, config: DiffusionConfig, requests: list[Request]) -> None:
    """One call an image, as scripts do it."""
    for request in requests:
        assert request.photo is not None
        photo = Image.fromarray(read_rgb(request.photo)).resize((request.width, request.height))
        pipe(
            prompt=draw_prompt(request.recipe, np.random.default_rng(request.seed)),
            image=photo,
            control_image=Image.fromarray(control_image(np.asarray(photo), config.tile_factor)),
            strength=config.chosen_strength,
            num_inference_steps=config.steps,
            guidance_scale=config.guidance,
            controlnet_conditioning_scale=config.control_scale,
            generator=torch.Generator("cpu").manual_seed(request.seed),
        )


def measure(config: DiffusionConfig, device: str, photo: Path, long_px: int, batches: tuple[int, ...], n: int) -> None:
    pipe = load_pipeline(config, device)
    wait = torch.cuda.synchronize if device.startswith("cuda") else (lambda: None)
    plain_loop(pipe, config, requests_for(photo, 2, long_px))  # warm
    wait()
    start = time.perf_counter()
    plain_loop(pipe, config, requests_for(photo, n, long_px))
    wait()
    plain = n / (time.perf_counter() - start)
    print(f"plain diffusers loop, {long_px} px: {plain:.2f} images/s", flush=True)
    del pipe
    generator = DiffusionGenerator(config, device)
    pipe = generator._pipe
    for batch in batches:
        ours = generator.at(config.model_copy(update={"batch_size": batch}))
        count = max(n, 2 * batch)
        ours.generate(requests_for(photo, batch, long_px))
        if device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats()
        wait()
        start = time.perf_counter()
        ours.generate(requests_for(photo, count, long_px))
        wait()
        rate = count / (time.perf_counter() - start)
        memory = f", peak {torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if device.startswith("cuda") else ""
        print(
            f"ours, batch {batch}: {rate:.2f} images/s, {rate / plain:.2f} x plain{memory}; "
            f"10,000 images: {10_000 / rate / 3600:.2f} h",
            flush=True,
        )
    clock = Clock(wait=wait)
    for part in (pipe.unet, pipe.controlnet):
        part.forward = clock.around(part.forward)
    pipe.vae.encode, pipe.vae.decode = clock.around(pipe.vae.encode), clock.around(pipe.vae.decode)
    start = time.perf_counter()
    generator.generate(requests_for(photo, n, long_px))
    whole = time.perf_counter() - start
    print(f"outside UNet, ControlNet and VAE: {1 - clock.seconds / whole:.1%} of the time", flush=True)


def lora_rate(photos: Path, steps: int) -> None:
    """Steps a second of `weldgen lora` on the tiny model, its start and encoding left out."""
    seconds = []
    for count in (steps, 3 * steps):
        with tempfile.TemporaryDirectory() as out:
            words = ["training.batch_size=4", "training.accumulation=1", f"training.steps={count}", "data.size_px=256"]
            command = [sys.executable, "-m", "weldgen.cli", "lora", str(photos), "--out", f"{out}/lora"]
            start = time.perf_counter()
            subprocess.run(
                [*command, "train_on=tiny", "logging.preview_every=0", *words], check=True, capture_output=True
            )
            seconds.append(time.perf_counter() - start)
    print(f"LoRA, batch 4 at 256 px: {2 * steps / (seconds[1] - seconds[0]):.2f} steps/s")


def full_size(device: str) -> tuple[DiffusionConfig, tempfile.TemporaryDirectory[str]]:
    """Folders of SDXL with random weights in half precision."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    from assets.tiny.stack import make_tokenizer
    from benchmarks.parts.full_size import full_size_parts

    folder = tempfile.TemporaryDirectory()
    torch.set_default_dtype(torch.float16)
    with torch.device(device):
        parts = full_size_parts()
    torch.set_default_dtype(torch.float32)
    root, tokenizer = Path(folder.name), make_tokenizer()
    pipe = StableDiffusionXLPipeline(
        vae=parts["vae"], text_encoder=parts["text_encoder"], text_encoder_2=parts["text_encoder_2"],
        tokenizer=tokenizer, tokenizer_2=tokenizer, unet=parts["unet"], scheduler=EulerDiscreteScheduler(),
    )  # fmt: skip
    pipe.save_pretrained(root / "model")
    parts["controlnet"].save_pretrained(root / "controlnet")
    return SdxlConfig(model=str(root / "model"), controlnet=str(root / "controlnet"), vae=""), folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="SDXL's own sizes, random weights; needs a GPU")
    parser.add_argument("--n", type=int, default=6)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder)
        for index in range(4):
            image = render_photo(index, ("good", "bad")[index % 2], 512, 384, marked=False)
            write_rgb(photos / ("good", "bad")[index % 2] / f"{index}.png", image)
        photo = photos / "good" / "0.png"
        if given.full:
            config, weights = full_size("cuda")
            with weights:
                measure(config, "cuda", photo, 512, FULL_BATCHES, given.n)
            return
        measure(TinyConfig(), "cpu", photo, 256, TINY_BATCHES, given.n)
        lora_rate(photos, 6)


if __name__ == "__main__":
    main()
