"""What an evaluation has to show of shortcuts: photos with what the model went by, and what errors follow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from weldgen.data.images import read_rgb, shrink
from weldgen.report.page import Picture, Table, picture
from weldgen.report.sheets import strip

RGB = npt.NDArray[np.uint8]

_SIDE_PX = 480
# Where most evidence is, the colour hides so much of the photo.
_OPACITY = 0.7
_HOT, _OUTLINE = (255, 40, 0), (0, 120, 255)

EXPLAINED = (
    "Red marks where the model found what speaks for its answer against the other classes, at the resolution of its "
    "last layers; blue outlines are writing. Wrong answers come first, the surest at the top, then the right answers "
    "of which it was surest. Red that does not lie on the weld is a reason to doubt the model, right or wrong."
)
UNEXPLAINED = (
    "There are no maps of what this model went by. Wrong answers come first, the surest at the top, then the right "
    "answers of which it was surest."
)


def evidence_pictures(out: Path, root: Path) -> list[Picture]:
    """Each photo beside its map, if the model has any; those that are not there any more are left out.

    Args:
        out: Folder of the evaluation.
        root: Of the dataset that was measured.
    """
    path = out / "evidence.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    shown = [line for line in map(json.loads, lines) if (root / line["file"]).is_file()]
    return [_evidence(read_rgb(root / line["file"]), line) for line in shown]


def factors_table(shortcuts: Mapping[str, Any]) -> list[Table]:
    """What was asked of the errors; empty where nothing could vary."""
    rows = [
        (
            finding["factor"].capitalize(),
            finding["n"],
            "" if finding["p"] is None else f"{finding['p_holm']:.2g}",
            "yes" if finding["shown"] else finding.get("reason", "no"),
        )
        for finding in shortcuts.get("factors", ())
    ]
    head = ("Do errors follow", "Independent photos or groups", "p (permutation test, Holm)", "Answer")
    return [Table(head, rows)] if rows else []


def overlay(photo: RGB, cells: Sequence[Sequence[int]], regions: Sequence[Any]) -> RGB:
    """A photo with its map in red and regions outlined in blue.

    Args:
        photo: (H, W, 3) uint8 RGB.
        cells: Rows of the map over the whole photo, 0 to 255.
        regions: Corners, in pixels of the photo.
    """
    map_image = Image.fromarray(np.array(cells, np.uint8))
    smooth = map_image.resize((photo.shape[1], photo.shape[0]), Image.Resampling.BILINEAR)
    strength = _OPACITY * np.asarray(smooth, np.float32)[:, :, None] / 255
    # on grey, so that rust and heat tint are not taken for evidence
    grey = np.repeat(np.asarray(Image.fromarray(photo).convert("L"), np.float32)[:, :, None], 3, axis=2)
    shown = Image.fromarray(np.round(grey * (1 - strength) + strength * np.array(_HOT)).astype(np.uint8))
    draw = ImageDraw.Draw(shown)
    for polygon in regions:
        corners = [(float(x), float(y)) for x, y in polygon]
        draw.line([*corners, corners[0]], fill=_OUTLINE, width=2)
    return np.asarray(shown)


def _evidence(photo: RGB, line: Mapping[str, Any]) -> Picture:
    small = shrink(photo, _SIDE_PX)
    verdict = "right" if line["label"] == line["predicted"] else f"is {line['label']}"
    caption = f"{line['file']}: called {line['predicted']} with {line['score']:.1%}, {verdict}"
    if line["map"] is None:
        return replace(picture(small), caption=caption, size="normal")
    scale = small.shape[1] / photo.shape[1]
    regions = [(np.array(polygon) * scale).tolist() for polygon in line["regions"]]
    marked = overlay(small, line["map"], regions)
    caption += "" if np.any(line["map"]) else "; no evidence, the others have less"
    return replace(picture(strip([small, marked], small.shape[0])), caption=caption, size="normal")
