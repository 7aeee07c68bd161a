"""Base metal: brushed, ground, mill scale, rusted, blasted, rolled; and the bench a plate lies on.

Each kind is a function `(rng, canvas) -> Material`; `SURFACES` is the registry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from weldgen.synthesis.render.material import Canvas, Material, RGBColour, paint
from weldgen.synthesis.render.noise import Plane, Rng, blur, f32, fractal_noise, smoothstep, streaks, value_noise


@dataclass(frozen=True)
class SurfaceSpec:
    """The base metal.

    Attributes:
        kind: A key of `SURFACES`.
        wear: 0 fresh to 1 scratched and stained.
        plate: Half length and half width of the plate in scene units, or None where it fills the picture.
        bench: Colour of what the plate lies on, linear RGB.
    """

    kind: str
    wear: float = 0.3
    plate: tuple[float, float] | None = None
    bench: RGBColour = (0.08, 0.08, 0.085)


def base_metal(spec: SurfaceSpec, canvas: Canvas, rng: Rng) -> Material:
    """The plate before welding."""
    material = SURFACES[spec.kind](rng, canvas)
    return add_wear(material, spec.wear, canvas, rng)


def _brushed(rng: Rng, canvas: Canvas) -> Material:
    """Sanded along the weld: long fine lines."""
    angle = float(rng.normal(0, 2)) + (90.0 if rng.random() < 0.35 else 0.0)
    fine = streaks(rng, canvas.shape, angle, canvas.unit_px * float(rng.uniform(0.06, 0.3)))
    wide = streaks(rng, canvas.shape, angle, canvas.unit_px * 0.6, cell_px=2.5)
    depth = float(rng.uniform(0.4, 1.1))
    tone = 1 + 0.05 * fine + 0.05 * wide + 0.07 * fractal_noise(rng, canvas.shape, canvas.unit_px * 0.3)
    return Material(
        height=np.float32(depth) * (0.08 * fine + 0.05 * wide),
        albedo=_tinted(tone, _grey(rng, 0.42, 0.60)),
        roughness=np.clip(0.40 + 0.05 * wide, 0.15, 0.9),
        metallic=np.full(canvas.shape, 0.92, np.float32),
    )


def _ground(rng: Rng, canvas: Canvas) -> Material:
    """Worked with an angle grinder: crossing sets of arcs."""
    height = np.zeros(canvas.shape, np.float32)
    for _ in range(int(rng.integers(3, 6))):
        angle = float(rng.uniform(-80, 80))
        where = smoothstep(value_noise(rng, canvas.shape, canvas.unit_px * 0.3), -0.6, 0.7)
        height = height * (1 - 0.6 * where) + where * streaks(rng, canvas.shape, angle, canvas.unit_px * 0.16)
    tone = 1 + 0.09 * height + 0.09 * fractal_noise(rng, canvas.shape, canvas.unit_px * 0.2)
    return Material(
        height=0.14 * height,
        albedo=_tinted(tone, _grey(rng, 0.42, 0.58)),
        roughness=np.clip(0.38 + 0.05 * height, 0.15, 0.9),
        metallic=np.full(canvas.shape, 0.95, np.float32),
    )


def _mill_scale(rng: Rng, canvas: Canvas) -> Material:
    """Hot-rolled skin: blue-grey to brown-black, with worn spots."""
    mottle = fractal_noise(rng, canvas.shape, canvas.unit_px * 0.35, 0.6)
    grain = rng.standard_normal(canvas.shape, dtype=np.float32)
    roll = streaks(rng, canvas.shape, float(rng.normal(0, 1.5)), canvas.unit_px * 0.6, 2.0)
    warm = np.clip(rng.uniform(0, 1) + 0.16 * fractal_noise(rng, canvas.shape, canvas.unit_px * 0.5), 0, 1)[:, :, None]
    blue, brown = f32([0.105, 0.115, 0.130]), f32([0.150, 0.120, 0.100])
    level = float(rng.uniform(0.8, 1.7))
    tone = np.clip(1 + 0.16 * mottle + 0.07 * grain + 0.06 * roll, 0.3, 2)[:, :, None]
    material = Material(
        height=0.10 * grain + 0.10 * roll + 0.3 * mottle,
        albedo=(blue + (brown - blue) * warm) * level * tone,
        roughness=np.clip(0.50 + 0.06 * mottle, 0.3, 0.9),
        metallic=np.full(canvas.shape, 0.45, np.float32),
    )
    flaked = fractal_noise(rng, canvas.shape, canvas.unit_px * 0.15, 0.72) + 0.35 * grain
    worn = smoothstep(flaked, float(rng.uniform(1.0, 2.2)), 3.0) * 0.6
    return paint(material, worn, (0.26, 0.25, 0.24), 0.5, 0.8)


def _rusted(rng: Rng, canvas: Canvas) -> Material:
    """Mill scale with rust from a bloom to a crust."""
    material = _mill_scale(rng, canvas)
    broad = fractal_noise(rng, canvas.shape, canvas.unit_px * 0.4, 0.65)
    fine = fractal_noise(rng, canvas.shape, 5.0, 0.7)
    cover = float(rng.uniform(-0.9, 0.6))
    bloom = 0.30 * smoothstep(broad, cover - 1.5, cover + 1.5)
    rust = np.maximum(bloom, smoothstep(broad + 0.28 * fine, cover, cover + 3.0))
    light = np.clip(0.5 + 0.35 * fine, 0, 1)[:, :, None]
    dark_rust, light_rust = f32([0.085, 0.044, 0.028]), f32([0.24, 0.112, 0.052])
    material = paint(material, 0.9 * rust, dark_rust + (light_rust - dark_rust) * light, 0.88, 0.05)
    return replace(material, height=material.height + rust * (0.45 * fine))


def _blasted(rng: Rng, canvas: Canvas) -> Material:
    """Grit-blasted or weathered: grey, sparkling, mottled with bright worn flecks."""
    grain = blur(rng.standard_normal(canvas.shape, dtype=np.float32), 0.7) * 2.2
    mottle = fractal_noise(rng, canvas.shape, canvas.unit_px * 0.16, 0.7)
    tone = 1 + 0.10 * mottle + 0.10 * grain
    material = Material(
        height=0.28 * grain + 0.25 * mottle,
        albedo=_tinted(tone, _grey(rng, 0.26, 0.42)),
        roughness=np.clip(0.52 + 0.05 * mottle, 0.25, 0.9),
        metallic=np.full(canvas.shape, 0.85, np.float32),
    )
    flecks = smoothstep(fractal_noise(rng, canvas.shape, 6.0, 0.75) + 0.6 * mottle, 1.5, 2.4)
    return paint(material, 0.75 * flecks, (0.62, 0.60, 0.54), 0.45, 0.85)


def _rolled(rng: Rng, canvas: Canvas) -> Material:
    """Bright rolled plate (aluminium, stainless): straight roll lines and grey smears."""
    angle = 90.0 if rng.random() < 0.5 else 0.0
    lines = streaks(rng, canvas.shape, angle, canvas.unit_px * float(rng.uniform(0.2, 0.7)), 1.2)
    smear = fractal_noise(rng, canvas.shape, canvas.unit_px * 0.25, 0.6, stretch=2.0)
    tone = 1 + 0.035 * lines + 0.07 * smear
    material = Material(
        height=0.03 * lines,
        albedo=_tinted(tone, _grey(rng, 0.55, 0.74)),
        roughness=np.clip(0.36 + 0.06 * smear, 0.2, 0.9),
        metallic=np.full(canvas.shape, 0.95, np.float32),
    )
    dirty = smoothstep(smear + 0.5 * fractal_noise(rng, canvas.shape, 7.0, 0.7), 1.3, 3.2)
    return paint(material, 0.5 * dirty, (0.16, 0.155, 0.15), 0.6, 0.5)


SURFACES: dict[str, Callable[[Rng, Canvas], Material]] = {
    "brushed": _brushed,
    "ground": _ground,
    "mill_scale": _mill_scale,
    "rusted": _rusted,
    "blasted": _blasted,
    "rolled": _rolled,
}


def add_wear(material: Material, wear: float, canvas: Canvas, rng: Rng) -> Material:
    """Add stray scratches, dents and dull stains; `wear` runs from 0 to 1."""
    stain = smoothstep(fractal_noise(rng, canvas.shape, canvas.unit_px * 0.45, 0.6), 0.5, 2.2) * np.float32(0.45 * wear)
    material = paint(material, stain, (0.13, 0.115, 0.10), 0.7, 0.4)
    lines = np.zeros(canvas.shape, np.uint8)
    for _ in range(int(rng.poisson(9 * wear))):
        start = rng.uniform(0, 1, 2) * (canvas.width, canvas.height)
        angle, length = rng.uniform(0, np.pi), canvas.unit_px * rng.exponential(0.22)
        bend = rng.normal(0, 0.06 * length, 2)
        tip = start + length * np.array([np.cos(angle), np.sin(angle)])
        points = np.array([start, (start + tip) / 2 + bend, tip])
        cv2.polylines(lines, [np.int32(points * 16)], False, int(rng.uniform(70, 220)), 1, cv2.LINE_AA, 4)
    scratch = lines.astype(np.float32) / 255
    material = paint(material, 0.5 * scratch, (0.55, 0.54, 0.52), 0.4, 0.9)
    return replace(material, height=material.height - 0.5 * scratch)


def lay_on_bench(material: Material, spec: SurfaceSpec, canvas: Canvas, rng: Rng) -> Material:
    """Cut the plate to its size and put it on a bench; a no-op for a plate that fills the picture."""
    if spec.plate is None:
        return material
    half_length, half_width = (size * canvas.unit_px for size in spec.plate)
    x = np.abs(np.arange(canvas.width, dtype=np.float32) - canvas.width / 2)[None] - np.float32(half_length)
    y = np.abs(np.arange(canvas.height, dtype=np.float32) - canvas.height / 2)[:, None] - np.float32(half_width)
    outside = np.maximum(x, y) + 0.6 * value_noise(rng, canvas.shape, canvas.unit_px * 0.1)
    off = smoothstep(outside, -0.5, 0.9)
    thickness_px = canvas.unit_px * 0.03
    grain = fractal_noise(rng, canvas.shape, canvas.unit_px * 0.06, 0.7, stretch=float(rng.choice([1.0, 8.0])))
    tone = 1 + 0.10 * grain + 0.10 * fractal_noise(rng, canvas.shape, canvas.unit_px * 0.6)
    bench = _tinted(tone, spec.bench)
    edge = np.exp(-((outside / np.float32(0.008 * canvas.unit_px)) ** 2))
    covered = paint(material, 0.5 * edge, (0.35, 0.34, 0.33), 0.5, 0.8)
    covered = paint(covered, off, bench, 0.85, 0.0)
    height = material.height * (1 - off) - off * np.float32(thickness_px)
    return replace(covered, height=height)


def _grey(rng: Rng, low: float, high: float) -> RGBColour:
    """A metal's grey, a little warm or cold."""
    level, warmth = float(rng.uniform(low, high)), float(rng.normal(0, 0.018))
    return level * (1 + warmth), level, level * (1 - warmth)


def _tinted(tone: Plane, colour: RGBColour) -> Plane:
    return np.clip(tone, 0.2, 2.5)[:, :, None].astype(np.float32) * np.asarray(colour, np.float32)
