"""What a drift check has to show: the differences, and the new photos that lie furthest off."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weldgen.data.images import read_rgb
from weldgen.report.page import Section, Table, full_sentences, picture
from weldgen.report.sheets import contact_sheet

_SHOWN = 12


def drift_pictures(out: Path, receipt: Mapping[str, Any], failed: Sequence[str]) -> Section:
    """New photos against those of the training.

    Args:
        out: Folder of the drift check.
        receipt: Its receipt.
        failed: Sentences on photos that could not be used.
    """
    record = json.loads((out / "drift.json").read_text(encoding="utf-8"))
    ranking = [json.loads(line) for line in (out / "drift.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [
        (
            name.capitalize(),
            f"{record[name]['training_median']:.1f}",
            f"{record[name]['new_median']:.1f}",
            f"{record[name]['more_often']:.0%}",
            f"{record[name]['low']:.0%} to {record[name]['high']:.0%}",
        )
        for name in ("brightness", "sharpness")
    ]
    head = ("", "Training photos, median", "New photos, median", "A new one has more", "95 % interval")
    root = Path(receipt["inputs"]["photos"])
    there = [root / row["file"] for row in ranking[:_SHOWN] if (root / row["file"]).is_file()]
    sheets = [picture(contact_sheet([read_rgb(path) for path in there]), "Furthest from the training photos first")]
    return Section("Drift", full_sentences(receipt["notes"]), failed, [Table(head, rows)], sheets if there else [])
