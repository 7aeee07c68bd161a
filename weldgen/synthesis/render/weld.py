"""Put a bead on a plate: the heat's tint, the bead itself by its kind, what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable

from weldgen.synthesis.render.bead import FRICTION_STIR, Bead, BeadSpec
from weldgen.synthesis.render.leftovers import leave_residue
from weldgen.synthesis.render.material import Material
from weldgen.synthesis.render.noise import Rng
from weldgen.synthesis.render.ripples import FUSION_KINDS, lay_fusion
from weldgen.synthesis.render.stir import lay_stir
from weldgen.synthesis.render.tints import heat

BEADS: dict[str, Callable[[Material, BeadSpec, Bead, Rng], Material]] = {
    **dict.fromkeys(FUSION_KINDS, lay_fusion),
    FRICTION_STIR: lay_stir,
}


def weld(material: Material, spec: BeadSpec, bead: Bead, rng: Rng) -> Material:
    """Put the bead on a plate: its height, its metal, the tint of its heat."""
    material = heat(material, spec.heat, bead, rng)
    material = BEADS[spec.kind](material, spec, bead, rng)
    return leave_residue(material, spec, bead, rng)
