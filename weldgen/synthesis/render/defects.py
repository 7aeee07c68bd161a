"""Weld defects: each changes a material and returns the exact mask of what it changed.

`DEFECTS` is the registry: kind -> how its parameters are drawn from a severity, and how it is applied. Irregularity
of the bead itself is different: it changes the bead's specification before the bead is laid (`misshape`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from weldgen.synthesis.render.bead import Bead, BeadSpec
from weldgen.synthesis.render.cracks import apply_crack, sample_crack
from weldgen.synthesis.render.defect import DefectSpec, Mask, blob, solid_mask, visible_span
from weldgen.synthesis.render.material import Canvas, Material, paint
from weldgen.synthesis.render.noise import Rng, f32, line_noise
from weldgen.synthesis.render.pores import apply_porosity, sample_porosity

IRREGULAR = "irregular"


@dataclass(frozen=True)
class DefectKind:
    """How a kind of defect is drawn and applied."""

    sample: Callable[[Rng, float], DefectSpec]
    apply: Callable[[DefectSpec, Material, Bead, Canvas, Rng], tuple[Material, Mask]]


def sample_defect(kind: str, severity: float, rng: Rng) -> DefectSpec:
    """Draw the parameters of a defect of a kind and severity."""
    if kind == IRREGULAR:
        return DefectSpec(IRREGULAR, severity, "uneven", 1, 0.0, 1.0)
    return DEFECTS[kind].sample(rng, severity)


def misshape(bead: BeadSpec, spec: DefectSpec) -> BeadSpec:
    """A bead laid by an unsteady hand: it wanders, swells, shrinks and humps."""
    much = 0.35 + 0.65 * spec.severity
    return replace(
        bead,
        wander=bead.wander + 0.13 * much,
        width_variation=bead.width_variation + 0.22 * much,
        edge_roughness=bead.edge_roughness + 0.05 * much,
        hump=bead.hump + 0.45 * much,
        ripple_jitter=bead.ripple_jitter * (1 + 0.6 * much),
        ripple_depth=bead.ripple_depth * (1 + 0.6 * much),
    )


def _sample_undercut(rng: Rng, severity: float) -> DefectSpec:
    pattern = "both_sides" if rng.random() < 0.25 + 0.4 * severity else "one_side"
    size = 0.045 + 0.05 * severity * float(rng.uniform(0.6, 1.2))
    return DefectSpec(
        "undercut",
        severity,
        pattern,
        1 + round(1.5 * severity),
        size,
        0.2 + 0.7 * severity * float(rng.uniform(0.6, 1)),
    )


def _apply_undercut(
    spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng
) -> tuple[Material, Mask]:
    low, high = visible_span(bead, canvas)
    first = int(rng.choice([-1, 1]))
    groove = np.zeros(canvas.shape, np.float32)
    columns = np.arange(canvas.width, dtype=np.float32)
    for side in (first, -first) if spec.pattern == "both_sides" else (first,):
        along = np.zeros(canvas.width, np.float32)
        length = spec.extent * (high - low) / spec.count
        for _ in range(spec.count):
            start = float(rng.uniform(low, max(high - length, low + 1)))
            ramp = np.float32(0.12 * bead.width_px)
            along = np.maximum(along, np.clip(np.minimum(columns - start, start + length - columns) / ramp, 0, 1))
        uneven = np.clip(1.0 + 0.35 * line_noise(rng, canvas.width, 0.16 * bead.width_px), 0.25, 1.6)
        away = (bead.across * np.float32(side) - np.float32(1 + 0.35 * spec.size)) * np.float32(0.5 * bead.width_px)
        half_px = max(0.5 * spec.size * bead.width_px, 1.1) * uneven[None]
        groove = np.maximum(groove, along[None] * np.exp(-((away / half_px) ** 2)))
    depth_px = 0.9 * spec.size * bead.width_px
    material = paint(material, 0.72 * groove, (0.05, 0.045, 0.042), 0.7, 0.4)
    return replace(material, height=material.height - np.float32(depth_px) * groove), solid_mask(groove, 0.4)


def _sample_spatter(rng: Rng, severity: float) -> DefectSpec:
    count = 5 + round(48 * severity * float(rng.uniform(0.6, 1.2)))
    return DefectSpec("spatter", severity, "drops", count, 0.022 + 0.02 * severity, 1.0)


def _apply_spatter(spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng) -> tuple[Material, Mask]:
    low, high = visible_span(bead, canvas)
    cover = np.zeros(canvas.shape, np.float32)
    burnt = np.zeros(canvas.shape, np.float32)
    height, albedo = material.height.copy(), material.albedo.copy()
    for _ in range(spec.count):
        x = float(rng.uniform(low, high))
        side = rng.choice([-1.0, 1.0])
        away = rng.uniform(0.0, 0.45) if rng.random() < 0.12 else 0.56 + rng.exponential(0.38)
        y = float(bead.axis[int(x)]) + side * away * bead.width_px
        radius = max(1.25, bead.width_px * spec.size * float(np.exp(rng.normal(-0.1, 0.45))))
        shape = blob(canvas, (x, y), radius, float(rng.uniform(0.75, 1.0)), rng)
        if shape is None:
            continue
        where, distance = shape
        ball = np.clip((1 - distance) * np.float32(radius) + np.float32(0.5), 0, 1)
        dome = np.sqrt(np.clip(1 - distance * distance, 0, 1)) * np.float32(radius * rng.uniform(0.5, 0.95))
        height[where] += ball * dome
        level = float(rng.uniform(0.12, 0.5))
        tone = level * f32([1.0, rng.uniform(0.92, 1.0), rng.uniform(0.84, 1.0)])
        albedo[where] += ball[:, :, None] * (tone - albedo[where])
        cover[where] = np.maximum(cover[where], ball)
        burnt[where] = np.maximum(burnt[where], np.clip(1.7 - distance, 0, 1) * 0.35)
    material = replace(material, height=height, albedo=albedo * (1 - (burnt * (1 - cover))[:, :, None]))
    roughness = material.roughness + cover * (np.float32(0.36) - material.roughness)
    metallic = material.metallic + cover * (np.float32(0.85) - material.metallic)
    return replace(material, roughness=roughness, metallic=metallic), solid_mask(cover)


DEFECTS: dict[str, DefectKind] = {
    "porosity": DefectKind(sample_porosity, apply_porosity),
    "crack": DefectKind(sample_crack, apply_crack),
    "undercut": DefectKind(_sample_undercut, _apply_undercut),
    "spatter": DefectKind(_sample_spatter, _apply_spatter),
}
