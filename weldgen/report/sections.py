"""What each stage has to show, read from its folder alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from weldgen.data.dataset import Sample, read_metadata
from weldgen.data.images import read_rgb
from weldgen.receipts import FAILURES_NAME, receipt_folder
from weldgen.report.page import Picture, Section, Table, picture
from weldgen.report.sheets import contact_sheet, strip

RGB = npt.NDArray[np.uint8]
Receipt = Mapping[str, Any]

_STRIPS = 8
_SHEET_IMAGES = 36
_OUTLINE = (224, 90, 20)


def clean_section(out: Path, receipt: Receipt) -> Section:
    """Before, found and after for the photos that had writing; those with something left first."""
    records = read_metadata(out)
    marked = sorted(
        (r for r in records if r["regions"]), key=lambda r: (-r["residual"], -r["masked_share"], r["file_name"])
    )
    left = sum(r["residual"] > 0 for r in marked)
    source = Path(receipt["inputs"]["source"])
    strips = [_clean_strip(source, out, record) for record in marked[:_STRIPS]]
    text = [
        f"{len(records)} photos, {len(marked)} with writing, {sum(len(r['regions']) for r in marked)} pieces of "
        "writing. Photos without writing were copied as they are.",
        "Each strip shows the photo, what was found, and the result; photos with something left come first.",
    ]
    warnings = [f"Something that looks like writing is left on {left} photos; look at them."] if left else []
    return Section("Cleaning", text, warnings + _failed(out, receipt), pictures=strips)


def synth_section(out: Path, receipt: Receipt) -> Section:
    """A sheet of images of each class, and what defects they show."""
    records = read_metadata(out)
    by_label = Counter(record["label"] for record in records)
    kinds = Counter(defect["kind"] for record in records for defect in record.get("defects", ()))
    generators = Counter(record["generator"] for record in records)
    sheets = []
    for label in sorted(by_label):
        chosen = [record for record in records if record["label"] == label][: _SHEET_IMAGES // max(1, len(by_label))]
        images = [read_rgb(out / record["file_name"]) for record in chosen]
        sheets.append(picture(contact_sheet(images), f"class {label}", max_side_px=1600, wide=True))
    text = [
        f"{len(records)} images by {', '.join(generators)}: "
        + ", ".join(f"{count} {label}" for label, count in sorted(by_label.items()))
        + "."
    ]
    tables = [Table(("Defect", "Images showing it"), kinds.most_common())] if kinds else []
    return Section("Synthetic images", text, _failed(out, receipt), tables, sheets)


def mix_section(out: Path, receipt: Receipt) -> Section:
    """How many images of each origin, class and split."""
    samples = [Sample.from_record(record) for record in read_metadata(out)]
    counts = Counter((s.split, s.label, s.origin) for s in samples)
    rows = [
        (split, label, counts[split, label, "real"], counts[split, label, "synthetic"])
        for split in ("train", "val", "test")
        for label in sorted({s.label for s in samples})
    ]
    return Section(
        "Dataset",
        ["Validation and test hold real photos only; no synthetic image was made from one of them."],
        _failed(out, receipt),
        [Table(("Split", "Class", "Real", "Synthetic"), rows)],
    )


def _clean_strip(source: Path, out: Path, record: Mapping[str, Any]) -> Picture:
    before = read_rgb(source / record["source"])
    after = read_rgb(out / record["file_name"])
    found = Image.fromarray(before)
    draw = ImageDraw.Draw(found)
    width = max(2, max(before.shape[:2]) // 300)
    for region in record["regions"]:
        corners = [(float(x), float(y)) for x, y in region["polygon"]]
        draw.line([*corners, corners[0]], fill=_OUTLINE, width=width)
    left = f"; {record['residual']} left" if record["residual"] else ""
    caption = f"{record['file_name']}: {len(record['regions'])} found{left}; filled by {record['inpainter']}"
    return picture(strip([before, np.asarray(found), after]), caption, max_side_px=1800, wide=True)


def _failed(out: Path, receipt: Receipt) -> list[str]:
    """The first failures of a stage as one warning."""
    if not receipt["failures"]:
        return []
    path = receipt_folder(out) / FAILURES_NAME
    reasons = [json.loads(line)["reason"] for line in path.read_text(encoding="utf-8").splitlines()]
    return [f"{len(reasons)} files could not be used: " + "; ".join(reasons[:3]) + ("; …" if len(reasons) > 3 else "")]


SECTIONS: dict[str, Callable[[Path, Receipt], Section]] = {
    "clean": clean_section,
    "synth": synth_section,
    "mix": mix_section,
}
