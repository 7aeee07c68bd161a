"""Coated plates: painted and galvanised; and how their coats burn off beside a weld.

Each kind of plate is a function `(rng, canvas) -> Material` (`surface.SURFACES` is the registry), each way of
burning one `(material, beyond, bead, rng) -> Material`; `tints.heat` applies it.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from weldgen.synthesis.render.bead import Bead
from weldgen.synthesis.render.material import Canvas, Material, RGBColour, draw_grey, paint, tinted
from weldgen.synthesis.render.noise import (
    Plane,
    Rng,
    blur,
    coloured,
    f32,
    fractal_noise,
    gaussian,
    line_noise,
    smoothstep,
    streaks,
    value_noise,
)  # fmt: skip

# Shop primers and machine paints, linear RGB, and how often each is met.
PAINTS: dict[str, tuple[RGBColour, float]] = {
    "grey primer": ((0.20, 0.21, 0.215), 3.0),
    "light grey": ((0.40, 0.41, 0.40), 1.0),
    "red oxide": ((0.165, 0.058, 0.042), 2.5),
    "green": ((0.080, 0.128, 0.096), 1.0),
    "blue": ((0.062, 0.088, 0.132), 1.3),
    "black": ((0.028, 0.028, 0.030), 0.7),
}


def painted(rng: Rng, canvas: Canvas) -> Material:
    """Primed or painted steel: an even colour with the skin of sprayed paint, dust and a few chips."""
    names = list(PAINTS)
    shares = np.array([PAINTS[name][1] for name in names])
    colour = f32(PAINTS[str(rng.choice(names, p=shares / shares.sum()))][0]) * np.float32(rng.uniform(0.8, 1.2))
    peel = fractal_noise(rng, canvas.shape, float(rng.uniform(3.5, 7.0)), 0.5)
    broad = fractal_noise(rng, canvas.shape, canvas.unit_px * 0.5, 0.6)
    speck = gaussian(rng, canvas.shape)
    gloss = float(rng.uniform(0.34, 0.66))
    tone = 1 + 0.05 * broad + 0.03 * peel + 0.03 * speck
    material = Material(
        height=np.float32(rng.uniform(0.03, 0.12)) * peel + 0.03 * speck,
        albedo=tinted(tone, (float(colour[0]), float(colour[1]), float(colour[2]))),
        roughness=np.clip(gloss + 0.04 * broad, 0.2, 0.95),
        metallic=np.zeros(canvas.shape, np.float32),
    )
    dust = smoothstep(broad + 0.5 * fractal_noise(rng, canvas.shape, 9.0, 0.75), -0.5, 3.0)
    material = paint(material, np.float32(rng.uniform(0.1, 0.45)) * dust, (0.33, 0.31, 0.28), 0.9, 0.0)
    chip = fractal_noise(rng, canvas.shape, 8.0, 0.65) + 0.8 * value_noise(rng, canvas.shape, canvas.unit_px * 0.2)
    bare = smoothstep(chip, float(rng.uniform(2.9, 4.2)), 4.6)
    material = paint(material, bare, (0.20, 0.17, 0.15), 0.6, 0.6)
    return replace(material, height=material.height - 0.8 * bare)


def galvanised(rng: Rng, canvas: Canvas) -> Material:
    """Hot-dip galvanised sheet: bright zinc in crystals, each with its own shine."""
    size_px = max(4.0, canvas.unit_px * float(rng.uniform(0.025, 0.075)))
    label, count = _crystals(rng, canvas, size_px)
    feather = np.stack(
        [streaks(rng, canvas.shape, angle, 0.5 * size_px, 1.3) for angle in rng.uniform(-85, 85, 3)]
    )  # (3, H, W)
    grown = np.take_along_axis(feather, (label % 3)[None], axis=0)[0]
    lively = float(rng.uniform(0.5, 1.0))
    shine = blur(gaussian(rng, (count,))[label], 0.6)
    fine = fractal_noise(rng, canvas.shape, canvas.unit_px * 0.2, 0.6)
    tone = 1 + np.float32(0.11 * lively) * shine + np.float32(0.05 * lively) * grown + 0.04 * fine
    return Material(
        height=0.04 * grown,
        albedo=tinted(tone, draw_grey(rng, 0.60, 0.74, warmth=-0.015)),
        roughness=np.clip(0.46 + np.float32(0.05 * lively) * shine, 0.2, 0.9),
        metallic=np.full(canvas.shape, 0.80, np.float32),
    )


def burn_paint(material: Material, beyond: Plane, bead: Bead, rng: Rng) -> Material:
    """Paint beside a weld: gone at the toe, then char and blisters, then browned; or ground off before welding."""
    shape = beyond.shape
    ragged = beyond + 0.10 * fractal_noise(rng, shape, 0.35 * bead.width_px, 0.65)
    brown = smoothstep(-ragged, -1.5, -0.35)
    material = replace(
        material,
        albedo=material.albedo * (1 - coloured(brown, (0.45, 0.55, 0.64))),
        roughness=material.roughness + brown * (np.float32(0.85) - material.roughness),
    )
    fine = fractal_noise(rng, shape, max(3.0, 0.05 * bead.width_px), 0.7)
    stripped = rng.random() < 0.5
    edge = float(rng.uniform(0.35, 0.8)) if stripped else float(rng.uniform(0.22, 0.45))
    char = smoothstep(-(ragged + 0.05 * fine), -edge - 0.35, -edge)
    material = paint(material, 0.85 * char, (0.030, 0.027, 0.025), 0.9, 0.0)
    material = replace(material, height=material.height + char * 0.35 * np.maximum(fine, 0))
    if stripped:
        # A grinder's track: one side is not like the other, and its edge feathers out.
        track = edge * (1 + 0.25 * line_noise(rng, shape[1], 0.8 * bead.width_px)).astype(np.float32)[None]
        gone = smoothstep(track - beyond + 0.05 * fine, -0.08, 0.08)
        grit = streaks(rng, shape, float(rng.uniform(-60, 60)), 0.3 * bead.width_px)
        metal = tinted(1 + 0.10 * grit, (0.30, 0.295, 0.29))
        oxide = coloured(smoothstep(-beyond, -0.8 * edge, 0.0), (0.50, 0.56, 0.58))
        return paint(material, 0.95 * gone, metal * (1 - oxide), 0.5, 0.8)
    gone = smoothstep(-(ragged + 0.07 * fine), -0.6 * edge, -0.25 * edge)
    ash = coloured(np.clip(0.5 + 0.3 * fine, 0, 1), (0.085, 0.080, 0.074))
    return paint(material, gone, f32([0.075, 0.066, 0.060]) + ash, 0.75, 0.35)


def burn_zinc(material: Material, beyond: Plane, bead: Bead, rng: Rng) -> Material:
    """Zinc beside a weld: burnt to bare grey at the toe, then white and yellow oxide, a veil of white fume beyond."""
    shape = beyond.shape
    cloud = fractal_noise(rng, shape, 0.5 * bead.width_px, 0.65)
    fine = fractal_noise(rng, shape, max(3.0, 0.06 * bead.width_px), 0.7)
    fume = smoothstep(-(beyond + 0.45 * cloud), -2.0, -0.3) * np.float32(rng.uniform(0.3, 0.75))
    material = paint(material, fume, (0.58, 0.575, 0.55), 0.95, 0.0)
    powder = smoothstep(-(beyond + 0.16 * cloud + 0.08 * fine), -0.85, -0.40)
    yellow = coloured(np.clip(0.4 + 0.5 * cloud, 0, 1), (0.10, 0.14, 0.24))
    material = paint(material, 0.75 * powder, f32([0.62, 0.62, 0.60]) - yellow, 0.95, 0.0)
    material = replace(material, height=material.height + 0.25 * powder * fine)
    bare = smoothstep(-(beyond + 0.08 * cloud + 0.06 * fine), -0.42, -0.18)
    scale = tinted(1 + 0.12 * fine, (0.15, 0.14, 0.132))
    return paint(material, bare * np.clip(0.85 + 0.25 * fine, 0.2, 1), scale, 0.65, 0.5)


def _crystals(rng: Rng, canvas: Canvas, size_px: float) -> tuple[Plane, int]:
    """Index of the nearest of many scattered seeds, (H, W) int, and how many there are."""
    seeds = np.full(canvas.shape, 255, np.uint8)
    many = max(4, round(canvas.width * canvas.height / size_px**2))
    seeds[rng.integers(0, canvas.height, many), rng.integers(0, canvas.width, many)] = 0
    _, label = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    return label.astype(np.intp), int(label.max()) + 1
