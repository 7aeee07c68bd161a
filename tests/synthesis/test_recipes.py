from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from weldgen.errors import ConfigError
from weldgen.synthesis.prompts import draw_prompt, prompts_of
from weldgen.synthesis.recipes import DEFECT_KINDS, RECIPES, Recipe, draw_defects, known_recipe, resolve_recipe
from weldgen.synthesis.render.defects import DEFECTS, IRREGULAR


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("good", "good"), ("good_welds", "good"), ("Good-Weld", "good"), ("OK", "good"), ("GoodWelds", "good"),
        ("acceptable", "good"), ("defect free", "good"), ("pass", "good"), ("bad_welds", "bad"), ("NG", "bad"),
        ("defects", "bad"), ("not_ok", "bad"), ("Porosity", "porosity"), ("weld porosities", "porosity"),
        ("pores", "porosity"), ("cracks", "crack"), ("crater_cracks", "crack"), ("under-cut", "undercut"),
        ("Undercuts", "undercut"), ("weld spatter", "spatter"), ("irregular bead", "irregular"),
        ("dandelion", None), ("weld", None), ("", None), ("goodness", None),
    ],
)  # fmt: skip
def test_known_names(name: str, recipe: str | None) -> None:
    assert known_recipe(name) == recipe


def test_unknown_class_names_the_key_to_set() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_recipe("Nahtfehler", {})
    assert "Nahtfehler" in caught.value.message
    assert "synth.recipes.Nahtfehler" in caught.value.hint


def test_settings_win() -> None:
    own = Recipe(defects={"crack": 1.0}, severity=(0.9, 1.0))
    assert resolve_recipe("good", {"good": own}) is own
    assert resolve_recipe("class_7", {"class_7": "ng"}) is RECIPES["bad"]
    with pytest.raises(ConfigError, match=r"synth\.recipes\.x='shiny'"):
        resolve_recipe("x", {"x": "shiny"})


def test_recipes_are_checked() -> None:
    with pytest.raises(ValidationError, match="'hole' is not known"):
        Recipe(defects={"hole": 1.0})
    with pytest.raises(ValidationError, match="above 0"):
        Recipe(defects={"crack": 0.0})
    with pytest.raises(ValidationError, match="severity"):
        Recipe(severity=(0.8, 0.2))
    with pytest.raises(ValidationError, match="per_image"):
        Recipe(per_image=(0, 2))


def test_every_kind_can_be_drawn() -> None:
    assert set(DEFECT_KINDS) == {*DEFECTS, IRREGULAR}


def test_drawn_defects_follow_the_recipe() -> None:
    rng = np.random.default_rng(0)
    assert draw_defects(RECIPES["good"], rng) == []
    counts = set()
    for _ in range(60):
        drawn = draw_defects(RECIPES["bad"], rng)
        kinds = [kind for kind, _ in drawn]
        assert len(kinds) == len(set(kinds))
        assert all(0.3 <= severity <= 1 for _, severity in drawn)
        counts.add(len(drawn))
    assert counts == {1, 2, 3}


def test_prompts() -> None:
    rng = np.random.default_rng(0)
    assert all("crack" in prompt for prompt in prompts_of(RECIPES["crack"]))
    assert "{" not in draw_prompt(RECIPES["good"], rng)
    assert draw_prompt(Recipe(prompts=("a leaf in {lighting}",)), rng).startswith("a leaf in ")
