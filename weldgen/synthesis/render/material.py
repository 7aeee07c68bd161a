"""What a surface is made of, pixel by pixel, and the canvas on which it lies."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from weldgen.synthesis.render.noise import Plane, Rng, coloured, triple

RGBColour = tuple[float, float, float]


@dataclass(frozen=True)
class Canvas:
    """The plate seen squarely from above; the weld runs along x.

    Attributes:
        width: Pixels.
        height: Pixels.
        unit_px: Pixels of one scene unit, which is the short side of the finished image.
        visible: First and last column along the weld's axis that the finished image shows.
    """

    width: int
    height: int
    unit_px: float
    visible: tuple[float, float]

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.height, self.width

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

    def rows(self, band: slice) -> Material:
        """Some rows of it; the arrays are shared."""
        return Material(self.height[band], self.albedo[band], self.roughness[band], self.metallic[band])

    def with_rows(self, band: slice, other: Material) -> Material:
        """The same with some rows of another."""
        own = [plane.copy() for plane in (self.height, self.albedo, self.roughness, self.metallic)]
        for plane, new in zip(own, (other.height, other.albedo, other.roughness, other.metallic), strict=True):
            plane[band] = new
        return Material(*own)


def paint(material: Material, alpha: Plane, colour: RGBColour | Plane, roughness: float, metallic: float) -> Material:
    """Cover a material with another where `alpha`, (H, W) in 0..1, says so; the height stays."""
    alpha = np.asarray(alpha, np.float32)
    left, top, width, height = cv2.boundingRect((alpha > 0).astype(np.uint8))
    if not width:
        return material
    window = np.s_[top : top + height, left : left + width]  # most defects are small
    alpha = alpha[window]
    flat = np.ndim(colour) == 1
    new = coloured(alpha, colour) if flat else triple(alpha) * np.asarray(colour, np.float32)[window]
    albedo, dullness, bare = material.albedo.copy(), material.roughness.copy(), material.metallic.copy()
    albedo[window] = albedo[window] * triple(1 - alpha) + new
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
