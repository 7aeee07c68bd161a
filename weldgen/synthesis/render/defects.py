"""Weld defects: each changes a material and returns the exact mask of what it changed.

`DEFECTS` is the registry: kind -> how its parameters are drawn from a severity, and how it is applied. Irregularity
of the bead itself is different: it changes the bead's specification before the bead is laid (`misshape`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from weldgen.synthesis.render.bead import BeadSpec
from weldgen.synthesis.render.cracks import apply_crack, sample_crack
from weldgen.synthesis.render.defect import Apply, DefectSpec, in_band
from weldgen.synthesis.render.dirt import apply_contamination, sample_contamination
from weldgen.synthesis.render.fusion import apply_fusion, sample_fusion
from weldgen.synthesis.render.holes import apply_burn_through, sample_burn_through
from weldgen.synthesis.render.noise import Rng
from weldgen.synthesis.render.pores import apply_porosity, sample_porosity
from weldgen.synthesis.render.profile import apply_excess, apply_underfill, sample_excess, sample_underfill
from weldgen.synthesis.render.slag import apply_slag, sample_slag
from weldgen.synthesis.render.spatter import apply_spatter, sample_spatter
from weldgen.synthesis.render.toes import apply_overlap, apply_undercut, sample_overlap, sample_undercut

IRREGULAR = "irregular"


@dataclass(frozen=True)
class DefectKind:
    """How a kind of defect is drawn and applied."""

    sample: Callable[[Rng, float, str], DefectSpec]
    apply: Apply


def sample_defect(name: str, severity: float, rng: Rng) -> DefectSpec:
    """Draw the parameters of a defect.

    Args:
        name: Its kind, or `kind/pattern` where a recipe asks for one pattern.
        severity: 0 barely visible to 1 gross.
        rng: Source of randomness.
    """
    kind, _, pattern = name.partition("/")
    if kind == IRREGULAR:
        return DefectSpec(IRREGULAR, severity, pattern or "uneven", 1, 0.0, 1.0)
    return DEFECTS[kind].sample(rng, severity, pattern)


def misshape(bead: BeadSpec, spec: DefectSpec) -> BeadSpec:
    """A bead laid by an unsteady hand: it wanders, swells, shrinks and humps."""
    much = 0.35 + 0.65 * spec.severity
    return replace(
        bead,
        wander=bead.wander + 0.09 * much,
        width_variation=bead.width_variation + 0.16 * much,
        edge_roughness=bead.edge_roughness + 0.05 * much,
        hump=bead.hump + 0.45 * much,
        ripple_jitter=bead.ripple_jitter * (1 + 0.6 * much),
        ripple_depth=bead.ripple_depth * (1 + 0.6 * much),
    )


DEFECTS: dict[str, DefectKind] = {
    "porosity": DefectKind(sample_porosity, in_band(apply_porosity)),
    "crack": DefectKind(sample_crack, in_band(apply_crack)),
    "undercut": DefectKind(sample_undercut, in_band(apply_undercut)),
    "spatter": DefectKind(sample_spatter, apply_spatter),
    "overlap": DefectKind(sample_overlap, in_band(apply_overlap)),
    "lack_of_fusion": DefectKind(sample_fusion, in_band(apply_fusion)),
    "burn_through": DefectKind(sample_burn_through, in_band(apply_burn_through)),
    "slag": DefectKind(sample_slag, in_band(apply_slag)),
    "excess": DefectKind(sample_excess, in_band(apply_excess)),
    "underfill": DefectKind(sample_underfill, in_band(apply_underfill)),
    "contamination": DefectKind(sample_contamination, in_band(apply_contamination)),
}
