"""What a comparison has to show: the table, the verdict, what accuracy costs, and what others claim."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from weldgen.report.page import Section, Table, full_sentences, picture_file

_FRONT = (
    "Balanced accuracy against what a prediction takes. Full markers, joined by the line: the front, which no other "
    "value beats in one without losing in the other. Where intervals overlap, that is no ranking"
)


def compare_section(out: Path, receipt: Mapping[str, Any]) -> Section:
    """All values on the same photos."""
    record = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    head, *rows = record["table"]
    verdict = full_sentences(record["verdict"])
    tables, text = [Table(head, rows)], verdict[1:]
    settings = [(result["value"], result["settings"]) for result in record["results"] if "settings" in result]
    if settings:
        tables.append(Table((record["key"], "settings"), settings))
    claims = record.get("claims")
    if claims:
        tables += [Table(claims["head"], claims["rows"])] if claims["rows"] else []
        text += full_sentences([claims["mark"]])
    pictures = [picture_file(out / "comparison.png", f"The same {record['photos']} real test photos")]
    if (out / "pareto.png").is_file():
        pictures.append(replace(picture_file(out / "pareto.png", _FRONT), size="wide"))
    return Section("Comparison", text, verdict[:1], tables, pictures)
