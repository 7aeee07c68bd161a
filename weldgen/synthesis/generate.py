"""Stage `synth`: fill a folder with synthetic welds of every class of a dataset."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weldgen.data.dataset import Dataset, Failure, Sample
from weldgen.data.sample import DEFECT_MASK
from weldgen.data.split import decide_split, require_labels
from weldgen.data.writer import KEY, DatasetWriter
from weldgen.receipts import Summary, finished, stage_key, write_receipt
from weldgen.runtime import file_hash, resolve_jobs, track
from weldgen.synthesis.diffusion.settings import PHOTO, TEXT
from weldgen.synthesis.gates import nearest_bits
from weldgen.synthesis.generators import (
    SDXL,
    GeneratorSettings,
    choose_generator,
    describe_fallback,
)
from weldgen.synthesis.plan import Planned, make_plan
from weldgen.synthesis.recipes import Recipe, resolve_recipes
from weldgen.synthesis.requests import PATTERN, TRANSPLANT
from weldgen.synthesis.sdxl import SdxlConfig, licences_of, lora_file, missing_parts
from weldgen.synthesis.settings import SynthConfig
from weldgen.synthesis.shards import join, mask_name, own_part
from weldgen.synthesis.tiny import TINY, TINY_PX
from weldgen.synthesis.transfer import TRIED, pass_gate, with_transfer

if TYPE_CHECKING:
    from weldgen.synthesis.making import Outcome
    from weldgen.synthesis.reference import KnownPhotos
    from weldgen.synthesis.writing import WritingFinder

# Sizes beyond this many times that of `tiny` are worth a note.
_LARGE_FOR_TINY = 1.3
# A class of whose tries more than this were refused is worth a note.
_MANY_REFUSED, _LEAST_REFUSED = 0.3, 10


def synth(dataset: Path, out: Path, config: SynthConfig, find_writing: WritingFinder | None = None) -> Summary:
    """Make `config.n` synthetic images, the same number of each class.

    Only photos of the train split are looked at, for their shapes and, by generators that start from photos, as
    seeds; those of validation and test serve to refuse copies of them. An image depends on the settings, its number,
    its class and the photos alone, so a larger `n` adds to what is there and an interrupted run goes on.

    Args:
        dataset: Dataset of real photos; a class may be empty.
        out: Target folder.
        config: Settings.
        find_writing: Makes what finds writing on an image, given whether text detectors are to look too; a function
            of a module, for worker processes call it too. Without it writing is not looked for.

    Raises:
        ConfigError: A class has no recipe.
        BackendError: A generator's weights are missing.
        DataError: The dataset cannot be used, or too many images were refused.
    """
    from weldgen.synthesis.annotations import write_annotations
    from weldgen.synthesis.measuring import measure_quality
    from weldgen.synthesis.reference import know_photos
    from weldgen.synthesis.writing import photos_without_writing

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
    usable, on_writing = photos_without_writing(photos, config, find_writing)
    known = know_photos(photos, config)
    wanted = replace(usable, labels=tuple(recipes))
    config, by_gate = _decided(config, wanted, recipes, known)
    notes, key = (*notes, *by_gate), stage_key("synth", config, inputs)
    plan = make_plan(wanted, recipes, config, _in_key(config))
    samples, failures, made = _make_all(plan, known, out, config, find_writing)
    seconds = time.monotonic() - started
    objects = write_annotations(config.annotations, out, samples)
    quality = measure_quality(samples, out, known, config)
    rejected = Counter(reason for sample in samples for reason in sample.extra["rejected"])
    counts = {"images": len(samples), "made": made, "rejected": rejected.total()}
    if config.annotations in ("yolo", "coco"):
        counts["annotated objects"] = objects
    details = {
        "generator": name,
        "classes": dict(Counter(sample.label for sample in samples)),
        "rejected": dict(rejected),
        "images_per_second": round(made / seconds, 2),
        "quality": quality,
    }
    weights = (*({"id": part, "licence": licence} for part, licence in _licences(config).items()), *known.weights)
    notes = (*notes, *unknown, *_cold_start_notes(replace(photos, labels=tuple(recipes)), name))
    if name == TINY and config.size_px > _LARGE_FOR_TINY * TINY_PX:
        notes += (
            f"generator tiny: made for {TINY_PX} pixels; size_px={config.size_px} looks coarser and takes longer",
        )
    notes += (*on_writing, *known.notes, *_unseen_weld_notes(plan, samples), *_refusal_notes(samples))
    summary = Summary("synth", out, counts, len(failures), notes, weights, details, time.monotonic() - started)
    write_receipt(out, key, config, inputs, summary)
    return summary


def resolve_config(config: SynthConfig) -> SynthConfig:
    """The configuration with `auto` decided; it is part of the run's key."""
    name, _ = choose_generator(config.generator, config.sdxl, config.device)
    config = config.model_copy(update={"generator": name})
    model = config.diffusion
    if model is None or not model.lora or not Path(model.lora).exists():
        return config
    known = model.model_copy(update={"lora_id": file_hash(lora_file(Path(model.lora)))})
    return config.model_copy(update={name: with_transfer(known, config.generator)})


def _decided(
    config: SynthConfig, photos: Dataset, recipes: dict[str, Recipe], known: KnownPhotos
) -> tuple[SynthConfig, tuple[str, ...]]:
    """The configuration with what a diffusion model's settings leave open, and sentences on it."""
    model = config.diffusion
    if model is None or not model.undecided:
        return config, ()
    tried = make_plan(photos, recipes, config.model_copy(update={"n": TRIED * len(recipes)}), _in_key(config))
    requests = [planned.request for planned in tried]
    model, said = pass_gate(model, config.generator, requests, known, config.device, config.render.fit)
    return config.model_copy(update={config.generator: model}), said


def auto_generator(*, has_gpu: bool) -> str:
    """What `auto` is on this machine, in one sentence."""
    missing = missing_parts(SdxlConfig())
    return "sdxl" if has_gpu and not missing else describe_fallback(missing)


def _in_key(config: SynthConfig) -> dict[str, Any]:
    """The settings that change an image and that its request does not hold already."""
    excluded: dict[str, Any] = dict.fromkeys(
        ("n", "jobs", "device", "recipes", "split", "size_px", "shard", "join"), True
    )
    excluded |= {"quality_images": True, "gates": {"attempts", "max_rejected"}}
    for name in (SDXL, TINY):
        excluded[name] = {"batch_size", "compile", "offload"} if config.generator == name else True
    # the request holds what these decide
    excluded["render"] = {"transplant", "graft", "real_defects", "defect_masks"}
    if config.diffusion is not None and config.diffusion.mode in (PHOTO, TEXT):
        excluded["render"] = True
    return config.model_dump(mode="json", exclude=excluded)


def _make_all(
    plan: Sequence[Planned], known: KnownPhotos, out: Path, config: SynthConfig, find_writing: WritingFinder | None
) -> tuple[list[Sample], list[Failure], int]:
    """Make what is missing; returns all samples, the failures and how many were made now."""
    from weldgen.synthesis.accepting import Acceptance
    from weldgen.synthesis.making import MakeSettings, Workers
    from weldgen.synthesis.writing import finder_for_images

    failures = list(known.failures)
    settings = MakeSettings(
        generator=config.generator,
        own=GeneratorSettings(config.render, config.sdxl, config.tiny, config.device),
        gates=config.gates,
        suffix=Path(plan[0].file_name).suffix,
        masks=config.annotations != "none",
        held_out=known.hashes,
        reference=known.reference,
        find_writing=finder_for_images(config, find_writing),
    )
    identity = known.reference.identity if known.reference else ""
    valid = _validity(plan, known, config)
    plan = own_part(plan, config.shard)
    with (
        DatasetWriter(out, lambda record: valid(record, out)) as writer,
        Workers(settings, resolve_jobs(config.jobs)) as workers,
    ):
        join(config.join, writer, valid)
        todo = [planned for planned in plan if planned.file_name not in writer.done]
        acceptance = Acceptance(workers, config)
        in_order = iter(plan)
        pairs = zip(todo, workers.run(planned.request for planned in todo), strict=True)
        for planned, first in track(pairs, total=len(todo), description="synth"):
            for earlier in takewhile(lambda other, now=planned: other is not now, in_order):  # type: ignore[misc]
                acceptance.remember(earlier.request.index, writer.done[earlier.file_name])
            outcome, rejected = acceptance.settle(first)
            if outcome.error:
                failures.append(Failure(planned.file_name, outcome.error))
                continue
            if outcome.mask:
                writer.add_side_file(mask_name(planned.file_name), outcome.mask)
            writer.add(_sample(planned, outcome, rejected, identity, config), outcome.data, planned.key)
        samples = writer.finish(failures, known.labels)
    return samples, failures, len(todo) - len(failures)


def _validity(
    plan: Sequence[Planned], known: KnownPhotos, config: SynthConfig
) -> Callable[[dict[str, Any], Path], bool]:
    """Whether an image of an earlier run, given its metadata line and its folder, is what this run would make."""
    import numpy as np

    from weldgen.synthesis.accepting import retried
    from weldgen.synthesis.judge import still_passes

    of_name = {planned.file_name: planned for planned in plan}

    def valid(record: dict[str, Any], root: Path) -> bool:
        planned = of_name.get(record["file_name"])
        if planned is None or planned.key != record.get(KEY):
            return False
        bits = np.frombuffer(bytes.fromhex(record["hash"]), np.uint8)
        if nearest_bits(bits, known.hashes) <= config.gates.duplicate_bits:  # photos may have joined since
            return False
        request = retried(planned.request, record["attempt"], config.seed)
        return still_passes(record, request, root / planned.file_name, known.reference)

    return valid


def _sample(planned: Planned, outcome: Outcome, rejected: Sequence[str], identity: str, config: SynthConfig) -> Sample:
    request = outcome.request
    return Sample(
        file_name=planned.file_name,
        id="",
        label=request.label,
        split="train",
        origin="synthetic",
        parents=request.parents,
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
            **({DEFECT_MASK: mask_name(planned.file_name)} if outcome.mask and outcome.defects else {}),
            **outcome.verdict.record(identity),
        },
    )


def _licences(config: SynthConfig) -> dict[str, str]:
    """Third-party weights that had a hand in the images, with their licences."""
    return licences_of(config.diffusion) if config.diffusion else {}


def _unseen_weld_notes(plan: Sequence[Planned], samples: Sequence[Sample]) -> list[str]:
    """Photos in whose welds nothing could be put, for nobody knows where they lie."""
    asked = {planned.file_name: planned.request for planned in plan}
    rendered = [
        sample for sample in samples
        if asked[sample.file_name].use == TRANSPLANT and sample.extra["use"] == PATTERN
    ]  # fmt: skip
    photos = sorted({photo.name for sample in rendered if (photo := asked[sample.file_name].photo)})
    if not photos:
        return []
    return [
        f"{len(rendered)} of {len(samples)} images were rendered although their photos were to be shown: no certain"
        f" outline of a weld in {len(photos)} of them, such as {photos[0]}"
    ]


def _refusal_notes(samples: Sequence[Sample]) -> list[str]:
    """Classes of which much was refused."""
    from weldgen.synthesis.accepting import counted

    notes = []
    for label, made in Counter(sample.label for sample in samples).items():
        reasons = [reason for sample in samples if sample.label == label for reason in sample.extra["rejected"]]
        share = len(reasons) / (made + len(reasons))
        if share > _MANY_REFUSED and len(reasons) >= _LEAST_REFUSED:
            notes.append(f"{share:.0%} of what was made for class '{label}' was refused: {counted(reasons)}")
    return notes


def _cold_start_notes(photos: Dataset, generator: str) -> list[str]:
    empty = [label for label in photos.labels if not photos.select(label=label, split="train")]
    if not empty:
        return []
    return [f"no training photo of {', '.join(empty)}: made from the recipe alone ({generator})"]
