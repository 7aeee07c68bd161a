"""Defects of the toe, where bead and plate meet: undercut and overlap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from weldgen.synthesis.render.bead import Bead
from weldgen.synthesis.render.defect import (
    DefectSpec,
    Mask,
    beyond_toe_px,
    blend,
    draw_pattern,
    lobes,
    moved_across,
    solid_mask,
    stretches,
)
from weldgen.synthesis.render.material import Canvas, Material, paint
from weldgen.synthesis.render.noise import Rng, blur, fractal_noise, line_noise, smoothstep


def sample_undercut(rng: Rng, severity: float, pattern: str = "") -> DefectSpec:
    """Draw where the plate was melted away and not filled again, how wide and on how many stretches."""
    pattern = _sides(rng, severity, pattern)
    size = 0.045 + 0.05 * severity * float(rng.uniform(0.6, 1.2))
    extent = 0.2 + 0.7 * severity * float(rng.uniform(0.6, 1))
    return DefectSpec("undercut", severity, pattern, 1 + round(1.5 * severity), size, extent)


def apply_undercut(spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng) -> tuple[Material, Mask]:
    """Cut a groove into the plate along the toe: steep at the bead, shallow towards the plate, its bottom in shade."""
    groove = np.zeros(canvas.shape, np.float32)
    for side in _chosen_sides(spec, rng):
        along = stretches(spec, bead, canvas, rng, 0.25 * bead.width_px)
        uneven = np.clip(1.0 + 0.30 * line_noise(rng, canvas.width, 0.45 * bead.width_px), 0.4, 1.6)
        uneven += 0.10 * line_noise(rng, canvas.width, 0.08 * bead.width_px)
        half_px = (max(0.5 * spec.size * bead.width_px, 1.1) * uneven * along**0.7 + 0.05)[None]
        away = beyond_toe_px(bead, side) - 0.5 * half_px
        part = np.where(away < 0, away / (0.75 * half_px), away / (1.25 * half_px))
        # a sharp edge in the plate; the metal flowed away unevenly, so that the groove deepens and fades
        shape = np.clip(1 - part * part, 0, 1) ** 0.8 * np.clip(half_px, 0, 1)
        groove = np.maximum(groove, (np.sqrt(along) * np.clip(0.4 + 0.55 * uneven, 0, 1))[None] * shape)
    depth_px = 1.25 * spec.size * bead.width_px
    material = paint(material, 0.62 * groove**2, (0.055, 0.048, 0.044), 0.6, 0.5)
    return replace(material, height=material.height - np.float32(depth_px) * groove), solid_mask(groove, 0.3)


def sample_overlap(rng: Rng, severity: float, pattern: str = "") -> DefectSpec:
    """Draw how far the weld metal rolled over the plate, and on how many stretches."""
    pattern = _sides(rng, severity, pattern)
    size = 0.10 + 0.20 * severity * float(rng.uniform(0.7, 1.2))
    extent = 0.25 + 0.6 * severity * float(rng.uniform(0.6, 1))
    return DefectSpec("overlap", severity, pattern, 1 + round(1.2 * severity), size, extent)


def apply_overlap(spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng) -> tuple[Material, Mask]:
    """Roll the bead's flank out over the plate: a thick rounded lip in lobes, with a dark cleft under its edge."""
    changed = np.zeros(canvas.shape, np.float32)
    for side in _chosen_sides(spec, rng):
        along = stretches(spec, bead, canvas, rng, 0.3 * bead.width_px)
        reach_px = lobes(spec.size * bead.width_px, along, bead, rng)[None]
        away = beyond_toe_px(bead, side)
        inner_px = np.minimum(np.float32(0.34 * bead.width_px), 1.5 * reach_px) + np.float32(0.01)
        part = np.clip((away + inner_px) / (reach_px + inner_px), 0, 1)  # 0 where the lip begins to 1 at its edge
        begin = 1 - inner_px / np.float32(0.5 * bead.width_px)
        source = np.where(away > -inner_px, begin + part * 0.75 * (1 - begin), bead.across * np.float32(side))
        lip = moved_across(material, bead, source * np.float32(side))
        root = moved_across(material, bead, np.broadcast_to(begin * np.float32(side), canvas.shape)).height
        grain = lip.height - blur(lip.height, 0.06 * bead.width_px)
        thick = np.maximum(blur(root, 0.12 * bead.width_px), np.minimum(np.float32(0.07 * bead.width_px), reach_px))
        skin = np.float32(0.006 * bead.width_px) * fractal_noise(rng, canvas.shape, 0.14 * bead.width_px, 0.5)
        profile = np.sqrt(np.clip(1 - part**2.6, 0, 1))
        blended = root + smoothstep(part, 0.0, 0.45) * (thick - root)
        lip = replace(lip, height=(blended + skin * np.minimum(4 * part, 1)) * profile + grain * (1 - part) ** 3)
        there = (away > -inner_px) * (reach_px > 0.8)
        cover = np.clip(reach_px - away + 0.5, 0, 1) * there * smoothstep(part, 0.0, 0.45)
        cleft_px = max(1.0, 0.022 * bead.width_px)
        cleft = np.clip(1 - np.abs(away - reach_px - 0.4 * cleft_px) / cleft_px, 0, 1) * there
        material = paint(blend(material, lip, cover), 0.92 * cleft, (0.018, 0.016, 0.015), 0.85, 0.1)
        material = replace(material, height=material.height - np.float32(1.2 * cleft_px) * cleft)
        changed = np.maximum(changed, np.maximum(cover, cleft))
    return material, solid_mask(changed)


def _sides(rng: Rng, severity: float, pattern: str) -> str:
    both = 0.25 + 0.4 * severity
    return draw_pattern(rng, pattern, {"both_sides": both, "one_side": 1 - both})


def _chosen_sides(spec: DefectSpec, rng: Rng) -> tuple[int, ...]:
    first = int(rng.choice([-1, 1]))
    return (first, -first) if spec.pattern == "both_sides" else (first,)
