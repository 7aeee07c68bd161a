"""Burn-through: the weld pool fell through the plate and left a hole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from weldgen.synthesis.render.bead import Bead
from weldgen.synthesis.render.defect import DefectSpec, Mask, blob, solid_mask, visible_span
from weldgen.synthesis.render.material import Canvas, Material, paint
from weldgen.synthesis.render.noise import Plane, Rng, f32, fractal_noise, smoothstep


def sample_burn_through(rng: Rng, severity: float, pattern: str = "") -> DefectSpec:
    """Draw how many holes, and how large."""
    several = severity > 0.45 and rng.random() < 0.45
    pattern = pattern or ("row" if several else "hole")
    count = 2 + round(2 * severity * float(rng.uniform(0.3, 1.2))) if pattern == "row" else 1
    size = 0.13 + 0.25 * severity * float(rng.uniform(0.8, 1.2))
    return DefectSpec("burn_through", severity, pattern, count, size * (0.8 if pattern == "row" else 1.0), 1.0)


def apply_burn_through(
    spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng
) -> tuple[Material, Mask]:
    """Melt holes through the bead: black, with a thick rim that droops inwards and a sagging, scaled bead around."""
    low, high = visible_span(bead, canvas)
    width = bead.width_px
    gap = 2.0 * spec.size * width * float(rng.uniform(1.25, 1.7))
    room = max(high - low - gap * (spec.count - 1), 1.0)
    first = low + float(rng.uniform(0.1, 0.9)) * room
    seen = np.zeros(canvas.shape, np.float32)
    for number in range(spec.count):
        x = first + number * gap + float(rng.normal(0, 0.06)) * width
        y = float(bead.axis[int(np.clip(x, 0, canvas.width - 1))]) + float(rng.normal(0, 0.07)) * width
        radius = spec.size * width * float(np.exp(rng.normal(0, 0.15)))
        # a window three times the hole, as the bead sags around it
        shape = blob(canvas, (x, y), 2.2 * radius, float(rng.uniform(0.72, 0.95)), rng, float(rng.normal(0, 0.25)))
        if shape is None:
            continue
        where, away = shape
        away = 2.2 * away * (1 + 0.045 * fractal_noise(rng, away.shape, 0.45 * radius, 0.45))  # 1 at its outline
        material = material.with_part(where, _melt(material.part(where), away, radius, rng))
        seen[where] = np.maximum(seen[where], np.clip((1.6 - away) * np.float32(radius) + 0.5, 0, 1))
    return material, solid_mask(seen)


def _melt(part: Material, away: Plane, radius: float, rng: Rng) -> Material:
    """Melt a hole of a radius in pixels into a window; `away` is the distance from its middle in radii, (H, W)."""
    edge = np.clip((1 - away) * np.float32(radius) + 0.5, 0, 1)
    sag = np.exp(-((np.maximum(away - 1, 0) / 0.55) ** 2)) * (1 - smoothstep(away, 2.2, 3.4))
    # the rim melted and froze again: smooth, rolled inwards, heavily oxidised
    rolled = np.clip((1.3 - away) / 0.32, 0, 1)
    droop = 1 - np.sqrt(1 - rolled * rolled)
    calm = np.exp(-(((away - 1.22) / 0.20) ** 2))
    rim = part.height[away < 1.6]
    level = np.float32((float(np.median(rim)) if rim.size else 0.0) + 0.16 * radius)
    height = part.height + 0.8 * calm * (level - part.height)
    height -= np.float32(radius) * (0.42 * sag + 0.75 * droop + 2.2 * edge)
    scale = np.clip(0.95 - 0.75 * (away - 1), 0, 1) * (0.85 + 0.12 * fractal_noise(rng, away.shape, 0.5 * radius, 0.4))
    mottle = 1 + 0.25 * fractal_noise(rng, away.shape, 0.25 * radius)
    part = paint(part, 0.72 * np.clip(scale, 0, 1), mottle[:, :, None] * f32([0.062, 0.058, 0.064]), 0.46, 0.55)
    part = paint(part, edge, (0.006, 0.006, 0.006), 0.95, 0.0)
    return replace(part, height=height)
