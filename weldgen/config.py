"""One configuration, no code: Hydra composes, pydantic checks, the result is frozen.

Order, later wins: a stage's defaults, the project's `weldgen.yaml`, a preset, a pipeline's step, the command line.
A preset, a `weldgen.yaml` and a pipeline's step hold only what differs, in one section for each stage::

    train:
      training: {epochs: 5}
"""

from __future__ import annotations

import copy
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weldgen.errors import ConfigError
from weldgen.runtime import resource_dir

PROJECT_FILE = "weldgen.yaml"


class Config(BaseModel):
    """A frozen piece of configuration; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StageConfig(Config):
    """What every stage's configuration holds."""

    seed: int = Field(0, ge=0, description="seed of the run; each image's seed is derived from it")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps")
    jobs: int = Field(0, ge=0, description="worker processes or threads; 0 means all cores")


ConfigT = TypeVar("ConfigT", bound=StageConfig)


def load_config(  # noqa: PLR0913 - the five layers of the composition, by name
    stage: str,
    model: type[ConfigT],
    *,
    preset: str | None = None,
    project: Path | None = None,
    step: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> ConfigT:
    """Compose the configuration of one stage.

    Args:
        stage: Name of the stage; its defaults are `configs/<stage>.yaml`.
        model: Its configuration class.
        preset: Name of a shipped preset, or path of a YAML file of the same shape.
        project: Project folder whose `weldgen.yaml` counts; None means the working folder.
        step: Settings of a pipeline's step.
        overrides: Hydra overrides, e.g. `["training.epochs=50", "model.head=arcface"]`.
        flags: Command-line options by dotted key; None values are left out.

    Raises:
        ConfigError: A file, key or value that does not exist or does not fit.
    """
    from omegaconf import OmegaConf

    project = project or Path()
    merged: Any = OmegaConf.create(_compose_file(resource_dir("configs") / f"{stage}.yaml"))
    for source, section in (
        (PROJECT_FILE, _section(project / PROJECT_FILE, stage, optional=True)),
        (f"preset '{preset}'", _section(find_preset(preset, project), stage) if preset else {}),
        ("pipeline step", dict(step or {})),
    ):
        try:
            merged = OmegaConf.merge(merged, OmegaConf.create(section))
        except Exception as error:  # OmegaConf raises many kinds
            raise ConfigError(f"{source}: section '{stage}' cannot be merged: {error}") from error
    for key, value in [*_parse(overrides), *((k, v) for k, v in (flags or {}).items() if v is not None)]:
        OmegaConf.update(merged, key, value, merge=True, force_add=True)
    return _validate(stage, model, merged)


def find_preset(name: str, project: Path) -> Path:
    """File of a preset: a path, `configs/<name>.yaml` of the project, or one that ships with weldgen.

    Raises:
        ConfigError: There is none of that name.
    """
    shipped = resource_dir("configs") / "presets" / f"{name}.yaml"
    for candidate in (Path(name), project / "configs" / f"{name}.yaml", shipped):
        if candidate.suffix in (".yaml", ".yml") and candidate.is_file():
            return candidate
    raise ConfigError(
        f"--config-name '{name}' is not a preset; shipped: {', '.join(preset_names())}",
        did_you_mean(name, preset_names()) or "the path of a YAML file is accepted too",
    )


def preset_names() -> list[str]:
    """Names of the presets that ship with weldgen."""
    return sorted(file.stem for file in (resource_dir("configs") / "presets").glob("*.yaml"))


def stage_names() -> list[str]:
    """Names of the stages: those that have a file of defaults."""
    return sorted(file.stem for file in resource_dir("configs").glob("*.yaml"))


def _section(file: Path, stage: str, *, optional: bool = False) -> dict[str, Any]:
    """Section of one stage in a file that has a section for each stage."""
    if optional and not file.is_file():
        return {}
    content = _compose_file(file)
    names = stage_names()
    for key, section in content.items():
        if key not in names:
            raise ConfigError(
                f"{file}: '{key}' is not a stage; sections: {', '.join(names)}", did_you_mean(str(key), names)
            )
        if section is not None and not isinstance(section, dict):
            raise ConfigError(f"{file}: section '{key}' must hold settings, got {section!r}")
    return typing.cast(dict[str, Any], content.get(stage) or {})


def _compose_file(file: Path) -> dict[str, Any]:
    """Compose one YAML file with Hydra, so that defaults lists and interpolation work."""
    if not file.is_file():
        raise ConfigError(f"{file} does not exist")
    content = file.read_bytes()
    # Neither other files nor the environment count: composed once, as one command asks for the same file many times.
    alone = b"defaults" not in content and b"${" not in content
    return copy.deepcopy(_composed_once(file, file.resolve(), content)) if alone else _composed(file)


@lru_cache(maxsize=64)
def _composed_once(file: Path, place: Path, content: bytes) -> dict[str, Any]:
    return _composed(file)


def _composed(file: Path) -> dict[str, Any]:
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        with initialize_config_dir(config_dir=str(file.parent.resolve()), version_base=None):
            composed = OmegaConf.to_container(compose(config_name=file.stem), resolve=True)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(composed, dict):
        raise ConfigError(f"{file} must hold keys and values, got {type(composed).__name__}")
    return {str(key): value for key, value in composed.items()}


def _parse(overrides: Sequence[str]) -> list[tuple[str, Any]]:
    """Read Hydra's override grammar; a value that it cannot read, such as a regular expression, is text."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    parsed = []
    for text in overrides:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ConfigError(f"'{text}' is not an override", "write key=value, e.g. training.epochs=50")
        try:
            override = parser.parse_override(text)
        except HydraException:
            escaped = value.replace("'", "\\'")
            try:
                override = parser.parse_override(f"{key}='{escaped}'")
            except HydraException as error:
                raise ConfigError(f"'{text}' is not an override", "write key=value, e.g. training.epochs=50") from error
        if override.is_delete() or override.is_sweep_override():
            raise ConfigError(f"'{text}': one value for a key is accepted here, no sweep and no deletion")
        parsed.append((str(override.key_or_group), override.value()))
    return parsed


def _validate(stage: str, model: type[ConfigT], merged: Any) -> ConfigT:
    from omegaconf import OmegaConf

    try:
        return model.model_validate(OmegaConf.to_container(merged, resolve=True))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            parent = _model_at(model, first["loc"][:-1])
            names = sorted(parent.model_fields) if parent else []
            nearest = did_you_mean(str(first["loc"][-1]), names, prefix=key.rpartition(".")[0])
            raise ConfigError(
                f"{stage}: there is no setting '{key}'; accepted here: {', '.join(names)}", nearest
            ) from error
        raise ConfigError(f"{stage}: {key}={first['input']!r}: {_lower_first(first['msg'])}") from error


def _model_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    """The configuration class that a dotted key leads to."""
    current: type[BaseModel] | None = model
    for part in path:
        annotation = (
            current.model_fields[str(part)].annotation if current and str(part) in current.model_fields else None
        )
        options = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
        current = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
    return current


def did_you_mean(name: str, names: Sequence[str], prefix: str = "") -> str:
    """A hint that names the nearest of the right names; empty where none is near."""
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if not nearest:
        return ""
    return f"did you mean '{prefix + '.' if prefix else ''}{nearest[0]}'?"


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
