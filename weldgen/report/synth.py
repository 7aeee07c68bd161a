"""What a run of `synth` has to show: images beside photos, defects as they were drawn, and how close the two come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from weldgen.data.dataset import read_metadata
from weldgen.data.images import read_rgb
from weldgen.report.page import Picture, Section, Table, picture
from weldgen.report.sheets import contact_sheet, strip
from weldgen.runtime import evenly

RGB = npt.NDArray[np.uint8]
Record = Mapping[str, Any]

_SHEET_IMAGES = 36
_LEAST_ON_SHEET = 6
_COLUMNS = 6
_DRAWN = 6
_DRAWN_PX = 460
_PAIR_PX = 200
_COLOURS = ((224, 90, 20), (30, 120, 210), (200, 40, 120), (40, 150, 70), (150, 110, 20), (110, 70, 190))
_TOLD_APART = 0.98
_FEW_PHOTOS = 20
_EXPLAINED = (
    "All figures compare images in the features of an ImageNet network, at the size of the synthetic images; photos "
    "are those of training only. They say how images look as a whole, not whether a small defect looks right; look at "
    "the pictures for that.",
    "KID is the distance between the two distributions, with its standard error: 0 means that they cannot be told "
    "apart, and what lies within two errors of 0 cannot be told from 0.",
    "Density is how much of what is made lies among the photos (1: as much as photos do, 0: nothing). Coverage is the "
    "share of photos that have a synthetic image closer to them than their own neighbours are (1: each has).",
    "Real or synthetic is how well a linear classifier tells the two apart on images that it has not seen (0.5: not at "
    "all, 1.0: always). Near 1.0 there is something that gives every synthetic image away, and a classifier that sees "
    "more synthetic images of one class than of another may learn that instead of the defect.",
    "Copies are images that nearly equal another synthetic image; views of one photo are not counted among them.",
)


def synth_pictures(out: Path, receipt: Record, failed: Sequence[str]) -> Section:
    """Images of each class beside its photos, defects, figures and what was refused.

    Args:
        out: Folder of the run.
        receipt: Its receipt.
        failed: Warnings on files that could not be used.
    """
    records = read_metadata(out)
    by_label = Counter(record["label"] for record in records)
    generators = Counter(record["generator"] for record in records)
    text = [
        f"{len(records)} images by {', '.join(generators)}: "
        + ", ".join(f"{count} {label}" for label, count in sorted(by_label.items()))
        + "."
    ]
    quality = receipt["details"].get("quality") or {"classes": {}}
    classes = quality["classes"]
    kinds = Counter(kind for record in records for kind in {defect["kind"] for defect in record.get("defects", ())})
    tables = [_figures(classes)] if classes else []
    tables += [Table(("Class", "Refused because", "Tries"), _refused(records))] if _refused(records) else []
    tables += [Table(("Defect", "Images showing it"), kinds.most_common())] if kinds else []
    if classes:
        text += _EXPLAINED
    photos = Path(receipt["inputs"]["dataset"])
    pictures, lost = [], 0
    for label in sorted(by_label):
        real, missing = _photos(photos, classes.get(label, {}).get("photos", ()))
        lost += missing
        if real:
            pictures.append(picture(contact_sheet(real, _COLUMNS), f"class {label}: real training photos"))
        own = [record for record in records if record["label"] == label]
        shown = evenly(own, max(_LEAST_ON_SHEET, _SHEET_IMAGES // len(by_label)))
        images = [read_rgb(out / record["file_name"]) for record in shown]
        pictures.append(picture(contact_sheet(images, _COLUMNS), f"class {label}: synthetic"))
    pictures += _defects_drawn(out, records)
    neighbours, missing = _neighbour_strips(out, photos, classes)
    warnings = [*failed, *_warnings(classes)]
    if lost + missing:
        warnings.append(f"{lost + missing} photos of {photos} are not shown, for they are not there any more.")
    return Section("Synthetic images", text, warnings, tables, pictures + neighbours)


def _figures(classes: Mapping[str, Any]) -> Table:
    head = ("Class", "Images", "Measured", "Photos", "KID", "Density", "Coverage", "Real or synthetic", "Copies")
    rows = []
    for label, own in classes.items():
        kid = f"{own['kid']:.3f} ± {own['kid_error']:.3f}" if "kid" in own else "too few photos"
        figures = ["" if own.get(name) is None else f"{own[name]:.2f}" for name in ("density", "coverage", "auc")]
        copies = "" if own["copies"] is None else f"{own['copies']:.1%}"
        rows.append((label, own["synthetic"], own["measured"], own["real"], kid, *figures, copies))
    return Table(head, rows)


def _refused(records: Sequence[Record]) -> list[tuple[str, str, int]]:
    """Class, reason and number of tries, the most frequent first in each class."""
    counts = Counter((record["label"], reason) for record in records for reason in record.get("rejected", ()))
    return [(*pair, count) for pair, count in sorted(counts.items(), key=lambda item: (item[0][0], -item[1]))]


def _warnings(classes: Mapping[str, Any]) -> list[str]:
    given_away = [label for label, own in classes.items() if (own.get("auc") or 0) >= _TOLD_APART]
    few = [f"{label} ({own['real']})" for label, own in classes.items() if own["real"] < _FEW_PHOTOS]
    warnings = []
    if given_away:
        warnings.append(
            f"Synthetic images of {', '.join(given_away)} can always be told from photos. This is usual for renderings "
            "and harmless as long as all classes have the same share of them, which weldgen mix sees to."
        )
    if few:
        warnings.append(f"Few photos to compare with: {', '.join(few)}. The figures of these classes are rough.")
    return warnings


def _photos(folder: Path, names: Sequence[str]) -> tuple[list[RGB], int]:
    """The photos that are still there, and how many are not."""
    there = [folder / name for name in names if (folder / name).is_file()]
    return [read_rgb(path) for path in there], len(names) - len(there)


def _defects_drawn(out: Path, records: Sequence[Record]) -> list[Picture]:
    """A few images with the boxes of their defects, and the masks where they were written."""
    chosen: list[Record] = []
    seen: set[str] = set()
    for record in records:
        kinds = {defect["kind"] for defect in record.get("defects", ()) if defect["box"]}
        if kinds - seen and len(chosen) < _DRAWN:
            seen |= kinds
            chosen.append(record)
    if not chosen:
        return []
    colours = {kind: _COLOURS[number % len(_COLOURS)] for number, kind in enumerate(sorted(seen))}
    drawn = [_drawn(out, record, colours) for record in chosen]
    return [picture(contact_sheet(drawn, 2, _DRAWN_PX), "defects as they were drawn, with their boxes")]


def _drawn(out: Path, record: Record, colours: Mapping[str, tuple[int, int, int]]) -> RGB:
    """An image with boxes, kinds and outlines of its defects."""
    image = read_rgb(out / record["file_name"])
    scale = _DRAWN_PX / image.shape[1]
    size = (_DRAWN_PX, max(1, round(image.shape[0] * scale)))
    shown = np.array(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    mask_path = (out / "masks" / record["file_name"]).with_suffix(".png")
    if mask_path.is_file():
        with Image.open(mask_path) as mask:
            values = np.asarray(mask.convert("L").resize(size, Image.Resampling.NEAREST))
        shown[_outline(values > 0)] = (255, 255, 0)
    canvas = Image.fromarray(shown)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(14)
    for defect in record["defects"]:
        if not defect["box"]:
            continue
        left, top, right, bottom = (value * scale for value in defect["box"])
        colour = colours.get(defect["kind"], _COLOURS[0])
        draw.rectangle((left, top, right, bottom), outline=colour, width=2)
        above = top - 18 if top > 18 else min(bottom, size[1] - 18)
        draw.rectangle(draw.textbbox((left, above), defect["kind"], font), fill=colour)
        draw.text((left, above), defect["kind"], (255, 255, 255), font)
    return np.asarray(canvas)


def _outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels of a mask that have a neighbour outside of it."""
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inside)


def _neighbour_strips(out: Path, photos: Path, classes: Mapping[str, Any]) -> tuple[list[Picture], int]:
    """Synthetic images beside their nearest photos, and how many of these are gone."""
    pictures, missing = [], 0
    for label, own in classes.items():
        for pair in own["neighbours"]:
            if not (photos / pair["photo"]).is_file():
                missing += 1
                continue
            both = strip([read_rgb(out / pair["image"]), read_rgb(photos / pair["photo"])], _PAIR_PX)
            made = ", which it was made from" if pair["parent"] else ""
            text = f"{label}: synthetic | nearest training photo{made} | distance {pair['distance']:.2f}"
            pictures.append(replace(picture(both, text), size="normal"))
    return pictures, missing
