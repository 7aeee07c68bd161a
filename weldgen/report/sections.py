"""What each stage has to show, read from its folder alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from weldgen.data.dataset import Sample, read_metadata
from weldgen.data.images import read_rgb
from weldgen.data.scarce import synthetic_validation_warning
from weldgen.receipts import FAILURES_NAME, receipt_folder
from weldgen.report.comparison import compare_section
from weldgen.report.drift import drift_pictures
from weldgen.report.evaluation import measured_section
from weldgen.report.folds import folds_section
from weldgen.report.located import located_pictures, locator_pictures
from weldgen.report.page import Picture, Section, Table, figure, full_sentences, picture
from weldgen.report.searches import pretrain_section, tune_section
from weldgen.report.sheets import strip
from weldgen.report.synth import synth_pictures

RGB = npt.NDArray[np.uint8]
Receipt = Mapping[str, Any]

_STRIPS = 8
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
    """Images of each class beside its photos, and how close the two come."""
    return synth_pictures(out, receipt, _failed(out, receipt))


def mix_section(out: Path, receipt: Receipt) -> Section:
    """How many images of each origin, class and split."""
    samples = [Sample.from_record(record) for record in read_metadata(out)]
    counts = Counter((s.split, s.label, s.origin) for s in samples)
    rows = [
        (split, label, counts[split, label, "real"], counts[split, label, "synthetic"])
        for split in ("train", "val", "test")
        for label in sorted({s.label for s in samples})
    ]
    warning = synthetic_validation_warning(samples)
    held = "The test holds" if warning else "Validation and test hold"
    return Section(
        "Dataset",
        [f"{held} real photos only; no synthetic image was made from one of them."],
        full_sentences([warning]) + _failed(out, receipt),
        [Table(("Split", "Class", "Real", "Synthetic"), rows)],
    )


def train_section(out: Path, receipt: Receipt) -> Section:
    """Curves of the run and what it was trained on; of a cross-validation, what its folds found."""
    details = receipt["details"]
    if details["method"] == "folds":
        return folds_section(out, receipt, _failed(out, receipt))
    none = {"real": 0, "synthetic": 0}
    rows = [
        (label, row["real"], row["synthetic"], *details["validated_on"].get(label, none).values())
        for label, row in details["trained_on"].items()
    ]
    judges = "synthetic validation images" if details["warnings"] else "validation photos"
    start, curves = f"Backbone {details['backbone']}, {details['frame'][1]} x {details['frame'][0]} px", []
    if details["method"] == "linear":
        text = [f"{start}, as it was; a linear classifier on its features, in {details['training_seconds']:.0f} s."]
    else:
        history = json.loads((out / "history.json").read_text(encoding="utf-8"))
        text = [
            f"{start}, {details['epochs']} epochs in {details['training_seconds']:.0f} s; "
            f"epoch {details['best_epoch']} was kept."
        ]
        chart = curves_figure(history, details["best_epoch"], judges)
        curves = [figure(chart, f"Loss and balanced accuracy on {judges}")]
    head = ("Class", "Real photos", "Synthetic images", "Real photos for validation", "Synthetic ones")
    warnings = full_sentences(details["warnings"]) + _failed(out, receipt)
    return Section("Training", text, warnings, [Table(head, rows)], curves)


def evaluate_section(out: Path, receipt: Receipt) -> Section:
    """What was measured on real photos, with intervals."""
    return measured_section(out, receipt, _failed(out, receipt))


def drift_section(out: Path, receipt: Receipt) -> Section:
    """New photos against those of the training."""
    return drift_pictures(out, receipt, _failed(out, receipt))


def locator_section(out: Path, receipt: Receipt) -> Section:
    """Marks and what was found on photos that were left out."""
    return locator_pictures(out, receipt, _failed(out, receipt))


def locate_section(out: Path, receipt: Receipt) -> Section:
    """The welds that were cut out."""
    return located_pictures(out, receipt, _failed(out, receipt))


def export_section(out: Path, receipt: Receipt) -> Section:
    """The file that ships, and how close it is to the trained model."""
    size_mb = out.stat().st_size / 1e6 if out.is_file() else 0
    rows = [(k.replace("_", " "), json.dumps(value)) for k, value in receipt["details"].items() if k != "warnings"]
    warnings = full_sentences(receipt["details"]["warnings"])
    checked = Table(("Checked", "Value"), rows)
    return Section("Exported model", [f"{out.name}, {size_mb:.1f} MB."], warnings, [checked])


def curves_figure(history: Sequence[Mapping[str, Any]], best_epoch: int, judges: str = "validation photos") -> Any:
    """Matplotlib figure: losses on the left, balanced accuracy on the right."""
    from matplotlib.figure import Figure

    plot = Figure(figsize=(9, 3.2))
    losses, accuracy = plot.subplots(1, 2)
    epochs = [record["epoch"] for record in history]
    losses.plot(epochs, [record["train_loss"] for record in history], label="training", color="#5a6876")
    if "val_loss" in history[-1]:
        losses.plot(epochs, [record["val_loss"] for record in history], label="validation", color="#b4500f")
        accuracy.plot(epochs, [record["val_balanced_accuracy"] for record in history], color="#b4500f")
        accuracy.set(ylim=(0, 1.02), xlabel="epoch", title=f"balanced accuracy, {judges}")
    for axes in (losses, accuracy):
        axes.axvline(best_epoch, color="#c3ced8", zorder=0)
        axes.spines[["top", "right"]].set_visible(False)
    losses.set(xlabel="epoch", title="loss")
    losses.legend(frameon=False)
    return plot


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
    return picture(strip([before, np.asarray(found), after]), caption)


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
    "pretrain": pretrain_section,
    "tune": tune_section,
    "compare": compare_section,
    "train": train_section,
    "evaluate": evaluate_section,
    "drift": drift_section,
    "locator": locator_section,
    "locate": locate_section,
    "export": export_section,
}
