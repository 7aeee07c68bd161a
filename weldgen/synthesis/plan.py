"""What a run of `synth` is to make: an image's class, seed, size, and the photo it starts from, by its number alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weldgen.data.dataset import Dataset, Sample
from weldgen.runtime import content_hash, derive_seed
from weldgen.synthesis.generators import SDXL
from weldgen.synthesis.recipes import Recipe
from weldgen.synthesis.requests import PATTERN, SEED, TRANSPLANT, Request
from weldgen.synthesis.settings import MIN_SIDE_PX, SynthConfig

_DEFAULT_ASPECT = 1.5  # where there is no real photo
_MAX_ASPECT = 4.0
_JPEG_SUFFIXES = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Planned:
    """An image to be made: its first request, its file and the key of its settings."""

    request: Request
    file_name: str
    key: str


def make_plan(
    photos: Dataset, recipes: Mapping[str, Recipe], config: SynthConfig, settings: Mapping[str, Any]
) -> list[Planned]:
    """Every image of the run; number i is of class i modulo the number of classes.

    Args:
        photos: Real photos; only those of the train split are used.
        recipes: How each class looks.
        config: Settings.
        settings: Those of them that change an image.
    """
    train = photos.select(split="train")
    shapes = [sample.width / sample.height for sample in train] or [_DEFAULT_ASPECT]
    suffix = _suffix(train)
    own = {label: [sample for sample in train if sample.label == label] for label in photos.labels}
    sound = [sample for sample in train if sample.label in recipes and not recipes[sample.label].defects]
    plan = []
    for index in range(config.n):
        label = photos.labels[index % len(photos.labels)]
        photo, use = _photo_for(index, index // len(photos.labels), own[label], sound, train, config)
        aspect = photo.width / photo.height if photo else _deal(shapes, config.seed, "shape", index)
        width, height = _size(aspect or _DEFAULT_ASPECT, config.size_px)
        path, parent = (photos.path(photo), photo.id) if photo else (None, "")
        donor = _donor_for(index, own[label], config) if use == TRANSPLANT and recipes[label].defects else None
        given, giver = (photos.path(donor), donor.id) if donor else (None, "")
        seed = derive_seed(config.seed, "synth", index, 0)
        request = Request(index, 0, label, seed, width, height, recipes[label], path, parent, use, given, giver)
        recipe = recipes[label].model_dump(mode="json")
        matters = [settings, index, label, width, height, recipe, parent, giver, use, suffix]
        file_name = f"{label}/{config.generator}_{index:06d}{suffix}"
        plan.append(Planned(request, file_name, content_hash(json.dumps(matters, sort_keys=True).encode())))
    return plan


def _photo_for(
    index: int,
    turn: int,
    own: Sequence[Sample],
    sound: Sequence[Sample],
    train: Sequence[Sample],
    config: SynthConfig,
) -> tuple[Sample | None, str]:
    """The training photo that an image starts from, and what it is for.

    Args:
        index: Number of the image in the run.
        turn: Its number in its class, so that each class gets the same share of each use.
        own: Photos of its class.
        sound: Photos of sound welds.
        train: All photos.
        config: Settings.
    """
    if config.generator == SDXL:
        return _deal(own, config.seed, "photo", index), SEED
    if sound and derive_seed(config.seed, "use", turn) % 1000 < 1000 * config.render.transplant:
        return _deal(sound, config.seed, "photo", index), TRANSPLANT
    return (_deal(train, config.seed, "photo", index), PATTERN) if config.render.fit and train else (None, "")


def _donor_for(index: int, own: Sequence[Sample], config: SynthConfig) -> Sample | None:
    """The training photo whose real defects a transplant takes, or None where they are to be rendered."""
    if derive_seed(config.seed, "donor", index) % 1000 >= 1000 * config.render.real_defects:
        return None
    donor: Sample | None = _deal(own, config.seed, "giver", index)
    return donor


def _deal(choices: Sequence[Any], seed: int, purpose: str, index: int) -> Any:
    """One of the choices by the image's number, or None where there is none."""
    return choices[derive_seed(seed, purpose, index) % len(choices)] if choices else None


def _size(aspect: float, long_px: int) -> tuple[int, int]:
    """Width and height of a shape."""
    aspect = min(max(aspect, 1 / _MAX_ASPECT), _MAX_ASPECT)
    short_px = max(MIN_SIDE_PX, round(long_px / max(aspect, 1 / aspect)))
    return (long_px, short_px) if aspect >= 1 else (short_px, long_px)


def _suffix(photos: Sequence[Sample]) -> str:
    """The format of most photos, so that the format does not tell real from synthetic."""
    jpegs = sum(sample.file_name.lower().endswith(_JPEG_SUFFIXES) for sample in photos)
    return ".jpg" if 2 * jpegs >= len(photos) else ".png"
