"""Weld defects: each changes a material and returns the exact mask of what it changed.

`DEFECTS` is the registry: kind -> how its parameters are drawn from a severity, and how it is applied. Irregularity
of the bead itself is different: it changes the bead's specification before the bead is laid (`misshape`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.synthesis.render.bead import Bead, BeadSpec
from weldgen.synthesis.render.material import Canvas, Material, paint
from weldgen.synthesis.render.noise import Plane, Rng, blur, line_noise

Mask = npt.NDArray[np.uint8]

IRREGULAR = "irregular"
_SOLID = 0.5  # cover above which a pixel counts as part of a defect
_MAX_PLACING_TRIES = 12


@dataclass(frozen=True)
class DefectSpec:
    """One defect of a scene.

    Attributes:
        kind: A key of `DEFECTS`, or `irregular`.
        severity: 0 barely visible to 1 gross.
        pattern: Variant: porosity `scattered`, `cluster`, `start` or `along`; crack `longitudinal`, `transverse` or
            `crater`; undercut `one_side` or `both_sides`; spatter `drops`; irregular `uneven`.
        count: Pores, drops or grooves; branches of a crack.
        size: Radius, opening or width, as a share of the bead's width.
        extent: Length along the weld, as a share of the visible bead.
    """

    kind: str
    severity: float
    pattern: str
    count: int
    size: float
    extent: float


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


def visible_span(bead: Bead, canvas: Canvas) -> tuple[float, float]:
    """First and last column between which the bead can be seen."""
    low, high = max(bead.start_px, canvas.visible[0]), min(bead.end_px, canvas.visible[1])
    return (low, high) if high > low else canvas.visible


# --- porosity ------------------------------------------------------------------------------------------------------


def _sample_porosity(rng: Rng, severity: float) -> DefectSpec:
    pattern = str(rng.choice(["scattered", "cluster", "start", "along"], p=[0.3, 0.3, 0.25, 0.15]))
    most = {"scattered": 26, "cluster": 30, "start": 22, "along": 130}[pattern]
    count = 3 + round(most * severity * float(rng.uniform(0.6, 1.2)))
    size = float(rng.uniform(0.028, 0.040)) + 0.03 * severity
    return DefectSpec("porosity", severity, pattern, count, size, float(rng.uniform(0.6, 1.0)))


def _apply_porosity(
    spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng
) -> tuple[Material, Mask]:
    holes = np.zeros(canvas.shape, np.float32)
    sunk = np.zeros(canvas.shape, np.float32)
    for x, y, radius in _pore_places(spec, bead, canvas, rng):
        shape = _blob(canvas, (x, y), radius, float(rng.uniform(0.62, 1.0)), rng)
        if shape is None:
            continue
        where, away = shape
        hole = np.clip((1 - away) * np.float32(radius) + np.float32(0.5), 0, 1)
        bowl = hole * np.float32(radius) * (0.7 + 0.9 * np.sqrt(np.clip(1 - away * away, 0, 1)))
        lip = np.exp(-(((away - 1.22) * np.float32(5.0)) ** 2)) * np.float32(0.10 * radius)
        holes[where] = np.maximum(holes[where], hole)
        sunk[where] = np.minimum(sunk[where], -bowl) + lip * (sunk[where] >= 0)
    material = paint(material, 0.92 * holes, (0.022, 0.020, 0.018), 0.8, 0.2)
    return replace(material, height=material.height + sunk), _mask(holes)


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


def _blob(
    canvas: Canvas, middle: tuple[float, float], radius_px: float, flatness: float, rng: Rng
) -> tuple[tuple[slice, slice], Plane] | None:
    """Window around a rounded, uneven blob and the distance from its middle there, 1 at its outline."""
    x, y = middle
    reach = int(np.ceil(1.8 * radius_px)) + 2
    top, left = max(int(y) - reach, 0), max(int(x) - reach, 0)
    bottom, right = min(int(y) + reach + 1, canvas.height), min(int(x) + reach + 1, canvas.width)
    if bottom <= top or right <= left:
        return None
    down = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(y)
    along = np.arange(left, right, dtype=np.float32)[None] - np.float32(x)
    angle = float(rng.uniform(0, np.pi))
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    one, other = (along * c + down * s) / np.float32(radius_px), (down * c - along * s) / np.float32(radius_px * flatness)
    theta = np.arctan2(other, one)
    waves = sum(
        np.float32(rng.normal(0, 0.09 / n)) * np.sin(n * theta + np.float32(rng.uniform(0, 6.3))) for n in (2, 3, 5)
    )
    return (slice(top, bottom), slice(left, right)), np.sqrt(one * one + other * other) * (1 + waves)


# --- crack ---------------------------------------------------------------------------------------------------------


def _sample_crack(rng: Rng, severity: float) -> DefectSpec:
    pattern = str(rng.choice(["longitudinal", "transverse", "crater"], p=[0.6, 0.2, 0.2]))
    count = {"longitudinal": 1 + int(rng.integers(0, 3)), "transverse": 1 + round(2 * severity), "crater": 3}[pattern]
    size = 0.010 + 0.018 * severity * float(rng.uniform(0.6, 1.2))
    return DefectSpec("crack", severity, pattern, count, size, 0.18 + 0.6 * severity * float(rng.uniform(0.6, 1.0)))


def _apply_crack(spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng) -> tuple[Material, Mask]:
    paths = {"longitudinal": _along_paths, "transverse": _across_paths, "crater": _star_paths}[spec.pattern](
        spec, bead, canvas, rng
    )
    opening_px = max(1.25, spec.size * bead.width_px)
    line = np.zeros(canvas.shape, np.float32)
    for path, share in paths:
        _draw_tapered(line, path, opening_px * share)
    near = blur(line, 1.4 * opening_px)
    material = paint(material, 0.92 * line, (0.015, 0.013, 0.012), 0.85, 0.1)
    step = np.float32(0.25 * opening_px) * (near - np.roll(near, 1 + round(opening_px), axis=0))  # one lip stands up
    height = material.height - np.float32(1.6 * opening_px) * line + np.float32(0.35 * opening_px) * near + step
    return replace(material, height=height), _mask(line, 0.35)


def _walk(start: tuple[float, float], heading: float, length_px: float, step_px: float, rng: Rng) -> Plane:
    """A jagged path, (N, 2) x and y."""
    steps = max(3, round(length_px / step_px))
    turns = heading + rng.normal(0, 0.42, steps) + 0.25 * np.cumsum(rng.normal(0, 0.25, steps))
    moves = step_px * np.stack([np.cos(turns), np.sin(turns)], axis=1) * rng.uniform(0.5, 1.5, (steps, 1))
    return np.concatenate([np.array([start]), np.array([start]) + np.cumsum(moves, axis=0)])


def _along_paths(spec: DefectSpec, bead: Bead, canvas: Canvas, rng: Rng) -> list[tuple[Plane, float]]:
    low, high = visible_span(bead, canvas)
    length = spec.extent * (high - low)
    start = float(rng.uniform(low, high - length))
    step = 0.055 * bead.width_px
    across = float(rng.uniform(-0.35, 0.35))
    columns = np.arange(start, start + length, step)
    drift = across + np.cumsum(rng.normal(0, 0.022, len(columns))) + rng.normal(0, 0.035, len(columns))
    axis = np.interp(columns, np.arange(canvas.width), bead.axis)
    rows = axis + np.clip(drift, -0.8, 0.8) * 0.5 * bead.width_px
    main = np.stack([columns, rows], axis=1)
    paths = [(main, 1.0)]
    for _ in range(spec.count - 1):
        at = main[int(rng.integers(1, len(main)))] if len(main) > 1 else main[0]
        heading = float(rng.choice([-1, 1]) * rng.uniform(0.4, 1.0))
        paths.append((_walk((at[0], at[1]), heading, 0.22 * bead.width_px, step, rng), 0.6))
    return paths


def _across_paths(spec: DefectSpec, bead: Bead, canvas: Canvas, rng: Rng) -> list[tuple[Plane, float]]:
    low, high = visible_span(bead, canvas)
    paths = []
    for _ in range(spec.count):
        x = float(rng.uniform(low, high))
        y = float(bead.axis[int(x)]) - bead.width_px * float(rng.uniform(0.15, 0.5))
        length = bead.width_px * float(rng.uniform(0.5, 0.95))
        paths.append((_walk((x, y), np.pi / 2, length, 0.05 * bead.width_px, rng), 1.0))
    return paths


def _star_paths(spec: DefectSpec, bead: Bead, canvas: Canvas, rng: Rng) -> list[tuple[Plane, float]]:
    x = visible_span(bead, canvas)[1] - 0.1 * bead.width_px
    y = float(bead.axis[int(np.clip(x, 0, canvas.width - 1))])
    turn = float(rng.uniform(0, 2 * np.pi))
    rays = spec.count + int(rng.integers(0, 2))
    length = bead.width_px * (0.18 + 0.22 * spec.severity)
    return [
        (_walk((x, y), turn + 2 * np.pi * ray / rays + rng.normal(0, 0.2), length, 0.04 * bead.width_px, rng), 0.9)
        for ray in range(rays)
    ]


def _draw_tapered(line: Plane, path: Plane, opening_px: float) -> None:
    """Draw a path that thins out at its ends into `line`, (H, W), drawn four times as fine as its pixels."""
    fine = 4
    pad = int(np.ceil(opening_px)) + 2
    left, top = (int(v) for v in np.floor(path.min(axis=0)) - pad)
    right, bottom = (int(v) for v in np.ceil(path.max(axis=0)) + pad)
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, line.shape[1]), min(bottom, line.shape[0])
    if right <= left or bottom <= top:
        return
    sheet = np.zeros(((bottom - top) * fine, (right - left) * fine), np.uint8)
    points = np.int32(np.round((path - (left, top)) * fine))
    for index in range(len(points) - 1):
        along = (index + 0.5) / (len(points) - 1)
        width = max(1, round(opening_px * fine * min(1.0, 0.35 + 2.6 * min(along, 1 - along))))
        cv2.line(sheet, points[index].tolist(), points[index + 1].tolist(), 255, width, cv2.LINE_8)
    small = cv2.resize(sheet, (right - left, bottom - top), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    window = line[top:bottom, left:right]
    np.maximum(window, small, out=window)


# --- undercut ------------------------------------------------------------------------------------------------------


def _sample_undercut(rng: Rng, severity: float) -> DefectSpec:
    pattern = "both_sides" if rng.random() < 0.25 + 0.4 * severity else "one_side"
    size = 0.045 + 0.05 * severity * float(rng.uniform(0.6, 1.2))
    return DefectSpec(
        "undercut", severity, pattern, 1 + round(1.5 * severity), size, 0.2 + 0.7 * severity * float(rng.uniform(0.6, 1))
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
    return replace(material, height=material.height - np.float32(depth_px) * groove), _mask(groove, 0.4)


# --- spatter -------------------------------------------------------------------------------------------------------


def _sample_spatter(rng: Rng, severity: float) -> DefectSpec:
    count = 5 + round(48 * severity * float(rng.uniform(0.6, 1.2)))
    return DefectSpec("spatter", severity, "drops", count, 0.022 + 0.02 * severity, 1.0)


def _apply_spatter(
    spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng
) -> tuple[Material, Mask]:
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
        shape = _blob(canvas, (x, y), radius, float(rng.uniform(0.75, 1.0)), rng)
        if shape is None:
            continue
        where, distance = shape
        ball = np.clip((1 - distance) * np.float32(radius) + np.float32(0.5), 0, 1)
        dome = np.sqrt(np.clip(1 - distance * distance, 0, 1)) * np.float32(radius * rng.uniform(0.5, 0.95))
        height[where] += ball * dome
        level = float(rng.uniform(0.12, 0.5))
        tone = level * np.float32([1.0, rng.uniform(0.92, 1.0), rng.uniform(0.84, 1.0)])
        albedo[where] += ball[:, :, None] * (tone - albedo[where])
        cover[where] = np.maximum(cover[where], ball)
        burnt[where] = np.maximum(burnt[where], np.clip(1.7 - distance, 0, 1) * 0.35)
    material = replace(material, height=height, albedo=albedo * (1 - (burnt * (1 - cover))[:, :, None]))
    roughness = material.roughness + cover * (np.float32(0.36) - material.roughness)
    metallic = material.metallic + cover * (np.float32(0.85) - material.metallic)
    return replace(material, roughness=roughness, metallic=metallic), _mask(cover)


DEFECTS: dict[str, DefectKind] = {
    "porosity": DefectKind(_sample_porosity, _apply_porosity),
    "crack": DefectKind(_sample_crack, _apply_crack),
    "undercut": DefectKind(_sample_undercut, _apply_undercut),
    "spatter": DefectKind(_sample_spatter, _apply_spatter),
}


def _mask(cover: npt.NDArray[Any], solid: float = _SOLID) -> Mask:
    return np.where(cover >= solid, 255, 0).astype(np.uint8)
