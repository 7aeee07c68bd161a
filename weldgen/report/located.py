"""What a locator found on photos that it had not seen, and what was cut out of photos with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from weldgen.data.dataset import read_metadata
from weldgen.data.images import read_rgb, shrink
from weldgen.data.sample import LOCATED
from weldgen.report.page import Picture, Section, Table, full_sentences, picture
from weldgen.report.sheets import contact_sheet

RGB = npt.NDArray[np.uint8]

_SHOWN, _COLUMNS, _CELL_PX = 12, 3, 520
_CUTS, _CUT_COLUMNS, _CUT_PX = 48, 4, 420
_MARK, _FOUND = (0, 120, 255), (255, 90, 0)


def locator_pictures(out: Path, receipt: Mapping[str, Any], failed: Sequence[str]) -> Section:
    """The marks and what was found, worst first.

    Args:
        out: Folder of the locator.
        receipt: Its receipt.
        failed: Sentences on photos that could not be used.
    """
    root = Path(receipt["inputs"]["marked"])
    root = root if root.is_dir() else root.parent
    trials = [json.loads(line) for line in (out / "trials.jsonl").read_text(encoding="utf-8").splitlines()]
    worst = sorted(trials, key=lambda trial: (trial["inside"], trial["overlap"], trial["file"]))
    there = [trial for trial in worst if (root / trial["file"]).is_file()][:_SHOWN]
    record = receipt["details"]
    rows = [
        ("Marked photos", record["marked_photos"]),
        ("Groups", record["groups"]),
        ("Cut out nearly whole", f"{record['cut_out']} ({record['low']:.0%} to {record['high']:.0%})"),
        ("Missed altogether", record["missed"]),
        ("Overlap with the mark, median", record["overlap"]),
        ("Photos without a mark, and with a weld found", f"{record['empty_photos']}, {record['false_alarms']}"),
    ]
    caption = "Blue: marked; orange: what would be cut out. The worst come first. None of these photos, nor one of its "
    caption += "group, was among those that the locator had learned from when it looked at it"
    sheet = [_sheet([_outlined(root / trial["file"], trial) for trial in there], caption)] if there else []
    return Section("Locator", full_sentences(receipt["notes"]), failed, [Table(("Left-out photos", ""), rows)], sheet)


def located_pictures(out: Path, receipt: Mapping[str, Any], failed: Sequence[str]) -> Section:
    """What was cut out, the least clear first.

    Args:
        out: The dataset of welds.
        receipt: Its receipt.
        failed: Sentences on photos that could not be used.
    """
    records = sorted(read_metadata(out), key=lambda record: (record[LOCATED]["evidence"], record["file_name"]))
    counts = receipt["counts"]
    text = [f"{counts['welds']} welds of {counts['photos']} photos, cut out and set upright."]
    shown = [read_rgb(out / record["file_name"]) for record in records[:_CUTS]]
    caption = "What was cut out; the least clear come first"
    sheets = [picture(contact_sheet(shown, _CUT_COLUMNS, _CUT_PX), caption)] if shown else []
    return Section("Located welds", text, failed, pictures=sheets)


def _sheet(images: Sequence[RGB], caption: str) -> Picture:
    return picture(contact_sheet(images, _COLUMNS, _CELL_PX), caption)


def _outlined(path: Path, trial: Mapping[str, Any]) -> RGB:
    """A photo with its marks and what was found."""
    image = read_rgb(path)
    small = shrink(image, 2 * _CELL_PX)
    scale = small.shape[1] / image.shape[1]
    shown = Image.fromarray(small)
    draw = ImageDraw.Draw(shown)
    found = [trial["found"]] if trial["found"] else []
    for corners, colour in [(mark, _MARK) for mark in trial["marks"]] + [(one, _FOUND) for one in found]:
        points = [(x * scale, y * scale) for x, y in corners]
        draw.line([*points, points[0]], fill=colour, width=4)
    return np.asarray(shown)
