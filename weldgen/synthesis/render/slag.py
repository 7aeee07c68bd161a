"""Slag that was left on the weld: glassy crusts along the toes or among the ripples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from weldgen.synthesis.render.bead import Bead
from weldgen.synthesis.render.defect import DefectSpec, Mask, beyond_toe_px, draw_pattern, solid_mask, stretches
from weldgen.synthesis.render.material import Canvas, Material, paint
from weldgen.synthesis.render.noise import Plane, Rng, blur, f32, fractal_noise, smoothstep, value_noise


def sample_slag(rng: Rng, severity: float, pattern: str = "") -> DefectSpec:
    """Draw where slag was left, and how much."""
    pattern = draw_pattern(rng, pattern, {"toe": 0.5, "patches": 0.5})
    extent = 0.25 + 0.65 * severity * float(rng.uniform(0.7, 1.0))
    return DefectSpec("slag", severity, pattern, 1 + round(2 * severity), 0.05 + 0.06 * severity, extent)


def apply_slag(spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng) -> tuple[Material, Mask]:
    """Leave brown to black crusts, flaked at their edges, partly glossy and cracked by cooling."""
    width = bead.width_px
    level = _level(spec, bead, canvas, rng)
    crust, thick = smoothstep(level, 0.0, 0.14), smoothstep(level, 0.0, 0.6)
    tone = fractal_noise(rng, canvas.shape, 0.16 * width, 0.5)
    brown, black = f32([0.085, 0.055, 0.034]), f32([0.026, 0.024, 0.024])
    share = np.clip(0.35 + 0.28 * tone, 0, 1)[:, :, None]
    glass = smoothstep(value_noise(rng, canvas.shape, 0.18 * width), -0.4, 0.7)
    cracks = np.exp(-((value_noise(rng, canvas.shape, 0.16 * width) / 0.05) ** 2)) * thick
    material = paint(material, 0.96 * crust, black + (brown - black) * share, 0.6, 0.0)
    roughness = material.roughness + crust * (np.float32(0.58) - 0.46 * glass - material.roughness)
    rise = 0.048 * (0.35 * crust + thick * (0.9 + 0.16 * tone)) - 0.025 * cracks
    metallic = material.metallic + crust * 0.30 * glass  # stands for the gloss of glass, which is brighter than oxide's
    smooth = blur(material.height, 0.05 * width)  # it ran into the fine relief before it froze
    height = material.height + 0.8 * crust * (smooth - material.height) + np.float32(width) * rise
    return replace(material, height=height, roughness=roughness, metallic=metallic), solid_mask(crust)


def _level(spec: DefectSpec, bead: Bead, canvas: Canvas, rng: Rng) -> Plane:
    """Above 0 where there is slag, (H, W)."""
    width = bead.width_px
    along = stretches(spec, bead, canvas, rng, 0.5 * width)[None]
    ragged = fractal_noise(rng, canvas.shape, 0.24 * width, 0.5, stretch=2.4)
    if spec.pattern == "toe":
        sides = (-1, 1) if rng.random() < 0.5 else (int(rng.choice([-1, 1])),)
        reach = np.float32(1.4 * spec.size * width)
        near = np.maximum.reduce([1 - np.abs(beyond_toe_px(bead, side) + 0.4 * reach) / reach for side in sides])
        level = 1.5 * np.clip(near, -1, 1) + 0.55 * ragged - 0.6
    else:
        level = ragged - np.float32(1.15 - 0.75 * spec.severity) - 2.0 * np.clip(np.abs(bead.across) - 0.75, 0, None)
    level = np.where(along > 0, level - 1.6 * (1 - along), -1)
    return np.where(bead.radius < 1.15, level, -1).astype(np.float32)
