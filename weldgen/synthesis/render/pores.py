"""Porosity: open gas pores, scattered, in clusters, at the start, or all along the bead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from weldgen.synthesis.render.bead import Bead
from weldgen.synthesis.render.defect import DefectSpec, Mask, blob, solid_mask, visible_span
from weldgen.synthesis.render.material import Canvas, Material, paint
from weldgen.synthesis.render.noise import Rng

_MAX_PLACING_TRIES = 12


def sample_porosity(rng: Rng, severity: float) -> DefectSpec:
    """Draw how many pores, how large and where."""
    pattern = str(rng.choice(["scattered", "cluster", "start", "along"], p=[0.3, 0.3, 0.25, 0.15]))
    most = {"scattered": 26, "cluster": 30, "start": 22, "along": 130}[pattern]
    count = 3 + round(most * severity * float(rng.uniform(0.6, 1.2)))
    size = float(rng.uniform(0.028, 0.040)) + 0.03 * severity
    return DefectSpec("porosity", severity, pattern, count, size, float(rng.uniform(0.6, 1.0)))


def apply_porosity(spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng) -> tuple[Material, Mask]:
    """Sink pores into the bead."""
    holes = np.zeros(canvas.shape, np.float32)
    sunk = np.zeros(canvas.shape, np.float32)
    for x, y, radius in _pore_places(spec, bead, canvas, rng):
        shape = blob(canvas, (x, y), radius, float(rng.uniform(0.62, 1.0)), rng)
        if shape is None:
            continue
        where, away = shape
        hole = np.clip((1 - away) * np.float32(radius) + np.float32(0.5), 0, 1)
        bowl = hole * np.float32(radius) * (0.7 + 0.9 * np.sqrt(np.clip(1 - away * away, 0, 1)))
        lip = np.exp(-(((away - 1.22) * np.float32(5.0)) ** 2)) * np.float32(0.10 * radius)
        holes[where] = np.maximum(holes[where], hole)
        sunk[where] = np.minimum(sunk[where], -bowl) + lip * (sunk[where] >= 0)
    material = paint(material, 0.92 * holes, (0.022, 0.020, 0.018), 0.8, 0.2)
    return replace(material, height=material.height + sunk), solid_mask(holes)


def _pore_places(spec: DefectSpec, bead: Bead, canvas: Canvas, rng: Rng) -> list[tuple[float, float, float]]:
    """Middle (x, y) and radius of each pore in pixels; pores do not overlap."""
    low, high = visible_span(bead, canvas)
    width = bead.width_px
    middle = float(rng.uniform(low + 0.3 * width, max(high - 0.3 * width, low + 0.4 * width)))
    tilt = float(rng.normal(0, 0.25))
    places: list[tuple[float, float, float]] = []
    for _ in range(spec.count):
        for _ in range(_MAX_PLACING_TRIES):
            if spec.pattern == "cluster":
                x, across = middle + rng.normal(0, 0.55 * width), tilt + rng.normal(0, 0.38)
            elif spec.pattern == "start":
                x, across = low + rng.gamma(1.6, 0.24 * width) - 0.25 * width, rng.normal(0, 0.42)
            else:
                span = (high - low) * spec.extent
                x, across = low + (high - low - span) * 0.5 + rng.uniform(0, span), rng.normal(0, 0.42)
            radius = max(1.15, width * spec.size * float(np.exp(rng.normal(0, 0.38))))
            column = int(np.clip(x, 0, canvas.width - 1))
            y = float(bead.axis[column]) + across * 0.5 * width
            on_bead = abs(across) < 0.86 and low - 0.35 * width < x < high + 0.35 * width
            if on_bead and all((x - a) ** 2 + (y - b) ** 2 > (1.12 * (radius + r)) ** 2 for a, b, r in places):
                places.append((float(x), y, radius))
                break
    return places or [(0.5 * (low + high), float(bead.axis[int(0.5 * (low + high))]), max(1.5, width * spec.size))]
