"""The weld bead: outline, crown, ripples, crater, and what its heat does to the plate around it.

The solidified ripples are level lines of a phase that grows along the weld and lags behind in the middle, as the
tail of the molten pool did; MIG ripples are fine and uneven, TIG ripples are the regular "stack of dimes".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from weldgen.synthesis.render.material import Canvas, Material, RGBColour
from weldgen.synthesis.render.noise import Plane, Rng, f32, fractal_noise, line_noise, smoothstep, value_noise


@dataclass(frozen=True)
class HeatSpec:
    """Heat tint and fume beside the bead.

    Attributes:
        kind: A key of `HEAT_COLOURS`.
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
        kind: `mig` or `tig`.
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


# Tint of the plate from the toe (0) outwards (1): position, linear RGB multiplier.
HEAT_COLOURS: dict[str, tuple[tuple[float, RGBColour], ...]] = {
    "mild": (
        (0.0, (0.30, 0.31, 0.34)), (0.25, (0.50, 0.48, 0.47)), (0.6, (0.80, 0.72, 0.66)), (1.0, (1.0, 1.0, 1.0)),
    ),
    "scale": (
        (0.0, (0.42, 0.42, 0.46)), (0.18, (0.30, 0.30, 0.33)), (0.38, (0.80, 0.50, 0.36)), (0.7, (1.25, 0.80, 0.60)),
        (1.0, (1.0, 1.0, 1.0)),
    ),
    "stainless": (
        (0.0, (0.50, 0.50, 0.54)), (0.15, (0.36, 0.42, 0.62)), (0.3, (0.52, 0.42, 0.62)), (0.48, (0.86, 0.55, 0.40)),
        (0.7, (1.02, 0.84, 0.52)), (1.0, (1.0, 1.0, 1.0)),
    ),
    "clean": (
        (0.0, (0.70, 0.70, 0.70)), (0.12, (1.18, 1.18, 1.18)), (0.4, (1.10, 1.10, 1.10)), (0.7, (0.74, 0.73, 0.72)),
        (1.0, (1.0, 1.0, 1.0)),
    ),
}  # fmt: skip


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
    past = np.maximum(np.maximum(start_px - x, x - end_px), 0) / np.float32(0.5 * width_px)
    down = np.arange(canvas.height, dtype=np.float32)[:, None] - axis[None]  # (H, W)
    half = np.where(down < 0, halves[0][None], halves[1][None])
    across = (down / half).astype(np.float32)
    radius = cv2.magnitude(across, np.ascontiguousarray(np.broadcast_to(past, canvas.shape), np.float32))
    radius *= 1 + np.float32(0.5 * spec.edge_roughness) * value_noise(rng, canvas.shape, 0.25 * width_px)
    cover = np.clip((1 - radius) * np.float32(0.25 * width_px) + np.float32(0.5), 0, 1)
    return Bead(width_px, spec.crown * width_px, start_px, end_px, axis, across, radius, cover)


def weld(material: Material, spec: BeadSpec, bead: Bead, rng: Rng) -> Material:
    """Put the bead on a plate: its height, its metal, the tint of its heat."""
    material = _heat(material, spec, bead, rng)
    shape = bead.radius.shape
    crown = np.power(np.clip(1 - bead.radius * bead.radius, 0, 1), np.float32(spec.sharpness))
    swell = 1 + spec.hump * line_noise(rng, shape[1], 0.8 * bead.width_px)
    height = np.float32(bead.crown_px) * crown * np.clip(swell, 0.3, 2.2).astype(np.float32)[None]
    waves, lag = _ripples(spec, bead, rng)
    inside = smoothstep(crown, 0.0, 0.5)
    dish, rim, calm = _crater(spec, bead, rng)
    depth = np.float32(spec.ripple_depth * bead.crown_px)
    height += depth * waves * inside * (1 - 0.8 * calm)
    height += np.float32(bead.crown_px * spec.crater) * (0.30 * rim - 1.0 * dish) * inside
    grain = fractal_noise(rng, shape, max(2.0, 0.16 * bead.width_px), 0.5)
    height += np.float32(spec.orange_peel * bead.width_px) * grain * inside
    albedo = _metal(spec, bead, lag, grain, rng)
    cover = bead.cover
    roughness = np.clip(spec.roughness + 0.05 * grain - 0.07 * waves, 0.12, 0.9)
    return replace(
        material,
        height=material.height * (1 - cover) + (height + 0.3) * cover,
        albedo=material.albedo + cover[:, :, None] * (albedo - material.albedo),
        roughness=material.roughness + cover * (roughness - material.roughness),
        metallic=material.metallic + cover * (np.float32(0.92) - material.metallic),
    )


def _ripples(spec: BeadSpec, bead: Bead, rng: Rng) -> tuple[Plane, Plane]:
    """Height of the ripples, about -1..1, and their phase in pitches, both (H, W)."""
    shape = bead.radius.shape
    pitch_px = max(spec.ripple_pitch * bead.width_px, 2.2)
    x = np.arange(shape[1], dtype=np.float32)[None]
    bow = np.minimum(bead.across * bead.across, 1.2)
    phase = (x + np.float32(spec.ripple_curvature * bead.width_px) * bow) / np.float32(pitch_px)
    uneven = value_noise(rng, shape, 0.30 * bead.width_px, stretch=1.2)
    phase = phase + np.float32(spec.ripple_jitter) * uneven
    phase += (1.2 * spec.ripple_jitter * line_noise(rng, shape[1], 0.7 * bead.width_px)).astype(np.float32)[None]
    if spec.kind == "tig":
        # Grooves between overlapping discs: sharp valleys, round backs.
        waves = 2 * np.sqrt(np.abs(np.sin(np.float32(np.pi) * phase))) - np.float32(1.2)
    else:
        # Fine and broken up: the amplitude comes and goes.
        loud = np.clip(0.6 + 0.45 * value_noise(rng, shape, 0.22 * bead.width_px), 0.05, 1.6)
        turn = np.float32(2 * np.pi) * phase
        waves = loud * (np.sin(turn) + 0.35 * np.sin(2 * turn + np.float32(0.8)))
    return waves, phase


def _crater(spec: BeadSpec, bead: Bead, rng: Rng) -> tuple[Plane, Plane, Plane]:
    """The end crater's dish, its rim and where it calms the ripples, (H, W) each."""
    shape = bead.radius.shape
    radius_px = bead.width_px * float(rng.uniform(0.30, 0.42))
    middle_px = bead.end_px - 0.12 * bead.width_px
    x = (np.arange(shape[1], dtype=np.float32)[None] - np.float32(middle_px)) / np.float32(radius_px * 1.15)
    y = bead.across * np.float32(0.5 * bead.width_px / radius_px)
    away = np.sqrt(x * x + y * y)
    away *= 1 + 0.06 * value_noise(rng, shape, 0.3 * bead.width_px)
    dish = np.exp(-(np.minimum(away, 3) ** 4))
    rim = np.exp(-(((away - 1.12) * np.float32(5.5)) ** 2))
    return dish, rim, smoothstep(-away, -1.35, -0.9)


def _metal(spec: BeadSpec, bead: Bead, lag: Plane, grain: Plane, rng: Rng) -> Plane:
    """Colour of the bead's metal, (H, W, 3)."""
    shape = bead.radius.shape
    patches = fractal_noise(rng, shape, 0.5 * bead.width_px, 0.6)
    tone = 1 + 0.07 * patches + 0.05 * grain
    albedo = tone[:, :, None] * np.asarray(spec.colour, np.float32)
    if spec.tint > 0:
        band = 0.5 + 0.5 * np.sin(2 * bead.radius + 0.9 * patches + np.float32(0.25) * np.sin(2 * np.pi * lag))
        straw, violet = f32([1.06, 0.86, 0.58]), f32([0.74, 0.72, 1.0])
        tinted = albedo * (straw + (violet - straw) * band[:, :, None])
        albedo = albedo + np.float32(spec.tint) * (tinted - albedo)
    # Oxide gathers along the toes, where the metal froze first.
    toe = smoothstep(bead.radius, 0.72, 1.02) * np.float32(0.30)
    return np.asarray(albedo * (1 - toe[:, :, None]))


def _heat(material: Material, spec: BeadSpec, bead: Bead, rng: Rng) -> Material:
    """Tint the plate beside the toes and darken the line where bead and plate meet."""
    shape = bead.radius.shape
    beyond = (bead.radius - 1) * np.float32(0.5 / max(spec.heat.width, 1e-3))
    beyond += 0.06 * fractal_noise(rng, shape, 0.8 * bead.width_px, 0.6)
    stops = HEAT_COLOURS[spec.heat.kind]
    steps = np.linspace(0, 1, 256)
    table = np.stack(
        [np.interp(steps, [at for at, _ in stops], [c[channel] for _, c in stops]) for channel in range(3)], axis=1
    ).astype(np.float32)  # (256, 3)
    index = np.clip(beyond * 255, 0, 255).astype(np.uint8)
    multiplier = 1 + np.float32(spec.heat.strength) * (table[index] - 1)  # (H, W, 3)
    fume = np.exp(-np.maximum(beyond, 0) * 2.5) * np.float32(spec.heat.strength)
    line = 1 - 0.30 * np.exp(-(((bead.radius - 1.01) * np.float32(0.5 * bead.width_px / 1.8)) ** 2))
    return replace(
        material,
        albedo=material.albedo * multiplier * line[:, :, None],
        roughness=material.roughness + fume * (np.float32(0.62) - material.roughness) * np.float32(0.6),
        metallic=material.metallic * (1 - np.float32(0.45) * fume),
        height=material.height * (1 - np.float32(0.4) * fume),
    )
