"""Lack of fusion: bead and plate, or the two plates, are not joined, so that the joint line stays open to view."""

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
from weldgen.synthesis.render.noise import Plane, Rng, fractal_noise, line_noise

_BLACK = (0.013, 0.012, 0.011)


def sample_fusion(rng: Rng, severity: float, pattern: str = "") -> DefectSpec:
    """Draw where the metal is not joined: along a toe, down the middle, or over a stretch without any bead."""
    pattern = draw_pattern(rng, pattern, {"toe": 0.35, "centre": 0.3, "gap": 0.35})
    size = float(rng.uniform(0.030, 0.042)) + 0.030 * severity
    if pattern == "gap":
        extent = 0.10 + 0.28 * severity * float(rng.uniform(0.7, 1.2))
        return DefectSpec("lack_of_fusion", severity, pattern, 1, size, extent)
    extent = 0.22 + 0.73 * severity * float(rng.uniform(0.7, 1.0))
    return DefectSpec("lack_of_fusion", severity, pattern, 1, size * (0.8 if pattern == "centre" else 1.0), extent)


def apply_fusion(spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng) -> tuple[Material, Mask]:
    """Leave the joint open."""
    part = {"toe": _along_toe, "centre": _down_middle, "gap": _without_bead}[spec.pattern]
    return part(spec, material, bead, canvas, rng)


def _along_toe(spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng) -> tuple[Material, Mask]:
    """The bead lies cold against the plate's unmelted edge: a straight slit, and a rolled edge beside it."""
    side = int(rng.choice([-1, 1]))
    along = stretches(spec, bead, canvas, rng, 0.35 * bead.width_px)
    away = np.float32(side) * off_line_px(bead, canvas, 0.94 * side)
    half_px = _opening_px(spec, bead, along, rng)
    slit = np.clip(half_px - np.abs(away) + 0.5, 0, 1) * (along > 0.02)[None]
    roll_px = np.float32(0.09 * bead.width_px)
    roll = np.exp(-(((away + half_px + roll_px) / roll_px) ** 2)) * along[None]
    edge = np.exp(-(((away - half_px - 1.0) / 1.1) ** 2)) * along[None]  # the plate's own sharp corner
    material = paint(material, 0.5 * edge, (0.42, 0.41, 0.40), 0.4, 0.9)
    material = paint(material, 0.97 * slit, _BLACK, 0.9, 0.0)
    height = material.height + 0.55 * roll_px * roll - 2.2 * half_px * slit
    return replace(material, height=height), solid_mask(np.maximum(np.maximum(slit, edge), roll), 0.4)


def _down_middle(spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng) -> tuple[Material, Mask]:
    """Two halves that do not meet: their rounded edges fall off to a straight dark line between them."""
    along = stretches(spec, bead, canvas, rng, 0.45 * bead.width_px)
    away = off_line_px(bead, canvas, float(rng.uniform(-0.2, 0.2)))
    half_px = _opening_px(spec, bead, along, rng)
    flank_px = half_px + np.float32((0.10 + 0.12 * spec.severity) * bead.width_px) * along[None] + 0.1
    ragged = np.clip(1 + 0.25 * fractal_noise(rng, canvas.shape, 0.16 * bead.width_px, 0.55), 0.5, 1.5)
    slit = np.clip(half_px * ragged - np.abs(away) + 0.5, 0, 1) * (along > 0.25)[None]
    flank_px = flank_px * np.clip(1 + 0.2 * line_noise(rng, canvas.width, 0.3 * bead.width_px), 0.6, 1.4)[None]
    fall = np.clip(1 - np.abs(away) / flank_px, 0, 1)
    rounded = 1 - np.sqrt(np.clip(1 - fall * fall, 0, 1))  # each half ends like a bead, not like a cut
    material = paint(material, 0.45 * fall, (0.075, 0.070, 0.068), 0.6, 0.6)
    material = paint(material, 0.97 * slit, _BLACK, 0.9, 0.0)
    drop_px = np.float32(0.10 * bead.width_px) + 0.55 * np.maximum(material.height, 0)
    height = material.height - drop_px * rounded * along[None] - 2.0 * half_px * slit
    return replace(material, height=height), solid_mask(np.maximum(slit, fall > 0.25))


def _without_bead(spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng) -> tuple[Material, Mask]:
    """A stretch that was skipped: the plate's edges and the root gap between the rounded ends of the bead."""
    low, high = visible_span(bead, canvas)
    half_px = np.float32(0.5 * bead.width_px)
    length_px = max(spec.extent * (high - low), 0.8 * bead.width_px)
    middle = float(rng.uniform(low + 0.5 * length_px, max(high - 0.5 * length_px, low + 0.5 * length_px + 1)))
    x = np.abs(np.arange(canvas.width, dtype=np.float32) - np.float32(middle))[None]
    bulge = np.sqrt(np.clip(1 - bead.across * bead.across, 0, 1))  # the bead's ends are round
    end = x + 0.7 * half_px * bulge + 0.06 * half_px * fractal_noise(rng, canvas.shape, 0.3 * bead.width_px)
    inside = np.float32(0.5 * length_px) - end  # pixels into the gap
    missing = np.clip(inside + 0.5, 0, 1) * (np.abs(bead.across) < 1.12)
    side = np.where(bead.across < 0, np.float32(-1), np.float32(1))
    plate = moved_across(material, bead, side * (2.35 - np.abs(bead.across)))
    line_px = np.abs(off_line_px(bead, canvas))
    root_px = max(1.1, 0.8 * spec.size * bead.width_px)
    bevel_px = np.float32(0.28 * bead.width_px)
    root = np.clip(np.float32(root_px) - line_px + 0.5, 0, 1)
    depth = np.clip(1 - line_px / bevel_px, 0, 1)
    ground = np.clip(bevel_px - line_px, 0, 1)
    plate = paint(plate, 0.55 * ground, (0.30, 0.29, 0.28), 0.42, 0.9)
    plate = paint(plate, 0.97 * root, _BLACK, 0.9, 0.0)
    plate = replace(plate, height=plate.height - np.float32(0.20 * bead.width_px) * depth - 2 * root_px * root)
    round_off = np.sqrt(np.clip(-inside / (0.45 * half_px), 0, 1))
    on_bead = np.clip(1.05 - np.abs(bead.across), 0, 1) > 0
    material = replace(material, height=np.where(on_bead, material.height * round_off, material.height))
    changed = np.maximum(missing, (inside > -0.22 * half_px) * on_bead)
    return blend(material, plate, missing), solid_mask(changed * (np.abs(bead.across) < 1.05))


def _opening_px(spec: DefectSpec, bead: Bead, along: Plane, rng: Rng) -> Plane:
    """Half the opening of a slit, (1, W) pixels: it narrows at its ends and a little in between."""
    uneven = np.clip(1 + 0.16 * line_noise(rng, len(along), 0.35 * bead.width_px), 0.55, 1.4)
    return np.asarray((max(0.7, 0.5 * spec.size * bead.width_px) * uneven * np.sqrt(along))[None])
