"""Bare worked metal: brushed, ground, rolled, stainless, aluminium.

Each kind is a function `(rng, canvas) -> Material`; `surface.SURFACES` is the registry.
"""

from __future__ import annotations

import cv2
import numpy as np

from weldgen.synthesis.render.material import Canvas, Material, draw_grey, paint, tinted
from weldgen.synthesis.render.noise import Plane, Rng, fractal_noise, gaussian, smoothstep, streaks, value_noise


def brushed(rng: Rng, canvas: Canvas) -> Material:
    """Sanded along or across the weld: long fine lines, in passes that do not quite meet."""
    angle = float(rng.normal(0, 2)) + (90.0 if rng.random() < 0.35 else 0.0)
    fine = streaks(rng, canvas.shape, angle, canvas.unit_px * float(rng.uniform(0.06, 0.3)))
    wide = streaks(rng, canvas.shape, angle, canvas.unit_px * 0.6, cell_px=2.5)
    worked = smoothstep(fractal_noise(rng, canvas.shape, canvas.unit_px * 0.3, 0.6), -1.2, 0.6)
    depth = float(rng.uniform(0.4, 1.1))
    tone = 1 + 0.05 * fine + 0.035 * wide + 0.10 * (worked - 0.5)
    return Material(
        height=np.float32(depth) * (0.3 + 0.7 * worked) * (0.09 * fine + 0.04 * wide),
        albedo=tinted(tone, draw_grey(rng, 0.42, 0.60)),
        roughness=np.clip(0.46 - 0.08 * worked + 0.03 * wide, 0.15, 0.9),
        metallic=np.full(canvas.shape, 0.92, np.float32),
    )


def ground(rng: Rng, canvas: Canvas) -> Material:
    """Worked with an angle grinder: crossing sets of arcs, brighter where the disc bit."""
    height: Plane = np.zeros(canvas.shape, np.float32)
    bitten: Plane = np.zeros(canvas.shape, np.float32)
    for _ in range(int(rng.integers(6, 11))):
        where = smoothstep(value_noise(rng, canvas.shape, canvas.unit_px * 0.2), -0.2, 0.4)
        marks = disc_marks(rng, canvas, float(rng.uniform(1.1, 2.6)), 1.0)
        height = height * (1 - 0.75 * where) + where * marks
        bitten = bitten * (1 - 0.6 * where) + where * np.float32(rng.uniform(-1, 1))
    tone = 1 + 0.05 * height + 0.05 * bitten
    return Material(
        height=np.float32(rng.uniform(0.03, 0.065)) * height,
        albedo=tinted(tone, draw_grey(rng, 0.42, 0.58)),
        roughness=np.clip(0.38 - 0.06 * bitten + 0.03 * height, 0.15, 0.9),
        metallic=np.full(canvas.shape, 0.95, np.float32),
    )


def rolled(rng: Rng, canvas: Canvas) -> Material:
    """Cold-rolled sheet: straight roll lines and grey smears."""
    angle = 90.0 if rng.random() < 0.5 else 0.0
    lines = streaks(rng, canvas.shape, angle, canvas.unit_px * float(rng.uniform(0.2, 0.7)), 1.2)
    smear = fractal_noise(rng, canvas.shape, canvas.unit_px * 0.25, 0.6, stretch=2.0)
    material = Material(
        height=0.03 * lines,
        albedo=tinted(1 + 0.03 * lines + 0.06 * smear, draw_grey(rng, 0.50, 0.68)),
        roughness=np.clip(0.36 + 0.05 * smear, 0.2, 0.9),
        metallic=np.full(canvas.shape, 0.95, np.float32),
    )
    return _smudged(material, smear, canvas, rng)


def stainless(rng: Rng, canvas: Canvas) -> Material:
    """Stainless sheet: mill finish 2B, smooth and a little cloudy, or short satin lines; bright and cool."""
    cloud = fractal_noise(rng, canvas.shape, canvas.unit_px * 0.35, 0.5)
    colour = draw_grey(rng, 0.56, 0.70, warmth=-0.02)
    satin = rng.random() < 0.55
    lines = streaks(rng, canvas.shape, float(rng.choice([0.0, 90.0])), canvas.unit_px * (0.12 if satin else 0.5))
    much = float(rng.uniform(0.6, 1.2)) if satin else 0.2
    grain = gaussian(rng, canvas.shape)
    return Material(
        height=np.float32(0.05 * much) * lines + 0.02 * grain,
        albedo=tinted(1 + np.float32(0.05 * much) * lines + 0.025 * cloud + 0.012 * grain, colour),
        roughness=np.clip((0.36 if satin else 0.27) + 0.03 * cloud, 0.15, 0.9),
        metallic=np.full(canvas.shape, 0.97, np.float32),
    )


def aluminium(rng: Rng, canvas: Canvas) -> Material:
    """Aluminium plate: white-ish, fine roll lines or the arcs of a milling cutter, dull grey oxide in patches."""
    along = float(rng.choice([0.0, 90.0])) + float(rng.normal(0, 0.7))
    lines = streaks(rng, canvas.shape, along, canvas.unit_px * float(rng.uniform(0.3, 0.9)))
    wide = streaks(rng, canvas.shape, along, canvas.unit_px * 0.9, 3.0)
    smear = fractal_noise(rng, canvas.shape, canvas.unit_px * 0.25, 0.6)
    relief = 0.05 * lines + 0.02 * wide
    if rng.random() < 0.3:
        relief = relief + 0.07 * disc_marks(rng, canvas, float(rng.uniform(1.0, 2.5)), pitch_px=3.0)
    material = Material(
        height=relief,
        albedo=tinted(1 + 0.035 * lines + 0.025 * wide + 0.02 * smear, draw_grey(rng, 0.74, 0.86)),
        roughness=np.clip(0.42 + 0.03 * smear + 0.03 * wide, 0.2, 0.9),
        metallic=np.full(canvas.shape, 0.93, np.float32),
    )
    return _smudged(material, smear, canvas, rng, level=0.30)


def disc_marks(rng: Rng, canvas: Canvas, radius: float, pitch_px: float = 1.6) -> Plane:
    """Concentric scratches of a disc or cutter whose middle lies `radius` scene units away, (H, W), unit deviation."""
    heading = float(rng.uniform(0, 2 * np.pi))
    reach = radius * canvas.unit_px
    x = np.arange(canvas.width, dtype=np.float32)[None] - np.float32(canvas.width / 2 + reach * np.cos(heading))
    y = np.arange(canvas.height, dtype=np.float32)[:, None] - np.float32(canvas.height / 2 + reach * np.sin(heading))
    away = np.sqrt(x * x + y * y)
    rings = gaussian(rng, (8, int(away.max() / pitch_px) + 3))  # 8 sectors, so that arcs end
    sector = value_noise(rng, canvas.shape, canvas.unit_px * 0.25) * np.float32(1.3) + np.float32(3.5)
    return np.asarray(
        cv2.remap(rings, away / np.float32(pitch_px), np.clip(sector, 0, 7), cv2.INTER_LINEAR) * np.float32(1.5)
    )


def _smudged(material: Material, smear: Plane, canvas: Canvas, rng: Rng, level: float = 0.16) -> Material:
    """Dull grey dirt that clings to the grain, in some places."""
    fine = fractal_noise(rng, canvas.shape, 7.0, 0.7)
    dirty = smoothstep(smear + 0.5 * fine, float(rng.uniform(0.9, 2.0)), 3.2)
    return paint(material, 0.55 * dirty, (level, 0.97 * level, 0.94 * level), 0.6, 0.5)
