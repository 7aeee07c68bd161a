"""Wrong cross-sections of the bead: too tall and narrow (excess), or sunk below the plate (underfill)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from weldgen.synthesis.render.bead import Bead
from weldgen.synthesis.render.defect import (
    DefectSpec,
    Mask,
    blend,
    draw_pattern,
    moved_across,
    off_line_px,
    solid_mask,
    stretches,
    visible_span,
)
from weldgen.synthesis.render.material import Canvas, Material, paint
from weldgen.synthesis.render.noise import Plane, Rng, blur, fractal_noise, line_noise, smoothstep

# Position across that is just beyond the dark line of the toe.
_TOE = np.float32(1.08)


def sample_excess(rng: Rng, severity: float, pattern: str = "") -> DefectSpec:
    """Draw how much too tall the bead is, and where."""
    pattern = draw_pattern(rng, pattern, {"rope": 0.6, "humps": 0.4})
    size = 0.14 + 0.23 * severity * float(rng.uniform(0.8, 1.2))
    extent = 0.35 + 0.75 * severity * float(rng.uniform(0.8, 1.1))
    return DefectSpec("excess", severity, pattern, 1, size, extent)


def apply_excess(spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng) -> tuple[Material, Mask]:
    """Heap the bead up: steep toes, the plate drawn in beside it, and for `humps` mounds one after the other."""
    along = _from_one_end(spec, bead, canvas, rng)
    swell = 1 + 0.10 * line_noise(rng, canvas.width, 0.5 * bead.width_px)
    if spec.pattern == "humps":
        x = np.arange(canvas.width, dtype=np.float32) / np.float32(bead.width_px * rng.uniform(0.75, 1.1))
        x = x + 0.18 * line_noise(rng, canvas.width, 1.2 * bead.width_px)
        swell = swell * (0.45 + 0.75 * (0.5 - 0.5 * np.cos(np.float32(2 * np.pi) * x)) ** 0.7)
    narrow = 1 - (0.06 + 0.20 * spec.severity) * along * np.clip(1.35 - 0.5 * swell, 0.3, 1.1)
    narrow = narrow[None].astype(np.float32)
    outer = np.abs(bead.across)
    # the measure of `Bead.radius` for the narrower bead: its ends stay round
    radius = np.sqrt((outer / narrow) ** 2 + np.maximum(bead.radius**2 - outer**2, 0))
    # where the bead drew back, the plate beside it is mirrored
    bared = np.where((bead.radius < _TOE) & (along > 0.05)[None], 2 * _TOE - outer, outer)
    source = np.where(radius < 1, outer / narrow, bared) * np.sign(bead.across)
    moved = moved_across(material, bead, source)
    rise = np.float32(spec.size * bead.width_px) * np.sqrt(np.clip(1 - radius * radius, 0, 1)) * (along * swell)[None]
    steep = np.clip(1 - np.abs(radius - 1) * np.float32(0.5 * bead.width_px / max(1.5, 0.03 * bead.width_px)), 0, 1)
    moved = paint(moved, 0.6 * steep * along[None], (0.04, 0.037, 0.035), 0.7, 0.3)
    changed = (bead.radius < _TOE) * (along > 0.15)[None]
    return replace(moved, height=moved.height + rise), solid_mask(changed.astype(np.float32))


def _from_one_end(spec: DefectSpec, bead: Bead, canvas: Canvas, rng: Rng) -> Plane:
    """The share `extent` of the visible bead from one of its ends, (W,) 0..1: such a weld began or ended too cold."""
    low, high = visible_span(bead, canvas)
    columns = np.arange(canvas.width, dtype=np.float32)
    from_end = columns - np.float32(low) if rng.random() < 0.5 else np.float32(high) - columns
    ramp = np.float32(1.2 * bead.width_px)
    return smoothstep((np.float32(spec.extent * (high - low)) - from_end) / ramp, -0.5, 0.5)


def sample_underfill(rng: Rng, severity: float, pattern: str = "") -> DefectSpec:
    """Draw how deep the bead lies, and where."""
    pattern = draw_pattern(rng, pattern, {"groove": 1.0})
    size = 0.07 + 0.11 * severity * float(rng.uniform(0.8, 1.2))
    extent = 0.3 + 0.6 * severity * float(rng.uniform(0.7, 1.0))
    return DefectSpec("underfill", severity, pattern, 1, size, extent)


def apply_underfill(
    spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng
) -> tuple[Material, Mask]:
    """Sink the bead below the plate: straight edges of the groove on both sides, a hollow bead between them."""
    along = stretches(spec, bead, canvas, rng, 1.0 * bead.width_px)[None]
    half_px = np.float32(0.5 * bead.width_px)
    off = np.abs(off_line_px(bead, canvas)) / half_px  # straight, as the plates were cut
    edge, foot = np.float32(1.06), np.float32(0.86 - 0.10 * spec.severity)
    ragged = foot * (1 + 0.035 * fractal_noise(rng, canvas.shape, 0.25 * bead.width_px))
    depth_px = np.float32(spec.size * bead.width_px)
    hollow = np.clip(1 - (off / ragged) ** 2, 0, 1)
    sunk = moved_across(material, bead, np.clip(bead.across / foot, -0.97, 0.97))
    ripples = sunk.height - blur(sunk.height, 0.07 * bead.width_px)
    sunk = replace(sunk, height=-depth_px * (1 + 0.8 * hollow) + 0.8 * ripples)
    face = np.clip((edge - off) / (edge - ragged), 0, 1)  # 0 at the plate's edge to 1 at the bead
    bevel = replace(sunk, height=-depth_px * face)
    grind = 1 + 0.10 * fractal_noise(rng, canvas.shape, 3.0, 0.5, stretch=6.0)
    colour = grind[:, :, None] * np.array([0.34, 0.33, 0.32], np.float32)
    bevel = paint(bevel, np.full(canvas.shape, 0.85, np.float32), colour, 0.42, 0.9)
    on_bead = np.clip((ragged - off) * half_px + 0.5, 0, 1)
    groove = blend(bevel, sunk, on_bead)
    seam = np.exp(-(((off - ragged) * half_px / np.float32(max(1.0, 0.014 * bead.width_px))) ** 2))
    groove = paint(groove, 0.75 * seam, (0.03, 0.028, 0.026), 0.8, 0.2)
    cover = np.clip((edge - off) * half_px + 0.5, 0, 1) * along
    corner = np.exp(-(((off - edge) * half_px / 1.3) ** 2)) * along
    material = paint(blend(material, groove, cover), 0.35 * corner, (0.5, 0.49, 0.48), 0.35, 0.95)
    return material, solid_mask(cover, 0.3)
