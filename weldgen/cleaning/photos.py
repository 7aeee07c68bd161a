"""Clean photos one after the other and write them; what one photo's result depends on."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from weldgen.cleaning.settings import CleanConfig, inpainter_name
from weldgen.cleaning.summary import REDONE
from weldgen.data.dataset import Dataset, Failure, Sample
from weldgen.data.writer import KEY, DatasetWriter
from weldgen.errors import ConfigError, DataError
from weldgen.runtime import content_hash, file_hash, resolve_device, resolve_jobs, track

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from weldgen.cleaning.cleaner import Cleaned, Cleaner
    from weldgen.cleaning.transcribe import Transcriber
    from weldgen.data.images import Photo

MASKS = "masks"
# Do not change a photo's pixels, so they are no reason to clean it again.
_NOT_IN_IMAGE_KEY = {"jobs", "device", "seed", "split", "only"}


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
    reader = _load_reader(config)
    failures = []
    for sample, photo in track(_read_ahead(photos, samples, config.jobs), total=len(samples), description="clean"):
        if isinstance(photo, Failure):
            failures.append(photo)
            continue
        begun = time.monotonic()
        try:
            cleaned = cleaner.clean(photo.pixels, _given_mask(sample, photo, config))
        except DataError as error:
            failures.append(Failure(sample.file_name, error.message))
            continue
        extra = _extra(sample, cleaned, cleaner, time.monotonic() - begun) | {REDONE: bool(config.only)}
        if reader:
            pairs = zip(extra["regions"], reader.read(photo.pixels, cleaned.regions), strict=True)
            extra["regions"] = [region | reading.record() for region, reading in pairs]
        if sample.file_name in masks:
            writer.add_side_file(masks[sample.file_name], _mask_png(cleaned))
        described = replace(sample, extra=extra)
        _write(writer, described, photos.path(sample), photo, cleaned, image_key(sample, config))
    return failures


def image_key(sample: Sample, config: CleanConfig) -> str:
    """What the result of one photo depends on."""
    settings = config.model_dump(mode="json", exclude=_NOT_IN_IMAGE_KEY)
    settings["mask"].pop("given")
    parts = [sample.id, sample.label, sample.split, sample.group, settings]
    own = _mask_file(config.mask.given, sample.file_name)
    parts += [file_hash(own)] if own else []
    return content_hash(json.dumps(parts, sort_keys=True).encode())


def check_given_masks(photos: Dataset, config: CleanConfig) -> None:
    """Refuse a folder of masks that has none for any photo.

    Raises:
        ConfigError: It has none, or does not exist.
    """
    folder = config.mask.given
    names = [sample.file_name for sample in photos.samples]
    if folder and names and not any(_mask_file(folder, name) for name in names):
        example = (Path(folder) / names[0]).with_suffix(".png")
        raise ConfigError(
            f"mask.given={folder} holds no mask of a photo; expected files such as {example}",
            "draw masks, white on what is to go, of the size of the photos",
        )


def _mask_file(folder: str, file_name: str) -> Path | None:
    """The mask of a photo in a folder of masks, or None: `good/a.jpg` has `good/a.jpg.png` or `good/a.png`."""
    name = PurePosixPath(file_name)
    paths = (Path(folder) / f"{name}.png", Path(folder) / name.with_suffix(".png"))
    return next((path for path in paths if folder and path.is_file()), None)


def _given_mask(sample: Sample, photo: Photo, config: CleanConfig) -> npt.NDArray[np.bool_] | None:
    from weldgen.cleaning.by_hand import read_mask

    path = _mask_file(config.mask.given, sample.file_name)
    return read_mask(path, photo.pixels.shape, config.mask.grow_px) if path else None


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
