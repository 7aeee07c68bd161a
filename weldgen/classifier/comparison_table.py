"""A comparison as a table for people and one for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from weldgen.classifier.comparison import Comparison, Score

_MEASURES = ("accuracy", "balanced_accuracy", "false_alarms")
_UNKNOWN = "-"


def table_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Head and rows as text; what was measured of no value is left out."""
    head = (
        comparison.key, "real + synthetic", "balanced accuracy", "accuracy", "false alarms", "training", "peak memory",
        "parameters", "file", "latency", "licence of the weights",
    )  # fmt: skip
    rows = []
    for k, entry in enumerate(comparison.entries):
        scores, costs = comparison.scores(k), entry.costs
        rows.append(
            (
                entry.value,
                f"{entry.real} + {entry.synthetic}",
                _share(scores["balanced_accuracy"]),
                _share(scores["accuracy"]),
                _share(scores["false_alarms"]) if "false_alarms" in scores else _UNKNOWN,
                f"{costs.training_s:.0f} s" + ("*" if costs.beside > 1 else ""),
                _number(costs.memory_mb, 0, "MB"),
                f"{costs.parameters / 1e6:.2f} M",
                _number(costs.file_mb, 1, "MB"),
                _number(costs.latency_ms, 2, "ms"),
                costs.licence,
            )
        )
    used = [column for column in range(len(head)) if any(row[column] != _UNKNOWN for row in rows)]
    return [tuple(row[column] for column in used) for row in (head, *rows)]


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Head and rows as the lines of a Markdown table; none of nothing."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    ruled = [rows[0], tuple("-" * width for width in widths), *rows[1:]]
    return ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in ruled]


def csv_text(comparison: Comparison) -> str:
    """The results for a spreadsheet, one row a value; what was not measured is empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        [comparison.key, "settings", "runs", "real", "synthetic"]
        + [f"{measure}{end}" for measure in _MEASURES for end in ("", "_low", "_high")]
        + ["epochs", "training_seconds", "peak_memory_mb", "parameters", "file_mb", "latency_ms", "licences"]
        + ["test_photos", "trained_side_by_side"]
    )
    for k, entry in enumerate(comparison.entries):
        scores, costs = comparison.scores(k), entry.costs
        writer.writerow(
            [entry.value, entry.settings, len(entry.seeds), entry.real, entry.synthetic]
            + [f"{value:.6f}" if value != "" else "" for name in _MEASURES for value in scores.get(name, ("", "", ""))]
            + [f"{entry.epochs:g}", f"{costs.training_s:.1f}", costs.memory_mb, costs.parameters]
            + [_digits(costs.file_mb), _digits(costs.latency_ms)]
            + ["; ".join(f"{name}: {licence}" for name, licence in costs.licences.items())]
            + [comparison.photos, costs.beside]
        )
    return stream.getvalue()


def _share(score: Score) -> str:
    value, low, high = score
    return f"{value:.1%} ({low:.0%} to {high:.0%})"


def _number(value: float | None, digits: int, unit: str) -> str:
    return _UNKNOWN if value is None else f"{value:.{digits}f} {unit}"


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
