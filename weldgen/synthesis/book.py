"""The shipped recipes, `configs/recipes/default.yaml`: read once, when a class is first looked up."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from weldgen.config import Config
from weldgen.data.labels import BAD_WORDS, GOOD_WORDS, readings
from weldgen.errors import ConfigError
from weldgen.runtime import resource_dir

# What the renderer can draw: kind of defect -> its patterns. The kinds' order numbers them in mask files: a new one
# goes to the end.
DEFECT_PATTERNS: Mapping[str, tuple[str, ...]] = {
    "porosity": ("scattered", "cluster", "start", "along", "wormhole"),
    "crack": ("longitudinal", "transverse", "crater"),
    "undercut": ("one_side", "both_sides"),
    "spatter": ("drops",),
    "irregular": ("uneven",),
    "overlap": ("one_side", "both_sides"),
    "lack_of_fusion": ("toe", "centre", "gap"),
    "burn_through": ("hole", "row"),
    "slag": ("toe", "patches"),
    "excess": ("rope", "humps"),
    "underfill": ("groove",),
    "contamination": ("soot", "powder", "sugar", "grease"),
}
DEFECT_KINDS = tuple(DEFECT_PATTERNS)
DEFAULT_SEVERITY = (0.3, 1.0)
GOOD, BAD = "good", "bad"


class Recipe(Config):
    """How images of one class are made."""

    defects: dict[str, float] = Field(
        default_factory=dict, description=f"kind -> weight; kinds: {', '.join(DEFECT_KINDS)}; none: a sound weld"
    )
    patterns: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="kind -> patterns that may be drawn, e.g. crack: [crater]; empty: all"
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
        for kind, patterns in self.patterns.items():
            if kind not in self.defects:
                raise ValueError(f"patterns name '{kind}', which is none of the recipe's defects: {list(self.defects)}")
            strange = [pattern for pattern in patterns if pattern not in DEFECT_PATTERNS[kind]]
            if strange or not patterns:
                raise ValueError(f"patterns of {kind} are {', '.join(DEFECT_PATTERNS[kind])}; got {list(patterns)}")
        if not 1 <= self.per_image[0] <= self.per_image[1]:
            raise ValueError(f"per_image must be 1 or more and rising, got {self.per_image}")
        if not 0 <= self.severity[0] <= self.severity[1] <= 1:
            raise ValueError(f"severity must rise within 0..1, got {self.severity}")
        return self


class Entry(Recipe):
    """A recipe of the file, with the other names it goes by."""

    aliases: tuple[str, ...] = Field((), description="other class names that mean the same")

    @property
    def recipe(self) -> Recipe:
        """The recipe by itself."""
        return Recipe.model_validate(self.model_dump(exclude={"aliases"}))


class Book(Config):
    """What the file holds."""

    metals: tuple[str, ...] = Field(min_length=1, description="drawn for {metal}")
    lighting: tuple[str, ...] = Field(min_length=1, description="drawn for {lighting}")
    defective: tuple[str, ...] = Field(min_length=1, description="prompts for a photo with any of several defects")
    entries: dict[str, Entry] = Field(alias="recipes", description="name -> recipe")

    @model_validator(mode="after")
    def _check(self) -> Book:
        missing = [name for name in (GOOD, BAD, *DEFECT_KINDS) if name not in self.entries]
        if missing:
            raise ValueError(f"there is no recipe '{missing[0]}'")
        if self.entries[GOOD].defects:
            raise ValueError(f"recipe '{GOOD}' must have no defects, got {list(self.entries[GOOD].defects)}")
        silent = [name for name in (GOOD, *DEFECT_KINDS) if not self.entries[name].prompts]
        if silent:
            raise ValueError(f"recipe '{silent[0]}' has no prompts")
        owners = dict.fromkeys(GOOD_WORDS, GOOD) | dict.fromkeys(BAD_WORDS, BAD)
        for name, entry in self.entries.items():
            for word in (name, *entry.aliases):
                other = owners.setdefault(_plain(word), name)
                if other != name:
                    raise ValueError(f"'{word}' stands for both '{other}' and '{name}'")
        return self

    @cached_property
    def recipes(self) -> Mapping[str, Recipe]:
        """Name -> recipe."""
        return {name: entry.recipe for name, entry in self.entries.items()}

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Name or alias in plain words -> name of the recipe."""
        words = dict.fromkeys(GOOD_WORDS, GOOD) | dict.fromkeys(BAD_WORDS, BAD)
        for name, entry in self.entries.items():
            words |= {_plain(word): name for word in (name, *entry.aliases)}
        return words


@lru_cache(1)
def shipped_book() -> Book:
    """The recipes that ship with weldgen."""
    return read_book(resource_dir("configs") / "recipes" / "default.yaml")


def read_book(file: Path) -> Book:
    """Read a file of recipes.

    Raises:
        ConfigError: It is missing, is no YAML, or a key in it does not fit.
    """
    import yaml

    try:
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{file} does not exist", "install weldgen again; the file ships with it") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    try:
        return Book.model_validate(content)
    except ValidationError as error:
        strange = "extra_forbidden"  # named first: a misspelt key is also a missing one
        first = min(error.errors(), key=lambda each: each["type"] != strange)
        key = ".".join(str(part) for part in first["loc"])
        reason = "there is no such key" if first["type"] == strange else first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{file}: {key + ': ' if key else ''}{reason}") from error


def _plain(word: str) -> str:
    return readings(word)[0]
