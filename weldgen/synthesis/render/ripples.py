"""Fusion beads (MIG, TIG, stick): crown, ripples, start and stop craters, the metal's colour.

The solidified ripples are level lines of a phase that grows along the weld and lags behind in the middle, as the
tail of the molten pool did. MIG: fine, broken up, seen best at the sides. TIG: the regular "stack of dimes". Stick:
coarse uneven Vs and Us.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from weldgen.synthesis.render.bead import Bead, BeadSpec
from weldgen.synthesis.render.material import Material
from weldgen.synthesis.render.noise import (
    Plane,
    Rng,
    coloured,
    f32,
    fractal_noise,
    gaussian,
    line_noise,
    smoothstep,
    triple,
    value_noise,
)


@dataclass(frozen=True)
class Ripples:
    """Ripples of a bead, (H, W) each: height of about -1..1, and the phase in pitches."""

    waves: Plane
    phase: Plane


def lay_fusion(material: Material, spec: BeadSpec, bead: Bead, rng: Rng) -> Material:
    """Put a molten and solidified bead on a plate; only the rows that it covers are computed."""
    band = bead.own_rows
    if band.start == band.stop:
        return material
    laid = _lay(material.part(band), spec, bead.rows(band), rng)
    return material.with_part(band, laid)


def _lay(material: Material, spec: BeadSpec, bead: Bead, rng: Rng) -> Material:
    shape = bead.radius.shape
    crown = _crown(spec, bead, rng)
    swell = 1 + spec.hump * line_noise(rng, shape[1], 0.8 * bead.width_px)
    swell += 0.16 * np.exp(-(((np.arange(shape[1]) - bead.start_px) / (0.5 * bead.width_px)) ** 2))  # a cold start
    height = np.float32(bead.crown_px) * crown * np.clip(swell, 0.3, 2.2).astype(np.float32)[None]
    ripples = _RIPPLES[spec.kind](spec, bead, rng)
    inside = smoothstep(crown, 0.0, 0.5)
    dish, rim, calm = _crater(spec, bead, rng)
    still = 1 - 0.8 * calm
    height += np.float32(spec.ripple_depth * bead.crown_px) * ripples.waves * inside * still
    height += np.float32(bead.crown_px * spec.crater) * (0.30 * rim - dish) * inside
    grain = fractal_noise(rng, shape, max(2.5, 0.16 * bead.width_px), 0.55)
    height += np.float32(spec.orange_peel * bead.width_px) * grain * inside
    albedo = _metal(spec, bead, ripples, grain, rng)
    cover = bead.cover
    roughness = np.clip(spec.roughness + 0.05 * grain - 0.05 * ripples.waves, 0.12, 0.9)
    return replace(
        material,
        height=material.height * (1 - cover) + (height + np.float32(0.3)) * cover,
        albedo=material.albedo + triple(cover) * (albedo - material.albedo),
        roughness=material.roughness + cover * (roughness - material.roughness),
        metallic=material.metallic + cover * (np.float32(0.92) - material.metallic),
    )


def _crown(spec: BeadSpec, bead: Bead, rng: Rng) -> Plane:
    """Cross-section of the bead, 0 at the toes and 1 on the axis, (H, W); steep here, run out there."""
    shape = bead.radius.shape
    upper, lower = (1 + 0.22 * line_noise(rng, shape[1], 0.6 * bead.width_px) for _ in range(2))
    exponent = upper[None] + smoothstep(bead.across, -0.6, 0.6) * (lower - upper)[None]
    profile = np.clip(1 - bead.radius * bead.radius, 1e-6, 1)
    return np.asarray(np.exp(np.log(profile) * np.clip(exponent, 0.5, 1.6) * np.float32(spec.sharpness)))


def _phase(spec: BeadSpec, bead: Bead, bow: Plane, rng: Rng) -> Plane:
    """Phase of the ripples in pitches, (H, W); `bow` is how far they lag, 0 in the middle and 1 at the toes."""
    shape = bead.radius.shape
    pitch_px = max(spec.ripple_pitch * bead.width_px, 2.2)
    # The welder's travel, faster here and slower there but never back, moves the whole ripple along.
    speed = np.exp(0.75 * spec.ripple_jitter * line_noise(rng, 2 * shape[1], 0.5 * bead.width_px))
    travel = np.cumsum(speed).astype(np.float32)
    column = np.arange(shape[1], dtype=np.float32)[None] + np.float32(0.5 * shape[1])
    column = column + np.float32(spec.ripple_curvature * bead.width_px) * bow
    rows = np.zeros(shape, np.float32)
    phase = cv2.remap(travel[None], column, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) / pitch_px
    return np.asarray(phase + np.float32(0.35 * spec.ripple_jitter) * value_noise(rng, shape, 0.40 * bead.width_px))


def _mig_ripples(spec: BeadSpec, bead: Bead, rng: Rng) -> Ripples:
    shape = bead.radius.shape
    phase = _phase(spec, bead, np.minimum(bead.across * bead.across, np.float32(1.2)), rng)
    # The amplitude comes and goes; on the ridge the last of the pool smoothed it.
    loud = np.clip(0.35 + 0.55 * value_noise(rng, shape, 0.30 * bead.width_px), 0.0, 1.5)
    loud *= 0.40 + np.minimum(bead.across * bead.across, np.float32(1.0))
    turn = np.float32(2 * np.pi) * phase
    return Ripples(loud * (np.sin(turn) + 0.35 * np.sin(2 * turn + np.float32(0.8))), phase)


def _tig_ripples(spec: BeadSpec, bead: Bead, rng: Rng) -> Ripples:
    """Overlapping discs: each rises slowly to its edge and drops to the next."""
    bow = 1 - np.sqrt(np.clip(1 - 0.88 * bead.across * bead.across, 0.04, 1))
    phase = _phase(spec, bead, 1.35 * bow, rng)
    step = phase if spec.ripple_curvature > 0 else -phase
    part = step - np.floor(step)
    back = np.clip(part / np.float32(0.86), 0, 1)
    fall = np.clip((part - np.float32(0.86)) / np.float32(0.14), 0, 1)
    disc = back * (2 - back) * (1 - fall * fall * (3 - 2 * fall))
    each = _by_number(step, rng)
    return Ripples((2 * disc - 1) * (1 + 0.30 * each), phase)


def _stick_ripples(spec: BeadSpec, bead: Bead, rng: Rng) -> Ripples:
    """Coarse, between V and U, each of its own strength."""
    shape = bead.radius.shape
    pointed = float(rng.uniform(1.1, 1.9))
    bow = np.power(np.minimum(np.abs(bead.across), np.float32(1.1)) + np.float32(1e-4), np.float32(pointed))
    phase = _phase(spec, bead, bow, rng)
    part = phase - np.floor(phase)
    wave = np.sin(np.float32(2 * np.pi) * part) + 0.4 * np.sin(np.float32(4 * np.pi) * part + np.float32(0.9))
    loud = np.clip(0.75 + 0.45 * _by_number(phase, rng) + 0.3 * value_noise(rng, shape, 0.3 * bead.width_px), 0.05, 1.8)
    return Ripples(loud * wave, phase)


_RIPPLES = {"mig": _mig_ripples, "tig": _tig_ripples, "stick": _stick_ripples}
FUSION_KINDS = tuple(_RIPPLES)


def _by_number(phase: Plane, rng: Rng) -> Plane:
    """A random number for each ripple, about zero mean and unit deviation, (H, W)."""
    return gaussian(rng, (257,))[np.floor(phase).astype(np.int32) % 257]


def _crater(spec: BeadSpec, bead: Bead, rng: Rng) -> tuple[Plane, Plane, Plane]:
    """The end crater's dish, its rim and where it calms the ripples, (H, W) each."""
    shape = bead.radius.shape
    radius_px = bead.width_px * float(rng.uniform(0.30, 0.44))
    middle_px = bead.end_px - float(rng.uniform(0.0, 0.22)) * bead.width_px
    longer, shift = float(rng.uniform(0.9, 1.5)), float(rng.normal(0, 0.10))
    x = (np.arange(shape[1], dtype=np.float32)[None] - np.float32(middle_px)) / np.float32(radius_px * longer)
    y = (bead.across - np.float32(shift)) * np.float32(0.5 * bead.width_px / radius_px)
    away = np.sqrt(x * x + y * y)
    away += 0.08 * value_noise(rng, shape, 0.3 * bead.width_px)
    away = np.minimum(away, 3)
    dish = np.exp(-(away**4))
    # The rim is the last ripple: clear on the side of the weld, run out at the far side.
    rim = np.exp(-(((away - np.float32(1.12)) * np.float32(5.0)) ** 2)) * np.clip(0.5 - 0.45 * x, 0.0, 1.0)
    return dish, rim, smoothstep(-away, -1.35, -0.9)


def _metal(spec: BeadSpec, bead: Bead, ripples: Ripples, grain: Plane, rng: Rng) -> Plane:
    """Colour of the bead's metal, (H, W, 3)."""
    shape = bead.radius.shape
    patches = fractal_noise(rng, shape, 0.5 * bead.width_px, 0.6)
    tone = 1 + 0.07 * patches + 0.06 * grain
    if spec.kind == "tig":
        tone = tone + 0.03 * _by_number(ripples.phase, rng)
    albedo = coloured(tone, spec.colour)
    if spec.tint > 0:
        band = 0.5 + 0.5 * np.sin(
            2 * bead.radius + 0.9 * patches + np.float32(0.25) * np.sin(2 * np.pi * ripples.phase)
        )
        # From straw (1.04, 0.88, 0.66) to violet (0.76, 0.74, 0.94).
        film = f32([0.04, -0.12, -0.34]) + coloured(band, (-0.28, -0.14, 0.28))
        albedo = albedo * (1 + np.float32(spec.tint) * film)
    # Oxide gathers along the toes, where the metal froze first, here more and there less.
    toe = coloured(smoothstep(bead.radius + 0.10 * patches, 0.62, 1.05), (0.36, 0.38, 0.40))
    return np.asarray(albedo * (1 - toe))
