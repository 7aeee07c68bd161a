"""What lies in a source folder: its files, its photos, the photo that a name means, the split that folders mean."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from weldgen.data.dataset import SIDE_FOLDERS, SPLIT_FOLDERS
from weldgen.data.images import SUFFIXES, is_image_name
from weldgen.errors import DataError

# A folder that other tools put between the root and the photos; it is no class.
IMAGES = "images"


def files_below(root: Path) -> Iterator[Path]:
    """All files below a folder, sorted; hidden ones, `masks` and `annotations` are left out."""
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if path.is_file() and not any(part.startswith(".") or part in SIDE_FOLDERS for part in parts):
            yield path


def image_files(root: Path) -> list[Path]:
    """All photos below a folder, sorted; hidden folders, `masks` and `annotations` are left out."""
    return [path for path in files_below(root) if is_image_name(path)]


def find_photo(root: Path, name: str, folders: Sequence[Path]) -> Path:
    """The photo of a name in the first of the folders that has it.

    Raises:
        ValueError: There is none below the root, or the name is none of an image.
    """
    if not name:
        raise ValueError("no file is named")
    plain = name.replace("\\", "/")
    # normpath, not resolve: a link inside the source may lead elsewhere, a name with ".." may not
    base = Path(os.path.normpath(Path.cwd() / root))
    places = [Path(os.path.normpath(Path.cwd() / folder / plain)) for folder in folders]
    photo = next((place for place in places if place.is_relative_to(base) and place.is_file()), None)
    if photo is None:
        raise ValueError(f"{name} does not exist in {root}")
    if not is_image_name(photo):
        raise ValueError(f"{name} is no photo; accepted: {', '.join(SUFFIXES)}")
    return root / photo.relative_to(base)


def split_of(names: Iterable[str]) -> str:
    """The split that the first of the names (folders, mostly) stands for, or empty."""
    return next((SPLIT_FOLDERS[name.lower()] for name in names if name.lower() in SPLIT_FOLDERS), "")


def relative(root: Path, path: Path) -> str:
    """A path as it is named in messages."""
    return path.relative_to(root).as_posix()


def names_of(files: Sequence[Path]) -> str:
    """The first names of a list, for messages."""
    return ", ".join(file.name for file in files[:4])


def read_text(file: Path) -> str:
    """Content of a text file.

    Raises:
        DataError: It cannot be read, or is not UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read as UTF-8 text: {error}", "save it as UTF-8") from error
