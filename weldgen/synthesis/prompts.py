"""Prompts for the diffusion model, by defect; `{metal}` and `{lighting}` are filled in for each image.

The texts stand in `configs/recipes/default.yaml`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weldgen.synthesis.book import GOOD, Recipe, shipped_book

if TYPE_CHECKING:
    import numpy as np


def prompts_of(recipe: Recipe) -> tuple[str, ...]:
    """All prompts that a recipe may draw, before `{metal}` and `{lighting}` are filled in."""
    known = shipped_book().recipes
    by_defect = (prompt for kind in recipe.defects for prompt in known[kind].prompts)
    return recipe.prompts or tuple(by_defect) or known[GOOD].prompts


def draw_prompt(recipe: Recipe, rng: np.random.Generator) -> str:
    """One prompt of a recipe."""
    return _fill(prompts_of(recipe), rng)


def every_prompt(recipe: Recipe) -> list[str]:
    """All that `draw_prompt` may say for a recipe."""
    book = shipped_book()
    return [
        prompt.replace("{metal}", metal).replace("{lighting}", lighting)
        for prompt in prompts_of(recipe)
        for metal in book.metals
        for lighting in book.lighting
    ]


def draw_photo_prompt(recipe: Recipe, rng: np.random.Generator) -> str:
    """One prompt for a real photo of a class; it names no defect that the photo need not show."""
    several = len(recipe.defects) > 1 and not recipe.prompts
    return _fill(shipped_book().defective if several else prompts_of(recipe), rng)


def _fill(choices: Sequence[str], rng: np.random.Generator) -> str:
    book = shipped_book()
    prompt = choices[int(rng.integers(len(choices)))]
    metal = book.metals[int(rng.integers(len(book.metals)))]
    lighting = book.lighting[int(rng.integers(len(book.lighting)))]
    return prompt.replace("{metal}", metal).replace("{lighting}", lighting)
