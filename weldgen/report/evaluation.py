"""What an evaluation has to show: shares with their intervals, targets, the operating point."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weldgen.report.evidence import EXPLAINED, UNEXPLAINED, evidence_pictures, factors_table
from weldgen.report.page import Section, Table, full_sentences, picture_file

# Rows of a table of a field's values; the worst come first.
_ROWS_SHOWN = 30
_PICTURES = (
    ("confusion.png", "Confusion matrix (photos)"),
    ("confusion_normalised.png", "Confusion matrix (share of each true class)"),
    ("roc.png", "ROC curves, each class against the rest; dashed: chance"),
    ("precision_recall.png", "Precision-recall curves, each class against the rest; dotted: chance"),
    ("reliability.png", "Accuracy against confidence in 15 bins, and photos in each"),
)

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
    text = [
        f"{metrics['n']} real photos, {_SEEN[metrics['split']]}. "
        "Every share stands with its count and 95 % Wilson interval; with few photos the interval is wide."
    ]
    if metrics["groups"] < metrics["n"]:
        text.append(
            f"The photos are of {metrics['groups']} groups. Photos of one group, such as views of one part, are not "
            "independent, so intervals and claims count groups."
        )
    absent = [label for label, values in metrics["classes"].items() if not values["support"]]
    warnings = [f"There is no real photo of {', '.join(absent)}: nothing is known about it."] if absent else []
    shares = [("Accuracy", metrics["accuracy"])]
    if metrics["good_class"]:
        shares += [
            (f"False alarms ({metrics['good_class']} called something else)", metrics["false_alarm_rate"]),
            (f"Misses (bad called {metrics['good_class']})", metrics["miss_rate"]),
        ]
    overall = Table(("On real photos", "Share", "Count", "95 % interval"), [(name, *_share(s)) for name, s in shares])
    tables = [*targets_table(metrics), overall, figures_table(metrics), classes_table(metrics)]
    tables += [*operating_table(metrics), *field_table(metrics), *factors_table(metrics.get("shortcuts", {}))]
    pictures = [picture_file(out / name, caption) for name, caption in _PICTURES if (out / name).is_file()]
    evidence = evidence_pictures(out, Path(receipt["inputs"]["dataset"]))
    missed = full_sentences([metrics.get("unmet", "")])
    # what else there is to say, as it was printed: the operating point, what may be claimed, several views
    text += full_sentences(metrics.get("remarks", []))
    unexplained = metrics.get("shortcuts", {}).get("no_maps")
    text += [UNEXPLAINED if unexplained else EXPLAINED] if evidence else []
    return Section("Evaluation", text, [*missed, *warnings, *failed], tables, [*pictures, *evidence])


def figures_table(metrics: Mapping[str, Any]) -> Table:
    """Figures that are no shares, as far as they are defined, with what drawing the groups of photos anew allows."""
    drawn = metrics["bootstrap"]
    wilson, macro = metrics["balanced_accuracy_interval"], metrics["macro"]
    balanced, auroc = metrics["balanced_accuracy"], metrics["auroc"]["macro"]
    rows = [("Macro F1", _decimal(macro["f1"]), "", _drawn(drawn["macro_f1"], drawn["unvaried"]))]
    if balanced is not None:
        resampled = _drawn(drawn["balanced_accuracy"], drawn["unvaried"])
        rows.insert(0, ("Balanced accuracy", _percent(balanced), f"{wilson[0]:.0%} to {wilson[1]:.0%}", resampled))
    if auroc is not None:
        rows += [
            ("AUROC, macro", _decimal(auroc), "", ""),
            ("Average precision, macro", _decimal(metrics["average_precision"]["macro"]), "", ""),
        ]
    rows += [
        ("Expected calibration error", _decimal(metrics["calibration"]["expected_calibration_error"]), "", ""),
    ]
    return Table(("Figure", "Value", "95 % interval (Wilson)", "95 % interval (bootstrap)"), rows)


def classes_table(metrics: Mapping[str, Any]) -> Table:
    """Each class, then the mean over classes (macro) and over photos (weighted)."""
    auroc, precision = metrics["auroc"], metrics["average_precision"]
    rows = [
        (
            label,
            values["support"],
            _percent(values["precision"]["value"]),
            *_share(values["recall"]),
            _decimal(values["f1"]),
            _decimal(auroc["classes"][label]),
            _decimal(precision["classes"][label]),
        )
        for label, values in metrics["classes"].items()
    ]
    ranks = {"macro": (_decimal(auroc["macro"]), _decimal(precision["macro"])), "weighted": ("", "")}
    rows += [
        (
            {"macro": "Mean of classes (macro)", "weighted": "Mean of photos (weighted)"}[name],
            metrics["n"],
            _percent(metrics[name]["precision"]),
            _percent(metrics[name]["recall"]),
            "",
            "",
            _decimal(metrics[name]["f1"]),
            *ranks[name],
        )
        for name in ranks
    ]
    head = ("Class", "Photos", "Precision", "Recall", "Count", "95 % interval", "F1", "AUROC", "Average precision")
    return Table(head, rows)


def field_table(metrics: Mapping[str, Any]) -> list[Table]:
    """How good the model is on the photos of each value of a field, the worst first; empty where there is none."""
    found = metrics.get("by_group")
    if not found:
        return []
    shown = found["rows"][:_ROWS_SHOWN]
    rows = [
        (
            row["value"],
            row["n"],
            *_share(row["accuracy"]),
            "" if row["balanced_accuracy"] is None else _percent(row["balanced_accuracy"]),
            _count(row["false_alarm_rate"]),
            _count(row["miss_rate"]),
        )
        for row in shown
    ]
    left = len(found["rows"]) - len(shown)
    rows += [(f"… and {left} more, no worse", "", "", "", "", "", "", "")] if left else []
    head = (
        f"By {found['field']}", "Photos", "Accuracy", "Count", "95 % interval", "Balanced accuracy", "False alarms",
        "Misses",
    )  # fmt: skip
    return [Table(head, rows)]


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


def _decimal(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _count(share: Mapping[str, Any] | None) -> str:
    return f"{share['count']} of {share['n']}" if share and share["n"] else ""


def _drawn(ends: Sequence[float] | None, unvaried: Sequence[str]) -> str:
    if ends:
        return f"{ends[0]:.3f} to {ends[1]:.3f}"
    return f"none: {', '.join(unvaried)} too uniform to draw from" if unvaried else "none"
