"""The report beside a stage's result."""

from __future__ import annotations

from pathlib import Path

from weldgen.receipts import read_receipt, receipt_folder
from weldgen.report.page import write_page
from weldgen.report.review_pages import write_label_page
from weldgen.report.sections import SECTIONS


def write_stage_report(stage: str, out: Path) -> Path | None:
    """Write `report.html` beside a stage's `stage.json`; None for stages that have nothing to show.

    Args:
        stage: Name of the stage.
        out: Its folder, or the file that it wrote.
    """
    folder = receipt_folder(out)
    receipt = read_receipt(folder)
    if receipt is not None and stage == "review":
        return write_label_page(folder)  # a page to work on, not one to read
    if receipt is None or stage not in SECTIONS:
        return None
    section = SECTIONS[stage](out, receipt)
    return write_page(folder / "report.html", f"weldgen {stage}", f"{receipt['finished']} · {out}", [section])
