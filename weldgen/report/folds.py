"""What a cross-validation has to show: every photo judged once by a model that had not seen it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weldgen.report.page import Section, Table, full_sentences, picture_file


def folds_section(out: Path, receipt: Mapping[str, Any], failed: Sequence[str]) -> Section:
    """The folds one by one and together, and whether the models know their own photos better than others.

    Args:
        out: Folder of the ensemble.
        receipt: Its receipt.
        failed: Sentences on photos that could not be used.
    """
    record = json.loads((out / "folds.json").read_text(encoding="utf-8"))
    notes = receipt["notes"]
    warned = [note for note in notes if note in receipt["details"]["warnings"] or note.startswith("overfitting:")]
    text = full_sentences([note for note in notes if note not in warned])
    matrix = picture_file(out / "confusion.png", "Confusion matrix (photos, each held out once)")
    tables = [_classes(record), _folds(record)]
    return Section("Cross-validation", text, [*full_sentences(warned), *failed], tables, [matrix])


def _classes(record: Mapping[str, Any]) -> Table:
    drawn = (record["bootstrap"] or {"recall": {}})["recall"]
    rows = [
        (
            label,
            values["support"],
            _percent(values["recall"]["value"]),
            f"{values['recall']['low']:.0%} to {values['recall']['high']:.0%}" if values["support"] else "",
            _interval(drawn.get(label)),
        )
        for label, values in record["classes"].items()
    ]
    return Table(("Class", "Photos", "Recall, out of fold", "95 % interval", "Groups drawn together"), rows)


def _folds(record: Mapping[str, Any]) -> Table:
    rows = [
        (
            fold["model"],
            ", ".join(f"{count} {label}" for label, count in fold["held_out"].items()),
            f"{fold['real']} + {fold['synthetic']}",
            _percent(fold["accuracy"]["value"]),
            _percent(fold["balanced_accuracy"]),
            _percent(fold["training_accuracy"]["value"]),
            "" if fold["gap"] is None else f"{100 * fold['gap']:+.1f}",
        )
        for fold in record["by_fold"]
    ]
    head = (
        "Model", "Held out", "Trained on, real + synthetic", "Accuracy, out of fold", "Balanced accuracy",
        "Accuracy, training photos", "Gap in points",
    )  # fmt: skip
    return Table(head, rows)


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"


def _interval(ends: Sequence[float] | None) -> str:
    return f"{ends[0]:.0%} to {ends[1]:.0%}" if ends else ""
