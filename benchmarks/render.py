"""Images a second of the renderer, and of `weldgen synth` with it, which also reads photos, judges and writes.

    python benchmarks/render.py [--n 64] [--long 512] [--jobs 2] [--photos FOLDER]

FOLDER holds good/ and bad/ with the training photos of `synth`; without it, rendered stand-ins are used. What counts is
the share of the renderer's rate that is left with photos, gates and files: it falls when those become slow.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process for each core

import cv2

from weldgen.data.images import write_rgb
from weldgen.synthesis.render.photos import render_photo

LABELS = ("good", "bad")


def render_one(seed: int, long_px: int) -> int:
    cv2.setNumThreads(1)
    return render_photo(seed, LABELS[seed % 2], long_px, 3 * long_px // 4, marked=False).size


def renderer_rate(count: int, long_px: int, jobs: int) -> float:
    """Images a second without anything around them."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        list(pool.map(render_one, range(4 * jobs), repeat(64)))  # the processes are there and have imported
        start = time.perf_counter()
        list(pool.map(render_one, range(1000, 1000 + count), repeat(long_px), chunksize=2))
        return count / (time.perf_counter() - start)


def synth_rate(count: int, long_px: int, jobs: int, photos: Path | None) -> float:
    """Images a second of the command's second half: its start and its look at the photos are not counted."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        subprocess.run([sys.executable, "-m", "weldgen.cli", "init", str(project)], check=True, capture_output=True)
        clean = project / "data" / "clean"
        for label in LABELS:
            if photos:
                clean.mkdir(parents=True, exist_ok=True)
                (clean / label).symlink_to((photos / label).resolve(), target_is_directory=True)
                continue
            for index in range(12):
                seed = 2 * index + LABELS.index(label)
                image = render_photo(seed, label, 3 * long_px // 2, 9 * long_px // 8, marked=False)
                write_rgb(clean / label / f"{index:02d}.png", image)
        seconds = [_synth(project, n, long_px, jobs) for n in (count, 3 * count)]
        return 2 * count / max(seconds[1] - seconds[0], 1e-3)


def _synth(project: Path, count: int, long_px: int, jobs: int) -> float:
    words = [f"--n={count}", "--generator=render", f"--out={count}", f"size_px={long_px}", f"jobs={jobs}"]
    start = time.perf_counter()
    command = [sys.executable, "-m", "weldgen.cli", "synth", *words, "quality_images=0", "gates.writing=never"]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=24)
    parser.add_argument("--long", type=int, default=512)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--photos", type=Path)
    given = parser.parse_args()
    alone = renderer_rate(given.n, given.long, given.jobs)
    print(f"renderer, {given.long} x {3 * given.long // 4}, {given.jobs} processes: {alone:.1f} images/s", flush=True)
    whole = synth_rate(given.n, given.long, given.jobs, given.photos)
    print(f"weldgen synth, long side {given.long}: {whole:.1f} images/s, {whole / alone:.2f} of the renderer's rate")


if __name__ == "__main__":
    main()
