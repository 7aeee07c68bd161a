"""What an evaluation has to show: shares with their intervals, targets, the operating point."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weldgen.report.evidence import EXPLAINED, evidence_pictures, factors_table
from weldgen.report.page import Section, Table, full_sentences, picture_file

_SEEN = {
    "test": "which training never saw",
    "val": "which chose the best epoch, so the figures flatter",
    "train": "which the model was trained on, so the figures say nothing about new photos",
}


def measured_section(out: Path, receipt: Mapping[str, Any], failed: Sequence[str]) -> Section:
    """What was measured on real photos, with intervals.

    Args:
        out: Folder of the evaluation.
        receipt: Its receipt.
        failed: Sentences on photos that could not be used.
    """
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    if not metrics["n"]:
        warnings = [*full_sentences([metrics.get("unmet", ""), *receipt["notes"]]), *failed]
        return Section("Evaluation", warnings=warnings, tables=targets_table(metrics))
    balanced = metrics["balanced_accuracy"]
    found = "" if balanced is None else f"Balanced accuracy {balanced:.1%}. "
    text = [
        f"{metrics['n']} real photos, {_SEEN[metrics['split']]}. {found}"
        "Every share stands with its count and 95 % Wilson interval; with few photos the interval is wide."
    ]
    absent = [label for label, values in metrics["classes"].items() if not values["support"]]
    warnings = [f"There is no real photo of {', '.join(absent)}: nothing is known about it."] if absent else []
    shares = [("Accuracy", metrics["accuracy"])]
    if metrics["good_class"]:
        shares += [
            (f"False alarms ({metrics['good_class']} called something else)", metrics["false_alarm_rate"]),
            (f"Misses (bad called {metrics['good_class']})", metrics["miss_rate"]),
        ]
    overall = Table(("On real photos", "Share", "Count", "95 % interval"), [(name, *_share(s)) for name, s in shares])
    rows = [
        (
            label,
            values["support"],
            _percent(values["precision"]["value"]),
            *_share(values["recall"]),
            f"{values['f1']:.2f}",
        )
        for label, values in metrics["classes"].items()
    ]
    head = ("Class", "Photos", "Precision", "Recall", "Count", "95 % interval", "F1")
    matrix = picture_file(out / "confusion.png", "Confusion matrix (photos)")
    tables = [*targets_table(metrics), overall, Table(head, rows), *operating_table(metrics)]
    tables += factors_table(metrics.get("shortcuts", {}))
    evidence = evidence_pictures(out, Path(receipt["inputs"]["dataset"]))
    missed = full_sentences([metrics.get("unmet", "")])
    # what else there is to say, as it was printed: the operating point, what may be claimed, several views
    text += full_sentences(metrics.get("remarks", []))
    text += [EXPLAINED] if evidence else []
    return Section("Evaluation", text, [*missed, *warnings, *failed], tables, [matrix, *evidence])


def targets_table(metrics: Mapping[str, Any]) -> list[Table]:
    """What had to be reached, and whether it was; empty where nothing had."""
    words = {"min": "least", "max": "most"}
    rows = [
        (
            row["metric"],
            " and ".join(f"at {words[end]} {row[end]:g}" for end in words if row[end] is not None),
            "not measured" if row["value"] is None else f"{row['value']:.3f}",
            f"{row['low']:.3f} to {row['high']:.3f}",
            "reached" if row["pass"] else "missed",
            "yes" if row["proven"] else "no",
        )
        for row in metrics.get("targets", ())
    ]
    head = ("Target", "Asked for", "Value", "95 % interval", "Result", "Proven by the interval")
    return [Table(head, rows)] if rows else []


def operating_table(metrics: Mapping[str, Any]) -> list[Table]:
    """What the chosen threshold and abstention make of the photos; empty where none was chosen."""
    point = metrics.get("operating")
    if not point:
        return []
    positive = point["positive"]
    rows = [("Accuracy", "accuracy"), ("Handed to a person", "abstained")]
    rows.append(("Accuracy of the others", "decided_accuracy"))
    if positive:
        rows = [
            (f"Recall of {positive}", "recall"),
            (f"Others called {positive}", "false_reject_rate"),
            *rows,
            (f"{positive} that nobody would see", "escaped"),
        ]
    shown = [(name, *_share(point[key])) for name, key in rows]
    how = f"{positive} from a probability of {point['threshold']:.3g} on" if positive else "With abstention"
    return [Table((how, "Share", "Count", "95 % interval"), shown)]


def _share(share: Mapping[str, Any]) -> tuple[str, str, str]:
    interval = f"{share['low']:.0%} to {share['high']:.0%}" if share["n"] else ""
    return _percent(share["value"]), f"{share['count']} of {share['n']}", interval


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"
