"""Photos with writing left on them start no image: the writing would be in all that is made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from weldgen.data.dataset import Dataset, Sample
from weldgen.data.images import RGB, read_rgb
from weldgen.errors import ConfigError, DataError
from weldgen.runtime import track
from weldgen.synthesis.generators import RENDER
from weldgen.synthesis.settings import SynthConfig

HasWriting = Callable[[RGB], bool]
# Given whether text detectors are to look as well as the ink network: what says whether there is writing on an image.
# A function of a module, so that worker processes can call it too.
WritingFinder = Callable[[bool], HasWriting]

# What `clean` wrote into a photo's metadata: pieces of writing that it could not take away.
_RESIDUAL = "residual"
_NAMED = 3


def photos_without_writing(
    photos: Dataset, config: SynthConfig, find_writing: WritingFinder | None
) -> tuple[Dataset, tuple[str, ...]]:
    """The dataset without the training photos that carry writing, and what is to be said about it.

    A photo that `clean` has looked at is not looked at again.

    Args:
        photos: Real photos whose split is decided.
        config: Settings.
        find_writing: Makes what finds writing, or None.

    Raises:
        ConfigError: `gates.writing=always`, and there is nothing that finds writing.
    """
    if config.gates.writing == "never":
        return photos, ()
    if find_writing is None and config.gates.writing == "always":
        raise ConfigError("gates.writing=always, but synth() was given no find_writing", "use weldgen synth")
    train = photos.select(split="train")
    looked_at = {sample.id: int(sample.extra[_RESIDUAL]) > 0 for sample in train if _RESIDUAL in sample.extra}
    unseen = [sample for sample in train if sample.id not in looked_at]
    if unseen and find_writing is None:
        notes: tuple[str, ...] = ("writing on the photos was not looked for",)
    else:
        notes = ()
        looked_at |= _look(photos, unseen, find_writing, config)
    marked = [sample for sample in train if looked_at.get(sample.id)]
    if marked:
        names = ", ".join(sample.file_name for sample in marked[:_NAMED]) + (", ..." if len(marked) > _NAMED else "")
        notes += (
            f"{len(marked)} of {len(train)} training photos carry writing, and no image is made from them: {names} "
            "(weldgen clean; gates.writing=never uses them as they are)",
        )
    out = {sample.id for sample in marked}
    return replace(photos, samples=tuple(s for s in photos.samples if s.id not in out)), notes


def _look(
    photos: Dataset, samples: list[Sample], find_writing: WritingFinder | None, config: SynthConfig
) -> dict[str, bool]:
    if not samples or find_writing is None:
        return {}
    has_writing = find_writing(config.generator != RENDER)
    found = {}
    for sample in track(samples, total=len(samples), description="writing", unit="photos"):
        try:
            found[sample.id] = has_writing(read_rgb(photos.path(sample)))
        except DataError:
            found[sample.id] = False  # it is reported where it is to be used
    return found


def finder_for_images(config: SynthConfig, find_writing: WritingFinder | None) -> WritingFinder | None:
    """What looks for writing on the images themselves, or None.

    The renderer draws none, and photos that carry some are left out, so `auto` looks only at what a diffusion model
    makes.
    """
    wanted = config.gates.writing == "always" or (config.gates.writing == "auto" and config.generator != RENDER)
    return find_writing if wanted else None
