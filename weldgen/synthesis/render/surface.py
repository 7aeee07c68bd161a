"""Base metal: the registry of surfaces; mill scale, rusted and blasted steel; wear; the bench a plate lies on.

Each kind is a function `(rng, canvas) -> Material`; `SURFACES` is the registry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from weldgen.synthesis.render.coatings import galvanised, painted
from weldgen.synthesis.render.material import Canvas, Material, RGBColour, draw_grey, paint, tinted
from weldgen.synthesis.render.metals import aluminium, brushed, ground, rolled, stainless
from weldgen.synthesis.render.noise import (
    Rng,
    blur,
    coloured,
    f32,
    fractal_noise,
    gaussian,
    smoothstep,
    streaks,
    triple,
    value_noise,
)


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


def _mill_scale(rng: Rng, canvas: Canvas) -> Material:
    """Hot-rolled skin: blue-grey to brown-black with a dull shine, specked, worn through in places."""
    mottle = fractal_noise(rng, canvas.shape, canvas.unit_px * 0.22, 0.75)
    grain = gaussian(rng, canvas.shape)
    roll = streaks(rng, canvas.shape, float(rng.normal(0, 1.5)), canvas.unit_px * 0.5, 1.5)
    rolled = float(rng.uniform(0.0, 0.06))
    warm = coloured(np.clip(rng.uniform(0, 1) + 0.13 * mottle, 0, 1), (0.032, 0.008, -0.016))  # from blue to brown
    level = float(rng.uniform(0.7, 1.8))
    tone = triple(level * np.clip(1 + 0.10 * mottle + 0.07 * grain + np.float32(rolled) * roll, 0.3, 2))
    speck = fractal_noise(rng, canvas.shape, 4.0, 0.6)
    material = Material(
        height=0.10 * grain + np.float32(1.5 * rolled) * roll + 0.10 * speck,
        albedo=(f32([0.110, 0.116, 0.126]) + warm) * tone,
        roughness=np.clip(0.50 + 0.05 * mottle, 0.3, 0.9),
        metallic=np.full(canvas.shape, 0.45, np.float32),
    )
    pits = smoothstep(-(speck + 0.25 * mottle), 1.7, 2.6) * np.float32(rng.uniform(0.2, 0.8))
    material = paint(material, pits, (0.035, 0.032, 0.030), 0.75, 0.1)
    flaked = fractal_noise(rng, canvas.shape, canvas.unit_px * 0.12, 0.78) + 0.35 * grain
    worn = smoothstep(flaked, float(rng.uniform(1.2, 2.6)), 3.2) * np.float32(rng.uniform(0.2, 0.6))
    return paint(material, worn, (0.27, 0.26, 0.25), 0.5, 0.8)


def _rusted(rng: Rng, canvas: Canvas) -> Material:
    """Mill scale with rust from a bloom to a crust."""
    material = _mill_scale(rng, canvas)
    broad = fractal_noise(rng, canvas.shape, canvas.unit_px * 0.4, 0.65)
    fine = fractal_noise(rng, canvas.shape, 5.0, 0.7)
    cover = float(rng.uniform(-0.9, 0.6))
    bloom = 0.30 * smoothstep(broad, cover - 1.5, cover + 1.5)
    rust = np.maximum(bloom, smoothstep(broad + 0.28 * fine, cover, cover + 3.0))
    light = coloured(np.clip(0.5 + 0.35 * fine, 0, 1), (0.130, 0.066, 0.030))
    material = paint(material, 0.9 * rust, f32([0.085, 0.044, 0.028]) + light, 0.88, 0.05)
    return replace(material, height=material.height + rust * (0.45 * fine))


def _blasted(rng: Rng, canvas: Canvas) -> Material:
    """Grit-blasted or weathered: grey, sparkling, mottled with bright worn flecks."""
    grain = blur(gaussian(rng, canvas.shape), 0.7) * 2.2
    mottle = fractal_noise(rng, canvas.shape, canvas.unit_px * 0.16, 0.7)
    tone = 1 + 0.10 * mottle + 0.10 * grain
    material = Material(
        height=0.17 * grain + 0.2 * mottle,
        albedo=tinted(tone, draw_grey(rng, 0.26, 0.42)),
        roughness=np.clip(0.52 + 0.05 * mottle, 0.25, 0.9),
        metallic=np.full(canvas.shape, 0.85, np.float32),
    )
    flecks = smoothstep(fractal_noise(rng, canvas.shape, 6.0, 0.75) + 0.6 * mottle, 1.5, 2.4)
    return paint(material, 0.75 * flecks, (0.62, 0.60, 0.54), 0.45, 0.85)


SURFACES: dict[str, Callable[[Rng, Canvas], Material]] = {
    "brushed": brushed,
    "ground": ground,
    "mill_scale": _mill_scale,
    "rusted": _rusted,
    "blasted": _blasted,
    "rolled": rolled,
    "stainless": stainless,
    "aluminium": aluminium,
    "galvanised": galvanised,
    "painted": painted,
}


def add_wear(material: Material, wear: float, canvas: Canvas, rng: Rng) -> Material:
    """Add stray scratches, dents and dull stains; `wear` runs from 0 to 1."""
    stain = smoothstep(fractal_noise(rng, canvas.shape, canvas.unit_px * 0.45, 0.72), 0.7, 2.2) * np.float32(
        0.35 * wear
    )
    material = paint(material, stain, (0.13, 0.115, 0.10), 0.7, 0.4)
    lines = np.zeros(canvas.shape, np.uint8)
    for _ in range(int(rng.poisson(9 * wear))):
        start = rng.uniform(0, 1, 2) * (canvas.width, canvas.height)
        angle, length = rng.uniform(0, np.pi), canvas.unit_px * rng.exponential(0.22)
        bend = rng.normal(0, 0.06 * length, 2)
        tip = start + length * np.array([np.cos(angle), np.sin(angle)])
        points = np.array([start, (start + tip) / 2 + bend, tip])
        cv2.polylines(lines, [np.int32(points * 16)], False, int(rng.uniform(70, 220)), 1, cv2.LINE_AA, 4)
    pressed = np.clip(0.6 + 0.5 * value_noise(rng, canvas.shape, 0.05 * canvas.unit_px), 0, 1)  # by an unsteady edge
    scratch = pressed * lines.astype(np.float32) / 255
    material = paint(material, 0.4 * scratch, (0.55, 0.54, 0.52), 0.4, 0.9)
    return replace(material, height=material.height - 0.35 * scratch)


def lay_on_bench(material: Material, spec: SurfaceSpec, canvas: Canvas, rng: Rng) -> Material:
    """Cut the plate to its size and put it on a bench; a no-op for a plate that fills the picture."""
    if spec.plate is None:
        return material
    half_length, half_width = (size * canvas.unit_px for size in spec.plate)
    x = np.abs(np.arange(canvas.width, dtype=np.float32) - canvas.width / 2)[None] - np.float32(half_length)
    y = np.abs(np.arange(canvas.height, dtype=np.float32) - canvas.height / 2)[:, None] - np.float32(half_width)
    outside = np.maximum(x, y) + 0.35 * value_noise(rng, canvas.shape, canvas.unit_px * 0.1)
    off = smoothstep(outside, -0.5, 0.9)
    thickness_px = canvas.unit_px * 0.03
    grain = fractal_noise(rng, canvas.shape, canvas.unit_px * 0.06, 0.7, stretch=float(rng.choice([1.0, 8.0])))
    tone = 1 + 0.10 * grain + 0.10 * fractal_noise(rng, canvas.shape, canvas.unit_px * 0.6)
    bench = tinted(tone, spec.bench)
    edge = np.exp(-((outside / np.float32(0.008 * canvas.unit_px)) ** 2))
    covered = paint(material, 0.5 * edge, (0.35, 0.34, 0.33), 0.5, 0.8)
    covered = paint(covered, off, bench, 0.85, 0.0)
    height = material.height * (1 - off) - off * np.float32(thickness_px)
    return replace(covered, height=height)
