"""Accuracy on photos that were not used, from very few: with synthetic images and without.

Two cases, each with several draws of the photos that train: `three` (one sound weld, two bad ones) and `cold` (sound
welds only, the folder of bad ones empty; the sound ones are kept to measure with in turn, one a draw). The split takes
one sound weld of four for validation and one for the test, so two of four train. Each is what a user types: init,
clean, synth, train, export, predict, with the same seed and settings; `three` is also trained without synthetic images,
a cold start cannot be. It loses when synthetic images do not help.

    python benchmarks/few_photos.py [--photos FOLDER] [--draws 4] [--n 600] [train settings ...]

FOLDER holds good/ and bad/. Without it, rendered stand-ins of photos are used, in a small and quick setting.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from weldgen.classifier.metrics import wilson_interval
from weldgen.data.images import write_rgb
from weldgen.synthesis.render.photos import render_photo

GOOD, BAD = "good", "bad"
CLASSES = (GOOD, BAD)
STAND_INS = {GOOD: 7, BAD: 8}
QUICK = ("data.image_size=160", "training.min_steps=40", "training.cpu_max_steps=60")


@dataclass(frozen=True)
class Answers:
    """Right answers and photos by class, of one draw."""

    right: dict[str, int]
    photos: dict[str, int]
    train_s: float

    @property
    def balanced(self) -> float:
        return sum(self.right[label] / self.photos[label] for label in CLASSES) / len(CLASSES)


def stand_ins(folder: Path) -> None:
    for number, (label, count) in enumerate(STAND_INS.items()):
        for index in range(count):
            image = render_photo(1000 * number + index, label, 360, 240, marked=False)
            write_rgb(folder / label / f"{index:03d}.png", image)


def weldgen(project: Path, *words: str) -> None:
    command = [sys.executable, "-m", "weldgen.cli", *words]
    run = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"weldgen {' '.join(words)} ended with {run.returncode}\n{run.stderr}")


def draw(photos: dict[str, list[Path]], case: str, number: int) -> dict[str, list[Path]]:
    """The photos that train."""
    chance = random.Random(number)
    if case == "three":
        return {GOOD: [chance.choice(photos[GOOD])], BAD: chance.sample(photos[BAD], 2)}
    kept = photos[GOOD][number % len(photos[GOOD])]
    return {GOOD: [path for path in photos[GOOD] if path != kept], BAD: []}


def measure(project: Path, photos: dict[str, list[Path]], training: dict[str, list[Path]], words: list[str]) -> Answers:
    """Train on the project's data and classify all photos that are not in it."""
    started = time.monotonic()
    weldgen(project, "train", *words)
    train_s = time.monotonic() - started
    weldgen(project, "export")
    rest = {label: [path for path in photos[label] if path not in training[label]] for label in CLASSES}
    for label in CLASSES:
        for path in rest[label]:
            (project / "rest" / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, project / "rest" / label)
    weldgen(project, "predict", "models/export/classifier.onnx", "rest", "--json", "rest.jsonl")
    right = dict.fromkeys(CLASSES, 0)
    for line in (project / "rest.jsonl").read_text().splitlines():
        answer = json.loads(line)
        right[Path(answer["file"]).parent.name] += answer["label"] == Path(answer["file"]).parent.name
    return Answers(right, {label: len(rest[label]) for label in CLASSES}, train_s)


def run_case(photos: dict[str, list[Path]], case: str, number: int, n: int, words: list[str]) -> dict[str, Answers]:
    training = draw(photos, case, number)
    found: dict[str, Answers] = {}
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "with"
        project.mkdir()
        weldgen(project, "init")
        for label in CLASSES:
            for path in training[label]:
                shutil.copy(path, project / "data" / "raw" / label)
        weldgen(project, "clean")
        if case == "three":
            bare = Path(scratch) / "without"
            shutil.copytree(project, bare)
            found["without"] = measure(bare, photos, training, ["data/clean", *words])
        weldgen(project, "synth", "--n", str(n))
        found["with"] = measure(project, photos, training, words)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--draws", type=int)
    parser.add_argument("--n", type=int)
    parser.add_argument("--case", choices=("three", "cold"), action="append")
    options, words = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.photos or Path(scratch)
        if not options.photos:
            stand_ins(folder)
            words = [*QUICK, *words]
        photos = {label: sorted((folder / label).iterdir()) for label in CLASSES}
        draws, n = options.draws or (4 if options.photos else 1), options.n or (600 if options.photos else 60)
        for case in options.case or ("three", "cold"):
            results: dict[str, list[Answers]] = {}
            for number in range(draws):
                for name, answers in run_case(photos, case, number, n, words).items():
                    results.setdefault(name, []).append(answers)
                    shown = ", ".join(f"{answers.right[k]}/{answers.photos[k]} {k}" for k in CLASSES)
                    print(f"{case} {number} {name:8s} {shown}; trained in {answers.train_s:.0f} s", flush=True)
            for name, found in results.items():
                parts = []
                for label in CLASSES:
                    count, total = (sum(getattr(a, what)[label] for a in found) for what in ("right", "photos"))
                    low, high = wilson_interval(count, total)
                    parts.append(f"{label} {count}/{total} (95 % {low:.0%} to {high:.0%})")
                mean = sum(answers.balanced for answers in found) / len(found)
                print(f"{case}, {name} synthetic images: balanced accuracy {mean:.3f}; {'; '.join(parts)}", flush=True)


if __name__ == "__main__":
    main()
