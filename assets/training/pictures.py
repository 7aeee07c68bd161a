"""Pictures of metal to train on: welds that the renderer made, and photos of metal whose licence allows it.

A picture is a turned and scaled piece of one of them, now and then with rust, paint, parts, lines and drops on it.

    python -m assets.training.pictures WELDS --count 2000
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

from weldgen.synthesis.render.defects import DEFECTS
from weldgen.synthesis.render.noise import blur, fractal_noise, smoothstep, stream
from weldgen.synthesis.render.scene import render_scene
from weldgen.synthesis.render.style import PHOTO, SYNTHETIC, WeldScene, sample_scene

RGB = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Rng = np.random.Generator

CROP_PX = 256
# Shares of crops with other things in them: a welded part seen from afar, patches of rust and paint, parts and paper,
# lines and drops.
_FAR_SHARE, _PATCHES_SHARE, _PARTS_SHARE, _DISTRACTED_SHARE = 0.2, 0.35, 0.25, 0.4
# Display RGB of rust, scale, stains, primer and old paint.
_PATCH_COLOURS = (
    (0.62, 0.36, 0.16), (0.50, 0.26, 0.12), (0.38, 0.20, 0.12), (0.75, 0.52, 0.28), (0.10, 0.09, 0.09),
    (0.22, 0.20, 0.19), (0.85, 0.84, 0.80), (0.60, 0.12, 0.10), (0.25, 0.35, 0.30), (0.75, 0.72, 0.60),
)  # fmt: skip


def backgrounds(folder: Path, count: int, first_seed: int, jobs: int) -> None:
    """Render `count` welds without writing into a folder, as JPEG."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = [seed for seed in range(first_seed, first_seed + count) if not (folder / f"{seed}.jpg").exists()]
    with ProcessPoolExecutor(jobs, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        for _ in pool.map(_render_background, [folder] * len(seeds), seeds, chunksize=8):
            pass


def _render_background(folder: Path, seed: int) -> None:
    rng = stream(seed, "background")
    kinds = [str(kind) for kind in rng.choice(list(DEFECTS), int(rng.integers(0, 3)), replace=False)]
    defects = [(kind, float(rng.uniform(0.2, 1.0))) for kind in kinds]
    long_px = int(rng.integers(560, 960))
    aspect = float(rng.choice([1.0, 1.33, 1.5, 1.9]))
    scene = sample_scene(seed, defects, aspect, PHOTO if rng.random() < 0.5 else SYNTHETIC)
    if rng.random() < 0.25:
        scene = friction_stir(scene, rng)
    image = render_scene(scene, long_px, round(long_px / aspect)).image
    cv2.imwrite(str(folder / f"{seed}.jpg"), image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])


def friction_stir(scene: WeldScene, rng: Rng) -> WeldScene:
    """A flat band of fine arcs with a keyhole at its end."""
    bead = replace(
        scene.bead,
        kind="tig", width=float(rng.uniform(0.2, 0.5)), crown=0.02, sharpness=1.5,
        ripple_pitch=float(rng.uniform(0.03, 0.09)), ripple_depth=float(rng.uniform(0.15, 0.6)),
        ripple_curvature=float(rng.uniform(0.3, 0.6) * rng.choice([-1, 1])), ripple_jitter=0.05,
        crater=float(rng.uniform(2, 6)), edge_roughness=float(rng.uniform(0.004, 0.03)),
    )  # fmt: skip
    return replace(scene, bead=bead)


class Pictures:
    """An endless supply of crops of metal.

    Args:
        files: Photos without writing.
        weights: How often each is taken.
        littered: How often other things lie on the metal, relative to what the ink network needs to see.
    """

    def __init__(self, files: Sequence[Path], weights: Sequence[float], littered: float = 1.0) -> None:
        self._encoded = [np.fromfile(file, np.uint8) for file in files]
        self._share = np.asarray(weights, np.float64) / sum(weights)
        self._littered = littered

    def draw(self, rng: Rng) -> Floats:
        """A crop, (256, 256, 3) float32 RGB 0..1, before a camera saw it: see `photograph`."""
        encoded = self._encoded[int(rng.choice(len(self._encoded), p=self._share))]
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[:, :, ::-1]
        if rng.random() < self._littered * _FAR_SHARE:
            picture = _from_afar(np.ascontiguousarray(image), rng)
        else:
            picture = _crop(np.ascontiguousarray(image), rng)
        return litter(picture, rng, self._littered)


def litter(picture: Floats, rng: Rng, often: float = 1.0) -> Floats:
    """A picture, (256, 256, 3) float32 0..1, now and then with rust, paint, parts, lines and drops on it.

    Args:
        picture: It is not changed.
        rng: Source of all.
        often: How often, relative to what the ink network needs to see.
    """
    for share, put in ((_PATCHES_SHARE, _add_patches), (_PARTS_SHARE, _add_parts), (_DISTRACTED_SHARE, _distract)):
        if rng.random() < often * share:
            picture = put(picture, rng)
    return picture


def _crop(image: RGB, rng: Rng) -> Floats:
    """A turned, scaled, mirrored piece of a photo, (256, 256, 3) float32 0..1."""
    height, width = image.shape[:2]
    zoom = float(np.exp(rng.uniform(np.log(0.55), np.log(1.6))))
    zoom = max(zoom, 0.9 * CROP_PX / min(height, width))
    if zoom < 0.8:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.4 / zoom), np.uint8)
    angle = float(rng.choice([0, 90, 180, 270])) + float(rng.normal(0, 8))
    reach = 0.5 * CROP_PX / zoom
    middle = [float(rng.uniform(min(reach, side / 2), max(side - reach, side / 2))) for side in (width, height)]
    turn = cv2.getRotationMatrix2D(middle, angle, zoom)
    turn[:, 2] += CROP_PX / 2 - np.array(middle)
    crop = cv2.warpAffine(image, turn, (CROP_PX, CROP_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    picture = crop.astype(np.float32) / 255
    tint = 1 + rng.normal(0, 0.06, 3)
    gamma = float(np.exp(rng.normal(0, 0.22)))
    return np.clip(picture * tint.astype(np.float32), 0, 1) ** np.float32(gamma)


def _from_afar(image: RGB, rng: Rng) -> Floats:
    """A welded part on a bench, small and seen at an angle, (256, 256, 3) float32 0..1."""
    level = rng.uniform(0.05, 0.8) * np.exp(rng.normal(0, 0.15, 3) + np.array([0.12, 0, -0.12]) * rng.normal(0.5, 1))
    grain = 0.06 * fractal_noise(rng, (CROP_PX, CROP_PX), float(rng.choice([4, 20, 90])), 0.6)
    bench = np.clip(level * (1 + grain[:, :, None]), 0, 1).astype(np.float32)
    for _ in range(int(rng.integers(1, 3))):
        height, width = image.shape[:2]
        corners = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
        long_px = float(rng.uniform(70, 260))
        size = np.array([long_px, long_px * rng.uniform(0.25, 0.9)])
        unit = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]) + rng.normal(0, 0.08, (4, 2))
        angle = rng.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        seen = np.float32((unit * size) @ turn + rng.uniform(40, CROP_PX - 40, 2))
        view = cv2.getPerspectiveTransform(corners, seen)
        shrink = max(1.0, width / long_px / 2)
        softer = cv2.GaussianBlur(image, (0, 0), 0.5 * shrink).astype(np.float32) / 255
        part = cv2.warpPerspective(softer, view, (CROP_PX, CROP_PX))
        cover = cv2.warpPerspective(np.ones((height, width), np.float32), view, (CROP_PX, CROP_PX))
        shadow = blur(np.roll(cover, rng.integers(-6, 7, 2), (0, 1)), 4.0)[:, :, None]
        bench = bench * (1 - np.float32(rng.uniform(0, 0.6)) * shadow)
        bench += cover[:, :, None] * (part - bench)
    return np.clip(bench, 0, 1)


def _add_patches(picture: Floats, rng: Rng) -> Floats:
    """Islands of rust, scale, flaking paint and dirt, with ragged outlines."""
    shape = picture.shape[:2]
    for _ in range(int(rng.integers(1, 3))):
        field = fractal_noise(
            rng, shape, float(np.exp(rng.uniform(np.log(8), np.log(110)))), float(rng.uniform(0.4, 0.7))
        )
        level = float(rng.uniform(0.3, 1.7))
        sharp = float(np.exp(rng.uniform(np.log(0.05), np.log(0.6))))
        cover = smoothstep(field, level, level + sharp)
        colour = np.array(_PATCH_COLOURS[int(rng.integers(len(_PATCH_COLOURS)))]) * np.exp(rng.normal(0, 0.15, 3))
        mottle = 1 + float(rng.uniform(0.05, 0.25)) * fractal_noise(rng, shape, float(rng.choice([3, 8, 25])), 0.6)
        texture = 0.5 * (picture - blur(picture, 2.0))
        flake = np.clip(colour * mottle[:, :, None] + texture, 0, 1).astype(np.float32)
        rim = np.exp(-(((cover - 0.4) / 0.25) ** 2)) * np.float32(rng.uniform(-0.25, 0.35) * (rng.random() < 0.5))
        alpha = (cover * np.float32(rng.uniform(0.35, 0.95)))[:, :, None]
        picture = np.clip(picture + alpha * (flake - picture) + rim[:, :, None], 0, 1)
    return np.asarray(picture, np.float32)


def _add_parts(picture: Floats, rng: Rng) -> Floats:
    """Flat things with straight edges: plates on edge, bars, sheets of paper, gaps between parts."""
    for _ in range(int(rng.integers(1, 4))):
        length = float(rng.uniform(130, 400))
        width = float(np.exp(rng.uniform(np.log(4), np.log(150))))
        angle = rng.uniform(0, 2 * np.pi)
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        middle = rng.uniform(-20, CROP_PX + 20, 2)
        taper = rng.uniform(0.5, 1.0)
        corners = [
            middle + along * length / 2 * a + across * width / 2 * b * (taper if a > 0 else 1.0)
            for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
        ]
        cover = np.zeros(picture.shape[:2], np.uint8)
        cv2.fillPoly(cover, [np.int32(np.array(corners) * 16)], 255, cv2.LINE_AA, 4)
        alpha = blur(cover.astype(np.float32) / 255, float(rng.choice([0.3, 0.7, 1.2])))[:, :, None]
        tone = np.float32(rng.uniform(0.03, 0.95)) * (1 + rng.normal(0, 0.07, 3)).astype(np.float32)
        shade = 1 + 0.12 * fractal_noise(rng, picture.shape[:2], float(rng.choice([3, 30])), 0.6)[:, :, None]
        slope = 1 + np.float32(rng.normal(0, 0.3)) * ((np.mgrid[:CROP_PX, :CROP_PX].T @ along) / CROP_PX - 0.5)
        flat = np.clip(tone * shade * slope[:, :, None].astype(np.float32), 0, 1)
        picture = picture + alpha * (flat - picture)
        if rng.random() < 0.4:  # an edge that catches the light, or a dark gap beside it
            rim = np.zeros_like(cover)
            ends = [np.int32(corners[0] * 16), np.int32(corners[1] * 16)]
            cv2.line(rim, ends[0], ends[1], 255, int(rng.integers(1, 4)), cv2.LINE_AA, 4)
            lit = np.float32(rng.choice([0.05, 0.95]))
            picture = picture + (rim.astype(np.float32) / 255)[:, :, None] * np.float32(0.7) * (lit - picture)
    return picture


def _distract(picture: Floats, rng: Rng) -> Floats:
    """Add things that are no ink: edges of parts, shadows, scratches, drops, glare."""
    shape = picture.shape[:2]
    for _ in range(int(rng.integers(1, 4))):
        kind = int(rng.integers(5))
        cover = np.zeros(shape, np.uint8)
        start, tip = rng.uniform(-40, CROP_PX + 40, (2, 2))
        if kind in (0, 1):  # a long line: scratch, groove, seam, wire
            bend = (start + tip) / 2 + rng.normal(0, 25, 2)
            at = np.linspace(0, 1, 30)[:, None]
            path = (1 - at) ** 2 * (2 * start - tip) + 2 * at * (1 - at) * bend + at**2 * (2 * tip - start)
            width = int(rng.integers(1, 4)) if kind == 0 else int(rng.integers(3, 16))
            cv2.polylines(cover, [np.int32(path * 16)], False, 255, width, cv2.LINE_AA, 4)
        elif kind == 2:  # an edge of a part or its shadow
            normal = rng.normal(0, 1, 2)
            side = (np.mgrid[: shape[1], : shape[0]].T - start) @ (normal / np.linalg.norm(normal))
            cover = (smoothstep(side.astype(np.float32), -1, float(rng.uniform(1, 25))) * 255).astype(np.uint8)
        else:  # drops, pores, stains, glare
            for _ in range(int(rng.integers(1, 12))):
                middle, axes = rng.uniform(0, CROP_PX, 2), np.exp(rng.uniform(np.log(1.5), np.log(26), 2))
                axes[1] = np.clip(axes[1], axes[0] / 2, axes[0] * 2)
                cv2.ellipse(cover, (tuple(middle), tuple(2 * axes), float(rng.uniform(0, 180))), 255, -1, cv2.LINE_AA)
        soft = blur(cover.astype(np.float32) / 255, float(rng.choice([0.4, 0.8, 1.5, 5.0])))
        rough = np.clip(1 + 0.35 * fractal_noise(rng, shape, 6.0), 0, 1.4)
        alpha = np.clip(soft * rough * np.float32(rng.uniform(0.2, 0.85)), 0, 1)[:, :, None]
        level = rng.uniform(0.02, 0.3) if rng.random() < 0.7 else rng.uniform(0.6, 1.0)
        tone = np.float32(level) * (1 + rng.normal(0, 0.06, 3)).astype(np.float32)
        texture = 0.3 * (picture - blur(picture, 2.0))
        picture = picture + alpha * (np.clip(tone + texture, 0, 1) - picture)
    return picture


def photograph(picture: Floats, rng: Rng) -> RGB:
    """Blur, noise, exposure and JPEG of a camera."""
    picture = blur(picture, float(rng.choice([0.0, 0.5, 0.8, 1.2]) * rng.uniform(0.5, 1.2)))
    if rng.random() < 0.2:
        picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    contrast, level = float(np.exp(rng.normal(0, 0.2))), float(rng.normal(0, 0.05))
    picture = (picture - 0.5) * np.float32(contrast) + np.float32(0.5 + level)
    noise = rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(rng.uniform(0, 0.025))
    image = (np.clip(picture + noise, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.6:
        quality = int(rng.integers(45, 96))
        encoded = cv2.imencode(".jpg", np.ascontiguousarray(image[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[:, :, ::-1]
    return np.ascontiguousarray(image)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Render welds without writing, to train on.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first-seed", type=int, default=50_000)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    backgrounds(asked.folder, asked.count, asked.first_seed, asked.jobs)
