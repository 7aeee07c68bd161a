"""Spatter: drops of metal that flew out of the arc and froze on the plate."""

from __future__ import annotations

import numpy as np

from weldgen.synthesis.render.bead import Bead
from weldgen.synthesis.render.defect import DefectSpec, Mask, blob, draw_pattern, solid_mask, visible_span
from weldgen.synthesis.render.material import Canvas, Material
from weldgen.synthesis.render.noise import Plane, Rng, f32

_ON_BEAD = 0.12  # share of the drops that fall on the bead itself
_FLAT = 0.25  # share that splashed flat instead of standing as a ball


def sample_spatter(rng: Rng, severity: float, pattern: str = "") -> DefectSpec:
    """Draw how many drops, and how large."""
    pattern = draw_pattern(rng, pattern, {"drops": 1.0})
    count = 5 + round(55 * severity * float(rng.uniform(0.6, 1.2)))
    return DefectSpec("spatter", severity, pattern, count, 0.020 + 0.02 * severity, 1.0)


def apply_spatter(spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng) -> tuple[Material, Mask]:
    """Put drops on the plate, more of them near the bead; each has burnt the plate around it a little."""
    cover, burnt = np.zeros(canvas.shape, np.float32), np.zeros(canvas.shape, np.float32)
    height, albedo = material.height.copy(), material.albedo.copy()
    for x, y, radius in _places(spec, bead, canvas, rng):
        flat = rng.random() < _FLAT
        shape = blob(canvas, (x, y), radius * (1.3 if flat else 1.0), float(rng.uniform(0.65, 1.0)), rng)
        if shape is None:
            continue
        where, away = shape
        ball = np.clip((1 - away) * np.float32(radius) + np.float32(0.5), 0, 1)
        tall = radius * float(rng.uniform(0.2, 0.35) if flat else rng.uniform(0.6, 1.0))
        height[where] += ball * np.sqrt(np.clip(1 - away * away, 0, 1)) * np.float32(tall)
        albedo[where] += ball[:, :, None] * (_metal(rng) - albedo[where])
        cover[where] = np.maximum(cover[where], ball)
        burnt[where] = np.maximum(burnt[where], np.clip(1.7 - away, 0, 1) * 0.35)
    albedo *= (1 - burnt * (1 - cover))[:, :, None]
    roughness = material.roughness + cover * (np.float32(0.34) - material.roughness)
    metallic = material.metallic + cover * (np.float32(0.85) - material.metallic)
    return Material(height, albedo, roughness, metallic), solid_mask(cover)


def _places(spec: DefectSpec, bead: Bead, canvas: Canvas, rng: Rng) -> list[tuple[float, float, float]]:
    """Column, row and radius of each drop in pixels; most are fine, a few coarse."""
    low, high = visible_span(bead, canvas)
    places = []
    for _ in range(spec.count):
        x = float(rng.uniform(low, high))
        away = rng.uniform(0.0, 0.45) if rng.random() < _ON_BEAD else 0.56 + rng.exponential(0.34)
        y = float(bead.axis[int(x)]) + float(rng.choice([-1.0, 1.0]) * away) * bead.width_px
        places.append((x, y, max(1.15, bead.width_px * spec.size * float(np.exp(rng.normal(-0.2, 0.55))))))
    return places


def _metal(rng: Rng) -> Plane:
    """Colour of a drop, (3,): bright, or blued and blackened by its flight."""
    level = float(rng.uniform(0.10, 0.55))
    return level * f32([1.0, rng.uniform(0.92, 1.0), rng.uniform(0.84, 1.0)])
