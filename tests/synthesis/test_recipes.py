from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from weldgen.errors import ConfigError
from weldgen.runtime import resource_dir
from weldgen.synthesis.book import Book, read_book
from weldgen.synthesis.prompts import draw_prompt, prompts_of
from weldgen.synthesis.recipes import (
    DEFECT_KINDS,
    DEFECT_PATTERNS,
    RECIPES,
    Recipe,
    draw_defects,
    known_recipe,
    resolve_recipe,
)
from weldgen.synthesis.render.defects import DEFECTS, IRREGULAR


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("good", "good"), ("good_welds", "good"), ("Good-Weld", "good"), ("OK", "good"), ("GoodWelds", "good"),
        ("acceptable", "good"), ("defect free", "good"), ("pass", "good"), ("bad_welds", "bad"), ("NG", "bad"),
        ("defects", "bad"), ("not_ok", "bad"), ("Porosity", "porosity"), ("weld porosities", "porosity"),
        ("pores", "porosity"), ("cracks", "crack"), ("crater_cracks", "crater_crack"), ("under-cut", "undercut"),
        ("Undercuts", "undercut"), ("weld spatter", "spatter"), ("irregular bead", "irregular"),
        ("Blowhole", "porosity"), ("Poren", "porosity"), ("wormholes", "wormhole"), ("cold_lap", "overlap"),
        ("lof", "lack_of_fusion"), ("lack_of_fusion", "lack_of_fusion"), ("Incomplete Fusion", "lack_of_fusion"),
        ("Bindefehler", "lack_of_fusion"), ("burnthrough", "burn_through"), ("BurnThrough", "burn_through"),
        ("slag inclusions", "slag"), ("excessive_convexity", "excess"), ("excess reinforcement", "excess"),
        ("Nahtüberhöhung", "excess"), ("concavity", "underfill"), ("dirty", "contamination"),
        ("oxidation", "contamination"), ("dandelion", None), ("weld", None), ("", None), ("goodness", None),
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
    assert set(DEFECT_KINDS) == {*DEFECTS, IRREGULAR} == set(DEFECT_PATTERNS) == set(RECIPES["bad"].defects)
    assert DEFECT_KINDS[:5] == ("porosity", "crack", "undercut", "spatter", "irregular")  # numbers in old mask files


@pytest.mark.parametrize("kind", DEFECT_KINDS)
def test_every_kind_has_a_recipe_and_prompts(kind: str) -> None:
    recipe = resolve_recipe(f"{kind}_welds", {})
    assert list(recipe.defects) == [kind]
    prompts = prompts_of(recipe)
    assert prompts == recipe.prompts and all("{metal}" in prompt and "{lighting}" in prompt for prompt in prompts)
    assert [name for name, _ in draw_defects(recipe, np.random.default_rng(0))] == [kind]


def test_what_makes_a_weld_bad_can_be_set() -> None:
    own = Recipe(defects={"overlap": 1.0})
    for label in ("bad", "bad_welds", "NG", "class_7"):
        assert resolve_recipe(label, {"bad": own, "class_7": "defective"}) is own
    assert resolve_recipe("ng", {"bad": "porosity"}) is RECIPES["porosity"]
    assert resolve_recipe("good", {"bad": own}) is RECIPES["good"]


def test_a_recipe_can_ask_for_patterns() -> None:
    rng = np.random.default_rng(0)
    drawn = {draw_defects(RECIPES["crater_crack"], rng)[0][0] for _ in range(9)}
    assert drawn == {"crack/crater"}
    own = Recipe(defects={"slag": 1, "crack": 1}, patterns={"crack": ("crater", "transverse")}, per_image=(2, 2))
    assert {name for _ in range(30) for name, _ in draw_defects(own, rng)} == {
        "slag", "crack/crater", "crack/transverse",
    }  # fmt: skip
    with pytest.raises(ValidationError, match="patterns of crack are longitudinal"):
        Recipe(defects={"crack": 1}, patterns={"crack": ("wormhole",)})
    with pytest.raises(ValidationError, match="'slag', which is none of the recipe's defects"):
        Recipe(defects={"crack": 1}, patterns={"slag": ("toe",)})


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("    defects: {crack: 1}", "    defects: {split: 1}", "recipes.crack: .*'split' is not known; accepted: por"),
        ("    defects: {slag: 1}", "    defekte: {slag: 1}", "recipes.slag.defekte: there is no such key"),
        ("    per_image: [1, 3]", "    per_image: often", "recipes.bad.per_image"),
        ("metals: [", "metalls: [", "metalls: there is no such key"),
        ("lighting: [", "#", "lighting: Field required"),
        ("\n  underfill:", "\n  underfull:", "there is no recipe 'underfill'"),
        ("[under cut,", "[pore,", "'pore' stands for both 'porosity' and 'undercut'"),
        ("[under cut,", "[reject,", "'reject' stands for both 'bad' and 'undercut'"),
        ("\nrecipes:\n", "\nrecipes: {\n", "cannot be read: "),
    ],
)
def test_a_wrong_key_is_named_with_its_file(wrong: str, right: str, message: str, tmp_path: Path) -> None:
    shipped = (resource_dir("configs") / "recipes" / "default.yaml").read_text(encoding="utf-8")
    assert read_book_of(shipped, tmp_path).recipes == RECIPES
    assert wrong in shipped
    with pytest.raises(ConfigError, match=message) as caught:
        read_book_of(shipped.replace(wrong, right, 1), tmp_path)
    assert str(tmp_path / "recipes.yaml") in caught.value.message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml does not exist"):
        read_book(tmp_path / "gone.yaml")


def read_book_of(text: str, folder: Path) -> Book:
    file = folder / "recipes.yaml"
    file.write_text(text, encoding="utf-8")
    return read_book(file)


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
