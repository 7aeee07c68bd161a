"""Put together what a reader finds: one fault leaves an image out whole, contradictions are faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from weldgen.data.dataset import Failure
from weldgen.data.formats.paths import IMAGES, relative
from weldgen.data.formats.records import Annotated, Annotations
from weldgen.errors import DataError


class Collector:
    """Images and failures under construction.

    Args:
        root: Folder that names are relative to.

    Attributes:
        images: By path; names are given last.
        refused: Photos that are left out.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images: dict[Path, Annotated] = {}
        self.refused: set[Path] = set()
        self._failures: dict[str, str] = {}

    def add(self, image: Annotated) -> None:
        """Take an image, or join its boxes to those it has already."""
        earlier = self.images.get(image.path)
        if earlier is None:
            self.images[image.path] = image
            return
        for field in ("label", "split", "group", "size_px"):
            one, other = getattr(earlier, field), getattr(image, field)
            if one != other:
                self.refuse(image.path, f"{field} is '{one}' in {earlier.where}, but '{other}' in {image.where}")
                return
        self.images[image.path] = replace(earlier, boxes=earlier.boxes + image.boxes)

    def refuse(self, photo: Path, reason: str) -> None:
        """Leave a photo out."""
        self.refused.add(photo)
        self.miss(relative(self.root, photo), reason)

    def miss(self, name: str, reason: str) -> None:
        """Note an annotation that has no photo; the first reason of a name counts."""
        self._failures.setdefault(name, reason)

    def finish(self, classes: Iterable[str], *, boxed: bool, notes: Sequence[str] = ()) -> Annotations:
        """The frozen result.

        Raises:
            DataError: A group lies in two splits.
        """
        kept = [image for path, image in self.images.items() if path not in self.refused]
        _check_groups(kept)
        names = _unique_names(self.root, [image.path for image in kept])
        images = sorted((replace(image, name=names[image.path]) for image in kept), key=lambda image: image.name)
        failures = tuple(Failure(name, reason) for name, reason in sorted(self._failures.items()))
        return Annotations(self.root, tuple(images), tuple(classes), boxed, failures, tuple(notes))


def _check_groups(images: Iterable[Annotated]) -> None:
    first: dict[str, Annotated] = {}
    for image in images:
        other = first.setdefault(image.group, image) if image.group else image
        if other.split != image.split:
            raise DataError(
                f"group '{image.group}' lies in split '{other.split}' ({other.where}) and in '{image.split}' "
                f"({image.where})",
                "give all rows of a group the same split, or none",
            )


def _unique_names(root: Path, photos: Sequence[Path]) -> dict[Path, str]:
    """Names without `images/` folders, which stay only where two photos would get the same name."""
    whole = {photo: photo.relative_to(root) for photo in photos}
    short = {
        photo: Path(*(part for part in path.parts[:-1] if part != IMAGES), path.name).as_posix()
        for photo, path in whole.items()
    }
    uses = Counter(short.values())
    return {photo: name if uses[name] == 1 else whole[photo].as_posix() for photo, name in short.items()}
