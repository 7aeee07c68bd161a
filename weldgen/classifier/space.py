"""What `weldgen tune` searches: ranges and lists of settings, checked against the configurations they change."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from weldgen.classifier.settings import ALIASES, TrainConfig
from weldgen.classifier.splitting import split_outside
from weldgen.classifier.sweep import load_sections, make_variants
from weldgen.config import Config, StageConfig
from weldgen.data.mix import MixConfig
from weldgen.errors import ConfigError
from weldgen.runtime import resource_dir

_RANGE = re.compile(r"(?P<low>[^,:]+?)\.\.(?P<high>[^,:]+)(?P<log>:log)?")
_FORMS = "KEY=LOW..HIGH, KEY=LOW..HIGH:log, KEY=V1,V2,... or a YAML file of such lines"
_EXAMPLE = "e.g. --space train.training.lr=0.0003..0.003:log --space train.model.head=arcface,softmax"


class TuneConfig(StageConfig):
    """What is searched, and how long."""

    space: dict[str, str] = Field(min_length=1, description="key of mix.* or train.* -> LOW..HIGH[:log] or V1,V2,...")
    trials: int = Field(20, ge=1, le=10_000, description="trainings beside that of the settings as they are")
    startup: int = Field(
        6, ge=1, description="trials drawn at random before the search learns and trials are cut short"
    )
    pruner: Literal["median", "asha", "none"] = Field(
        "median", description="how bad trials are cut short: worse than the median, successive halving, or not at all"
    )
    resamples: int = Field(2000, ge=100, description="resamples of the paired bootstrap")
    mix: MixConfig = MixConfig()
    train: TrainConfig = TrainConfig()


@dataclass(frozen=True)
class Dimension:
    """One setting that is searched.

    Attributes:
        key: With its section, e.g. `train.training.lr`.
        low: Lower end of a range.
        high: Upper end of a range.
        log: Whether the range is searched by orders of magnitude.
        whole: Whether only whole numbers count.
        values: Of a list; empty for a range.
    """

    key: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    values: tuple[str, ...] = ()

    def text(self, value: float | int | str) -> str:
        """A value as it is written in a configuration, floats with four digits."""
        if self.values or self.whole:
            return str(value)
        short = f"{value:.4g}"
        return short if self.low <= float(short) <= self.high else repr(value)


def tune_config(
    space: Sequence[str] = (),
    *,
    settings: Mapping[str, Any] | None = None,
    preset: str | None = None,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> TuneConfig:
    """The configuration of a search.

    Args:
        space: `KEY=LOW..HIGH[:log]`, `KEY=V1,V2,...`, or paths of YAML files with such lines; nothing means
            `configs/spaces/default.yaml`.
        settings: `trials`, `startup`, `pruner` and `resamples`; None values are left out.
        preset: Name of a preset.
        overrides: `mix.key=value` and `train.key=value`, the same for all trials.
        flags: `seed`, `device` and `jobs`; None values are left out.

    Raises:
        ConfigError: A setting that does not exist or does not fit.
    """
    mixing, training = load_sections(preset=preset, overrides=overrides, flags=flags)
    found: dict[str, str] = {}
    for text in space or (str(resource_dir("configs") / "spaces" / "default.yaml"),):
        found |= {_own_key(key): value for key, value in _read_space(text).items()}
    own = {name: value for name, value in {**(settings or {}), **(flags or {})}.items() if value is not None}
    for name, least in (("trials", 1), ("startup", 1)):
        if own.get(name, least) < least:
            raise ConfigError(f"--{name} {own[name]}: {least} or more is accepted")
    if own.get("pruner", "none") not in ("median", "asha", "none"):
        raise ConfigError(f"--pruner {own['pruner']}: median, asha or none is accepted")
    config = TuneConfig(space=found, mix=mixing, train=training, **own)
    dimensions(config)
    return config


def dimensions(config: TuneConfig) -> list[Dimension]:
    """The settings that are searched, each end and value checked.

    Raises:
        ConfigError: A key, range or value that does not exist or does not fit.
    """
    return [_dimension(key, text.strip(), config) for key, text in config.space.items()]


def apply(config: TuneConfig, choice: Mapping[str, str]) -> tuple[MixConfig, TrainConfig]:
    """The configurations of one trial.

    Args:
        config: The search.
        choice: Key of each searched setting -> its value.

    Raises:
        ConfigError: Values that do not fit together.
    """
    settings = {"mix": config.mix.model_dump(mode="json"), "train": config.train.model_dump(mode="json")}
    for key, value in choice.items():
        *path, last = key.split(".")
        place: dict[str, Any] = settings
        for part in path:
            place = place[part]
        place[last] = yaml.safe_load(value) if value.startswith(("[", "{")) else value
    try:
        return MixConfig.model_validate(settings["mix"]), TrainConfig.model_validate(settings["train"])
    except ValidationError as error:
        raise ConfigError(f"{', '.join(f'{k}={v}' for k, v in choice.items())}: {error.errors()[0]['msg']}") from error


def as_they_are(config: TuneConfig, space: Sequence[Dimension]) -> dict[str, float | int | str]:
    """The searched settings as they are before the search; those that lie outside of their range are left out."""
    found: dict[str, float | int | str] = {}
    for dimension in space:
        now = current(config, dimension.key)
        if not dimension.values:
            if dimension.low <= now <= dimension.high:
                found[dimension.key] = now
            continue
        same = [v for v in dimension.values if apply(config, {dimension.key: v}) == (config.mix, config.train)]
        if same:
            found[dimension.key] = same[0]
    return found


def current(config: TuneConfig, key: str) -> Any:
    """Value of a setting before the search, e.g. of `train.training.lr`."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _dimension(key: str, text: str, config: TuneConfig) -> Dimension:
    match = _RANGE.fullmatch(text)
    listed = f"{match['low']},{match['high']}" if match else text
    make_variants(f"{key}={listed}", config.mix, config.train, "--space")
    if not match:
        return Dimension(key, values=tuple(value.strip() for value in split_outside(text, ",")))
    now = current(config, key)
    try:
        low, high = float(match["low"]), float(match["high"])
    except ValueError:
        now = None
    if isinstance(now, bool) or not isinstance(now, int | float):
        raise ConfigError(f"--space: {key}={text}: a range takes a setting that is a number", f"{key}=V1,V2,...")
    if low >= high or (match["log"] and low <= 0):
        wanted = "0 < LOW < HIGH" if match["log"] else "LOW < HIGH"
        raise ConfigError(f"--space: {key}={text}: {wanted} is accepted", _EXAMPLE)
    return Dimension(key, low, high, log=bool(match["log"]), whole=isinstance(now, int))


def _own_key(key: str) -> str:
    """The key itself, or what it is an alias of."""
    section, dot, rest = key.partition(".")
    return f"{section}{dot}{ALIASES.get(rest, rest)}" if section == "train" else key


def _read_space(text: str) -> dict[str, str]:
    """Lines of a YAML file, or the one that is given."""
    file = Path(text)
    if file.suffix in (".yaml", ".yml"):
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(f"--space {text} cannot be read: {' '.join(str(error).split())}") from error
        if not isinstance(content, dict) or not content:
            raise ConfigError(f"--space {text}: lines 'key: LOW..HIGH' or 'key: V1,V2' are accepted", _EXAMPLE)
        return {str(key): str(value) for key, value in content.items()}
    key, equals, value = (part.strip() for part in text.partition("="))
    if not key or not equals or not value:
        raise ConfigError(f"--space '{text}': accepted are {_FORMS}", _EXAMPLE)
    return {key: value}


def differing(config: Config, default: Config, keep: Sequence[str] = ()) -> dict[str, Any]:
    """Settings that differ from the defaults, and those named in `keep`, as nested keys and values.

    Args:
        config: Settings.
        default: Of the same class.
        keep: Dotted keys that are wanted though they are the default.
    """
    now, plain = config.model_dump(mode="json"), default.model_dump(mode="json")

    def walk(one: Mapping[str, Any], other: Mapping[str, Any], path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in one.items():
            if isinstance(value, dict) and isinstance(other[name], dict):
                inner = walk(value, other[name], f"{path}{name}.")
                found |= {name: inner} if inner else {}
            elif value != other[name] or f"{path}{name}" in keep:
                found[name] = value
        return found

    return walk(now, plain, "")
