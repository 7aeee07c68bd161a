"""Cracks: along the bead, across it, or a star in the end crater."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from weldgen.synthesis.render.bead import Bead
from weldgen.synthesis.render.defect import DefectSpec, Mask, draw_pattern, solid_mask, visible_span
from weldgen.synthesis.render.material import Canvas, Material, paint
from weldgen.synthesis.render.noise import Plane, Rng, blur, line_noise


def sample_crack(rng: Rng, severity: float, pattern: str = "") -> DefectSpec:
    """Draw the kind of crack, its opening and its length."""
    pattern = draw_pattern(rng, pattern, {"longitudinal": 0.6, "transverse": 0.2, "crater": 0.2})
    count = {"longitudinal": 1 + int(rng.integers(0, 3)), "transverse": 1 + round(2 * severity), "crater": 3}[pattern]
    size = 0.010 + 0.018 * severity * float(rng.uniform(0.6, 1.2))
    return DefectSpec("crack", severity, pattern, count, size, 0.18 + 0.6 * severity * float(rng.uniform(0.6, 1.0)))


def apply_crack(spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng) -> tuple[Material, Mask]:
    """Open a crack in the bead."""
    paths = {"longitudinal": _along_paths, "transverse": _across_paths, "crater": _star_paths}[spec.pattern](
        spec, bead, canvas, rng
    )
    opening_px = max(1.1, spec.size * bead.width_px)
    line = np.zeros(canvas.shape, np.float32)
    for path, share in paths:
        _draw_tapered(line, path, opening_px * share)
    # A crack opens and closes along its length.
    line *= np.clip(0.85 + 0.22 * line_noise(rng, canvas.width, 0.12 * bead.width_px), 0.3, 1)[None]
    near = blur(line, 1.4 * opening_px)
    material = paint(material, 0.92 * line, (0.015, 0.013, 0.012), 0.85, 0.1)
    step = np.float32(0.25 * opening_px) * (near - np.roll(near, 1 + round(opening_px), axis=0))  # one lip stands up
    height = material.height - np.float32(1.6 * opening_px) * line + np.float32(0.35 * opening_px) * near + step
    return replace(material, height=height), solid_mask(line, 0.35)


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
    points = np.round((path - (left, top)) * fine).astype(np.int32)
    for index in range(len(points) - 1):
        along = (index + 0.5) / (len(points) - 1)
        width = max(1, round(opening_px * fine * min(1.0, 0.35 + 2.6 * min(along, 1 - along))))
        cv2.line(sheet, points[index].tolist(), points[index + 1].tolist(), 255, width, cv2.LINE_8)
    small = cv2.resize(sheet, (right - left, bottom - top), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    window = line[top:bottom, left:right]
    np.maximum(window, small, out=window)
