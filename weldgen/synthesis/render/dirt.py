"""Contamination: a weld that is sooty, powdery with oxide, sugared, or burnt with grease."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from weldgen.synthesis.render.bead import Bead
from weldgen.synthesis.render.defect import DefectSpec, Mask, draw_pattern, solid_mask, stretches, visible_span
from weldgen.synthesis.render.material import Canvas, Material, paint
from weldgen.synthesis.render.noise import Plane, Rng, f32, fractal_noise, smoothstep, value_noise


def sample_contamination(rng: Rng, severity: float, pattern: str = "") -> DefectSpec:
    """Draw what the weld is dirty with, and how much of it."""
    pattern = draw_pattern(rng, pattern, {"soot": 0.3, "powder": 0.25, "sugar": 0.25, "grease": 0.2})
    extent = 0.40 + 0.6 * severity * float(rng.uniform(0.7, 1.0))
    return DefectSpec("contamination", severity, pattern, 1, 0.2 + 0.4 * severity, extent)


def apply_contamination(
    spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng
) -> tuple[Material, Mask]:
    """Dirty the weld."""
    dirty = {"soot": _soot, "powder": _powder, "sugar": _sugar, "grease": _grease}[spec.pattern]
    return dirty(spec, material, bead, canvas, rng)


def _soot(spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng) -> tuple[Material, Mask]:
    """Dull black fume that settled on and beside the bead, thin at its edges."""
    along = stretches(spec, bead, canvas, rng, 0.9 * bead.width_px)[None]
    cloud = fractal_noise(rng, canvas.shape, 0.9 * bead.width_px, 0.45)
    drawn = fractal_noise(rng, canvas.shape, 0.10 * bead.width_px, 0.5, stretch=5.0)
    reach = np.float32(0.75 + 1.3 * spec.size) * np.clip(1 + 0.16 * cloud, 0.6, 1.6)
    beside = np.abs(bead.across) / reach
    density = np.exp(-(beside**3)) * np.clip(1 + 0.16 * cloud + 0.07 * drawn, 0, 1.3)
    density *= 0.72 + 0.28 * smoothstep(np.abs(bead.across), 0.4, 1.1)  # most of it settles beside the hot metal
    alpha = np.clip((0.45 + 0.5 * spec.severity) * density * along, 0, 0.9)
    material = paint(material, alpha, (0.016, 0.015, 0.014), 0.92, 0.0)
    return material, solid_mask(alpha, 0.25)


def _powder(spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng) -> tuple[Material, Mask]:
    """A whitish to greenish bloom of oxide along the toes and on the bead."""
    along = stretches(spec, bead, canvas, rng, 0.8 * bead.width_px)[None]
    cloud = fractal_noise(rng, canvas.shape, 0.7 * bead.width_px, 0.5)
    speck = fractal_noise(rng, canvas.shape, max(2.0, 0.10 * bead.width_px), 0.6)
    toe = np.exp(-(((np.abs(bead.across) - 1.0) / np.float32(0.30 + 0.5 * spec.size)) ** 2))
    film = toe * np.clip(0.85 + 0.22 * cloud, 0, 1.3) * along
    alpha = np.float32(0.40 + 0.35 * spec.severity) * smoothstep(film * (1 + 0.05 * speck), 0.05, 1.15)
    green = np.clip(np.float32(rng.uniform(-0.3, 0.9)) + 0.20 * cloud, 0, 1)[:, :, None]
    white, greenish = f32([0.55, 0.55, 0.54]), f32([0.45, 0.51, 0.45])
    colour = (white + (greenish - white) * green) * (1 + 0.05 * speck)[:, :, None]
    material = paint(material, alpha, colour, 0.95, 0.0)
    return replace(material, height=material.height + 0.15 * alpha * speck), solid_mask(alpha, 0.22)


def _sugar(spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng) -> tuple[Material, Mask]:
    """Burnt by air where the shield gas failed: a coarse dark grey crust like brown sugar."""
    along = stretches(spec, bead, canvas, rng, 0.9 * bead.width_px)[None]
    lump_px = max(2.0, 0.04 * bead.width_px)
    lumps = np.abs(value_noise(rng, canvas.shape, lump_px)) + 0.7 * np.abs(
        value_noise(rng, canvas.shape, 0.55 * lump_px)
    )
    cloud = fractal_noise(rng, canvas.shape, 0.4 * bead.width_px, 0.55)
    level = (
        along * (1.10 - bead.radius**2)
        + 0.18 * cloud * along * smoothstep(-bead.radius, -1.15, -0.9)
        - np.float32(0.42 - 0.22 * spec.severity)
    )
    crust = smoothstep(level, 0.0, 0.28)
    warm = np.clip(0.4 + 0.4 * cloud, 0, 1)[:, :, None]
    tone = np.clip(0.45 + 0.42 * lumps, 0.3, 1.7)[:, :, None]
    grey, brown = f32([0.130, 0.128, 0.126]), f32([0.120, 0.092, 0.068])
    material = paint(material, 0.88 * crust, tone * (grey + (brown - grey) * warm), 0.62, 0.45)
    rise_px = np.float32(0.034 * bead.width_px) * (lumps - 0.9) * np.clip(1 + 0.35 * cloud, 0.3, 1.6)
    return replace(material, height=material.height + crust * rise_px), solid_mask(crust, 0.4)


def _grease(spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng) -> tuple[Material, Mask]:
    """Oil that burnt on: brown to black splashes with a darker rim and a yellowish halo."""
    low, high = visible_span(bead, canvas)
    width = bead.width_px
    field: Plane = np.full(canvas.shape, -9.0, np.float32)
    rows = np.arange(canvas.height, dtype=np.float32)[:, None]
    columns = np.arange(canvas.width, dtype=np.float32)[None]
    warp = fractal_noise(rng, canvas.shape, 0.40 * width, 0.5)
    for _ in range(2 + round(6 * spec.severity)):
        x = float(rng.uniform(low, high))
        across = float(np.clip(rng.normal(0, 0.45), -0.8, 0.8))
        y = float(bead.axis[int(np.clip(x, 0, canvas.width - 1))]) + across * width
        radius = width * (0.12 + 0.26 * spec.severity * float(rng.uniform(0.4, 1.0)))
        away = np.hypot((columns - np.float32(x)) / np.float32(1.5), rows - np.float32(y)) / np.float32(radius)
        field = np.maximum(field, 1 - away)
    field = field + 0.30 * warp
    inside, rim = smoothstep(field, 0.0, 0.22), np.exp(-(((field - 0.09) / 0.07) ** 2))
    halo = smoothstep(field, -0.45, 0.05)
    material = paint(material, 0.35 * halo, (0.20, 0.135, 0.06), 0.55, 0.4)
    alpha = np.clip(0.74 * inside * (0.8 + 0.2 * warp) + 0.25 * rim, 0, 0.95)
    material = paint(material, alpha, (0.030, 0.020, 0.012), 0.38, 0.0)
    return material, solid_mask(np.maximum(alpha, 0.5 * halo), 0.3)
