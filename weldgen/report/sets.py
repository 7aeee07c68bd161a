"""The page of several held-out sets: one table, and where the report of each set lies."""

from __future__ import annotations

import json
from pathlib import Path

from weldgen.report.page import Section, Table, full_sentences, write_page


def write_sets_page(out: Path) -> Path:
    """Write `report.html` beside `sets.json`; returns its path."""
    record = json.loads((out / "sets.json").read_text(encoding="utf-8"))
    head, *rows = record["table"]
    missing = [f"not measured: {row['name']}: {row['reason']}" for row in record["failed"]]
    text = full_sentences([note for note in record["notes"] if note not in missing])
    text.append(
        "Every figure stands with its 95 % interval. The sets hold different photos, so a difference may lie in the "
        "photos as well as in how the model copes with them; each set has a report of its own."
    )
    unmet = [f"{row['name']}: {row['unmet']}" for row in record["sets"] if row["unmet"]]
    places = Table(
        ("Set", "Photos from", "Report"), [(r["name"], r["data"], f"{r['name']}/report.html") for r in record["sets"]]
    )
    section = Section("Held-out sets", text, full_sentences([*unmet, *missing]), [Table(head, rows), places])
    return write_page(out / "report.html", "weldgen evaluate", record["model"], [section])
