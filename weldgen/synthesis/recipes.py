"""What a class looks like: class name -> defects for the renderer and prompts for the diffusion model.

Most class names are understood as they are (`good_welds`, `Porosity`, `NG`); any other is set under
`synth.recipes.<class>`, either by the name of a known recipe or in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from weldgen.config import Config
from weldgen.data.labels import BAD_WORDS, GOOD_WORDS, readings
from weldgen.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

# Kinds of defects that the renderer can draw.
DEFECT_KINDS = ("porosity", "crack", "undercut", "spatter", "irregular")
DEFAULT_SEVERITY = (0.3, 1.0)


class Recipe(Config):
    """How images of one class are made."""

    defects: dict[str, float] = Field(
        default_factory=dict, description=f"kind -> weight; kinds: {', '.join(DEFECT_KINDS)}; none: a sound weld"
    )
    per_image: tuple[int, int] = Field((1, 1), description="fewest and most kinds of defects in one image")
    severity: tuple[float, float] = Field(
        DEFAULT_SEVERITY, description="low and high end of the severity, 0 barely visible to 1 gross"
    )
    prompts: tuple[str, ...] = Field(
        (), description="for sdxl; {metal} and {lighting} are filled in; empty: by the defects"
    )

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        unknown = sorted(set(self.defects) - set(DEFECT_KINDS))
        if unknown:
            raise ValueError(f"defect '{unknown[0]}' is not known; accepted: {', '.join(DEFECT_KINDS)}")
        if any(weight <= 0 for weight in self.defects.values()):
            raise ValueError(f"weights of defects must be above 0, got {self.defects}")
        if not 1 <= self.per_image[0] <= self.per_image[1]:
            raise ValueError(f"per_image must be 1 or more and rising, got {self.per_image}")
        if not 0 <= self.severity[0] <= self.severity[1] <= 1:
            raise ValueError(f"severity must rise within 0..1, got {self.severity}")
        return self


RECIPES: dict[str, Recipe] = {
    "good": Recipe(),
    "bad": Recipe(
        defects={"porosity": 1.4, "crack": 1.0, "undercut": 1.0, "spatter": 0.8, "irregular": 0.8}, per_image=(1, 3)
    ),
    **{kind: Recipe(defects={kind: 1.0}) for kind in DEFECT_KINDS},
}

# Other words for the same.
_ALIASES: dict[str, str] = {
    **dict.fromkeys(GOOD_WORDS, "good"),
    **dict.fromkeys(BAD_WORDS, "bad"),
    **dict.fromkeys(("pore", "porous", "blowhole", "blow hole", "gas pore", "pinhole"), "porosity"),
    **dict.fromkeys(("cracked", "cracking", "crater crack", "longitudinal crack", "transverse crack"), "crack"),
    **dict.fromkeys(("under cut", "undercutting"), "undercut"),
    **dict.fromkeys(("splatter", "splash"), "spatter"),
    **dict.fromkeys(("uneven", "misshapen", "bad profile", "poor profile", "irregularity"), "irregular"),
}  # fmt: skip


def resolve_recipe(label: str, settings: Mapping[str, str | Recipe], stage: str = "synth") -> Recipe:
    """The recipe of a class: what the settings say, else what its name says.

    Args:
        label: Name of the class.
        settings: `<stage>.recipes`: class -> recipe, or name of a known one.
        stage: The stage that asks, for its error.

    Raises:
        ConfigError: The class has neither, or the settings name a recipe that does not exist.
    """
    given = settings.get(label)
    if isinstance(given, Recipe):
        return given
    name = known_recipe(given if given is not None else label)
    if name is None and given is not None:
        raise ConfigError(f"{stage}.recipes.{label}={given!r} is no known recipe; accepted: {', '.join(RECIPES)}")
    if name is None:
        raise ConfigError(
            f"class '{label}' has no recipe, and its name is none that weldgen knows ({', '.join(RECIPES)})",
            f"set {stage}.recipes.{label} in weldgen.yaml, e.g. {stage}: {{recipes: {{{label}: bad}}}}, "
            f"or add recipes.{label}=bad to the command",
        )
    return RECIPES[name]


def resolve_recipes(
    counts: Mapping[str, int], settings: Mapping[str, str | Recipe], stage: str = "synth"
) -> tuple[dict[str, Recipe], list[str]]:
    """Class -> recipe, and sentences on classes that are left out: those with neither a photo nor a known name.

    Args:
        counts: Class -> number of its photos.
        settings: `<stage>.recipes`.
        stage: The stage that asks, for its errors.

    Raises:
        ConfigError: A class with photos has no recipe, or no class has one.
    """
    recipes, left_out = {}, []
    for label, count in counts.items():
        try:
            recipes[label] = resolve_recipe(label, settings, stage)
        except ConfigError as error:
            if count:
                raise
            left_out.append(f"class '{label}' has no photo and no recipe, and is left out ({error.hint})")
    if not recipes:
        raise ConfigError("no class has a photo or a recipe", "put photos into data/raw/<class>/")
    return recipes, left_out


def known_recipe(name: str) -> str | None:
    """Key of `RECIPES` that a class name means, or None."""
    for text in readings(name):
        if text in RECIPES:
            return text
        if text in _ALIASES:
            return _ALIASES[text]
    return None


def draw_defects(recipe: Recipe, rng: np.random.Generator) -> list[tuple[str, float]]:
    """Kinds and severities of one image's defects; empty for a sound weld."""
    if not recipe.defects:
        return []
    kinds = list(recipe.defects)
    total = sum(recipe.defects.values())
    most = min(recipe.per_image[1], len(kinds))
    count = int(rng.integers(min(recipe.per_image[0], most), most + 1))
    chosen = rng.choice(len(kinds), count, replace=False, p=[recipe.defects[kind] / total for kind in kinds])
    return [(kinds[index], round(float(rng.uniform(*recipe.severity)), 4)) for index in sorted(chosen)]
