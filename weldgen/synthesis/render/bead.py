"""The weld bead: what is drawn of it, and where it lies on a canvas."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from weldgen.synthesis.render.material import Canvas, RGBColour
from weldgen.synthesis.render.noise import Plane, Rng, line_noise, value_noise

FRICTION_STIR = "friction_stir"


@dataclass(frozen=True)
class HeatSpec:
    """Heat tint and fume beside the bead.

    Attributes:
        kind: A key of `tints.HEAT_COLOURS` or `tints.BURNS`.
        width: Reach beyond the toe, as a share of the bead's width.
        strength: 0 none to 1 full.
    """

    kind: str
    width: float
    strength: float


@dataclass(frozen=True)
class BeadSpec:
    """A bead along x; lengths are shares of the bead's width unless said otherwise.

    Attributes:
        kind: A key of `weld.BEADS`: `mig`, `tig`, `stick` or `friction_stir`.
        start: Middle of the first cap, scene units.
        end: Middle of the last cap, scene units.
        offset: Position across, scene units.
        width: Scene units.
        crown: Height of the crown.
        sharpness: Exponent of the cross-section: 0.5 a half ellipse with steep toes, 1 a parabola.
        ripple_pitch: Distance between ripples.
        ripple_depth: Depth of a ripple, as a share of the crown.
        ripple_curvature: How far a ripple lags behind in the middle.
        ripple_jitter: Unevenness of the ripples, in pitches.
        wander: Deviation of the axis.
        width_variation: Slow variation of the width.
        edge_roughness: Fine variation of the outline.
        hump: Slow variation of the crown's height.
        crater: Depth of the end crater, as a share of the crown.
        colour: Linear RGB of the metal.
        tint: 0 bare to 1 fully heat-tinted in bands.
        roughness: Of the metal.
        orange_peel: Fine unevenness of the surface.
        heat: Tint of the plate.
        silica: 0 none to 1 many glassy islands on the bead.
        soot: 0 none to 1 a heavy dark smut beside the bead.
        slag: 0 none to 1 much slag left along the toes.
        bloom: 0 none to 1 much flash rust on the bead.
    """

    kind: str
    start: float
    end: float
    offset: float
    width: float
    crown: float
    sharpness: float
    ripple_pitch: float
    ripple_depth: float
    ripple_curvature: float
    ripple_jitter: float
    wander: float
    width_variation: float
    edge_roughness: float
    hump: float
    crater: float
    colour: RGBColour
    tint: float
    roughness: float
    orange_peel: float
    heat: HeatSpec
    silica: float = 0.0
    soot: float = 0.0
    slag: float = 0.0
    bloom: float = 0.0


@dataclass(frozen=True)
class Bead:
    """Where the bead of a spec lies on a canvas; defects place themselves by it.

    Attributes:
        width_px: Nominal width.
        crown_px: Nominal height.
        start_px: Column of the first cap's middle.
        end_px: Column of the last cap's middle.
        axis: (W,) row of the axis in each column.
        across: (H, W) signed position across, -1 and 1 at the toes.
        radius: (H, W) 0 on the axis, 1 at the outline, caps included.
        cover: (H, W) 1 on the bead, 0 off it, soft by about a pixel.
    """

    width_px: float
    crown_px: float
    start_px: float
    end_px: float
    axis: Plane
    across: Plane
    radius: Plane
    cover: Plane

    @property
    def own_rows(self) -> slice:
        """Rows that the bead covers; empty where it lies outside."""
        return self.within(1 + 2 / self.width_px)

    def rows(self, band: slice) -> Bead:
        """The same on some rows of the canvas; the arrays are shared."""
        planes = {name: getattr(self, name)[band] for name in ("across", "radius", "cover")}
        return replace(self, axis=self.axis - band.start, **planes)

    def within(self, radius: float) -> slice:
        """Rows with something of the bead or beside it up to a radius; empty where there are none."""
        rows = np.flatnonzero(self.radius.min(axis=1) < radius)
        return slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)


def lay_bead(spec: BeadSpec, canvas: Canvas, rng: Rng) -> Bead:
    """Outline of a bead on a canvas."""
    width_px = spec.width * canvas.unit_px
    columns = canvas.width
    slow, fine = 1.6 * width_px, 0.09 * width_px
    axis = canvas.y_px(spec.offset) + spec.wander * width_px * line_noise(rng, columns, slow)
    halves = []
    for _ in range(2):
        uneven = spec.width_variation * line_noise(rng, columns, 0.9 * width_px)
        rough = spec.edge_roughness * (0.4 * line_noise(rng, columns, fine) + 0.9 * line_noise(rng, columns, 5 * fine))
        halves.append(0.5 * width_px * np.clip(1 + uneven + rough, 0.4, 1.8))
    x = np.arange(columns, dtype=np.float32)
    start_px, end_px = canvas.x_px(spec.start), canvas.x_px(spec.end)
    # A pool's cap is no half circle; a stirring tool's is.
    blunt = 0.5 * width_px * (rng.uniform(0.85, 1.35, 2) if spec.kind != FRICTION_STIR else np.ones(2))
    past = np.maximum(np.maximum((start_px - x) / blunt[0], (x - end_px) / blunt[1]), 0)  # (W,)
    down = np.arange(canvas.height, dtype=np.float32)[:, None] - axis.astype(np.float32)[None]  # (H, W)
    upper, lower = ((1 / half).astype(np.float32)[None] for half in halves)
    across = np.where(down < 0, down * upper, down * lower)
    radius = cv2.magnitude(across, np.ascontiguousarray(np.broadcast_to(past, canvas.shape), np.float32))
    radius *= 1 + np.float32(spec.edge_roughness) * value_noise(rng, canvas.shape, 0.25 * width_px)
    radius += np.float32(0.35 * spec.edge_roughness) * value_noise(rng, canvas.shape, max(2.0, 0.05 * width_px))
    cover = np.clip((1 - radius) * np.float32(0.25 * width_px) + np.float32(0.5), 0, 1)
    return Bead(width_px, spec.crown * width_px, start_px, end_px, axis, across, radius, cover)
