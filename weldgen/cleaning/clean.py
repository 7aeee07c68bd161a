"""The clean stage: a folder of photos in, the same photos without writing out."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import Field

from weldgen.cleaning.settings import (
    AUTO,
    LAMA,
    DetectConfig,
    InkConfig,
    InpaintConfig,
    MaskConfig,
    detector_names,
    inpainter_name,
)
from weldgen.cleaning.summary import REDONE, summarise
from weldgen.config import StageConfig
from weldgen.data.dataset import METADATA_NAME, Dataset, Failure, Sample, check_lineage, read_metadata
from weldgen.data.split import SplitConfig, decide_split
from weldgen.data.writer import KEY, DatasetWriter
from weldgen.errors import ConfigError, DataError
from weldgen.receipts import Summary, finished, stage_key, write_receipt
from weldgen.runtime import content_hash, resolve_device, resolve_jobs, track

if TYPE_CHECKING:
    from weldgen.cleaning.cleaner import Cleaned, Cleaner
    from weldgen.data.images import Photo

MASKS = "masks"
# Do not change a photo's pixels, so they are no reason to clean it again.
_NOT_IN_IMAGE_KEY = {"jobs", "device", "seed", "split", "only"}


class CleanConfig(StageConfig):
    """How writing is found, covered and filled, and how the photos are split."""

    detect: DetectConfig = DetectConfig()
    ink: InkConfig = InkConfig()
    mask: MaskConfig = MaskConfig()
    inpaint: InpaintConfig = InpaintConfig()
    verify_rounds: int = Field(
        2, ge=0, le=5, description="how often a photo on which something is left is cleaned again"
    )
    save_masks: bool = Field(False, description="write masks/<class>/<name>.png, white where pixels were replaced")
    only: str = Field("", description="list of photos; they alone are cleaned again, all others stay (--only LIST)")
    split: SplitConfig = SplitConfig()


def clean(source: Path, out: Path, config: CleanConfig) -> Summary:
    """Take the writing out of all photos of a folder; names, formats and sizes stay.

    Photos without writing are copied byte for byte. The split into train, val and test is decided here once.
    With `config.only` the listed photos alone are cleaned again (`weldgen.cleaning.redo`).

    Args:
        source: Folder of class folders, flat folder of photos, or dataset.
        out: Target folder.
        config: Settings.

    Raises:
        ConfigError: A backend does not exist, or `out` lies in `source`.
        BackendError: A backend that was asked for is missing.
        DataError: `source` holds no photo, or `config.only` names one that is not there.
    """
    started = time.monotonic()
    asked, config = config, resolve_config(config)
    _check_folders(source, out)
    if config.only:
        from weldgen.cleaning.redo import redo

        return redo(source, out, config)
    inputs = {"source": source}
    key = stage_key("clean", config, inputs)
    done = finished(out, key)
    if done:
        return done
    photos = decide_split(Dataset.open(source), config.split, config.seed, _earlier_splits(out))
    masks = mask_names(photos.samples) if config.save_masks else {}
    keys = {sample.file_name: image_key(sample, config) for sample in photos.samples}
    same = {(sample.file_name, sample.id, sample.split) for sample in photos.samples}

    def valid(record: Mapping[str, Any]) -> bool:
        name = record["file_name"]
        own = record.get(REDONE) and (name, record["source_id"], record["split"]) in same
        return bool(own or keys.get(name) == record.get(KEY)) and (name not in masks or (out / masks[name]).is_file())

    with DatasetWriter(out, valid) as writer:
        todo = [sample for sample in photos.samples if sample.file_name not in writer.done]
        cleaner = load_cleaner(config) if todo else None
        failures = clean_samples(writer, photos, todo, cleaner, masks, config) if cleaner else []
        failures = [*photos.failures, *failures]
        samples = writer.finish(failures, photos.labels)
    check_lineage(Dataset(out, tuple(samples), photos.labels))
    summary = summarise(out, samples, failures, config, _notes(asked))
    summary = replace(summary, seconds=time.monotonic() - started)
    write_receipt(out, key, config, inputs, summary)
    return summary


def clean_samples(
    writer: DatasetWriter,
    photos: Dataset,
    samples: Sequence[Sample],
    cleaner: Cleaner,
    masks: Mapping[str, str],
    config: CleanConfig,
) -> list[Failure]:
    """Clean photos and write them.

    Args:
        writer: Of the target folder.
        photos: Where the samples lie.
        samples: What to clean.
        cleaner: The models.
        masks: Photo -> name of its mask, for those whose mask is to be written.
        config: Settings; with `only`, the lines say that these photos were done again on request.

    Returns:
        The photos that could not be read.
    """
    failures = []
    for sample, photo in track(_read_ahead(photos, samples, config.jobs), total=len(samples), description="clean"):
        if isinstance(photo, Failure):
            failures.append(photo)
            continue
        begun = time.monotonic()
        cleaned = cleaner.clean(photo.pixels)
        extra = _extra(sample, cleaned, cleaner, time.monotonic() - begun) | {REDONE: bool(config.only)}
        if sample.file_name in masks:
            writer.add_side_file(masks[sample.file_name], _mask_png(cleaned))
        described = replace(sample, extra=extra)
        _write(writer, described, photos.path(sample), photo, cleaned, image_key(sample, config))
    return failures


def resolve_config(config: CleanConfig) -> CleanConfig:
    """The configuration with `auto` decided; it is part of the run's key."""
    detector_names(config.detect.backend)  # refuses a name that does not exist before anything is read
    inpaint = config.inpaint.model_copy(update={"backend": inpainter_name(config.inpaint.backend)})
    return config.model_copy(update={"inpaint": inpaint})


def auto_detectors() -> str:
    """What `auto` finds writing with, in one sentence."""
    return " and ".join(detector_names(AUTO)) + ", both together with the ink network"


def auto_inpainter() -> str:
    """What `auto` fills holes with on this machine, in one sentence."""
    name = inpainter_name(AUTO)
    if name == LAMA:
        return name
    return f"{name} (embedded, needs no weights); {LAMA} may be better: weldgen models pull {LAMA}"


def load_cleaner(config: CleanConfig) -> Cleaner:
    """The models that a configuration asks for.

    Raises:
        BackendError: One of them is missing.
    """
    from weldgen.cleaning.cleaner import Cleaner
    from weldgen.cleaning.detectors import load_detectors
    from weldgen.cleaning.ink import InkSegmenter
    from weldgen.cleaning.inpainters import INPAINTERS

    device = resolve_device(config.device)
    inpainter = INPAINTERS[inpainter_name(config.inpaint.backend)](config.inpaint, device)
    detectors = load_detectors(config.detect, device)
    return Cleaner(
        detectors, InkSegmenter(config.ink, device), inpainter, config.mask, config.inpaint, config.verify_rounds
    )


def _check_folders(source: Path, out: Path) -> None:
    if out.resolve().is_relative_to(source.resolve()):
        raise ConfigError(f"--out {out} lies in the folder of the photos, {source}", "choose a folder beside it")


def _earlier_splits(out: Path) -> dict[str, tuple[str, str]]:
    """Source id -> split and group that an earlier run in `out` decided."""
    if not (out / METADATA_NAME).is_file():
        return {}
    lines = (line for line in read_metadata(out) if line.get("source_id") and line.get("split"))
    return {line["source_id"]: (line["split"], line.get("group") or "") for line in lines}


def image_key(sample: Sample, config: CleanConfig) -> str:
    """What the result of one photo depends on."""
    settings = config.model_dump(mode="json", exclude=_NOT_IN_IMAGE_KEY)
    parts = [sample.id, sample.label, sample.split, sample.group, settings]
    return content_hash(json.dumps(parts, sort_keys=True).encode())


def mask_names(samples: Sequence[Sample]) -> dict[str, str]:
    """Photo -> its mask; the photo's suffix stays in the name only where two photos differ in nothing else."""
    plain = {sample.file_name: str(PurePosixPath(sample.file_name).with_suffix(".png")) for sample in samples}
    uses = Counter(plain.values())
    return {
        name: f"{MASKS}/{mask if uses[mask] == 1 else name + '.png'}" for name, mask in plain.items()
    }  # fmt: skip


def _read_ahead(photos: Dataset, samples: Sequence[Sample], jobs: int) -> Iterator[tuple[Sample, Photo | Failure]]:
    """Decode photos a little ahead of their use; one that cannot be read comes as a failure."""
    from weldgen.data.images import read_photo

    ahead = min(2, resolve_jobs(jobs))
    waiting: deque[tuple[Sample, Future[Photo]]] = deque()
    with ThreadPoolExecutor(1) as pool:
        remaining = iter(samples)
        while True:
            while len(waiting) < ahead and (sample := next(remaining, None)) is not None:
                waiting.append((sample, pool.submit(read_photo, photos.path(sample))))
            if not waiting:
                return
            sample, future = waiting.popleft()
            try:
                yield sample, future.result()
            except DataError as error:
                yield sample, Failure(sample.file_name, error.message)


def _extra(sample: Sample, cleaned: Cleaned, cleaner: Cleaner, seconds: float) -> dict[str, Any]:
    """What the stage adds to a photo's line; every line has all of it."""
    kept = {name: value for name, value in sample.extra.items() if name != KEY}
    return kept | {
        "source": sample.file_name,
        "source_id": sample.id,
        "regions": [region.record() for region in cleaned.regions],
        "masked_share": round(float(cleaned.holes.mean()), 5),
        "residual": cleaned.residual,
        "inpainter": cleaner.inpainter.name if cleaned.holes.any() else "",
        "seconds": round(seconds, 2),
    }


def _mask_png(cleaned: Cleaned) -> bytes:
    from weldgen.data.images import encode_rgb

    return encode_rgb((cleaned.holes * 255).astype("uint8"))


def _write(writer: DatasetWriter, sample: Sample, path: Path, photo: Photo, cleaned: Cleaned, key: str) -> None:
    """Write a cleaned photo in its own format; a photo without writing is copied as it is."""
    from weldgen.data.images import encode_photo

    if cleaned.holes.any():
        writer.add(sample, encode_photo(cleaned.pixels, photo), key)
    else:
        writer.add_file(sample, path, key, link=False)


def _notes(asked: CleanConfig) -> list[str]:
    notes = []
    if asked.detect.backend == AUTO:
        notes.append(f"detectors: {auto_detectors()}")
    if asked.inpaint.backend == AUTO:
        notes.append(f"inpainter: {auto_inpainter()}")
    return notes
