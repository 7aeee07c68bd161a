"""Stage `synth`: fill a folder with synthetic welds of every class of a dataset."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weldgen.data.dataset import Dataset, Failure, Sample
from weldgen.data.split import decide_split, require_labels
from weldgen.data.writer import KEY, DatasetWriter
from weldgen.errors import DataError
from weldgen.receipts import Summary, finished, stage_key, write_receipt
from weldgen.runtime import derive_seed, file_hash, resolve_jobs, track
from weldgen.synthesis.gates import HASH_BYTES, KnownHashes, nearest_bits
from weldgen.synthesis.generators import (
    RENDER,
    SDXL,
    GeneratorSettings,
    choose_generator,
    describe_fallback,
)
from weldgen.synthesis.plan import Planned, make_plan
from weldgen.synthesis.recipes import resolve_recipes
from weldgen.synthesis.requests import TRANSPLANT
from weldgen.synthesis.sdxl import SdxlConfig, lora_file, missing_parts
from weldgen.synthesis.settings import SynthConfig

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from weldgen.synthesis.making import Outcome, Workers


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
    settings = config.model_dump(mode="json", exclude=_not_in_key(config))
    plan = make_plan(replace(photos, labels=tuple(recipes)), recipes, config, settings)
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
    sdxl = config.sdxl
    if name == SDXL and sdxl.lora and Path(sdxl.lora).exists():
        sdxl = sdxl.model_copy(update={"lora_id": file_hash(lora_file(Path(sdxl.lora)))})
    return config.model_copy(update={"generator": name, "sdxl": sdxl})


def auto_generator(*, has_gpu: bool) -> str:
    """What `auto` is on this machine, in one sentence."""
    missing = missing_parts(SdxlConfig())
    return "sdxl" if has_gpu and not missing else describe_fallback(missing)


def _not_in_key(config: SynthConfig) -> dict[str, Any]:
    """Settings that change no image, or that the request holds already."""
    excluded: dict[str, Any] = dict.fromkeys(("n", "jobs", "device", "recipes", "split", "size_px"), True)
    excluded["sdxl"] = {"batch_size"} if config.generator == SDXL else True
    excluded["render"] = {"transplant"} if config.generator == RENDER else True  # the request holds what it decided
    return excluded


def _make_all(
    plan: Sequence[Planned], photos: Dataset, out: Path, config: SynthConfig
) -> tuple[list[Sample], list[Failure], int]:
    """Make what is missing; returns all samples, the failures and how many were made now."""
    import numpy as np

    from weldgen.synthesis.making import MakeSettings, Workers

    held_out, failures = _held_out_hashes(photos)
    suffix = Path(plan[0].file_name).suffix
    own = GeneratorSettings(config.render, config.sdxl, config.device)
    settings = MakeSettings(config.generator, own, config.gates, suffix, config.annotations == "masks", held_out)
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
        # views of one photo look alike and are meant to; only the same one twice is a copy
        alike = 0 if outcome.request.use == TRANSPLANT else config.gates.duplicate_bits
        if not reason and config.gates.duplicate_bits >= 0 and known.nearest(index, outcome.hash) <= alike:
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


def _sample(planned: Planned, outcome: Outcome, rejected: Sequence[str], config: SynthConfig) -> Sample:
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
            "use": request.use,
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
    return config.sdxl.licences if config.generator == SDXL else {}


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
