"""One report of a whole chain: what went in, what came out, what was measured and what would be better."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from weldgen.receipts import read_receipt, receipt_folder
from weldgen.report.page import Section, Table, write_page
from weldgen.report.sections import SECTIONS


def write_project_report(folder: Path, steps: Sequence[tuple[str, Path]]) -> Path:
    """Write `report.html` into `folder` from the receipts of the given steps.

    Args:
        folder: The project folder.
        steps: Stage and its out folder (or file), in order; steps without a receipt are left out.

    Returns:
        The page's path.
    """
    sections, rows, notes = [], [], []
    licences: set[tuple[str, str]] = set()
    for stage, out in steps:
        receipt = read_receipt(receipt_folder(out))
        if receipt is None or receipt["stage"] != stage:
            continue
        counts = ", ".join(f"{count} {name}" for name, count in receipt["counts"].items())
        rows.append((stage, counts, receipt["failures"] or "", f"{receipt['seconds']:.0f} s"))
        notes += [f"{stage}: {note}" for note in receipt["notes"]]
        licences |= {(weight["id"], weight["licence"]) for weight in receipt["weights"]}
        if stage in SECTIONS:
            sections.append(SECTIONS[stage](out, receipt))
    overview = Section("What was done", notes, tables=[Table(("Stage", "Result", "Failed", "Time"), rows)])
    closing = Section("Third-party weights used", tables=[Table(("Weights", "Licence"), sorted(licences))])
    title = "From marked-up photos to a classifier"
    return write_page(folder / "report.html", title, folder.resolve().name, [overview, *sections, closing])
