"""A labelled folder of images with `metadata.jsonl`: the one thing that stages hand to each other.

Layout: `<root>/[<split>/]<label>/<name>`; one JSON object a line with `file_name` first, so that Hugging Face's
`imagefolder` and torchvision's `ImageFolder` read it unchanged. A plain folder of class folders is a dataset too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weldgen.data.images import image_size, is_image_name
from weldgen.data.sample import (
    MIN_GROUPS_TO_SPLIT,
    ORIGINS,
    SPLITS,
    Failure,
    Sample,
    is_synthetic_validation,
    scarce_classes,
)
from weldgen.errors import DataError
from weldgen.runtime import file_hash

__all__ = [
    "METADATA_NAME",
    "SIDE_FOLDERS",
    "SPLIT_FOLDERS",
    "Dataset",
    "Failure",
    "Sample",
    "check_lineage",
    "failures_text",
    "read_metadata",
    "subfolders",
]

METADATA_NAME = "metadata.jsonl"
# Folder names that datasets of other tools use for the same split.
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
# Folders beside the classes that hold no class.
SIDE_FOLDERS = ("masks", "annotations")


@dataclass(frozen=True)
class Dataset:
    """A dataset on disk.

    Attributes:
        root: Its folder.
        samples: Sorted by file name.
        labels: Sorted names of the classes; those without an image are among them. Photos that lie in the root
            itself have the label "".
        failures: Files of a plain folder that are no readable image.
    """

    root: Path
    samples: tuple[Sample, ...]
    labels: tuple[str, ...]
    failures: tuple[Failure, ...] = ()

    @staticmethod
    def open(root: Path) -> Dataset:
        """Open a folder and check its invariants.

        Raises:
            DataError: It is missing or empty, or breaks a rule of lineage.
        """
        if not root.is_dir():
            raise DataError(
                f"{root}: there is no such folder",
                "weldgen init makes a project folder; put photos into data/raw/<class>/",
            )
        if (root / METADATA_NAME).is_file():
            dataset = _open_metadata(root)
            check_lineage(dataset)
        else:
            dataset = _scan(root)
        if not dataset.samples and not dataset.failures:
            raise DataError(
                f"{root} holds no image; expected {root}/<class>/<photo>.jpg",
                f"classes found: {', '.join(dataset.labels) or 'none'}",
            )
        return dataset

    def path(self, sample: Sample) -> Path:
        """Where a sample's file lies."""
        return self.root / sample.file_name

    def select(self, *, split: str | None = None, origin: str | None = None, label: str | None = None) -> list[Sample]:
        """Samples that match all that is given."""
        return [
            sample
            for sample in self.samples
            if (split is None or sample.split == split)
            and (origin is None or sample.origin == origin)
            and (label is None or sample.label == label)
        ]

    def where(self, keep: Callable[[Sample], bool]) -> Dataset:
        """The dataset of the samples that `keep` accepts; the classes stay."""
        return Dataset(self.root, tuple(filter(keep, self.samples)), self.labels, self.failures)

    def counts(self) -> dict[str, int]:
        """Number of samples of each class, empty classes included."""
        found = Counter(sample.label for sample in self.samples)
        return {label: found[label] for label in self.labels}


def read_metadata(root: Path) -> list[dict[str, Any]]:
    """Lines of `metadata.jsonl`; a last line cut short by an interruption is left out.

    Raises:
        DataError: Another line is no JSON object with a file name.
    """
    lines = (root / METADATA_NAME).read_text(encoding="utf-8").splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            records.append({"file_name": record["file_name"], **record})
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                break
            raise DataError(f"{root / METADATA_NAME}, line {number}: not a JSON object with file_name") from error
    return records


def check_lineage(dataset: Dataset) -> None:
    """Check what keeps an evaluation honest.

    Ids and file names are unique, files exist, a synthetic sample lies in the split of its parents, validation and
    test hold real images only, and no group straddles two splits. The one exception: where `scarce_classes` finds a
    class, synthetic images that are marked for it may lie in validation, and their parents train.

    Raises:
        DataError: A rule is broken; the first offender is named.
    """
    where = dataset.root / METADATA_NAME
    splits_of_id = {sample.id: sample.split for sample in dataset.samples if sample.origin == "real"}
    splits_of_group: dict[str, str] = {}
    scarce = scarce_classes(dataset.samples)
    seen_ids: dict[str, str] = {}
    for sample in dataset.samples:
        name = sample.file_name
        if sample.id in seen_ids:
            raise DataError(
                f"{where}: {name} and {seen_ids[sample.id]} have the same id {sample.id}", "remove one of them"
            )
        seen_ids[sample.id] = name
        if sample.origin not in ORIGINS or sample.split not in (*SPLITS, ""):
            raise DataError(
                f"{where}: {name} has split '{sample.split}' and origin '{sample.origin}'",
                f"accepted: {', '.join(SPLITS)}; {', '.join(ORIGINS)}",
            )
        if not dataset.path(sample).is_file():
            raise DataError(
                f"{where} lists {name}, which does not exist", "run the stage that made the folder again; it mends it"
            )
        if sample.origin == "synthetic" and sample.split in ("val", "test"):
            _check_validation(sample, dataset, scarce)
        allowed = (sample.split, "train") if is_synthetic_validation(sample) else (sample.split,)
        for parent in sample.parents:
            parent_split = splits_of_id.get(parent, sample.split)
            if parent_split not in allowed:
                raise DataError(
                    f"{where}: {name} ({sample.split}) was made from a photo of '{parent_split}'",
                    "make the synthetic images again with weldgen synth",
                )
        if sample.group and splits_of_group.setdefault(sample.group, sample.split) != sample.split:
            raise DataError(
                f"{where}: group '{sample.group}' of {name} lies in two splits", "split again with weldgen clean"
            )


def _check_validation(sample: Sample, dataset: Dataset, scarce: Mapping[str, int]) -> None:
    """Refuse a synthetic image of validation or test, but for the one exception."""
    where = f"{dataset.root / METADATA_NAME}: {sample.file_name} is synthetic and lies in '{sample.split}'"
    if not is_synthetic_validation(sample):
        raise DataError(f"{where}; only real images may", "mix again with weldgen mix")
    if not scarce:
        counts = Counter(s.label for s in dataset.samples if s.origin == "real" and s.split != "test")
        found = ", ".join(f"{label} {counts[label]}" for label in dataset.labels)
        raise DataError(
            f"{where}, which is accepted only where a class has fewer than {MIN_GROUPS_TO_SPLIT} real photos and none "
            f"in validation; real photos: {found}",
            "mix again with weldgen mix",
        )


def _open_metadata(root: Path) -> Dataset:
    listed = sorted((Sample.from_record(r) for r in read_metadata(root)), key=lambda sample: sample.file_name)
    labels = {sample.label for sample in listed} | set(_class_folders(root))
    samples, failures = [], []
    for sample in listed:
        try:
            samples.append(sample if sample.width and sample.height else _with_size(root, sample))
        except DataError as error:
            failures.append(Failure(sample.file_name, error.message))
    return Dataset(root, tuple(samples), tuple(sorted(labels)), tuple(failures))


def _with_size(root: Path, sample: Sample) -> Sample:
    """The sample with the size of its file, for a line of another program that does not name it."""
    width, height = image_size(root / sample.file_name)
    return replace(sample, width=width, height=height)


def _class_folders(root: Path) -> dict[str, list[tuple[Path, str]]]:
    """Label -> its folders with their split; classes lie in the root or in folders named like splits."""
    folders: dict[str, list[tuple[Path, str]]] = {}
    top = subfolders(root)
    if any(is_image_name(p) for p in root.iterdir() if p.is_file()):
        folders[""] = [(root, "")]
    split_level = bool(top) and all(folder.name.lower() in SPLIT_FOLDERS for folder in top)
    for folder in top:
        split = SPLIT_FOLDERS[folder.name.lower()] if split_level else ""
        for class_folder in subfolders(folder) if split_level else [folder]:
            folders.setdefault(class_folder.name, []).append((class_folder, split))
    return folders


def subfolders(folder: Path) -> list[Path]:
    """Folders that can be classes or splits, sorted; hidden ones, `masks` and `annotations` are left out."""
    return sorted(
        p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".") and p.name not in SIDE_FOLDERS
    )


def _scan(root: Path) -> Dataset:
    samples, failures = [], []
    copies: Counter[str] = Counter()
    folders = _class_folders(root)
    for label, split, path in _files(folders):
        name = path.relative_to(root).as_posix()
        try:
            width, height = image_size(path)
        except DataError as error:
            failures.append(Failure(name, error.message))
            continue
        identity = file_hash(path)
        copies[identity] += 1
        if copies[identity] > 1:  # the same photo twice is legal, and splits keep the two together
            identity = f"{identity}-{copies[identity]}"
        samples.append(Sample(name, identity, label, split, width=width, height=height))
    return Dataset(root, tuple(samples), tuple(sorted(folders)), tuple(failures))


def _files(folders: Mapping[str, Sequence[tuple[Path, str]]]) -> Iterator[tuple[str, str, Path]]:
    for label, places in sorted(folders.items()):
        for folder, split in places:
            inside = folder.rglob("*") if label else folder.iterdir()
            for path in sorted(p for p in inside if p.is_file() and is_image_name(p)):
                yield label, split, path


def failures_text(failures: Iterable[Failure]) -> str:
    """Content of `failures.jsonl`."""
    return "".join(json.dumps({"file": f.file, "reason": f.reason}, ensure_ascii=False) + "\n" for f in failures)
