"""What is compared: `mix.real_ratio=1,0.5` as configurations that differ in this one setting, or rows of several."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from weldgen.classifier.settings import TrainConfig
from weldgen.classifier.splitting import split_outside
from weldgen.config import Config, StageConfig, load_config
from weldgen.data.mix import MixConfig
from weldgen.errors import ConfigError

REAL_RATIO = "mix.real_ratio"
ROW = "row"
_EXAMPLE = "e.g. --sweep mix.real_ratio=1,0.5,0.25 or --sweep train.training.epochs=10,20"
_SECTIONS: dict[str, type[StageConfig]] = {"mix": MixConfig, "train": TrainConfig}
# What must be the same for all values, or changes no result.
_NOT_COMPARABLE = {
    "seed": "it is the same for all values; --repeats trains with several",
    "split": "all values are measured on the same test photos",
    "device": "it changes no result",
    "jobs": "it changes no result",
    "logging": "it changes no result",
    "folds": "a comparison measures one model of each value; --repeats trains several",
}


class Row(Config):
    """Settings that are compared under a name of their own."""

    settings: str = Field(description="what differs, as it was written")
    mix: MixConfig
    train: TrainConfig


class CompareConfig(StageConfig):
    """What is compared: the values of a sweep, or rows."""

    sweep: str = Field("", description="KEY=V1,V2,... with a key of mix.* or train.*")
    rows: dict[str, Row] = Field(default_factory=dict, description="name -> settings; instead of a sweep")
    repeats: int = Field(1, ge=1, le=100, description="trainings of each value, with different seeds")
    resamples: int = Field(2000, ge=100, description="resamples of the paired bootstrap")
    parallel: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto", description="trainings side by side, each in a process of its own; auto is one for each GPU"
    )
    timing: bool = Field(True, description="export a model of each value; measure its file and how fast it predicts")
    claims: str = Field("", description="task whose figures, claimed by others, are shown beside the measured ones")
    mix: MixConfig = MixConfig()
    train: TrainConfig = TrainConfig()

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if bool(self.sweep) == bool(self.rows):
            raise ValueError("a sweep or rows are compared, one of them")
        return self

    @property
    def key(self) -> str:
        """The setting that differs; `row` where each row has several."""
        return ROW if self.rows else parse_sweep(self.sweep)[0]


@dataclass(frozen=True)
class Variant:
    """One value of a sweep, or one row.

    Attributes:
        value: As it was written; the name of a row.
        mix: Settings of its mix.
        train: Settings of its training.
        settings: Of a row: what differs, as it was written.
    """

    value: str
    mix: MixConfig
    train: TrainConfig
    settings: str = ""


def parse_sweep(sweep: str, option: str = "--sweep") -> tuple[str, tuple[str, ...]]:
    """The key and the values of `KEY=V1,V2,...`; `option` is what errors call it.

    A list is a value too: `KEY=[],[256,384]` has two.

    Raises:
        ConfigError: It is not of this form, or its key belongs neither to `mix` nor to `train`.
    """
    key, equals, listed = (part.strip() for part in sweep.partition("="))
    try:
        values = tuple(value.strip() for value in split_outside(listed, ","))
    except ValueError as error:
        raise ConfigError(f"{option} '{sweep}': {error}", "a value with brackets has all of them") from error
    if not key or not equals or len(values) < 2 or not all(values):
        raise ConfigError(
            f"{option} '{sweep}': a key and at least two values are accepted, KEY=V1,V2,...",
            _EXAMPLE.replace("--sweep", option),
        )
    check_key(key, option)
    return key, values


def check_key(key: str, option: str) -> None:
    """Refuse a setting that cannot be compared.

    Raises:
        ConfigError: It belongs neither to `mix` nor to `train`, or must be the same for all.
    """
    section, dot, rest = key.partition(".")
    if section not in _SECTIONS or not dot:
        raise ConfigError(f"{option}: '{key}' is no setting of mix or train", _nearest(key))
    reason = _NOT_COMPARABLE.get(rest.partition(".")[0])
    if reason:
        hint = _EXAMPLE.replace("--sweep", option) if option != "--row" else ""
        raise ConfigError(f"{option}: '{key}' cannot be compared: {reason}", hint)


def make_variants(sweep: str, mix: MixConfig, train: TrainConfig, option: str = "--sweep") -> list[Variant]:
    """The configurations of all values, checked before anything runs.

    Args:
        sweep: `KEY=V1,V2,...` with a key of `mix.*` or `train.*`.
        mix: What else holds for all mixes.
        train: What else holds for all trainings.
        option: What errors call the sweep.

    Raises:
        ConfigError: A key or value that does not exist or does not fit, or two values that mean the same.
    """
    key, values = parse_sweep(sweep, option)
    section, _, setting = key.partition(".")
    variants: list[Variant] = []
    for value in values:
        override = [f"{setting}={value}"]
        if section == "mix":
            own = load_config("mix", MixConfig, step=mix.model_dump(mode="json"), overrides=override)
            variant = Variant(value, own, train)
        else:
            trained = load_config("train", TrainConfig, step=train.model_dump(mode="json"), overrides=override)
            variant = Variant(value, mix, trained)
        same = [other.value for other in variants if (other.mix, other.train) == (variant.mix, variant.train)]
        if same:
            raise ConfigError(f"{option}: {key}={same[0]} and {key}={value} mean the same", "give each value once")
        variants.append(variant)
    return variants


def load_sections(
    *, preset: str | None = None, overrides: Sequence[str] = (), flags: Mapping[str, Any] | None = None
) -> tuple[MixConfig, TrainConfig]:
    """The sections `mix` and `train` of the project with what differs.

    Args:
        preset: Name of a preset.
        overrides: `mix.key=value` and `train.key=value`.
        flags: `seed`, `device` and `jobs`; None values are left out.

    Raises:
        ConfigError: A setting that does not exist or does not fit.
    """
    by_section: dict[str, list[str]] = {"mix": [], "train": []}
    for text in overrides:
        section, _, rest = text.partition(".")
        if section not in by_section or "=" not in rest:
            raise ConfigError(f"'{text}': settings of mix and train are accepted here", "e.g. train.training.epochs=50")
        by_section[section].append(rest)
    training = load_config("train", TrainConfig, preset=preset, overrides=by_section["train"], flags=flags)
    if training.folds:
        raise ConfigError(f"train.folds={training.folds}: {_NOT_COMPARABLE['folds']}", "train.folds=0")
    return load_config("mix", MixConfig, preset=preset, overrides=by_section["mix"], flags=flags), training


def _nearest(key: str) -> str:
    """The right key that a wrong one resembles."""
    section, _, rest = key.partition(".")
    known = [f"{name}.{field}" for name, model in _SECTIONS.items() for field in model.model_fields]
    owners = [name for name in known if name.partition(".")[2] == section]
    close = difflib.get_close_matches(section, _SECTIONS, n=1, cutoff=0.5)
    if owners:
        return f"did you mean '{owners[0]}{'.' + rest if rest else ''}'?"
    if close and rest:
        return f"did you mean '{close[0]}.{rest}'?"
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"did you mean '{nearest[0]}'?" if nearest else _EXAMPLE
