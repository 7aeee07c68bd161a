"""What a surface is made of, pixel by pixel, and the canvas on which it lies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from weldgen.synthesis.render.noise import Plane, Rng, coloured, row_bands, triple

RGBColour = tuple[float, float, float]
# Pixels around the seen part that its interpolation needs.
_SEEN_PX = 4


@dataclass(frozen=True)
class Canvas:
    """The plate seen squarely from above; the weld runs along x.

    Attributes:
        width: Pixels.
        height: Pixels.
        unit_px: Pixels of one scene unit, which is the short side of the finished image.
        visible: First and last column along the weld's axis that the finished image shows.
        corners: (x, y) of the finished image's corners, in their order around it; none where it shows all.
    """

    width: int
    height: int
    unit_px: float
    visible: tuple[float, float]
    corners: tuple[tuple[float, float], ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.height, self.width

    def columns(self, top: int, bottom: int) -> slice:
        """Columns of which the finished image shows something in some rows."""
        if not self.corners:
            return slice(0, self.width)
        first, last = float(self.width), 0.0
        for (x0, y0), (x1, y1) in zip(self.corners, (*self.corners[1:], self.corners[0]), strict=True):
            steps = [(row - y0) / (y1 - y0) for row in (top - _SEEN_PX, bottom + _SEEN_PX)] if y0 != y1 else [0.0, 1.0]
            low, high = max(min(steps), 0.0), min(max(steps), 1.0)
            if low <= high:
                ends = (x0 + low * (x1 - x0), x0 + high * (x1 - x0))
                first, last = min(first, *ends), max(last, *ends)
        return slice(max(int(first) - _SEEN_PX, 0), min(int(last) + _SEEN_PX + 1, self.width))

    def x_px(self, units: float) -> float:
        """Column of a position along the weld; 0 is the middle."""
        return self.width / 2 + units * self.unit_px

    def y_px(self, units: float) -> float:
        """Row of a position across the weld; 0 is the middle."""
        return self.height / 2 + units * self.unit_px


@dataclass(frozen=True)
class Material:
    """A surface.

    Attributes:
        height: (H, W) float32, pixels above the plate.
        albedo: (H, W, 3) float32, linear RGB 0..1; of bare metal the colour of its reflection.
        roughness: (H, W) float32, 0 mirror to 1 dull.
        metallic: (H, W) float32, 1 bare metal to 0 oxide, rust or paint.
    """

    height: Plane
    albedo: Plane
    roughness: Plane
    metallic: Plane

    def part(self, where: Any) -> Material:
        """Some rows or a window of it; the arrays are shared."""
        return Material(self.height[where], self.albedo[where], self.roughness[where], self.metallic[where])

    def with_part(self, where: Any, other: Material) -> Material:
        """The same with some rows or a window of another."""
        own = [plane.copy() for plane in (self.height, self.albedo, self.roughness, self.metallic)]
        for plane, new in zip(own, (other.height, other.albedo, other.roughness, other.metallic), strict=True):
            plane[where] = new
        return Material(*own)


def paint(material: Material, alpha: Plane, colour: RGBColour | Plane, roughness: float, metallic: float) -> Material:
    """Cover a material with another where `alpha`, (H, W) in 0..1, says so; the height stays."""
    alpha = np.asarray(alpha, np.float32)
    left, top, width, height = cv2.boundingRect((alpha > 0).astype(np.uint8))
    if not width:
        return material
    window = np.s_[top : top + height, left : left + width]  # most defects are small
    alpha = alpha[window]
    albedo, dullness, bare = material.albedo.copy(), material.roughness.copy(), material.metallic.copy()
    colours = np.asarray(colour, np.float32)
    flat, inside = None, albedo[window]
    for band in row_bands(alpha.shape):
        old = inside[band]
        if colours.ndim > 1:
            new = colours[window][band]
        else:  # one colour is repeated for a band, as NumPy is slow over an inner axis of three
            flat = np.tile(colours, (len(old), width, 1)) if flat is None else flat
            new = flat[: len(old)]
        old += (new - old) * triple(alpha[band])
    dullness[window] += alpha * (np.float32(roughness) - dullness[window])
    bare[window] += alpha * (np.float32(metallic) - bare[window])
    return replace(material, albedo=albedo, roughness=dullness, metallic=bare)


def draw_grey(rng: Rng, low: float, high: float, warmth: float = 0.0) -> RGBColour:
    """A metal's grey between two levels, a little warm or cold about `warmth`."""
    level, lean = float(rng.uniform(low, high)), float(rng.normal(warmth, 0.018))
    return level * (1 + lean), level, level * (1 - lean)


def tinted(tone: Plane, colour: RGBColour) -> Plane:
    """A colour made lighter and darker by `tone`, (H, W) about 1; (H, W, 3)."""
    return coloured(np.clip(tone, 0.2, 2.5).astype(np.float32), colour)
