"""Training examples for the bead network: renderings whose weld is known exactly, seen anew for every example.

python -m assets.bead.examples WELDS --count 2000
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from assets.training.pictures import CROP_PX, RGB, Floats, Rng, friction_stir, litter, photograph
from weldgen.synthesis.render.defects import DEFECTS
from weldgen.synthesis.render.noise import blur, fractal_noise, stream
from weldgen.synthesis.render.scene import render_scene
from weldgen.synthesis.render.style import PHOTO, SYNTHETIC, sample_scene

Mask = npt.NDArray[np.uint8]

METAL, WELD, UNJUDGED = range(3)
_ASPECTS = (1.0, 1.33, 1.5, 1.9, 3.0)
# Shares of rendered welds: with writing on the plate, a band of friction-stir welding, with defects.
_MARKED, _STIRRED, _FLAWED = 0.3, 0.12, 0.6
# How large the picture is shown: 1 fits. What is smaller than this may lie on a bench.
_ZOOM, _AFAR = (0.4, 2.2), 0.8
# Share of views whose direction is any; others are level or upright, give or take.
_TURNED, _TURN_DEG = 0.25, 8.0
# Shares of views with printed labels beside the weld, as long and as light as one, and with other things.
_LABELLED, _LITTERED = 0.35, 0.5
# Share of views with light and dark turned a good deal: glare on the weld, or hardly any light.
_HARSH = 0.3


def welds(folder: Path, count: int, first_seed: int, jobs: int) -> None:
    """Render `count` welds into a folder, each as `SEED.jpg` and its weld as `SEED.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = [seed for seed in range(first_seed, first_seed + count) if not (folder / f"{seed}.png").exists()]
    with ProcessPoolExecutor(jobs, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        for _ in pool.map(_render, [folder] * len(seeds), seeds, chunksize=8):
            pass


def _render(folder: Path, seed: int) -> None:
    rng = stream(seed, "bead example")
    kinds = [str(kind) for kind in rng.choice(list(DEFECTS), int(rng.integers(1, 4)), replace=False)]
    defects = [(kind, float(rng.uniform(0.2, 1.0))) for kind in kinds] if rng.random() < _FLAWED else []
    long_px, aspect = int(rng.integers(320, 480)), float(rng.choice(_ASPECTS))
    style = PHOTO if rng.random() < 0.5 else SYNTHETIC
    scene = sample_scene(seed, defects, aspect, style, marked=bool(rng.random() < _MARKED))
    if rng.random() < _STIRRED:
        scene = friction_stir(scene, rng)
    if rng.random() < 0.25:  # tint that reaches far is what a weld's outline is most often taken for
        heat = scene.bead.heat
        scene = replace(scene, bead=replace(scene.bead, heat=replace(heat, strength=min(1.0, 1.6 * heat.strength))))
    made = render_scene(scene, long_px, round(long_px / aspect))
    cv2.imwrite(str(folder / f"{seed}.jpg"), made.image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    cv2.imwrite(str(folder / f"{seed}.png"), np.where(made.cover > 127, 255, 0).astype(np.uint8))


class Examples:
    """An endless supply of views of rendered welds.

    Args:
        files: The pictures; each has its weld beside it.
        seed: Of everything.
    """

    def __init__(self, files: Sequence[Path], seed: int) -> None:
        self._encoded = [
            (np.fromfile(file, np.uint8), np.fromfile(file.with_suffix(".png"), np.uint8)) for file in files
        ]
        self._seed = seed

    def example(self, index: int) -> tuple[RGB, Mask]:
        """A view (256, 256, 3) uint8 RGB and target (256, 256) uint8 of METAL, WELD, UNJUDGED."""
        rng = np.random.default_rng((self._seed, index))
        picture, target = self._view(rng)
        labelled, littering = rng.random() < _LABELLED, rng.random() < _LITTERED
        if labelled or littering:
            littered = _with_labels(picture, rng) if labelled else picture
            littered = litter(littered, rng, 0.6) if littering else littered
            # Parts and lines go under the weld: what is hidden could not be judged.
            on_weld = blur((target == WELD).astype(np.float32), 0.7)[:, :, None]
            picture = littered + on_weld * (picture - littered)
        if rng.random() < _HARSH:
            picture = _harsh(picture, rng)
        return photograph(np.asarray(picture, np.float32), rng), target

    def _drawn(self, rng: Rng) -> tuple[RGB, Mask]:
        encoded, cover = self._encoded[int(rng.integers(len(self._encoded)))]
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[:, :, ::-1]
        return np.ascontiguousarray(image), cv2.imdecode(cover, cv2.IMREAD_GRAYSCALE)

    def _view(self, rng: Rng) -> tuple[Floats, Mask]:
        image, cover = self._drawn(rng)
        height, width = image.shape[:2]
        zoom = float(np.exp(rng.uniform(*np.log(_ZOOM))) if rng.random() < 0.6 else rng.uniform(0.9, 1.05))
        zoom *= CROP_PX / max(height, width)
        angle = float(
            rng.uniform(0, 360) if rng.random() < _TURNED else 90 * rng.integers(4) + rng.normal(0, _TURN_DEG)
        )
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, zoom)
        slack = [abs(zoom * side - CROP_PX) / 2 for side in (width, height)]
        matrix[:, 2] += [CROP_PX / 2 - width / 2, CROP_PX / 2 - height / 2]
        matrix[:, 2] += np.array([rng.uniform(-1, 1), rng.uniform(-1, 1)]) * np.array(slack) * 0.8
        view = np.vstack([matrix, [0, 0, 1]])
        view[2, :2] = rng.normal(0, 0.25, 2) / max(height, width) * (rng.random() < 0.3)
        scale = zoom * max(width, height) / CROP_PX
        soft = cv2.GaussianBlur(image, (0, 0), 0.4 / zoom) if zoom < 0.8 else image
        size = (CROP_PX, CROP_PX)
        on_bench = scale < _AFAR and rng.random() < 0.8
        border = cv2.BORDER_CONSTANT if on_bench else cv2.BORDER_REPLICATE
        seen = cv2.warpPerspective(soft, view, size, flags=cv2.INTER_LINEAR, borderMode=border)
        picture = np.asarray(seen, np.float32) / 255
        inside = cv2.warpPerspective(np.full((height, width), 255, np.uint8), view, size, flags=cv2.INTER_LINEAR)
        found = cv2.warpPerspective(cover, view, size, flags=cv2.INTER_LINEAR) > 127
        target = np.where(found, WELD, METAL).astype(np.uint8)
        if on_bench:
            return _on_bench(picture, inside.astype(np.float32) / 255, rng), target
        return picture, np.where(inside > 127, target, UNJUDGED).astype(np.uint8)


def _on_bench(picture: Floats, inside: Floats, rng: Rng) -> Floats:
    """A part, seen from afar, on a bench or a floor."""
    level = rng.uniform(0.03, 0.9) * np.exp(rng.normal(0, 0.15, 3) + np.array([0.15, 0, -0.15]) * rng.normal(0.5, 1))
    grain = fractal_noise(rng, inside.shape, float(rng.choice([4, 20, 90])), 0.6)
    bench = np.clip(level * (1 + rng.uniform(0.02, 0.15) * grain[:, :, None]), 0, 1).astype(np.float32)
    shadow = blur(np.roll(inside, rng.integers(-6, 7, 2), (0, 1)), 4.0)[:, :, None]
    bench *= 1 - np.float32(rng.uniform(0, 0.6)) * shadow
    return np.asarray(bench + inside[:, :, None] * (picture - bench), np.float32)


def _with_labels(picture: Floats, rng: Rng) -> Floats:
    """Slips of paper or foil with print on them."""
    for _ in range(int(rng.integers(1, 4))):
        long_px, thick_px = float(np.exp(rng.uniform(np.log(30), np.log(170)))), int(rng.integers(1, 4))
        tall_px = long_px * float(rng.uniform(0.12, 0.6))
        tone = 255 * rng.uniform(0.6, 1.0) * (1 + rng.normal(0, 0.05, 3))
        slip = np.full((64, round(64 * long_px / tall_px), 3), np.clip(tone, 0, 255).astype(np.uint8))
        ink = [int(rng.integers(0, 75))] * 3
        signs = "".join(rng.choice(list("0123456789-/ABCXW. "), 24))
        if rng.random() < 0.8:
            scale, row = float(rng.uniform(0.8, 1.8)), int(rng.integers(30, 55))
            cv2.putText(slip, signs, (8, row), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, thick_px, cv2.LINE_AA)
        for _ in range(int(rng.integers(0, 9)) * (rng.random() < 0.3)):  # bars and dots of a code
            x, y = int(rng.integers(slip.shape[1])), int(rng.integers(64))
            cv2.rectangle(slip, (x, y), (x + int(rng.integers(3, 24)), y + int(rng.integers(3, 24))), ink, -1)
        angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else rng.choice(4) * np.pi / 2 + rng.normal(0, 0.1)
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        middle = rng.uniform(0, CROP_PX, 2)
        corners = [
            middle + a * along * long_px / 2 + b * across * tall_px / 2 + rng.normal(0, 0.03 * long_px, 2)
            for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
        ]
        right, below = slip.shape[1], slip.shape[0]
        view = cv2.getPerspectiveTransform(
            np.array([[0, 0], [right, 0], [right, below], [0, below]], np.float32), np.array(corners, np.float32)
        )
        size = (CROP_PX, CROP_PX)
        seen = cv2.warpPerspective(slip, view, size, flags=cv2.INTER_LINEAR).astype(np.float32) / 255
        inside = cv2.warpPerspective(np.ones(slip.shape[:2], np.float32), view, size)[:, :, None]
        picture = picture + inside * (np.clip(seen * np.float32(rng.uniform(0.7, 1.1)), 0, 1) - picture)
    return np.asarray(picture, np.float32)


def _harsh(picture: Floats, rng: Rng) -> Floats:
    """Light from one side, a patch of glare, or a dark photo; in grey now and then."""
    steps = np.linspace(-1, 1, CROP_PX, dtype=np.float32)
    angle, much = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.9)
    slope = np.float32(np.cos(angle)) * steps[None] + np.float32(np.sin(angle)) * steps[:, None]
    lit = picture * np.exp(np.float32(much) * slope)[:, :, None]
    gain = np.float32(np.exp(rng.normal(0, 0.5)))
    if rng.random() < 0.3:
        lit = np.repeat(lit.mean(axis=2, keepdims=True), 3, axis=2)
    return np.clip(lit * gain, 0, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Render welds and where they lie, to train on.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first-seed", type=int, default=70_000)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    welds(asked.folder, asked.count, asked.first_seed, asked.jobs)
