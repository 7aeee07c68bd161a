"""What is on sound and unsound welds alike: silica islands, soot, slag along the toes, a bloom of rust."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from weldgen.synthesis.render.bead import Bead, BeadSpec
from weldgen.synthesis.render.material import Material, paint
from weldgen.synthesis.render.noise import Rng, coloured, f32, fractal_noise, line_noise, smoothstep, value_noise


def leave_residue(material: Material, spec: BeadSpec, bead: Bead, rng: Rng) -> Material:
    """Add the residues that a bead's specification asks for."""
    if spec.soot > 0:
        material = add_soot(material, spec.soot, bead, rng)
    band = bead.own_rows
    if band.start < band.stop and (spec.silica > 0 or spec.bloom > 0):  # these are on the bead alone
        own, covered = bead.rows(band), material.part(band)
        if spec.silica > 0:
            covered = add_silica(covered, spec.silica, own, rng)
        if spec.bloom > 0:
            covered = add_bloom(covered, spec.bloom, own, rng)
        material = material.with_part(band, covered)
    if spec.slag > 0:
        material = add_slag(material, spec.slag, bead, rng)
    return material


def add_silica(material: Material, much: float, bead: Bead, rng: Rng) -> Material:
    """Silica islands: glassy brown flakes that floated on the pool, small ones or slabs, along the middle and the toes.

    They lie on the metal with a sharp edge and a dark rim; where damp got under them they are the colour of rust.
    """
    shape = bead.radius.shape
    size_px = max(3.0, float(rng.uniform(0.09, 0.28)) * bead.width_px)
    rusty = float(rng.uniform(0.0, 1.0))
    field = fractal_noise(rng, shape, size_px, 0.45, stretch=float(rng.uniform(1.2, 2.2)))
    drift = np.clip(0.5 * value_noise(rng, shape, 0.9 * bead.width_px), -0.8, 0.8)
    a = np.abs(bead.across)
    lanes = np.exp(-((bead.across / np.float32(0.3)) ** 2)) + 0.8 * np.exp(-(((a - 0.72) / np.float32(0.14)) ** 2))
    level = field + drift + 0.5 * lanes - np.float32(2.6 - 1.2 * much)
    island = smoothstep(level, 0.0, 0.22) * bead.cover
    rim = np.exp(-(((level - np.float32(0.05)) / np.float32(0.09)) ** 2)) * bead.cover
    glass = coloured(np.clip(0.5 + 0.4 * value_noise(rng, shape, 2 * size_px), 0, 1), (0.045, 0.060, 0.055))
    flake = (1 - rusty) * f32([0.115, 0.080, 0.050]) + rusty * f32([0.230, 0.098, 0.026])
    material = paint(material, 0.92 * island, flake + glass, 0.28, 0.05)
    material = paint(material, 0.5 * rim, (0.040, 0.030, 0.024), 0.5, 0.1)
    return replace(material, height=material.height + np.float32(0.06 * size_px) * island)


def add_soot(material: Material, much: float, bead: Bead, rng: Rng) -> Material:
    """Soot: a dark smut that settles beside the bead, more on the side to which the gas blew, wiped in places."""
    shape = bead.radius.shape
    cloud = fractal_noise(rng, shape, 0.6 * bead.width_px, 0.6)
    fine = fractal_noise(rng, shape, max(3.0, 0.08 * bead.width_px), 0.7)
    blown = float(rng.uniform(-0.5, 0.5))
    reach = float(rng.uniform(0.5, 1.1)) * (1 + np.float32(blown) * np.clip(bead.across, -1, 1)) + 0.05
    gap = float(rng.uniform(0.04, 0.35))  # the arc keeps the metal next to the toe clean
    beyond = bead.radius - 1
    cover = smoothstep(beyond - 0.12 * cloud, -0.05 + gap, 0.25 + gap) * np.exp(-np.maximum(beyond - gap, 0) / reach)
    dust = 0.25 * smoothstep(bead.radius, 0.2, 1.0) * bead.cover
    cover = np.maximum(cover, dust) * np.clip(0.62 + 0.28 * cloud + 0.12 * fine, 0, 1) * np.float32(much)
    return paint(material, np.clip(cover, 0, 0.9).astype(np.float32), (0.045, 0.042, 0.040), 0.85, 0.1)


def add_bloom(material: Material, much: float, bead: Bead, rng: Rng) -> Material:
    """Flash rust: brown to orange patches with dark rims where drops of water stood on the bright metal."""
    shape = bead.radius.shape
    broad = fractal_noise(rng, shape, 0.42 * bead.width_px, 0.55, stretch=1.5)
    fine = fractal_noise(rng, shape, max(2.0, 0.06 * bead.width_px), 0.6)
    field = broad + 0.12 * fine + 0.35 * line_noise(rng, shape[1], 1.5 * bead.width_px).astype(np.float32)[None]
    least = 2.2 - 1.2 * much
    patch = smoothstep(field, least, least + 0.22) * bead.cover
    rim = np.exp(-(((field - np.float32(least)) / np.float32(0.10)) ** 2)) * bead.cover
    rust = coloured(np.clip(0.5 + 0.3 * fine, 0, 1), (0.20, 0.085, 0.020))
    material = paint(material, 0.80 * patch, f32([0.17, 0.080, 0.030]) + rust, 0.75, 0.10)
    return paint(material, 0.45 * rim, (0.055, 0.036, 0.026), 0.7, 0.2)


def add_slag(material: Material, much: float, bead: Bead, rng: Rng) -> Material:
    """Slag that the hammer left in the corners: thin dark broken lines along the toes."""
    shape = bead.radius.shape
    fine = fractal_noise(rng, shape, max(3.0, 0.12 * bead.width_px), 0.5)
    for side in (-1.0, 1.0):
        left = line_noise(rng, shape[1], 0.45 * bead.width_px) + 0.5 * line_noise(rng, shape[1], 0.12 * bead.width_px)
        here = smoothstep(left.astype(np.float32), 1.3 - 1.3 * much, 2.0 - 1.3 * much)[None]
        away = (bead.across * np.float32(side) - np.float32(0.98)) / np.float32(0.09)
        line = smoothstep(1 - np.abs(away) + 0.40 * fine, 0.25, 0.9) * here * smoothstep(-bead.radius, -1.2, -1.1)
        material = paint(material, 0.85 * line, (0.060, 0.056, 0.050), 0.40, 0.0)
        thick_px = np.float32(0.012 * bead.width_px) * (1 + 0.4 * fine)
        material = replace(material, height=material.height + thick_px * line)
    return material
