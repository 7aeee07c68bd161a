"""Whether errors follow something that has nothing to do with the weld: origin, occasion, size, light.

For each factor a permutation test (Fisher 1935): are the error rates of its levels further apart than chance would have
them? Photos keep their class while they are permuted, because classes differ in how hard they are; and photos of one
group are moved together, because five views of a plate are not five samples. Several factors are tested, so p values
are Holm's (Scandinavian Journal of Statistics, 1979).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from weldgen.data.dataset import Dataset
from weldgen.runtime import derive_seed

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_LEVEL = 0.05
# Levels of what is measured, lowest first.
SIZES = ("small", "of middle size", "large")
SHAPES = ("narrow", "of middle shape", "wide")
BRIGHTNESS = ("dark", "of middle brightness", "bright")
_NOTED = re.compile(r"(\d{4}):(\d\d):(\d\d)")
_IN_NAME = re.compile(r"(?<!\d)(20\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)")
_PERMUTATIONS = 1999
# Fewer photos (or groups of them), or fewer of them with errors or without, can show nothing.
_LEAST, _LEAST_EACH = 10, 3
# A measured factor has levels of its own up to so many different values, else as many parts of equal size.
_PARTS = 3


@dataclass(frozen=True)
class Asked:
    """The photos whose errors are explained.

    Attributes:
        labels: True classes of the N photos.
        wrong: (N,) 1 where the model erred.
        groups: Group of each photo; photos of one are not independent.
        seed: Of the permutations.
    """

    labels: Sequence[str]
    wrong: Floats
    groups: Sequence[str]
    seed: int


@dataclass(frozen=True)
class Finding:
    """What the test of one factor found.

    Attributes:
        factor: Its name.
        n: Photos, or independent groups of them, that were compared.
        p: Of the permutation test; None where nothing could be tested.
        reason: Why not; empty where it could.
        worst: The class and level with the most errors above the others: class, level, errors and photos of it, and
            of the other photos of the class.
        adjusted: p after Holm.
    """

    factor: str
    n: int
    p: float | None = None
    reason: str = ""
    worst: Mapping[str, Any] | None = None
    adjusted: float | None = None

    @property
    def shown(self) -> bool:
        """Whether errors follow the factor."""
        return self.adjusted is not None and self.adjusted <= _LEVEL

    def record(self) -> dict[str, Any]:
        """What `metrics.json` keeps."""
        why = {"reason": self.reason} if self.reason else {}
        found = {"worst": dict(self.worst)} if self.worst else {}
        tested = {"p": self.p, "p_holm": self.adjusted, "shown": self.shown}
        return {"factor": self.factor, "n": self.n, **tested, **found, **why}


def explain_errors(
    measured: Dataset, wrong: Mapping[str, bool], groups: Mapping[str, str], brightness: Mapping[str, float], seed: int
) -> list[Finding]:
    """Test whether errors follow any of the factors.

    Args:
        measured: The photos.
        wrong: Whether the model erred, of each file.
        groups: Group of each file.
        brightness: Mean grey of the files that were looked at.
        seed: Of the permutations.
    """
    findings = []
    for factor, by_file in photo_levels(measured, groups, brightness).items():
        own = [sample for sample in measured.samples if sample.file_name in by_file]
        erred = np.array([wrong[sample.file_name] for sample in own], np.float64)
        asked = Asked([s.label for s in own], erred, [groups[s.file_name] for s in own], seed)
        values = [by_file[sample.file_name] for sample in own]
        findings.append(follow_factor(factor, values, asked, by_photo=factor == "group"))
    return adjust(findings)


def photo_levels(
    measured: Dataset, groups: Mapping[str, str], brightness: Mapping[str, float]
) -> dict[str, dict[str, str]]:
    """Level of each photo by factor; photos of which a factor is not known are left out of it.

    Args:
        measured: The photos.
        groups: Group of each file.
        brightness: Mean grey of the files that were looked at.
    """
    first: dict[str, str] = {}
    for sample in measured.samples:
        first.setdefault(groups[sample.file_name], sample.file_name)
    files = [sample.file_name for sample in measured.samples]
    sizes = [sample.width * sample.height for sample in measured.samples]
    shapes = [round(sample.width / sample.height, 2) for sample in measured.samples]
    days = {name: day for name in files if (day := taken_on(measured.root / name))}
    found = {
        "origin": {sample.file_name: sample.origin for sample in measured.samples},
        "group": {name: first[groups[name]] for name in files} if len(first) < len(files) else {},
        "day": days,
        "size": dict(zip(files, levels_of(sizes, SIZES), strict=True)),
        "shape": dict(zip(files, levels_of(shapes, SHAPES), strict=True)),
        "brightness": dict(zip(brightness, levels_of(list(brightness.values()), BRIGHTNESS), strict=True)),
    }
    return {factor: levels for factor, levels in found.items() if len(set(levels.values())) > 1}


def taken_on(path: Path) -> str:
    """The day of a photo, `2022-12-25`, as the camera noted it, or else as its name says; empty where neither does."""
    with Image.open(path) as image:
        noted = str(image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal, ""))
    found = _NOTED.match(noted) or _IN_NAME.search(path.name)
    return "-".join(found.groups()) if found else ""


def levels_of(values: Sequence[float], names: tuple[str, str, str]) -> list[str]:
    """Levels of a measured factor: its values where there are few, else thirds.

    Args:
        values: Of each photo.
        names: Of the thirds, the lowest first.
    """
    distinct = sorted(set(values))
    if len(distinct) <= _PARTS:
        chosen = {0: (), 1: names[:1], 2: (names[0], names[2]), 3: names}[len(distinct)]
        return [chosen[distinct.index(value)] for value in values]
    borders = np.quantile(np.array(values), [1 / _PARTS, 2 / _PARTS])
    return [names[int(place)] for place in np.searchsorted(borders, np.array(values), side="left")]


def follow_factor(factor: str, levels: Sequence[str], asked: Asked, *, by_photo: bool = False) -> Finding:
    """Test whether errors follow a factor.

    Args:
        factor: Its name.
        levels: Level of each photo.
        asked: The photos.
        by_photo: Permute photos and not groups of them: for the groups themselves.
    """
    units = list(range(len(levels))) if by_photo else list(asked.groups)
    labels, own, wrong = _by_unit(units, levels, asked)
    n, erred = len(wrong), int((wrong > 0).sum())
    what = "photos" if by_photo else "independent groups of photos"
    if n < _LEAST or min(erred, int((wrong < 1).sum())) < _LEAST_EACH:
        return Finding(factor, n, reason=f"too few: {n} {what}, {erred} with errors")
    cells, classes = _cells(labels, own)
    if not classes:
        return Finding(factor, n, reason="no class has photos of two levels")
    found = _spread(wrong[None], cells)[0]
    rng = np.random.default_rng(derive_seed(asked.seed, "factor", factor))
    shuffled = np.repeat(wrong[None], _PERMUTATIONS, axis=0)
    for rows in classes:
        shuffled[:, rows] = rng.permuted(shuffled[:, rows], axis=1)
    # sums in another order differ in the last bit, and equal outcomes count as reached
    reached = int((_spread(shuffled, cells) >= found - 1e-9).sum())
    return Finding(factor, n, (1 + reached) / (1 + _PERMUTATIONS), worst=_worst(levels, asked))


def adjust(findings: Sequence[Finding]) -> list[Finding]:
    """The findings with p values that allow for how many factors were tested (Holm 1979)."""
    tested = sorted((finding.p, number) for number, finding in enumerate(findings) if finding.p is not None)
    adjusted, most = dict[int, float](), 0.0
    for place, (p, number) in enumerate(tested):
        most = max(most, min(1.0, (len(tested) - place) * p))
        adjusted[number] = most
    return [replace(finding, adjusted=adjusted.get(number)) for number, finding in enumerate(findings)]


def _by_unit(units: Sequence[Any], levels: Sequence[str], asked: Asked) -> tuple[list[str], list[str], Floats]:
    """Class and level of each unit, by majority, and the share of its photos that are wrong."""
    members: dict[Any, list[int]] = defaultdict(list)
    for row, unit in enumerate(units):
        members[unit].append(row)
    labels = [Counter(asked.labels[row] for row in rows).most_common(1)[0][0] for rows in members.values()]
    own = [Counter(levels[row] for row in rows).most_common(1)[0][0] for rows in members.values()]
    return labels, own, np.array([asked.wrong[rows].mean() for rows in members.values()])


def _cells(labels: Sequence[str], levels: Sequence[str]) -> tuple[list[Indices], list[Indices]]:
    """Rows of each level of each class, and rows of each class; of classes with two levels at least."""
    pairs = list(zip(labels, levels, strict=True))
    seen = {label: {own for other, own in pairs if other == label} for label in set(labels)}
    kept = sorted({pair for pair in pairs if len(seen[pair[0]]) > 1})
    cells = [np.array([row for row, pair in enumerate(pairs) if pair == cell], np.int64) for cell in kept]
    classes = [
        np.array([row for row, label in enumerate(labels) if label == name], np.int64)
        for name in sorted({label for label, _ in kept})
    ]
    return cells, classes


def _spread(wrong: Floats, cells: Sequence[Indices]) -> Floats:
    """How far apart the error rates of levels are, (B,), of (B, N) errors.

    The sum over levels of n times the squared rate: less the part that no permutation within a class changes, it is the
    variance between levels.
    """
    return np.asarray(sum(wrong[:, rows].sum(axis=1) ** 2 / len(rows) for rows in cells))


def _worst(levels: Sequence[str], asked: Asked) -> dict[str, Any] | None:
    """The class and level whose errors stand out most from the others of the class; see `Finding`."""
    found: tuple[float, dict[str, Any]] | None = None
    own, labels = np.array(levels), np.array(asked.labels)
    for label, level in sorted(set(zip(asked.labels, levels, strict=True))):
        here, others = (labels == label) & (own == level), (labels == label) & (own != level)
        if not others.any():
            continue
        n, rest = int(here.sum()), int(others.sum())
        gap = float(asked.wrong[here].mean() - asked.wrong[others].mean()) * (n * rest / (n + rest)) ** 0.5
        counts = {"wrong": int(asked.wrong[here].sum()), "of": n}
        counts |= {"wrong_others": int(asked.wrong[others].sum()), "of_others": rest}
        if found is None or gap > found[0]:
            found = gap, {"class": label, "level": level, **counts}
    return found[1] if found else None
