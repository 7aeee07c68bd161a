"""What all kinds of defects share: their parameters, where the bead can be seen, blobs, masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen.synthesis.render.bead import Bead
from weldgen.synthesis.render.material import Canvas
from weldgen.synthesis.render.noise import Plane, Rng

Mask = npt.NDArray[np.uint8]

_SOLID = 0.5  # cover above which a pixel counts as part of a defect


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


def visible_span(bead: Bead, canvas: Canvas) -> tuple[float, float]:
    """First and last column between which the bead can be seen."""
    low, high = max(bead.start_px, canvas.visible[0]), min(bead.end_px, canvas.visible[1])
    return (low, high) if high > low else canvas.visible


def blob(
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
    one, other = (
        (along * c + down * s) / np.float32(radius_px),
        (down * c - along * s) / np.float32(radius_px * flatness),
    )
    theta = np.arctan2(other, one)
    waves = sum(
        np.float32(rng.normal(0, 0.09 / n)) * np.sin(n * theta + np.float32(rng.uniform(0, 6.3))) for n in (2, 3, 5)
    )
    return (slice(top, bottom), slice(left, right)), np.sqrt(one * one + other * other) * (1 + waves)


def solid_mask(cover: npt.NDArray[Any], solid: float = _SOLID) -> Mask:
    """255 where a defect covers its pixel at least as much as `solid`, else 0."""
    return np.where(cover >= solid, 255, 0).astype(np.uint8)
