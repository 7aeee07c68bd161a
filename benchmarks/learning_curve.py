"""What each part of the recipe is worth, by the number of real photos: balanced accuracy on photos that are not used.

Every cell is one `weldgen train` of N photos (a fifth of them for validation) and one `weldgen evaluate` on the same
photos that no training sees. The first row is the recipe as it comes; each other row changes one part of it. A part
earns its place where its row is worse than the first; the table loses where it is better.

    python benchmarks/learning_curve.py [--photos FOLDER] [--sizes 10,30,100,300] [--test 400] [--only ROW,ROW]
                                        [--draws 1] [train settings ...]

FOLDER holds a folder a class. Without it rendered welds stand in, in a small and quick setting.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from weldgen.classifier.metrics import wilson_interval
from weldgen.data.images import write_rgb
from weldgen.synthesis.render.photos import render_photo

ROWS = {
    "recipe": (),
    "softmax instead of the margin": ("model.head=softmax",),
    "nothing frozen": ("model.freeze=none",),
    "backbone frozen": ("model.freeze=backbone",),
    "with MixUp and CutMix": ("augmentation.mixup=0.4", "augmentation.cutmix=1.0"),
    "linear classifier on features": ("training.method=linear",),
}
QUICK = ("data.image_size=96", "training.min_steps=20", "training.cpu_max_steps=20")
VALIDATION_SHARE = 0.2


def stand_ins(folder: Path) -> None:
    for number, label in enumerate(("good", "bad")):
        for index in range(20):
            write_rgb(
                folder / label / f"{index:03d}.png", render_photo(500 * number + index, label, 144, 96, marked=False)
            )


def deal(photos: dict[str, list[Path]], root: Path, size: int, test: int, draw: int) -> None:
    """A dataset of `size` photos in training and validation, and of the same `test` photos for every size."""
    chance = random.Random(draw)
    for label, all_paths in photos.items():
        paths = chance.sample(all_paths, len(all_paths))
        share, kept = size // len(photos), test // len(photos)
        if share + kept > len(paths):
            raise SystemExit(
                f"class {label} has {len(paths)} photos, {share + kept} are needed: lower --sizes or --test"
            )
        validation = max(1, round(VALIDATION_SHARE * share))
        rest = paths[kept : kept + share]
        parts = {"test": paths[:kept], "val": rest[:validation], "train": rest[validation:]}
        for split, chosen in parts.items():
            folder = root / split / label
            folder.mkdir(parents=True)
            for path in chosen:
                (folder / path.name).symlink_to(path.resolve())


def weldgen(*words: str) -> None:
    run = subprocess.run([sys.executable, "-m", "weldgen.cli", *words], capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"weldgen {' '.join(words)} ended with {run.returncode}\n{run.stderr}")


def cell(data: Path, out: Path, words: Sequence[str]) -> tuple[float, int, int, float]:
    """Balanced accuracy, right answers, photos, and seconds of the training."""
    start = time.monotonic()
    weldgen("train", str(data), "--out", str(out / "model"), *words)
    seconds = time.monotonic() - start
    quiet = "shortcuts.enabled=false"
    weldgen("evaluate", str(out / "model"), "--data", str(data), "--out", str(out / "evaluation"), quiet)
    metrics = json.loads((out / "evaluation" / "metrics.json").read_text())
    matrix = metrics["confusion"]
    right = sum(row[index] for index, row in enumerate(matrix))
    return metrics["balanced_accuracy"], right, metrics["n"], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--sizes")
    parser.add_argument("--test", type=int)
    parser.add_argument("--only", help="rows, by name; all without it")
    parser.add_argument("--draws", type=int, default=1)
    given, words = parser.parse_known_args()
    rows = given.only.split(",") if given.only else list(ROWS)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.photos or Path(scratch) / "photos"
        if not given.photos:
            stand_ins(folder)
            words = [*QUICK, *words]
        sizes = [int(text) for text in (given.sizes or ("10,30,100,300" if given.photos else "10")).split(",")]
        test = given.test or (400 if given.photos else 12)
        photos = {path.name: sorted(p for p in path.iterdir() if p.is_file()) for path in sorted(folder.iterdir())}
        for draw in range(given.draws):
            for size in sizes:
                data = Path(scratch) / f"data-{draw}-{size}"
                deal(photos, data, size, test, draw)
                for index, name in enumerate(rows):
                    out = Path(scratch) / f"run-{draw}-{size}-{index}"
                    balanced, right, n, seconds = cell(data, out, [*ROWS[name], *words])
                    low, high = wilson_interval(right, n)
                    print(
                        f"draw {draw}, {size:4d} photos, {name:30s} balanced accuracy {balanced:.3f}; {right}/{n} "
                        f"right (95 % {low:.1%} to {high:.1%}); trained in {seconds:.0f} s",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
