"""Friction-stir welds: a flat band of fine arcs, flash along its edges, the tool's print and keyhole at its end."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from weldgen.synthesis.render.bead import Bead, BeadSpec
from weldgen.synthesis.render.material import Material, paint
from weldgen.synthesis.render.noise import (
    Plane,
    Rng,
    coloured,
    fractal_noise,
    gaussian,
    line_noise,
    smoothstep,
    triple,
    value_noise,
)  # fmt: skip


def lay_stir(material: Material, spec: BeadSpec, bead: Bead, rng: Rng) -> Material:
    """Stir a band into a plate: nothing is added, the surface is wiped in arcs and a little sunk."""
    arcs, slow = _arcs(spec, bead, rng)
    shape = bead.radius.shape
    grain = gaussian(rng, shape)
    cover = bead.cover
    wiped = fractal_noise(rng, shape, 0.35 * bead.width_px, 0.6)
    tone = 1 + 0.045 * arcs + 0.07 * slow + 0.05 * wiped + 0.04 * grain
    albedo = coloured(tone, spec.colour)
    relief = np.float32(spec.ripple_depth * bead.crown_px) * arcs - np.float32(bead.crown_px) * smoothstep(
        -bead.radius, -1.0, -0.92
    )
    relief += 0.06 * grain
    material = replace(
        material,
        height=material.height * (1 - cover) + relief * cover,
        albedo=material.albedo + triple(cover) * (albedo - material.albedo),
        roughness=material.roughness + cover * (spec.roughness + 0.02 * slow - material.roughness),
        metallic=material.metallic + cover * (np.float32(0.85) - material.metallic),
    )
    material = _flash(material, spec, bead, rng)
    return _keyhole(material, bead, rng)


def _arcs(spec: BeadSpec, bead: Bead, rng: Rng) -> tuple[Plane, Plane]:
    """Marks of the shoulder's trailing edge, fine and slow, (H, W) each, unit deviation.

    They are the half circles of the shoulder itself, one a turn; speed and force vary, so that they come in groups.
    """
    shape = bead.radius.shape
    lag = np.sqrt(np.clip(1 - 0.97 * bead.across * bead.across, 0.0, 1)) * np.float32(0.5 * bead.width_px)
    x = np.arange(shape[1], dtype=np.float32)[None] - lag * np.float32(np.sign(spec.ripple_curvature))
    x = x + np.float32(0.012 * bead.width_px) * value_noise(rng, shape, 0.4 * bead.width_px)
    length = shape[1] + 2 * int(bead.width_px)
    pitch_px = max(spec.ripple_pitch * bead.width_px, 2.0)
    ring = np.sin(2 * np.pi * np.arange(length) / pitch_px + 2.0 * line_noise(rng, length, 9 * pitch_px))
    ring = ring * np.clip(0.7 + 0.5 * line_noise(rng, length, 6 * pitch_px), 0.1, 2) + 0.5 * line_noise(
        rng, length, 2.0
    )
    wave = 0.6 * line_noise(rng, length, 5 * pitch_px) + 0.6 * line_noise(rng, length, 0.9 * bead.width_px)
    rows = np.zeros(shape, np.float32)
    column = (x + np.float32(bead.width_px)).astype(np.float32)
    fine, slow = (
        cv2.remap(line.astype(np.float32)[None], column, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for line in (ring, wave)
    )
    return np.asarray(fine), np.asarray(slow)


def _flash(material: Material, spec: BeadSpec, bead: Bead, rng: Rng) -> Material:
    """A groove at both edges, and metal torn out over the retreating one."""
    shape = bead.radius.shape
    edge_px = (bead.radius - 1) * np.float32(0.5 * bead.width_px)
    retreating = float(rng.choice([-1.0, 1.0]))
    torn = fractal_noise(rng, shape, max(2.5, 0.06 * bead.width_px), 0.7)
    for side, much in ((retreating, float(rng.uniform(0.4, 1.0))), (-retreating, float(rng.uniform(0.0, 0.25)))):
        here = smoothstep(bead.across * np.float32(side), 0.0, 0.15)
        size = np.clip(0.5 + 0.9 * line_noise(rng, shape[1], 0.5 * bead.width_px), 0.05, 2.2).astype(np.float32)
        reach_px = np.float32(0.075 * bead.width_px * much) * size[None] + np.float32(0.5)
        burr = smoothstep(1 + 0.55 * torn - np.abs(edge_px - 0.7 * reach_px) / reach_px, 0.25, 0.75) * here
        burr *= smoothstep(edge_px, -1.0, 0.5)
        dark = coloured(np.clip(0.62 + 0.30 * torn, 0.15, 1.1), spec.colour)
        material = paint(material, burr, dark, 0.42, 0.85)
        rise = np.float32(0.035 * bead.width_px * (0.3 + much)) * (0.7 + 0.4 * torn)
        material = replace(material, height=material.height + burr * rise)
    broken = np.clip(0.7 + 0.5 * line_noise(rng, shape[1], 0.3 * bead.width_px), 0.1, 1.4).astype(np.float32)[None]
    groove = np.exp(-((edge_px / np.float32(0.9)) ** 2)) * np.float32(0.55) * broken
    return paint(material, np.clip(groove, 0, 1), (0.10, 0.095, 0.09), 0.7, 0.6)


def _keyhole(material: Material, bead: Bead, rng: Rng) -> Material:
    """Where the tool was drawn out: the shoulder's turned rings, and the hole of its pin."""
    height, width = bead.radius.shape
    x = np.arange(width, dtype=np.float32)[None] - np.float32(bead.end_px)
    column = int(np.clip(bead.end_px, 0, width - 1))
    y = np.arange(height, dtype=np.float32)[:, None] - np.float32(bead.axis[column])
    away_px = np.sqrt(x * x + y * y)
    radius_px = 0.5 * bead.width_px
    print_ = smoothstep(-away_px, -0.96 * radius_px - 0.7, -0.96 * radius_px + 0.7)
    pitch_px = max(2.6, 0.045 * radius_px)
    rings = np.interp(away_px, np.arange(0, 2 * width), line_noise(rng, 2 * width, pitch_px)).astype(np.float32)
    level = float(rng.uniform(0.60, 0.74))
    tone = triple(np.float32(level) * (1 + 0.06 * rings))
    material = paint(material, print_, tone, 0.26, 0.95)
    turned = np.float32(-0.03 * radius_px) * print_ + np.float32(0.30) * rings * print_
    pin_px = radius_px * float(rng.uniform(0.28, 0.42))
    hole = smoothstep(-away_px, -pin_px - 0.7, -pin_px + 0.7)
    # The pin's cone: dark walls with thread lines, a small bright bottom.
    wall = np.clip(1 - away_px / np.float32(pin_px), 0, 1)
    material = paint(material, 0.75 * hole, (0.16, 0.155, 0.15), 0.35, 0.9)
    bottom = smoothstep(wall, 0.55, 0.75) * hole
    material = paint(material, 0.6 * bottom, (0.55, 0.54, 0.52), 0.3, 0.9)
    lip = np.exp(-(((away_px - np.float32(1.12 * pin_px)) / np.float32(0.10 * pin_px + 0.8)) ** 2))
    depth = np.float32(0.9 * pin_px) * np.minimum(wall * 2.2, 1)
    return replace(
        material,
        height=material.height * (1 - print_) + turned - hole * depth + np.float32(0.05 * pin_px) * lip * print_,
    )
