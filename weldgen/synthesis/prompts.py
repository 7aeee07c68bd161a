"""Prompts for the diffusion model, by defect; `{metal}` and `{lighting}` are filled in for each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weldgen.synthesis.recipes import Recipe

if TYPE_CHECKING:
    import numpy as np

METALS = ("carbon steel", "stainless steel", "aluminium", "mild steel plate", "galvanised steel")
LIGHTING = ("workshop lighting", "soft daylight", "ring light", "overhead fluorescent light", "side lighting")

GOOD = (
    "close-up photo of a sound weld bead on {metal}, even ripples, smooth toes, {lighting}",
    "macro photograph of a uniform weld seam on {metal}, clean fusion, no defects, {lighting}",
    "industrial inspection photo of a good weld on {metal}, regular bead, {lighting}",
)
BY_DEFECT: dict[str, tuple[str, ...]] = {
    "porosity": (
        "close-up photo of a weld bead on {metal} with porosity, open gas pores, {lighting}",
        "inspection photo of a porous weld on {metal}, clustered round holes, {lighting}",
    ),
    "crack": (
        "close-up photo of a cracked weld bead on {metal}, dark jagged crack line, {lighting}",
        "inspection photo of a weld on {metal} with a longitudinal crack, {lighting}",
    ),
    "undercut": (
        "close-up photo of a weld bead on {metal} with undercut, groove along the toe, {lighting}",
        "inspection photo of a weld on {metal}, deep undercut beside the bead, {lighting}",
    ),
    "spatter": (
        "close-up photo of a weld bead on {metal} with heavy spatter, metal droplets, {lighting}",
        "inspection photo of a weld on {metal}, spatter balls on the plate, {lighting}",
    ),
    "irregular": (
        "close-up photo of an irregular weld bead on {metal}, uneven width and height, {lighting}",
        "inspection photo of a wandering, humped weld on {metal}, {lighting}",
    ),
}

# A class of several kinds of defects does not say which of them a photo of it shows.
DEFECTIVE = (
    "close-up photo of a defective weld bead on {metal}, {lighting}",
    "inspection photo of a bad weld on {metal} with visible defects, {lighting}",
)


def prompts_of(recipe: Recipe) -> tuple[str, ...]:
    """All prompts that a recipe may draw, before `{metal}` and `{lighting}` are filled in."""
    if recipe.prompts:
        return recipe.prompts
    return tuple(prompt for kind in recipe.defects for prompt in BY_DEFECT[kind]) or GOOD


def draw_prompt(recipe: Recipe, rng: np.random.Generator) -> str:
    """One prompt of a recipe."""
    return _fill(prompts_of(recipe), rng)


def draw_photo_prompt(recipe: Recipe, rng: np.random.Generator) -> str:
    """One prompt for a real photo of a class; it names no defect that the photo need not show."""
    several = len(recipe.defects) > 1 and not recipe.prompts
    return _fill(DEFECTIVE if several else prompts_of(recipe), rng)


def _fill(choices: Sequence[str], rng: np.random.Generator) -> str:
    prompt = choices[int(rng.integers(len(choices)))]
    metal, lighting = METALS[int(rng.integers(len(METALS)))], LIGHTING[int(rng.integers(len(LIGHTING)))]
    return prompt.replace("{metal}", metal).replace("{lighting}", lighting)
