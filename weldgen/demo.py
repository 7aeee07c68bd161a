"""`weldgen demo`: the whole chain on weld photos that the program renders itself, with marker writing on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from weldgen.pipeline import find_pipeline, load_pipeline, run_pipeline
from weldgen.receipts import Summary
from weldgen.runtime import derive_seed, log, track, write_atomic

# Shops have few bad welds; so has the demo.
PHOTOS = {"good": 28, "bad": 20}
SIZE_PX = (768, 512)
_MARKED_SHARE = 0.75
_SEED = 2026


def run_demo(directory: Path, tell: Callable[[Summary], None], flags: Mapping[str, Any] | None = None) -> Path:
    """Render the photos, run `pipelines/demo.yaml` on them, write the report.

    Args:
        directory: The demo's project folder; a second call skips what is done.
        tell: Called with the summary of each stage.
        flags: Settings for every stage (seed, device, jobs).

    Returns:
        Path of `report.html`.
    """
    from weldgen.report.project import write_project_report

    make_photos(directory / "data" / "raw")
    steps = load_pipeline(find_pipeline("demo"), root=directory, flags=flags)
    run_pipeline(steps, tell)
    return write_project_report(directory, [(step.stage, step.out) for step in steps])


def make_photos(root: Path, counts: Mapping[str, int] | None = None, size_px: tuple[int, int] | None = None) -> int:
    """Render weld photos into `root/<class>/`; those that are there are left alone.

    Args:
        root: Folder of the classes.
        counts: Class -> number of photos; None means the demo's own.
        size_px: Width and height; None means the demo's own.

    Returns:
        How many were rendered.
    """
    counts, size_px = counts or PHOTOS, size_px or SIZE_PX
    wanted = [(label, index) for label, count in counts.items() for index in range(count)]
    missing = [(label, index) for label, index in wanted if not (root / label / f"{label}_{index:02d}.jpg").exists()]
    log.info("rendering %d photos with marker writing into %s", len(missing), root)
    for label, index in track(missing, total=len(missing), description="photos", unit="photos"):
        write_atomic(root / label / f"{label}_{index:02d}.jpg", _photo(label, index, size_px))
    return len(missing)


def _photo(label: str, index: int, size_px: tuple[int, int]) -> bytes:
    from weldgen.data.images import encode_rgb
    from weldgen.synthesis.render.photos import render_photo

    seed = derive_seed(_SEED, "demo", label, index)
    marked = derive_seed(seed, "marked") % 100 < 100 * _MARKED_SHARE
    width, height = size_px
    return encode_rgb(render_photo(seed, label, width, height, marked=marked), ".jpg", quality=92)
