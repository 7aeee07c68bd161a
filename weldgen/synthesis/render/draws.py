"""Draw the parameters of a bead by its kind; the shares of kinds and surfaces are in `style`."""

from __future__ import annotations

from dataclasses import dataclass

from weldgen.synthesis.render.bead import FRICTION_STIR, BeadSpec, HeatSpec
from weldgen.synthesis.render.noise import Rng

Range = tuple[float, float]


@dataclass(frozen=True)
class BeadRanges:
    """Ranges of what `BeadSpec` calls by the same names; `size` multiplies the width."""

    size: Range
    crown: Range
    sharpness: Range
    ripple_pitch: Range
    ripple_depth: Range
    ripple_curvature: Range
    ripple_jitter: Range
    edge_roughness: Range
    hump: Range
    roughness: Range
    orange_peel: Range


RANGES: dict[str, BeadRanges] = {
    "mig": BeadRanges(
        size=(0.9, 1.6), crown=(0.12, 0.26), sharpness=(0.75, 1.35), ripple_pitch=(0.06, 0.14),
        ripple_depth=(0.003, 0.020), ripple_curvature=(0.35, 0.9), ripple_jitter=(0.25, 0.6),
        edge_roughness=(0.010, 0.030), hump=(0.01, 0.09), roughness=(0.32, 0.52), orange_peel=(0.0012, 0.0055),
    ),
    "tig": BeadRanges(
        size=(0.8, 1.4), crown=(0.05, 0.12), sharpness=(0.8, 1.2), ripple_pitch=(0.13, 0.26),
        ripple_depth=(0.04, 0.14), ripple_curvature=(0.45, 0.75), ripple_jitter=(0.08, 0.24),
        edge_roughness=(0.006, 0.014), hump=(0.01, 0.06), roughness=(0.26, 0.42), orange_peel=(0.0008, 0.0025),
    ),
    "stick": BeadRanges(
        size=(1.0, 1.7), crown=(0.10, 0.22), sharpness=(0.75, 1.25), ripple_pitch=(0.10, 0.20),
        ripple_depth=(0.015, 0.05), ripple_curvature=(0.4, 0.9), ripple_jitter=(0.35, 0.8),
        edge_roughness=(0.012, 0.032), hump=(0.02, 0.09), roughness=(0.40, 0.58), orange_peel=(0.0015, 0.0045),
    ),
    FRICTION_STIR: BeadRanges(
        size=(1.1, 1.7), crown=(0.010, 0.025), sharpness=(1.0, 1.0), ripple_pitch=(0.025, 0.06),
        ripple_depth=(0.05, 0.22), ripple_curvature=(0.5, 0.5), ripple_jitter=(0.0, 0.0),
        edge_roughness=(0.003, 0.008), hump=(0.0, 0.0), roughness=(0.46, 0.60), orange_peel=(0.0, 0.0),
    ),
}  # fmt: skip


def sample_bead(rng: Rng, kind: str, heat: str, aspect: float, level: float) -> BeadSpec:
    """Draw a bead.

    Args:
        rng: Source of randomness.
        kind: A key of `RANGES`.
        heat: Kind of the plate's heat tint.
        aspect: Long over short side of the picture.
        level: Grey of the bead's metal, linear.
    """
    ranges = RANGES[kind]
    width = (0.13 + 0.07 * (aspect - 1)) * float(rng.uniform(*ranges.size))
    start, end = _sample_ends(rng, 0.5 * aspect)
    cold = float(rng.normal(0.005, 0.025))
    bent = float(rng.choice([-1, 1]))
    return BeadSpec(
        kind=kind,
        start=start,
        end=end,
        offset=float(rng.normal(0, 0.05)),
        width=width,
        crown=float(rng.uniform(*ranges.crown)),
        sharpness=float(rng.uniform(*ranges.sharpness)),
        ripple_pitch=float(rng.uniform(*ranges.ripple_pitch)),
        ripple_depth=float(rng.uniform(*ranges.ripple_depth)),
        ripple_curvature=bent * float(rng.uniform(*ranges.ripple_curvature)),
        ripple_jitter=float(rng.uniform(*ranges.ripple_jitter)),
        wander=float(rng.uniform(0.005, 0.03)) * (0.2 if kind == FRICTION_STIR else 1.0),
        width_variation=float(rng.uniform(0.01, 0.04)) * (0.1 if kind == FRICTION_STIR else 1.0),
        edge_roughness=float(rng.uniform(*ranges.edge_roughness)),
        hump=float(rng.uniform(*ranges.hump)),
        crater=float(rng.uniform(0.10, 0.55)),
        colour=(level * (1 - cold), level, level * (1 + cold)),
        tint=float(rng.uniform(0.0, 0.7)) if kind == "tig" and heat in ("stainless", "titanium") else 0.0,
        roughness=float(rng.uniform(*ranges.roughness)),
        orange_peel=float(rng.uniform(*ranges.orange_peel)),
        heat=_sample_heat(rng, kind, heat),
        **_sample_residue(rng, kind, heat),
    )


def _sample_ends(rng: Rng, half: float) -> tuple[float, float]:
    """Middles of the first and the last cap along the weld; `half` is half the picture's length."""
    if rng.random() < 0.75:
        return -half * float(rng.uniform(0.62, 0.92)), half * float(rng.uniform(0.62, 0.92))
    ends = [-half * 1.3, half * 1.3]  # the weld runs out of the picture on one side or on both
    if rng.random() < 0.6:
        side = int(rng.integers(0, 2))
        ends[side] = (2 * side - 1) * half * float(rng.uniform(0.45, 0.9))
    return ends[0], ends[1]


def _sample_heat(rng: Rng, kind: str, heat: str) -> HeatSpec:
    width, strength = float(rng.uniform(0.35, 1.2)), float(rng.uniform(0.25, 0.95))
    if kind == FRICTION_STIR:  # it stays solid, and leaves next to nothing
        return HeatSpec(heat, width, 0.15 * strength)
    if heat in ("paint", "zinc"):
        return HeatSpec(heat, width, 1.0 - 0.15 * strength)
    return HeatSpec(heat, width, strength)


def _sample_residue(rng: Rng, kind: str, heat: str) -> dict[str, float]:
    """Silica, soot, slag and rust; on what is welded decides, never how well."""
    silica, soot, slag, bloom = (float(rng.uniform(0.2, 1.0)) for _ in range(4))
    has_silica, has_soot, has_slag, has_bloom = rng.random(4)
    dirty = {"mig": 0.85, "tig": 0.25}.get(kind, 0.0) if heat == "clean" else 0.12 if kind == "mig" else 0.0
    return {
        "silica": silica if kind == "mig" and heat not in ("clean", "zinc") and has_silica < 0.4 else 0.0,
        "soot": soot * (0.9 if heat == "clean" else 0.4) if has_soot < dirty else 0.0,
        "slag": slag if kind == "stick" and has_slag < 0.8 else 0.0,
        "bloom": bloom if heat in ("mild", "scale") and has_bloom < 0.3 else 0.0,
    }
