"""What a search over settings and a self-supervised run have to show, read from their folders alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weldgen.report.page import Section, Table, figure, picture_file

Receipt = Mapping[str, Any]


def tune_section(out: Path, receipt: Receipt) -> Section:
    """All trials, the verdict, and the pictures of history and importance."""
    lines = (out / "study.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    keys = list(receipt["details"]["space"])
    ended = sorted(records, key=lambda record: (record["state"] != "complete", -(record["balanced_accuracy"] or 0)))
    rows = [
        (
            record["trial"],
            record["state"],
            "" if record["balanced_accuracy"] is None else f"{record['balanced_accuracy']:.1%}",
            record["epochs"] or "",
            f"{record['seconds']:.0f} s" if record["seconds"] else "",
            *(record["settings"].get(key, "") for key in keys),
        )
        for record in ended
    ]
    head = ("Trial", "State", "Balanced accuracy, validation", "Epochs", "Training", *keys)
    verdict = receipt["details"]["verdict"]
    return Section(
        "Search",
        verdict[1:],
        verdict[:1],
        [Table(head, rows)],
        [picture_file(out / "tuning.png", "Trials, importance")],
    )


def pretrain_section(out: Path, receipt: Receipt) -> Section:
    """Curves of the run, and whether the embeddings still tell photos apart."""
    history = json.loads((out / "history.json").read_text(encoding="utf-8"))
    details, spread = receipt["details"], receipt["details"]["spread"]
    text = [
        f"Backbone {details['backbone']}, {details['epochs']} epochs, {details['steps']} steps in "
        f"{details['training_seconds']:.0f} s on {receipt['counts']['images']} images, without labels.",
        f"Spread of the embeddings: {spread['start']:.2f} at the start, {spread['end']:.2f} at the end "
        "(0: all alike, 1: in all directions).",
    ]
    warnings = [note for note in receipt["notes"] if "collapsed" in note] if details["collapsed"] else []
    return Section("Self-supervised warm-up", text, warnings, pictures=[figure(_curves(history), "Loss and spread")])


def _curves(history: list[dict[str, Any]]) -> Any:
    """Matplotlib figure: loss on the left, spread of the teacher's embeddings on the right."""
    from matplotlib.figure import Figure

    plot = Figure(figsize=(9, 3.2))
    for axes, name in zip(plot.subplots(1, 2), ("loss", "spread"), strict=True):
        known = [record for record in history if name in record]
        axes.plot([record["epoch"] for record in known], [record[name] for record in known], color="#b4500f")
        axes.set(xlabel="epoch", title=name)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    return plot
