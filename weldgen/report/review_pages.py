"""The two pages on which a person decides: about labels (`weldgen review`), about cleaned photos (`clean --review`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from weldgen.data.dataset import read_metadata
from weldgen.data.images import read_rgb
from weldgen.errors import DataError
from weldgen.receipts import read_receipt
from weldgen.report.page import picture
from weldgen.report.review import Card, Choice, Part, ReviewPage, write_review_page
from weldgen.report.sheets import strip
from weldgen.runtime import content_hash, track

RGB = npt.NDArray[np.uint8]

PAGE_NAME = "review.html"
# A page holds its pictures; more make browsers slow.
_MOST_LABELS, _MOST_CLEANED = 400, 400
_LABEL_PX, _STRIP_PX = 480, 300
_TINT, _OUTLINE = np.array([230, 40, 40]), (224, 90, 20)
# Where masks were not saved: a change beyond what writing a JPEG again does.
_CHANGED_LEVELS = 16


def write_label_page(out: Path) -> Path:
    """Write `review.html` beside the files of a review, from these and the photos alone.

    Args:
        out: Folder of `weldgen review`.
    """
    about = json.loads((out / "review.json").read_text(encoding="utf-8"))
    ranking, duplicates = _read_lines(out / "review.jsonl"), _read_lines(out / "duplicates.jsonl")
    root = Path(about["dataset"])
    classes = sorted({*about["classes"], *(label for group in duplicates for label in group["labels"])})
    choices = [
        Choice("keep", "k", {"decision": "keep", "to": ""}),
        Choice("leave out", "x", {"decision": "leave_out", "to": ""}),
        *(
            Choice(f"change to {name}", str(number) if number < 10 else "", {"decision": "change", "to": name})
            for number, name in enumerate(classes, start=1)
        ),
    ]
    shown = ranking[:_MOST_LABELS]
    total = len(shown) + sum(len(group["files"]) for group in duplicates)
    progress = track(iter(range(total)), total=total, description="review page", unit="photos")
    known = {line["file"]: line for line in ranking}

    def card(line: Mapping[str, Any]) -> Card:
        next(progress, None)
        return _label_card(root, line, classes)

    alike = [
        card(known.get(file, {"file": file, "id": identity, "label": label}))
        for group in duplicates
        for file, identity, label in zip(group["files"], group["ids"], group["labels"], strict=True)
    ]
    cut = f" The first {len(shown)} of {len(ranking)} photos are shown; review.jsonl lists all."
    text = f"Most suspicious first; {about['issues']} of {about['photos']} labels look wrong."
    text += cut * (len(ranking) > len(shown)) + f" {len(duplicates)} groups of near-duplicates follow." * bool(alike)
    alike_text = "Photos that look alike stand one after the other. Copies of one file cannot both be right."
    parts = [
        Part("Labels, worst first", text, [card(line) for line in shown]),
        Part("Near-duplicates with different labels", alike_text, alike),
    ]
    next(progress, None)
    page = ReviewPage(
        "Which labels are wrong?",
        f"{about['dataset']} · judged by {about['backbone']}, each photo by models that never saw it",
        "labels",
        about["key"],
        about["dataset"],
        "decisions.json",
        "weldgen review --apply decisions.json",
        choices,
        [part for part in parts if part.cards],
    )
    return write_review_page(out / PAGE_NAME, page)


def write_clean_page(out: Path) -> Path:
    """Write `review.html` beside the report of cleaned photos: before, mask and after of each.

    Args:
        out: Folder of `weldgen clean`.

    Raises:
        DataError: It holds no finished run.
    """
    receipt = read_receipt(out)
    if receipt is None or receipt["stage"] != "clean":
        raise DataError(f"{out} holds no finished run of weldgen clean", "run weldgen clean --review")
    records = sorted(read_metadata(out), key=_worst_first)
    source = Path(receipt["inputs"]["source"])
    shown = records[:_MOST_CLEANED]
    cards = [
        _clean_card(source, out, record)
        for record in track(shown, total=len(shown), description="review page", unit="photos")
    ]
    cut = f" The first {len(shown)} of {len(records)} are shown." * (len(records) > len(shown))
    marked = sum(bool(record["regions"]) for record in shown)
    parts = [
        Part("Photos with writing", f"Before, what was replaced (red), after; worst first.{cut}", cards[:marked]),
        Part("Photos without writing", "Nothing was found on these. Tick those with writing.", cards[marked:]),
    ]
    state = json.dumps([(record["file_name"], record["id"]) for record in records])
    elsewhere = f" --out {out}" * (out != Path("data/clean"))
    page = ReviewPage(
        "Which photos need another look?",
        f"{source} → {out}",
        "clean",
        content_hash(state.encode()),
        str(out),
        "again.json",
        f"weldgen clean --only again.json{elsewhere} mask.dilate_px=30",
        [Choice("clean again", "a", {"decision": "again"})],
        [part for part in parts if part.cards],
        wide=True,
    )
    return write_review_page(out / PAGE_NAME, page)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _label_card(root: Path, line: Mapping[str, Any], classes: Sequence[str]) -> Card:
    """A photo with its label; `line` is of `review.jsonl`, or has no score where the photo could not be judged."""
    label, suggested = line["label"], line.get("suggested", line["label"])
    first_class = 2  # behind keep and leave out
    lines = [f"labelled {label}"]
    if "score" in line:
        shares = sorted(line["probabilities"].items(), key=lambda item: -item[1])[:3]
        lines.append(", ".join(f"{name} {share:.0%}" for name, share in shares) + f" · rank {line['rank']}")
    offered = [0, *(first_class + k for k, name in enumerate(classes) if name != label), 1]
    return Card(
        {"file": line["file"], "id": line["id"], "label": label},
        line["file"],
        lines,
        picture(read_rgb(root / line["file"]), max_side_px=_LABEL_PX),
        offered,
        first_class + classes.index(suggested) if suggested != label else 0,
    )


def _worst_first(record: Mapping[str, Any]) -> tuple[Any, ...]:
    return not record["regions"], -record["residual"], -record["masked_share"], record["file_name"]


def _clean_card(source: Path, out: Path, record: Mapping[str, Any]) -> Card:
    name = record["file_name"]
    after = read_rgb(out / name)
    lines = ["no writing found"]
    shown = [after]
    if record["regions"]:
        before = read_rgb(source / record["source"])
        shown = [before, _replaced(before, after, out, record), after]
        left = f", {record['residual']} left" if record["residual"] else ""
        lines = [f"{len(record['regions'])} pieces of writing{left}; filled by {record['inpainter']}"]
    if record.get("redone"):
        lines.append("cleaned again on request")
    scaled = strip(shown, _STRIP_PX)
    return Card({"file": name}, name, lines, picture(scaled, max_side_px=max(scaled.shape)), [0])


def _replaced(before: RGB, after: RGB, out: Path, record: Mapping[str, Any]) -> RGB:
    """The photo with what was replaced in red and the found regions outlined, (H, W, 3) uint8 RGB."""
    path = PurePosixPath(record["file_name"])
    saved = [out / "masks" / name for name in (f"{path}.png", path.with_suffix(".png"))]
    masks = [mask for mask in saved if mask.is_file()]
    if masks:
        holes = read_rgb(masks[0])[:, :, 0] > 0
    else:
        holes = np.abs(after.astype(np.int16) - before).max(axis=2) > _CHANGED_LEVELS
    tinted = before.copy()
    tinted[holes] = (0.45 * before[holes] + 0.55 * _TINT).astype(np.uint8)
    shown = Image.fromarray(tinted)
    draw = ImageDraw.Draw(shown)
    for region in record["regions"]:
        corners = [(float(x), float(y)) for x, y in region["polygon"]]
        draw.line([*corners, corners[0]], fill=_OUTLINE, width=max(2, max(before.shape[:2]) // 300))
    return np.asarray(shown)
