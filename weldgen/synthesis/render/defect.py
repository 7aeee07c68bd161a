"""What all kinds of defects share: their parameters, places along the bead and beside it, blobs, masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.synthesis.render.bead import Bead
from weldgen.synthesis.render.material import Canvas, Material
from weldgen.synthesis.render.noise import Plane, Rng, blur, line_noise

Mask = npt.NDArray[np.uint8]

_BAND = 1.5  # widths on both sides of the axis within which defects lie that are made by `in_band`
_SOLID = 0.5  # cover above which a pixel counts as part of a defect


@dataclass(frozen=True)
class DefectSpec:
    """One defect of a scene.

    Attributes:
        kind: A key of `DEFECTS`, or `irregular`.
        severity: 0 barely visible to 1 gross.
        pattern: Variant, one of `weldgen.synthesis.recipes.DEFECT_PATTERNS`.
        count: Pores, drops, holes, patches or stretches; branches of a crack.
        size: Radius, opening, reach or depth, as a share of the bead's width.
        extent: Length along the weld, as a share of the visible bead.
    """

    kind: str
    severity: float
    pattern: str
    count: int
    size: float
    extent: float


Apply = Callable[[DefectSpec, Material, Bead, Canvas, Rng], tuple[Material, Mask]]


def visible_span(bead: Bead, canvas: Canvas) -> tuple[float, float]:
    """First and last column between which the bead can be seen."""
    low, high = max(bead.start_px, canvas.visible[0]), min(bead.end_px, canvas.visible[1])
    return (low, high) if high > low else canvas.visible


def draw_pattern(rng: Rng, wanted: str, weights: Mapping[str, float]) -> str:
    """The wanted pattern, or one drawn by weight where none is wanted."""
    shares = np.array(list(weights.values()))
    return wanted or str(rng.choice(list(weights), p=shares / shares.sum()))


def stretches(spec: DefectSpec, bead: Bead, canvas: Canvas, rng: Rng, ramp_px: float) -> Plane:
    """Where along the weld a defect is, (W,) 0..1: `count` stretches that make up `extent` of what can be seen."""
    low, high = visible_span(bead, canvas)
    columns = np.arange(canvas.width, dtype=np.float32)
    along = np.zeros(canvas.width, np.float32)
    length = spec.extent * (high - low) / spec.count
    for _ in range(spec.count):
        start = float(rng.uniform(low, max(high - length, low + 1)))
        here = np.clip(np.minimum(columns - start, start + length - columns) / np.float32(ramp_px), 0, 1)
        along = np.maximum(along, here * here * (3 - 2 * here))
    return along


def lobes(reach_px: float, along: Plane, bead: Bead, rng: Rng) -> Plane:
    """How far a ragged edge of rounded lobes reaches, (W,) in pixels, at most `reach_px`; 0 where `along` is."""
    columns = np.arange(len(along), dtype=np.float32)
    reach = np.zeros_like(along)
    there = np.flatnonzero(along > 0.2)
    for _ in range(round(1.6 * len(there) / bead.width_px) + 1 if len(there) else 0):
        middle, half = float(rng.choice(there)), bead.width_px * float(rng.uniform(0.25, 0.85))
        bulge = np.clip(1 - ((columns - np.float32(middle)) / np.float32(half)) ** 2, 0, 1)
        reach = np.maximum(reach, np.float32(reach_px * rng.uniform(0.5, 1.0)) * np.sqrt(bulge))
    reach = reach * np.minimum(1.6 * along, 1)
    fine = 1 + 0.10 * line_noise(rng, len(along), 0.18 * bead.width_px)
    return np.asarray(blur((reach * fine).astype(np.float32)[None], 0.07 * bead.width_px)[0])


def beyond_toe_px(bead: Bead, side: int) -> Plane:
    """(H, W) distance outwards from the toe on one side (-1 above, 1 below) in pixels; negative on the bead."""
    return (bead.across * np.float32(side) - 1) * np.float32(0.5 * bead.width_px)


def off_line_px(bead: Bead, canvas: Canvas, share: float = 0.0) -> Plane:
    """(H, W) rows below a straight line along the weld, `share` half widths below its axis.

    A joint is straight, however the bead on it wanders.
    """
    columns = np.arange(canvas.width, dtype=np.float32)
    low, high = visible_span(bead, canvas)
    seen = slice(int(low), max(int(high), int(low) + 2))
    line = np.polynomial.Polynomial.fit(columns[seen], bead.axis[seen], 1)(columns).astype(np.float32)
    rows = np.arange(canvas.height, dtype=np.float32)[:, None]
    return np.asarray(rows - line[None] - np.float32(0.5 * share * bead.width_px))


def moved_across(material: Material, bead: Bead, across: Plane) -> Material:
    """A material whose every pixel is taken from another place of its column.

    Args:
        material: What to take from.
        bead: Gives the position across.
        across: (H, W) position to take from, in the measure of `Bead.across`.
    """
    height, width = bead.across.shape
    columns = np.ascontiguousarray(np.broadcast_to(np.arange(width, dtype=np.float32)[None], (height, width)))
    rows = np.arange(height, dtype=np.float32)[:, None] + (across - bead.across) * np.float32(0.5 * bead.width_px)
    rows = np.ascontiguousarray(rows, np.float32)

    def take(plane: Plane) -> Plane:
        return np.asarray(cv2.remap(plane, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))

    return Material(take(material.height), take(material.albedo), take(material.roughness), take(material.metallic))


def blend(material: Material, other: Material, share: Plane) -> Material:
    """One material fading into another, height included, by a share (H, W) of 0..1."""
    return Material(
        material.height + share * (other.height - material.height),
        material.albedo + share[:, :, None] * (other.albedo - material.albedo),
        material.roughness + share * (other.roughness - material.roughness),
        material.metallic + share * (other.metallic - material.metallic),
    )


def blob(
    canvas: Canvas,
    middle: tuple[float, float],
    radius_px: float,
    flatness: float,
    rng: Rng,
    angle: float | None = None,
) -> tuple[tuple[slice, slice], Plane] | None:
    """Window around a rounded, uneven blob and the distance from its middle there, 1 at its outline.

    Args:
        canvas: Where it lies.
        middle: Column and row.
        radius_px: Half its length.
        flatness: Breadth over length.
        rng: Source of its unevenness.
        angle: Direction of its length in radians; None: any.

    Returns:
        None where it lies outside the canvas.
    """
    x, y = middle
    reach = int(np.ceil(1.8 * radius_px)) + 2
    top, left = max(int(y) - reach, 0), max(int(x) - reach, 0)
    bottom, right = min(int(y) + reach + 1, canvas.height), min(int(x) + reach + 1, canvas.width)
    if bottom <= top or right <= left:
        return None
    down = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(y)
    along = np.arange(left, right, dtype=np.float32)[None] - np.float32(x)
    angle = float(rng.uniform(0, np.pi)) if angle is None else angle
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    one, other = (
        (along * c + down * s) / np.float32(radius_px),
        (down * c - along * s) / np.float32(radius_px * flatness),
    )
    theta = np.arctan2(other, one)
    waves = sum(
        np.float32(rng.normal(0, 0.09 / n)) * np.sin(n * theta + np.float32(rng.uniform(0, 6.3))) for n in (2, 3, 5)
    )
    return (slice(top, bottom), slice(left, right)), np.sqrt(one * one + other * other) * (1 + waves)


def in_band(apply: Apply) -> Apply:
    """An `apply` that works on the rows near the bead alone: most defects are there, and it takes half the time."""

    def banded(spec: DefectSpec, material: Material, bead: Bead, canvas: Canvas, rng: Rng) -> tuple[Material, Mask]:
        reach = _BAND * bead.width_px
        top = int(np.clip(np.floor(bead.axis.min() - reach), 0, canvas.height - 2))
        bottom = int(np.clip(np.ceil(bead.axis.max() + reach), top + 2, canvas.height))
        rows = slice(top, bottom)
        across, radius, cover = bead.across[rows], bead.radius[rows], bead.cover[rows]
        near = replace(bead, axis=bead.axis - top, across=across, radius=radius, cover=cover)
        part, mask = apply(spec, material.part(rows), near, replace(canvas, height=bottom - top, corners=()), rng)
        full = np.zeros(canvas.shape, np.uint8)
        full[rows] = mask
        return material.with_part(rows, part), full

    return banded


def solid_mask(cover: npt.NDArray[Any], solid: float = _SOLID) -> Mask:
    """255 where a defect covers its pixel at least as much as `solid`, else 0."""
    return np.where(cover >= solid, 255, 0).astype(np.uint8)
