"""Porosity: open gas pores, scattered, in clusters, at the start, all along the bead; and piping ("wormholes")."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from weldgen.synthesis.render.bead import Bead
from weldgen.synthesis.render.defect import DefectSpec, Mask, blob, draw_pattern, solid_mask, visible_span
from weldgen.synthesis.render.material import Canvas, Material, paint
from weldgen.synthesis.render.noise import Rng

_MAX_PLACING_TRIES = 12
_WEIGHTS = {"scattered": 0.27, "cluster": 0.27, "start": 0.22, "along": 0.12, "wormhole": 0.12}
_MOST = {"scattered": 26, "cluster": 30, "start": 22, "along": 130, "wormhole": 22}

# Middle (column, row), half length in pixels, breadth over length, direction in radians or None for any.
Pore = tuple[float, float, float, float, float | None]


def sample_porosity(rng: Rng, severity: float, pattern: str = "") -> DefectSpec:
    """Draw how many pores, how large and where."""
    pattern = draw_pattern(rng, pattern, _WEIGHTS)
    count = 3 + round(_MOST[pattern] * severity * float(rng.uniform(0.6, 1.2)))
    size = float(rng.uniform(0.028, 0.040)) + 0.03 * severity
    if pattern == "wormhole":
        size = float(rng.uniform(0.085, 0.11)) + 0.05 * severity
    return DefectSpec("porosity", severity, pattern, count, size, float(rng.uniform(0.6, 1.0)))


def apply_porosity(spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng) -> tuple[Material, Mask]:
    """Sink pores into the bead."""
    places = _worm_places if spec.pattern == "wormhole" else _pore_places
    holes = np.zeros(canvas.shape, np.float32)
    dark = np.zeros(canvas.shape, np.float32)
    sunk = np.zeros(canvas.shape, np.float32)
    for x, y, length, flatness, angle in places(spec, bead, canvas, rng):
        shape = blob(canvas, (x, y), length, flatness, rng, angle)
        if shape is None:
            continue
        where, away = shape
        radius = np.float32(max(length * flatness, 0.8))
        depth = np.float32(rng.uniform(0.75, 1.35) if length > 2.5 else 1.2)  # some pores are only dimples
        hole = np.clip((1 - away) * radius + np.float32(0.5), 0, 1)
        bowl = hole * radius * depth * (0.6 + 1.0 * np.sqrt(np.clip(1 - away * away, 0, 1)))
        lip = np.exp(-(((away - 1.22) * np.float32(5.0)) ** 2)) * np.float32(0.13 * radius)
        holes[where] = np.maximum(holes[where], hole)
        # the wall keeps its metal and catches the light; only what lies deep is black
        deep = np.clip((1.02 - away) * np.float32(2.6) * depth, 0, 1) * np.minimum(depth + np.float32(0.15), 1)
        dark[where] = np.maximum(dark[where], hole * (0.45 + 0.52 * deep))
        sunk[where] = np.minimum(sunk[where], -bowl) + lip * (sunk[where] >= 0)
    material = paint(material, dark, (0.024, 0.021, 0.018), 0.75, 0.25)
    return replace(material, height=material.height + sunk), solid_mask(holes)


def _pore_places(spec: DefectSpec, bead: Bead, canvas: Canvas, rng: Rng) -> list[Pore]:
    """Round pores; they hardly overlap."""
    low, high = visible_span(bead, canvas)
    width = bead.width_px
    middle = float(rng.uniform(low + 0.3 * width, max(high - 0.3 * width, low + 0.4 * width)))
    tilt = float(rng.normal(0, 0.25))
    places: list[Pore] = []
    for _ in range(spec.count):
        for _ in range(_MAX_PLACING_TRIES):
            if spec.pattern == "cluster":
                x, across = middle + rng.normal(0, 0.55 * width), tilt + rng.normal(0, 0.38)
            elif spec.pattern == "start":
                x, across = low + rng.gamma(1.6, 0.24 * width) - 0.25 * width, rng.normal(0, 0.42)
            else:
                span = (high - low) * spec.extent
                x, across = low + (high - low - span) * 0.5 + rng.uniform(0, span), rng.normal(0, 0.42)
            radius = max(1.15, width * spec.size * float(np.exp(rng.normal(-0.05, 0.48))))
            y = _row(bead, canvas, x) + across * 0.5 * width
            on_bead = abs(across) < 0.86 and low - 0.35 * width < x < high + 0.35 * width
            if on_bead and all((x - a) ** 2 + (y - b) ** 2 > (1.06 * (radius + r)) ** 2 for a, b, r, *_ in places):
                places.append((float(x), y, radius, float(rng.uniform(0.58, 1.0)), None))
                break
    middle = 0.5 * (low + high)
    return places or [(middle, _row(bead, canvas, middle), max(1.5, width * spec.size), 0.8, None)]


def _worm_places(spec: DefectSpec, bead: Bead, canvas: Canvas, rng: Rng) -> list[Pore]:
    """Long pores that follow the freezing front: slanting towards the middle from both sides, or in line along it."""
    low, high = visible_span(bead, canvas)
    width = bead.width_px
    span = min((high - low) * spec.extent, spec.count * 0.34 * width)
    start = float(rng.uniform(low, max(high - span, low + 1)))
    slant = 0.0 if rng.random() < 0.3 else float(rng.uniform(0.5, 0.9) * rng.choice([-1, 1]))
    places: list[Pore] = []
    for number in range(spec.count):
        x = start + span * (number + 0.5 + 0.3 * float(rng.normal())) / spec.count
        length = max(2.5, width * spec.size * float(np.exp(rng.normal(0, 0.3))))
        side = 1 if number % 2 else -1
        across = side * float(rng.uniform(0.25, 0.5)) if slant else float(rng.normal(0, 0.10))
        angle = side * slant + float(rng.normal(0, 0.14))
        breadth = max(1.0, 0.033 * width * float(np.exp(rng.normal(0, 0.25))))
        places.append((x, _row(bead, canvas, x) + across * 0.5 * width, length, breadth / length, angle))
    return places


def _row(bead: Bead, canvas: Canvas, column: float) -> float:
    return float(bead.axis[int(np.clip(column, 0, canvas.width - 1))])
