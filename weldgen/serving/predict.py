"""Classify files and folders: one record a photo, failures among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from weldgen.data.images import RGB, is_image_name, read_rgb
from weldgen.errors import DataError
from weldgen.runtime import cpu_count
from weldgen.serving.predictor import WeldClassifierInference

_CHUNK_PHOTOS = 8


def predict_paths(
    model: Path, paths: Sequence[Path], *, device: str = "auto", tta: int = 0, locator: Path | None = None
) -> Iterator[dict[str, Any]]:
    """Classify photos, and all photos below folders, in order.

    Args:
        model: An exported file.
        paths: Photos or folders.
        device: `auto`, `cpu` or `cuda`.
        tta: Views of each photo, 1 to 12; 0: as the model says.
        locator: What `weldgen locator` wrote, to cut the weld out of each photo; None: whole photos.

    Yields:
        `{"file", "label", "score", "probabilities", "abstained"}`, with `decided_by` where a threshold
        decides and `located` where there is a locator, or `{"file", "error"}` for a file that cannot be read.

    Raises:
        BackendError: The model or its runtime is missing.
        DataError: There is no such path, or a folder holds no photo.
    """
    classifier = WeldClassifierInference(model, device, tta=tta, locator=locator)
    yield from predict_files(classifier, [file for path in paths for file in find_photos(path)])


def predict_files(classifier: WeldClassifierInference, photos: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """The records of `predict_paths` for single files."""
    files = iter(photos)
    with ThreadPoolExecutor(cpu_count()) as pool:
        while chunk := list(islice(files, _CHUNK_PHOTOS)):
            images = list(pool.map(_read, chunk))
            found = iter(classifier.predict_batch([image for image in images if not isinstance(image, str)]))
            for file, image in zip(chunk, images, strict=True):
                yield _failed(file, image) if isinstance(image, str) else classified(str(file), next(found))


def find_photos(path: Path) -> list[Path]:
    """A photo itself, or all photos below a folder, sorted.

    Raises:
        DataError: There is no such path, or the folder holds no photo.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path}: there is no such file or folder")
    found = sorted(file for file in path.rglob("*") if file.is_file() and is_image_name(file))
    if not found:
        raise DataError(f"{path} holds no photo", "accepted: .jpg, .png, .tif, .bmp, .webp")
    return found


def _read(path: Path) -> RGB | str:
    """The photo, or why it cannot be read."""
    try:
        return read_rgb(path)
    except DataError as error:
        return error.message


def _failed(file: Path, reason: str) -> dict[str, Any]:
    return {"file": str(file), "error": reason}


def classified(file: str, found: dict[str, Any]) -> dict[str, Any]:
    """The record of a photo from what `WeldClassifierInference.predict` says of it."""
    return {
        "file": file,
        "label": found["class"],
        "score": found["confidence"],
        "probabilities": found["probabilities"],
        "abstained": found["abstained"],
        **{name: found[name] for name in ("decided_by", "located") if name in found},
    }
