"""What is compared: `mix.real_ratio=1,0.5` as configurations that differ in this one setting."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from weldgen.classifier.settings import TrainConfig
from weldgen.config import StageConfig, load_config
from weldgen.data.mix import MixConfig
from weldgen.errors import ConfigError

REAL_RATIO = "mix.real_ratio"
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


class CompareConfig(StageConfig):
    """What is compared."""

    sweep: str = Field(description="KEY=V1,V2,... with a key of mix.* or train.*")
    repeats: int = Field(1, ge=1, le=100, description="trainings of each value, with different seeds")
    resamples: int = Field(2000, ge=100, description="resamples of the paired bootstrap")
    mix: MixConfig = MixConfig()
    train: TrainConfig = TrainConfig()


@dataclass(frozen=True)
class Variant:
    """One value of a sweep.

    Attributes:
        value: As it was written.
        mix: Settings of its mix.
        train: Settings of its training.
    """

    value: str
    mix: MixConfig
    train: TrainConfig


def parse_sweep(sweep: str, option: str = "--sweep") -> tuple[str, tuple[str, ...]]:
    """The key and the values of `KEY=V1,V2,...`; `option` is what errors call it.

    Raises:
        ConfigError: It is not of this form, or its key belongs neither to `mix` nor to `train`.
    """
    key, equals, listed = (part.strip() for part in sweep.partition("="))
    values = tuple(value.strip() for value in listed.split(","))
    if not key or not equals or len(values) < 2 or not all(values):
        raise ConfigError(
            f"{option} '{sweep}': a key and at least two values are accepted, KEY=V1,V2,...",
            _EXAMPLE.replace("--sweep", option),
        )
    section, dot, rest = key.partition(".")
    if section not in _SECTIONS or not dot:
        raise ConfigError(f"{option}: '{key}' is no setting of mix or train", _nearest(key))
    reason = _NOT_COMPARABLE.get(rest.partition(".")[0])
    if reason:
        raise ConfigError(f"{option}: '{key}' cannot be compared: {reason}", _EXAMPLE.replace("--sweep", option))
    return key, values


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


def compare_config(
    sweep: str,
    *,
    repeats: int = 1,
    preset: str | None = None,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> CompareConfig:
    """The configuration of a comparison: the sections `mix` and `train` of the project with what differs.

    Args:
        sweep: `KEY=V1,V2,...`.
        repeats: Trainings of each value.
        preset: Name of a preset.
        overrides: `mix.key=value` and `train.key=value`, the same for all values.
        flags: `seed`, `device` and `jobs`; None values are left out.

    Raises:
        ConfigError: A setting that does not exist or does not fit.
    """
    mixing, training = load_sections(preset=preset, overrides=overrides, flags=flags)
    make_variants(sweep, mixing, training)
    if repeats < 1:
        raise ConfigError(f"--repeats {repeats}: 1 or more is accepted")
    own = {name: value for name, value in (flags or {}).items() if value is not None}
    return CompareConfig(sweep=sweep, repeats=repeats, mix=mixing, train=training, **own)


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
