"""Which recipe a class has: what the settings say, else what its name says.

Most class names are understood as they are (`good_welds`, `Porosity`, `NG`, `cold lap`); any other is set under
`synth.recipes.<class>`, either by the name of a known recipe or in full. The known ones are those of
`configs/recipes/default.yaml`; a setting of the same name changes a known recipe for every class that means it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from weldgen.data.labels import readings
from weldgen.errors import ConfigError
from weldgen.synthesis.book import DEFAULT_SEVERITY, DEFECT_KINDS, DEFECT_PATTERNS, Recipe, shipped_book

if TYPE_CHECKING:
    import numpy as np

    RECIPES: Mapping[str, Recipe]

__all__ = [
    "DEFAULT_SEVERITY", "DEFECT_KINDS", "DEFECT_PATTERNS", "RECIPES", "Recipe", "draw_defects", "known_recipe",
    "resolve_recipe", "resolve_recipes",
]  # fmt: skip


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """`RECIPES`, name -> recipe, read from its file when first asked for: `--help` needs none."""
        if name == "RECIPES":
            return shipped_book().recipes
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def resolve_recipe(label: str, settings: Mapping[str, str | Recipe], stage: str = "synth") -> Recipe:
    """The recipe of a class: what the settings say, else what its name says.

    Args:
        label: Name of the class.
        settings: `<stage>.recipes`: class or known recipe -> recipe, or name of a known one.
        stage: The stage that asks, for its error.

    Raises:
        ConfigError: The class has neither, or the settings name a recipe that does not exist.
    """
    key = label if label in settings else known_recipe(label)
    given = settings.get(key, key) if key is not None else None  # `recipes.bad` is for `bad_welds` too
    if isinstance(given, Recipe):
        return given
    recipes = shipped_book().recipes
    if given is None:
        raise ConfigError(
            f"class '{label}' has no recipe, and its name is none that weldgen knows ({', '.join(recipes)})",
            f"set {stage}.recipes.{label} in weldgen.yaml, e.g. {stage}: {{recipes: {{{label}: bad}}}}, "
            f"or add recipes.{label}=bad to the command",
        )
    name = known_recipe(given)
    if name is None:
        raise ConfigError(f"{stage}.recipes.{key}={given!r} is no known recipe; accepted: {', '.join(recipes)}")
    changed = settings.get(name) if name != key else None  # `class_7: bad` where `bad` is set in full
    return changed if isinstance(changed, Recipe) else recipes[name]


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
    """Name of the shipped recipe that a class name means, or None."""
    names = shipped_book().names
    return next((names[text] for text in readings(name) if text in names), None)


def draw_defects(recipe: Recipe, rng: np.random.Generator) -> list[tuple[str, float]]:
    """Kinds and severities of one image's defects; empty for a sound weld.

    A kind of which the recipe wants certain patterns is `kind/pattern`, as `sample_defect` of the renderer reads it.
    """
    if not recipe.defects:
        return []
    kinds = list(recipe.defects)
    total = sum(recipe.defects.values())
    most = min(recipe.per_image[1], len(kinds))
    count = int(rng.integers(min(recipe.per_image[0], most), most + 1))
    chosen = rng.choice(len(kinds), count, replace=False, p=[recipe.defects[kind] / total for kind in kinds])
    drawn = []
    for index in sorted(chosen):
        severity = round(float(rng.uniform(*recipe.severity)), 4)
        patterns = recipe.patterns.get(kinds[index], ())
        pattern = f"/{patterns[int(rng.integers(len(patterns)))]}" if patterns else ""
        drawn.append((kinds[index] + pattern, severity))
    return drawn
