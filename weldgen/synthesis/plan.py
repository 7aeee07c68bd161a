"""What a run of `synth` is to make: an image's class, seed, size, and the photo it starts from, by its number alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weldgen.data.dataset import Dataset, Sample
from weldgen.errors import ConfigError
from weldgen.runtime import content_hash, derive_seed, file_hash
from weldgen.synthesis.diffusion.settings import INPAINT, PHOTO, TEXT
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
    masks = _masks(train, config.render.defect_masks)
    pools = _Pools(train, recipes, masks)
    plan = []
    for index in range(config.n):
        label = photos.labels[index % len(photos.labels)]
        use, photo, weld, donor = pools.sources(index, index // len(photos.labels), label, config)
        aspect = photo.width / photo.height if photo else _deal(shapes, config.seed, "shape", index)
        width, height = _size(aspect or _DEFAULT_ASPECT, config.size_px)
        request = Request(
            index=index,
            attempt=0,
            label=label,
            seed=derive_seed(config.seed, "synth", index, 0),
            width=width,
            height=height,
            recipe=recipes[label],
            photo=photos.path(photo) if photo else None,
            parent=photo.id if photo else "",
            use=use,
            weld=photos.path(weld) if weld else None,
            weld_parent=weld.id if weld else "",
            donor=photos.path(donor) if donor else None,
            donor_parent=donor.id if donor else "",
            donor_mask=masks.get(donor.id) if donor else None,
        )
        matters = [settings, index, label, width, height, recipes[label].model_dump(mode="json"), use, suffix]
        matters += [request.parent, request.weld_parent, request.donor_parent]
        matters += [file_hash(request.donor_mask)] if request.donor_mask else []
        file_name = f"{label}/{config.generator}_{index:06d}{suffix}"
        plan.append(Planned(request, file_name, content_hash(json.dumps(matters, sort_keys=True).encode())))
    return plan


_Sources = tuple[str, Sample | None, Sample | None, Sample | None]


class _Pools:
    """The training photos that images may start from.

    Args:
        train: All of them.
        recipes: How each class looks.
        masks: Ids of photos -> masks of their defects; where there are some, only these photos give defects.
    """

    def __init__(self, train: Sequence[Sample], recipes: Mapping[str, Recipe], masks: Mapping[str, Path]) -> None:
        self._train = train
        self._donors = [sample for sample in train if sample.id in masks] or train
        self._own = {label: [sample for sample in train if sample.label == label] for label in recipes}
        self._sound = [sample for sample in train if sample.label in recipes and not recipes[sample.label].defects]
        self._recipes = recipes

    def sources(self, index: int, turn: int, label: str, config: SynthConfig) -> _Sources:
        """What an image's photos are for, the photo that it starts from, a sound weld and a donor of defects.

        Args:
            index: Number of the image in the run.
            turn: Its number in its class, so that each class gets the same share of each use.
            label: Its class.
            config: Settings.
        """
        if config.diffusion is not None:
            return self._for_diffusion(index, label, config.diffusion.mode, config)
        if not self._sound or not _chance("use", turn, config.render.transplant, config):
            use = PATTERN if config.render.fit and self._train else ""
            return use, self._dealt(self._train, "photo", index, config) if use else None, None, None
        photo: Sample | None = self._dealt(self._sound, "photo", index, config)
        weld = donor = None
        if _chance("graft", turn, config.render.graft, config):
            weld, photo = photo, self._dealt(self._train, "plate", index, config)
            weld = None if weld is photo else weld
        if self._recipes[label].defects and _chance("donor", index, config.render.real_defects, config):
            own = [sample for sample in self._donors if sample.label == label]
            donor = self._dealt(own, "giver", index, config)
        return TRANSPLANT, photo, weld, donor

    def _for_diffusion(self, index: int, label: str, mode: str, config: SynthConfig) -> _Sources:
        """The same for a diffusion model, by what it starts from."""
        if mode == TEXT:
            return "", None, None, None
        if mode == PHOTO:
            return SEED, self._dealt(self._own[label], "photo", index, config), None, None
        if mode == INPAINT and self._sound:
            return TRANSPLANT, self._dealt(self._sound, "photo", index, config), None, None
        return PATTERN, self._dealt(self._train, "photo", index, config), None, None

    def _dealt(self, choices: Sequence[Sample], purpose: str, index: int, config: SynthConfig) -> Sample | None:
        dealt: Sample | None = _deal(choices, config.seed, purpose, index)
        return dealt


def _masks(train: Sequence[Sample], folder: str) -> dict[str, Path]:
    """Id of a photo -> the mask of its defects.

    Raises:
        ConfigError: The folder has no mask of any training photo.
    """
    if not folder:
        return {}
    named = {
        sample.id: Path(folder) / sample.label / Path(sample.file_name).with_suffix(".png").name for sample in train
    }
    found = {identity: path for identity, path in named.items() if path.is_file()}
    if not found:
        example = next(iter(named.values()), Path(folder))
        raise ConfigError(
            f"render.defect_masks={folder} holds no mask of a training photo; expected files such as {example}",
            "draw masks, white on the defects, of the size of the photos",
        )
    return found


def _chance(purpose: str, number: int, share: float, config: SynthConfig) -> bool:
    """Whether an image is among a share of all, by its number."""
    return derive_seed(config.seed, purpose, number) % 1000 < 1000 * share


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
