"""Stage `synth`: fill a folder with synthetic welds of every class of a dataset."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from weldgen.config import StageConfig
from weldgen.data.dataset import Dataset, Failure, Sample
from weldgen.data.split import SplitConfig, decide_split, require_labels
from weldgen.data.writer import KEY, DatasetWriter
from weldgen.errors import DataError
from weldgen.receipts import Summary, finished, stage_key, write_receipt
from weldgen.runtime import content_hash, derive_seed, resolve_jobs, track
from weldgen.synthesis.gates import HASH_BYTES, GateConfig, KnownHashes, nearest_bits
from weldgen.synthesis.generators import GENERATORS, choose_generator, describe_fallback
from weldgen.synthesis.recipes import Recipe, resolve_recipes
from weldgen.synthesis.requests import Request
from weldgen.synthesis.sdxl import SdxlConfig, missing_parts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from weldgen.synthesis.making import Outcome, Workers

_DEFAULT_ASPECT = 1.5  # where there is no real photo
_MAX_ASPECT = 4.0
_MIN_SIDE_PX = 64
_JPEG_SUFFIXES = (".jpg", ".jpeg")


class SynthConfig(StageConfig):
    """How many images, made how."""

    n: int = Field(1000, ge=1, description="images in all, dealt out evenly over the classes")
    generator: str = Field("auto", description="auto, render or sdxl; auto: sdxl where its weights and a GPU are here")
    size_px: int = Field(512, ge=_MIN_SIDE_PX, le=4096, description="long side; shapes are those of the real photos")
    annotations: str = Field(
        "none", pattern="^(none|masks)$", description="none, or masks/<class>/*.png of the defects"
    )
    recipes: dict[str, str | Recipe] = Field(
        default_factory=dict, description="class -> known recipe or one in full; most class names need none"
    )
    sdxl: SdxlConfig = SdxlConfig()
    gates: GateConfig = GateConfig()
    split: SplitConfig = SplitConfig()


def synth(dataset: Path, out: Path, config: SynthConfig) -> Summary:
    """Make `config.n` synthetic images, the same number of each class.

    Only photos of the train split are looked at, for their shapes and, by generators that start from photos, as
    seeds; those of validation and test serve to refuse copies of them. An image depends on the settings, its number
    and its class alone, so a larger `n` adds to what is there and an interrupted run goes on.

    Args:
        dataset: Dataset of real photos; a class may be empty.
        out: Target folder.
        config: Settings.

    Raises:
        ConfigError: A class has no recipe.
        BackendError: A generator's weights are missing.
        DataError: The dataset cannot be used, or one image was refused too often.
    """
    started = time.monotonic()
    _, notes = choose_generator(config.generator, config.sdxl, config.device)
    config = resolve_config(config)
    name = config.generator
    inputs = {"dataset": dataset}
    key = stage_key("synth", config, inputs)
    done = finished(out, key)
    if done:
        return done
    photos = Dataset.open(dataset)
    require_labels(photos)
    photos = decide_split(photos.where(lambda sample: sample.origin == "real"), config.split, config.seed)
    recipes, unknown = resolve_recipes(photos.counts(), config.recipes)
    plan = _plan(replace(photos, labels=tuple(recipes)), recipes, config)
    samples, failures, made = _make_all(plan, photos, out, config)
    seconds = time.monotonic() - started
    rejected = Counter(reason for sample in samples for reason in sample.extra["rejected"])
    counts = {"images": len(samples), "made": made, "rejected": rejected.total()}
    details = {
        "generator": name,
        "classes": dict(Counter(sample.label for sample in samples)),
        "rejected": dict(rejected),
        "images_per_second": round(made / seconds, 2),
    }
    weights = [{"id": part, "licence": licence} for part, licence in _licences(config).items()]
    notes = (*notes, *unknown, *_cold_start_notes(replace(photos, labels=tuple(recipes)), name))
    summary = Summary("synth", out, counts, len(failures), notes, tuple(weights), details, seconds)
    write_receipt(out, key, config, inputs, summary)
    return summary


def resolve_config(config: SynthConfig) -> SynthConfig:
    """The configuration with `auto` decided; it is part of the run's key."""
    name, _ = choose_generator(config.generator, config.sdxl, config.device)
    return config.model_copy(update={"generator": name})


def auto_generator(*, has_gpu: bool) -> str:
    """What `auto` is on this machine, in one sentence."""
    missing = missing_parts(SdxlConfig())
    return "sdxl" if has_gpu and not missing else describe_fallback(missing)


@dataclass(frozen=True)
class _Planned:
    """An image to be made: its first request, its file and the key of its settings."""

    request: Request
    file_name: str
    key: str


def _plan(photos: Dataset, recipes: Mapping[str, Recipe], config: SynthConfig) -> list[_Planned]:
    """Every image of the run; number i is of class i modulo the number of classes."""
    train = photos.select(split="train")
    shapes = [sample.width / sample.height for sample in train] or [_DEFAULT_ASPECT]
    suffix = _suffix(train)
    uses_photos = GENERATORS[config.generator].uses_photos
    seeds = {label: [s for s in train if s.label == label] if uses_photos else [] for label in photos.labels}
    settings = config.model_dump(mode="json", exclude=_not_in_key(config))
    plan = []
    for index in range(config.n):
        label = photos.labels[index % len(photos.labels)]
        photo = _deal(seeds[label], config.seed, "photo", index)
        aspect = photo.width / photo.height if photo else _deal(shapes, config.seed, "shape", index)
        width, height = _size(aspect or _DEFAULT_ASPECT, config.size_px)
        path, parent = (photos.path(photo), photo.id) if photo else (None, "")
        seed = derive_seed(config.seed, "synth", index, 0)
        request = Request(index, 0, label, seed, width, height, recipes[label], path, parent)
        matters = [settings, index, label, width, height, recipes[label].model_dump(mode="json"), parent, suffix]
        file_name = f"{label}/{config.generator}_{index:06d}{suffix}"
        plan.append(_Planned(request, file_name, content_hash(json.dumps(matters, sort_keys=True).encode())))
    return plan


def _not_in_key(config: SynthConfig) -> dict[str, Any]:
    """Settings that change no image, or that the request holds already."""
    excluded: dict[str, Any] = dict.fromkeys(("n", "jobs", "device", "recipes", "split", "size_px"), True)
    excluded["sdxl"] = {"batch_size"} if config.generator == "sdxl" else True
    return excluded


def _deal(choices: Sequence[Any], seed: int, purpose: str, index: int) -> Any:
    """One of the choices by the image's number, or None where there is none."""
    return choices[derive_seed(seed, purpose, index) % len(choices)] if choices else None


def _size(aspect: float, long_px: int) -> tuple[int, int]:
    """Width and height of a shape."""
    aspect = min(max(aspect, 1 / _MAX_ASPECT), _MAX_ASPECT)
    short_px = max(_MIN_SIDE_PX, round(long_px / max(aspect, 1 / aspect)))
    return (long_px, short_px) if aspect >= 1 else (short_px, long_px)


def _suffix(photos: Sequence[Sample]) -> str:
    """The format of most photos, so that the format does not tell real from synthetic."""
    jpegs = sum(sample.file_name.lower().endswith(_JPEG_SUFFIXES) for sample in photos)
    return ".jpg" if 2 * jpegs >= len(photos) else ".png"


def _make_all(
    plan: Sequence[_Planned], photos: Dataset, out: Path, config: SynthConfig
) -> tuple[list[Sample], list[Failure], int]:
    """Make what is missing; returns all samples, the failures and how many were made now."""
    import numpy as np

    from weldgen.synthesis.making import MakeSettings, Workers

    held_out, failures = _held_out_hashes(photos)
    suffix = Path(plan[0].file_name).suffix
    settings = MakeSettings(
        config.generator, config.sdxl, config.device, config.gates, suffix, config.annotations == "masks", held_out
    )
    keys = {planned.file_name: planned.key for planned in plan}

    def valid(record: Mapping[str, Any]) -> bool:
        bits = np.frombuffer(bytes.fromhex(record.get("hash", "")), np.uint8)
        return keys.get(record["file_name"]) == record.get(KEY) and (
            nearest_bits(bits, held_out) > config.gates.duplicate_bits  # photos may have joined since
        )

    with DatasetWriter(out, valid) as writer, Workers(settings, resolve_jobs(config.jobs)) as workers:
        todo = [planned for planned in plan if planned.file_name not in writer.done]
        known = KnownHashes(config.n)
        for planned in plan:
            if planned.file_name in writer.done:
                known.add(planned.request.index, bytes.fromhex(writer.done[planned.file_name]["hash"]))
        outcomes = workers.run(planned.request for planned in todo)
        pairs = zip(todo, outcomes, strict=True)
        for planned, first in track(pairs, total=len(todo), description="synth"):
            outcome, rejected = _until_accepted(first, known, workers, config)
            if outcome.error:
                failures.append(Failure(planned.file_name, outcome.error))
                continue
            known.add(planned.request.index, outcome.hash)
            if outcome.mask:
                writer.add_side_file(f"masks/{Path(planned.file_name).with_suffix('.png').as_posix()}", outcome.mask)
            writer.add(_sample(planned, outcome, rejected, config), outcome.data, planned.key)
        samples = writer.finish(failures, photos.labels)
    return samples, failures, len(todo) - len(failures)


def _until_accepted(
    outcome: Outcome, known: KnownHashes, workers: Workers, config: SynthConfig
) -> tuple[Outcome, list[str]]:
    """Make an image anew, each time with the next seed, until it passes; returns it and why others did not.

    Raises:
        DataError: It was refused `gates.attempts` times.
    """
    rejected: list[str] = []
    while not outcome.error:
        reason = outcome.rejected
        index = outcome.request.index
        if not reason and known.nearest(index, outcome.hash) <= config.gates.duplicate_bits:
            reason = "copy of another synthetic image"
        if not reason:
            break
        rejected.append(reason)
        if len(rejected) >= config.gates.attempts:
            reasons = ", ".join(f"{count} x {why}" for why, count in Counter(rejected).most_common())
            raise DataError(
                f"image {index} of class '{outcome.request.label}' was refused {len(rejected)} times: {reasons}",
                "loosen gates.*, or change recipes or sdxl.*, and run the same command again",
            )
        attempt = outcome.request.attempt + 1
        seed = derive_seed(config.seed, "synth", index, attempt)
        outcome = next(workers.run([replace(outcome.request, attempt=attempt, seed=seed)]))
    return outcome, rejected


def _sample(planned: _Planned, outcome: Outcome, rejected: Sequence[str], config: SynthConfig) -> Sample:
    request = outcome.request
    return Sample(
        file_name=planned.file_name,
        id="",
        label=request.label,
        split="train",
        origin="synthetic",
        parents=(request.parent,) if request.parent else (),
        seed=request.seed,
        width=request.width,
        height=request.height,
        extra={
            "generator": config.generator,
            "attempt": request.attempt,
            "rejected": list(rejected),
            "defects": list(outcome.defects),
            "prompt": outcome.prompt,
            "licences": sorted(set(_licences(config).values())),
            "hash": outcome.hash.hex(),
        },
    )


def _licences(config: SynthConfig) -> dict[str, str]:
    """Third-party weights that had a hand in the images, with their licences."""
    return config.sdxl.licences if config.generator == "sdxl" else {}


def _held_out_hashes(photos: Dataset) -> tuple[npt.NDArray[np.uint8], list[Failure]]:
    """Hashes of the validation and test photos, (N, 32), and the files that cannot be read."""
    import numpy as np

    from weldgen.data.images import read_rgb
    from weldgen.synthesis.gates import picture_hash

    hashes, failures = [], list(photos.failures)
    for sample in [*photos.select(split="val"), *photos.select(split="test")]:
        try:
            hashes.append(picture_hash(read_rgb(photos.path(sample))))
        except DataError as error:
            failures.append(Failure(sample.file_name, error.message))
    return np.array(hashes, np.uint8).reshape(-1, HASH_BYTES), failures


def _cold_start_notes(photos: Dataset, generator: str) -> list[str]:
    empty = [label for label in photos.labels if not photos.select(label=label, split="train")]
    if not empty:
        return []
    return [f"no training photo of {', '.join(empty)}: made from the recipe alone ({generator})"]
