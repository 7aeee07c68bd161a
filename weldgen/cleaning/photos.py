"""Clean photos one after the other and write them; what one photo's result depends on."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import TYPE_CHECKING, Any

from weldgen.cleaning.scale import LARGE
from weldgen.cleaning.settings import CleanConfig, inpainter_name
from weldgen.cleaning.summary import REDONE
from weldgen.data.dataset import Dataset, Failure, Sample
from weldgen.data.writer import KEY, DatasetWriter
from weldgen.errors import ConfigError, DataError
from weldgen.runtime import content_hash, cpu_count, file_hash, resolve_device, resolve_jobs, track

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from weldgen.cleaning.cleaner import Cleaned, Cleaner
    from weldgen.cleaning.transcribe import Transcriber
    from weldgen.data.images import Photo

MASKS = "masks"
# Do not change a photo's pixels, so they are no reason to clean it again.
_NOT_IN_IMAGE_KEY: dict[str, Any] = dict.fromkeys(("jobs", "device", "seed", "split", "only"), True)
_NOT_IN_IMAGE_KEY["mask"] = {"given"}  # each mask counts by what it holds
# A given mask is white from here on, of 255.
_WHITE = 127
# Photos that are cleaned at once.
_MOST_AT_ONCE = 2


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


def _load_reader(config: CleanConfig) -> Transcriber | None:
    if not config.transcribe:
        return None
    from weldgen.cleaning.transcribe import Transcriber

    return Transcriber(resolve_device(config.device))


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
    reader, given = _load_reader(config), given_masks(photos, config)
    failures = []
    results = _clean_ahead(photos, samples, cleaner, given, config)
    for sample, result in track(results, total=len(samples), description="clean"):
        if isinstance(result, Failure):
            failures.append(result)
            continue
        photo, cleaned, seconds = result
        extra = _extra(sample, cleaned, cleaner, seconds) | {REDONE: bool(config.only)}
        if reader:
            pairs = zip(extra["regions"], reader.read(photo.pixels, cleaned.regions), strict=True)
            extra["regions"] = [region | reading.record() for region, reading in pairs]
        if sample.file_name in masks:
            writer.add_side_file(masks[sample.file_name], _mask_png(cleaned))
        described = replace(sample, extra=extra)
        _write(writer, described, photos.path(sample), photo, cleaned, image_key(sample, config, given))
    return failures


def _clean_ahead(
    photos: Dataset, samples: Sequence[Sample], cleaner: Cleaner, given: Mapping[str, Path], config: CleanConfig
) -> Iterator[tuple[Sample, tuple[Photo, Cleaned, float] | Failure]]:
    """Read and clean photos, two at a time: while one is searched for writing, the holes of another are filled.

    Yields:
        Samples in their order, each with the photo, what came of it and the seconds it took, or with its failure.
    """
    import cv2

    from weldgen.data.images import read_photo

    one_large_photo = Lock()  # each takes a gigabyte and more

    def run(sample: Sample) -> tuple[Photo, Cleaned, float] | Failure:
        try:
            photo = read_photo(photos.path(sample))
            mask = _given_mask(given.get(sample.file_name), photo, config.mask.grow_px)
            with one_large_photo if photo.pixels.size > LARGE else nullcontext():
                begun = time.monotonic()
                return photo, cleaner.clean(photo.pixels, mask), time.monotonic() - begun
        except DataError as error:
            return Failure(sample.file_name, error.message)

    workers = min(_MOST_AT_ONCE, resolve_jobs(config.jobs))
    threads = cv2.getNumThreads()
    cv2.setNumThreads(max(1, cpu_count() // workers))  # or the photos would fight over the cores
    waiting: deque[tuple[Sample, Future[tuple[Photo, Cleaned, float] | Failure]]] = deque()
    remaining = iter(samples)
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                while len(waiting) <= workers and (sample := next(remaining, None)) is not None:
                    waiting.append((sample, pool.submit(run, sample)))
                if not waiting:
                    return
                sample, future = waiting.popleft()
                yield sample, future.result()
        finally:
            pool.shutdown(cancel_futures=True)
            cv2.setNumThreads(threads)


def image_key(sample: Sample, config: CleanConfig, given: Mapping[str, Path]) -> str:
    """What the result of one photo depends on; `given` as `given_masks` found them."""
    settings = config.model_dump(mode="json", exclude=_NOT_IN_IMAGE_KEY)
    parts = [sample.id, sample.label, sample.split, sample.group, settings]
    own = given.get(sample.file_name)
    parts += [file_hash(own)] if own else []
    return content_hash(json.dumps(parts, sort_keys=True).encode())


def given_masks(photos: Dataset, config: CleanConfig) -> dict[str, Path]:
    """Photo -> its mask in the folder `mask.given`, named as `save_masks` names them.

    Raises:
        ConfigError: The folder holds none of a photo, or does not exist.
    """
    folder = config.mask.given
    if not folder or not photos.samples:
        return {}
    named = {
        name: Path(folder) / PurePosixPath(mask).relative_to(MASKS) for name, mask in mask_names(photos.samples).items()
    }
    found = {name: path for name, path in named.items() if path.is_file()}
    if not found:
        raise ConfigError(
            f"mask.given={folder} holds no mask of a photo; expected files such as {next(iter(named.values()))}",
            "draw masks, white on what is to go, of the size of the photos",
        )
    return found


def _given_mask(path: Path | None, photo: Photo, grow_px: int) -> npt.NDArray[np.bool_] | None:
    from weldgen.cleaning.by_hand import grown
    from weldgen.data.images import read_mask

    return grown(read_mask(path, photo.pixels.shape) > _WHITE, grow_px) if path else None


def mask_names(samples: Sequence[Sample]) -> dict[str, str]:
    """Photo -> its mask; the photo's suffix stays in the name only where two photos differ in nothing else."""
    plain = {sample.file_name: str(PurePosixPath(sample.file_name).with_suffix(".png")) for sample in samples}
    uses = Counter(plain.values())
    return {
        name: f"{MASKS}/{mask if uses[mask] == 1 else name + '.png'}" for name, mask in plain.items()
    }  # fmt: skip


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
