"""Which photos are no independent ones, and how good the model is on those that share a field."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen.classifier.metrics import Indices, confusion_matrix, group_matrices, summarise
from weldgen.config import did_you_mean
from weldgen.data.dataset import Dataset, Sample
from weldgen.data.split import SplitConfig, find_groups
from weldgen.errors import ConfigError
from weldgen.receipts import read_receipt

GROUP = "group"
# Of a photo that says nothing in the field.
NONE = "(none)"


def recorded_pattern(folder: Path | None, given: str) -> str:
    """How file names show the views of one part: as given, or else as for the training of the model in the folder."""
    return given or str(recorded_setting(folder, "group_pattern", ""))


def recorded_setting(folder: Path | None, name: str, usual: Any) -> Any:
    """What the training of the model in a folder had for a setting of its split; `usual` where nothing says so."""
    return split_setting((read_receipt(folder) if folder else None) or {}, name, usual)


def split_setting(receipt: Mapping[str, Any], name: str, usual: Any) -> Any:
    """What a training's receipt says of a setting of its split; `usual` where it does not."""
    return receipt.get("config", {}).get("split", {}).get(name, usual)


def group_names(dataset: Dataset, samples: Sequence[Sample], pattern: str) -> list[str]:
    """Group of each of the N samples, by what is recorded and by the file names; a photo of its own has its own id."""
    joined = find_groups(
        replace(dataset, samples=tuple(samples)), SplitConfig(duplicate_bits=-1, group_pattern=pattern)
    )
    return [joined[sample.id] for sample in samples]


def group_indices(names: Sequence[str]) -> Indices:
    """(N,) number of each photo's group, 0 to G - 1."""
    found: npt.NDArray[np.int64] = np.unique(np.array(names, dtype=str), return_inverse=True)[1].astype(np.int64)
    return found


def choose_field(samples: Sequence[Sample], asked: str) -> str:
    """The field to tell photos apart by: the one asked for, or `group` where one holds several photos, or none.

    Raises:
        ConfigError: No photo has the field that was asked for.
    """
    if not asked:
        recorded = [sample.group for sample in samples if sample.group]
        return GROUP if len(set(recorded)) < len(recorded) else ""
    known = sorted({name for sample in samples for name, value in sample.record().items() if _said(value)})
    if samples and asked not in known:
        raise ConfigError(
            f"group_by={asked}: no photo that is measured has it; they have {', '.join(known)}",
            did_you_mean(asked, known),
        )
    return asked


def field_values(samples: Sequence[Sample], field: str) -> list[str]:
    """What each of the N samples says in a field, as text."""
    found = [sample.record().get(field) for sample in samples]
    return [_text(value) if _said(value) else NONE for value in found]


def by_field(
    values: Sequence[str], truth: Indices, predicted: Indices, labels: Sequence[str], groups: Indices | None
) -> list[dict[str, Any]]:
    """How good the model is on the photos of each value, the worst first; of equally bad ones the larger first.

    Args:
        values: What each of the N photos says in the field.
        truth: (N,) true classes.
        predicted: (N,) answers.
        labels: The K names.
        groups: (N,) indices of the photos' groups; None where each photo stands for itself.
    """
    members: Mapping[str, list[int]] = defaultdict(list)
    for number, value in enumerate(values):
        members[value].append(number)
    rows = [
        {"value": value, **_row(truth[own], predicted[own], labels, None if groups is None else groups[own])}
        for value, own in members.items()
    ]
    return sorted(rows, key=lambda row: (row["accuracy"]["value"], -row["n"], row["value"]))


def _row(truth: Indices, predicted: Indices, labels: Sequence[str], groups: Indices | None) -> dict[str, Any]:
    matrix = confusion_matrix(truth.tolist(), predicted.tolist(), len(labels))
    apart = None if groups is None else np.unique(groups, return_inverse=True)[1]
    by_group = None if apart is None else group_matrices(truth, predicted, apart, len(labels))
    found = summarise(matrix, labels, by_group)
    return {name: found[name] for name in ("n", "accuracy", "balanced_accuracy", "false_alarm_rate", "miss_rate")}


def _said(value: Any) -> bool:
    return value not in (None, "", [])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
