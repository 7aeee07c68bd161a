"""What the UNet learns from: latents of each photo and of its mirror image, embeddings of each prompt, kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weldgen.data.dataset import Dataset, Failure, Sample
from weldgen.data.images import read_rgb
from weldgen.errors import DataError
from weldgen.runtime import content_hash, derive_seed, output_errors, temporary_for, track
from weldgen.synthesis.diffusion.autoencoder import latents_of
from weldgen.synthesis.lora.settings import LoraConfig
from weldgen.synthesis.lora.shapes import cut_photo, fit_photo
from weldgen.synthesis.prompts import draw_photo_prompt
from weldgen.synthesis.recipes import Recipe

CACHE = "cache"


@dataclass(frozen=True)
class Shot:
    """One training photo, encoded.

    Attributes:
        sample: Where it comes from.
        prompts: What it may be called, see `prompts_per_photo`.
        mean: Mean of the latents of its views, (V, C, h, w) float32: the photo and, where asked for, its mirror image.
        std: Their standard deviation, of the same shape.
        time_ids: SDXL's size conditioning of each view, (V, 6) float32.
    """

    sample: Sample
    prompts: tuple[str, ...]
    mean: torch.Tensor
    std: torch.Tensor
    time_ids: torch.Tensor


@dataclass(frozen=True)
class TrainingData:
    """Everything that is encoded.

    Attributes:
        shots: The photos that can be read.
        embeddings: Prompt -> embeddings, (T, D), and pooled embeddings, (P,).
        failures: The files that cannot.
    """

    shots: tuple[Shot, ...]
    embeddings: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    failures: tuple[Failure, ...]


def encode_data(
    pipe: Any, photos: Dataset, recipes: Mapping[str, Recipe], cache: Path, config: LoraConfig
) -> TrainingData:
    """Encode all photos and prompts, or take them from the cache of an interrupted run.

    Args:
        pipe: The base on the device that encodes.
        photos: Training photos.
        recipes: Class -> what it looks like.
        cache: Folder of the encoded files.
        config: Settings.

    Raises:
        DataError: Not one photo can be read.
    """
    shots, failures = [], list(photos.failures)
    samples = photos.samples
    for sample in track(samples, total=len(samples), description="encode photos"):
        try:
            file = cache / f"photo-{content_hash(sample.id.encode())}.safetensors"
            tensors = cached(file, partial(_encode_file, pipe, photos.path(sample), config))
        except DataError as error:
            failures.append(Failure(sample.file_name, error.message))
            continue
        prompts = prompts_of_photo(sample, recipes[sample.label], config)
        shots.append(Shot(sample, prompts, tensors["mean"], tensors["std"], tensors["time_ids"]))
    if not shots:
        raise DataError(f"{photos.root}: not one training photo can be read: {failures[0].reason}")
    embeddings = encode_prompts(pipe, (prompt for shot in shots for prompt in shot.prompts), cache)
    return TrainingData(tuple(shots), embeddings, tuple(failures))


def prompts_of_photo(sample: Sample, recipe: Recipe, config: LoraConfig) -> tuple[str, ...]:
    """Prompts of a photo; they depend on the seed and the photo alone."""
    rng = np.random.default_rng(derive_seed(config.seed, "prompt", sample.id))
    return tuple(draw_photo_prompt(recipe, rng) for _ in range(config.data.prompts_per_photo))


def _encode_file(pipe: Any, path: Path, config: LoraConfig) -> dict[str, torch.Tensor]:
    return encode_photo(pipe, read_rgb(path), config)


def encode_photo(pipe: Any, photo: Any, config: LoraConfig) -> dict[str, torch.Tensor]:
    """`mean`, `std` and `time_ids` of a photo's views.

    Args:
        pipe: The base.
        photo: (H, W, 3) uint8 RGB.
        config: Settings.
    """
    fit = fit_photo(photo.shape[0], photo.shape[1], config.data.size_px, multiple_px(pipe))
    image = cut_photo(photo, fit)
    views = [image, image[:, ::-1]] if config.data.flip else [image]
    pixels = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2).to(pipe.vae.device, torch.float32) / 127.5 - 1
    with torch.inference_mode():
        mean, std = latents_of(pipe.vae, pixels)
    time_ids = [fit.time_ids(mirrored=bool(view)) for view in range(len(views))]
    return {
        "mean": mean.cpu().contiguous(),
        "std": std.cpu().contiguous(),
        "time_ids": torch.tensor(time_ids, dtype=torch.float32),
    }


def encode_prompts(pipe: Any, prompts: Iterable[str], cache: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Prompt -> embeddings, (T, D), and pooled embeddings, (P,), each encoded once."""

    def encode(prompt: str) -> dict[str, torch.Tensor]:
        with torch.inference_mode():
            embeds, _, pooled, _ = pipe.encode_prompt(prompt, do_classifier_free_guidance=False)
        return {"embeds": embeds[0].cpu().contiguous(), "pooled": pooled[0].cpu().contiguous()}

    result = {}
    for prompt in sorted(set(prompts)):
        file = cache / f"prompt-{content_hash(prompt.encode())}.safetensors"
        tensors = cached(file, partial(encode, prompt))
        result[prompt] = (tensors["embeds"], tensors["pooled"])
    return result


def multiple_px(pipe: Any) -> int:
    """What both sides of an image are divided by: the autoencoder's factor and the UNet's halvings."""
    return int(pipe.vae_scale_factor * 2 ** (len(pipe.unet.config.block_out_channels) - 1))


def cached(file: Path, make: Callable[[], Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Tensors of a file that is made where it is missing, whole or not at all."""
    from safetensors.torch import load_file, save_file

    if not file.is_file():
        tensors = dict(make())
        with output_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            save_file(tensors, temporary_for(file))
            temporary_for(file).replace(file)
    loaded: dict[str, torch.Tensor] = load_file(file)
    return loaded


def shape_groups(shots: Sequence[Shot], *, balance: bool) -> list[list[int]]:
    """Numbers of the shots by shape of their latents; with `balance` each class counts the same in all.

    A batch holds one shape. A rare class is made up to the most frequent one by repeating its shots in turn.
    """
    by_label: dict[str, list[int]] = {}
    for number, shot in enumerate(shots):
        by_label.setdefault(shot.sample.label, []).append(number)
    most = max(map(len, by_label.values()))
    groups: dict[tuple[int, ...], list[int]] = {}
    for numbers in by_label.values():
        for turn in range(most if balance else len(numbers)):
            number = numbers[turn % len(numbers)]
            groups.setdefault(tuple(shots[number].mean.shape), []).append(number)
    return [groups[shape] for shape in sorted(groups)]
