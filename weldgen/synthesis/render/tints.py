"""What the heat of welding does to the plate beside the bead: temper colours, oxide, burnt coats.

Temper colours are interference in an oxide film that is the thicker the hotter the metal was, so their order is fixed
by physics; the tables run from the toe, the hottest place, outwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from weldgen.synthesis.render.bead import Bead, HeatSpec
from weldgen.synthesis.render.coatings import burn_paint, burn_zinc
from weldgen.synthesis.render.material import Material, RGBColour, paint
from weldgen.synthesis.render.noise import Plane, Rng, fractal_noise, line_noise, smoothstep, triple

Stops = tuple[tuple[float, RGBColour], ...]

# Position from the toe (0) to where the tint ends (1), and the linear RGB by which the metal's colour is multiplied.
HEAT_COLOURS: dict[str, Stops] = {
    # Carbon steel: grey scale, blue (300 C), purple (280), brown (260), straw (240), pale straw (220).
    "mild": (
        (0.0, (0.30, 0.30, 0.31)), (0.18, (0.40, 0.42, 0.46)), (0.32, (0.34, 0.42, 0.60)), (0.44, (0.50, 0.38, 0.50)),
        (0.55, (0.66, 0.46, 0.32)), (0.68, (0.88, 0.70, 0.42)), (0.82, (0.97, 0.90, 0.74)), (1.0, (1.0, 1.0, 1.0)),
    ),
    # Steel under mill scale: the film cannot be seen, the scale itself is baked dark, then brown-red.
    "scale": (
        (0.0, (0.42, 0.42, 0.45)), (0.18, (0.34, 0.335, 0.35)), (0.40, (0.72, 0.53, 0.42)), (0.68, (1.10, 0.84, 0.70)),
        (1.0, (1.0, 1.0, 1.0)),
    ),
    # Chromium slows the film: black-grey, blue, violet, brown, gold, straw.
    "stainless": (
        (0.0, (0.20, 0.20, 0.21)), (0.14, (0.38, 0.39, 0.42)), (0.27, (0.34, 0.43, 0.62)), (0.38, (0.52, 0.40, 0.56)),
        (0.48, (0.66, 0.46, 0.33)), (0.63, (0.94, 0.74, 0.40)), (0.80, (0.99, 0.90, 0.68)), (1.0, (1.0, 1.0, 1.0)),
    ),
    # Titanium: yellow-white powder, then blue and purple, straw, silver.
    "titanium": (
        (0.0, (0.94, 0.90, 0.78)), (0.13, (0.92, 0.84, 0.60)), (0.25, (0.44, 0.56, 0.80)), (0.40, (0.36, 0.46, 0.82)),
        (0.54, (0.56, 0.42, 0.66)), (0.68, (0.86, 0.66, 0.42)), (0.82, (0.99, 0.89, 0.66)), (1.0, (1.0, 1.0, 1.0)),
    ),
    # Aluminium: no colours; a bright band that the arc has cleaned, and a dull one beyond.
    "clean": (
        (0.0, (0.78, 0.78, 0.78)), (0.12, (1.10, 1.10, 1.10)), (0.42, (1.07, 1.07, 1.07)), (0.62, (0.80, 0.79, 0.78)),
        (1.0, (1.0, 1.0, 1.0)),
    ),
}  # fmt: skip
# Coats that burn: kind of heat -> how.
BURNS: dict[str, Callable[[Material, Plane, Bead, Rng], Material]] = {"paint": burn_paint, "zinc": burn_zinc}
# Share of the metal's shine that is lost at the toe.
_DULL = {"mild": 0.6, "scale": 0.6, "stainless": 0.5, "titanium": 0.8, "clean": 0.35}
_TABLE = 256
# How much wider than its width a tint is at the most; how far, in widths, what is left of it and of burns can be seen;
# the radius within which the toe's dark line lies.
_WIDEST, _TINTED, _BURNT, _TOE = 1.46, 1.4, 3.5, 1.5


def heat(material: Material, spec: HeatSpec, bead: Bead, rng: Rng) -> Material:
    """Tint the plate beside the toes, or burn its coat off, and darken the line where bead and plate meet."""
    far = 1 + 2 * spec.width * _WIDEST * (_BURNT if spec.kind in BURNS else _TINTED)
    band = bead.within(max(far, _TOE))
    if band.start == band.stop:
        return material
    return material.with_part(band, _heated(material.part(band), spec, bead.rows(band), rng))


def _heated(material: Material, spec: HeatSpec, bead: Bead, rng: Rng) -> Material:
    beyond = _beyond(spec, bead, rng)
    if spec.kind in BURNS:
        burnt = BURNS[spec.kind](material, beyond, bead, rng)
        material = _mixed(material, burnt, spec.strength)
    else:
        material = _tint(material, spec, beyond, bead, rng)
    shape = bead.radius.shape
    # The toe's line is broken: the metal has wetted the plate better here than there.
    wetting = np.clip(0.9 + 0.7 * line_noise(rng, shape[1], 0.35 * bead.width_px), 0.1, 1.8).astype(np.float32)[None]
    line = np.exp(-(((bead.radius - np.float32(1.01)) * np.float32(0.5 * bead.width_px / 1.6)) ** 2))
    return replace(material, albedo=material.albedo * triple(1 - np.float32(0.26) * wetting * line))


def tint_table(kind: str) -> Plane:
    """Linear RGB multipliers of a tint from the toe outwards, (256, 3) float32."""
    steps = np.linspace(0, 1, _TABLE)
    stops = HEAT_COLOURS[kind]
    channels = [np.interp(steps, [at for at, _ in stops], [colour[k] for _, colour in stops]) for k in range(3)]
    return np.stack(channels, axis=1).astype(np.float32)


def _beyond(spec: HeatSpec, bead: Bead, rng: Rng) -> Plane:
    """Distance from the toe, 0 there and 1 at the tint's end, negative on the bead, (H, W); uneven as heat flows."""
    shape = bead.radius.shape
    # Heat gathers along the weld: the tint starts narrow and widens towards the end.
    run = np.clip((np.arange(shape[1]) - bead.start_px) / max(bead.end_px - bead.start_px, 1.0), 0, 1)
    reach = (
        spec.width
        * (0.78 + 0.34 * np.sqrt(run))
        * np.clip(1 + 0.07 * line_noise(rng, shape[1], bead.width_px), 0.7, 1.3)
    )
    beyond = (bead.radius - 1) * (0.5 / np.maximum(reach, 1e-3)).astype(np.float32)[None]
    return np.asarray(beyond + np.float32(0.035) * fractal_noise(rng, shape, 0.5 * bead.width_px, 0.6))


def _tint(material: Material, spec: HeatSpec, beyond: Plane, bead: Bead, rng: Rng) -> Material:
    index = np.clip(beyond * (_TABLE - 1), 0, _TABLE - 1).astype(np.uint8)
    table = 1 + np.float32(spec.strength) * (tint_table(spec.kind) - 1)
    oxide = np.exp(-np.maximum(beyond, 0) * 3.5) * np.float32(spec.strength * _DULL[spec.kind])
    material = replace(
        material,
        albedo=material.albedo * np.take(table, index, axis=0),
        roughness=material.roughness + oxide * (np.float32(0.62) - material.roughness),
        metallic=material.metallic * (1 - np.float32(0.75) * oxide),
        height=material.height * (1 - np.float32(0.6) * oxide),
    )
    if spec.kind == "titanium":
        patchy = 0.5 + 0.4 * fractal_noise(rng, beyond.shape, 0.25 * bead.width_px, 0.7)
        powder = smoothstep(-beyond, -0.22, -0.02) * np.clip(patchy, 0.05, 1) * np.float32(0.6 * spec.strength)
        return paint(material, powder, (0.66, 0.63, 0.50), 0.95, 0.0)
    return material


def _mixed(before: Material, after: Material, share: float) -> Material:
    """`after` to a share, `before` to the rest."""
    part = np.float32(share)
    return Material(
        *(
            old + part * (new - old)
            for old, new in (
                (before.height, after.height),
                (before.albedo, after.albedo),
                (before.roughness, after.roughness),
                (before.metallic, after.metallic),
            )
        )
    )
