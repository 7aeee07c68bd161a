"""One image of a dataset, and which classes have too few real ones to spare any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

SPLITS = ("train", "val", "test")
ORIGINS = ("real", "synthetic")
# With fewer groups of real photos than this, a class cannot spare any for validation and test.
MIN_GROUPS_TO_SPLIT = 3
# The field that marks a synthetic image of the validation split; see `scarce_classes`.
SYNTHETIC_VALIDATION = "synthetic_validation"
# The field that names the mask of a synthetic image's defects, relative to the dataset.
DEFECT_MASK = "defect_mask"
# The field that says where on which photo an image was cut out, and by which locator.
LOCATED = "located"


@dataclass(frozen=True)
class Sample:
    """One image of a dataset.

    Attributes:
        file_name: Path relative to the dataset's root, with forward slashes.
        id: Hash of the file's bytes.
        label: Name of the class.
        split: `train`, `val`, `test`, or empty where it is not decided yet.
        origin: `real` or `synthetic`.
        parents: Ids of the real samples that a synthetic one was made from.
        group: Samples of one group (near-duplicates, views of one part) stay in one split.
        seed: Seed that made a synthetic image, else None.
        width: Pixels.
        height: Pixels.
        extra: What a stage adds (regions, generator, scores, licences).
    """

    file_name: str
    id: str
    label: str
    split: str = ""
    origin: str = "real"
    parents: tuple[str, ...] = ()
    group: str = ""
    seed: int | None = None
    width: int = 0
    height: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """The line of `metadata.jsonl`."""
        return {
            "file_name": self.file_name,
            "id": self.id,
            "label": self.label,
            "split": self.split,
            "origin": self.origin,
            "parents": list(self.parents),
            "group": self.group,
            "seed": self.seed,
            "width": self.width,
            "height": self.height,
            **self.extra,
        }

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> Sample:
        """The sample that a line of `metadata.jsonl` describes."""
        rest = dict(record)
        return Sample(
            file_name=rest.pop("file_name"),
            id=rest.pop("id"),
            label=rest.pop("label"),
            split=rest.pop("split", "") or "",
            origin=rest.pop("origin", "real"),
            parents=tuple(rest.pop("parents", ())),
            group=rest.pop("group", "") or "",
            seed=rest.pop("seed", None),
            width=rest.pop("width", 0),
            height=rest.pop("height", 0),
            extra=rest,
        )


@dataclass(frozen=True)
class Failure:
    """A file that could not be used, and why."""

    file: str
    reason: str


def scarce_classes(samples: Iterable[Sample]) -> dict[str, int]:
    """Classes with too few real photos to spare one for validation, and how many real training photos each has.

    Such a class has images, but no real validation photo and fewer than three groups of photos that are not test
    photos. They all train, and its validation may be synthetic.
    """
    own: dict[str, list[Sample]] = {}
    for sample in samples:
        photos = own.setdefault(sample.label, [])
        if sample.origin == "real" and sample.split != "test":
            photos.append(sample)
    return {
        label: len(photos)
        for label, photos in own.items()
        if len({photo.group or photo.id for photo in photos}) < MIN_GROUPS_TO_SPLIT
        and not any(photo.split == "val" for photo in photos)
    }


def is_synthetic_validation(sample: Sample) -> bool:
    """Whether a synthetic image lies in validation, as it may where `scarce_classes` finds a class."""
    marked = sample.extra.get(SYNTHETIC_VALIDATION) is True
    return marked and sample.origin == "synthetic" and sample.split == "val"


def located_by(samples: Iterable[Sample]) -> str:
    """Id of the locator that cut images out of their photos; empty for whole photos, ids with `+` for several."""
    found = {str(sample.extra[LOCATED]["locator"]) for sample in samples if LOCATED in sample.extra}
    return "+".join(sorted(found))
