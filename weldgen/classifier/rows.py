"""Rows of a comparison: `NAME: [preset=NAME] key=value key=value`, several settings under one name.

Order, later wins: a stage's defaults, `weldgen.yaml`, the row's preset (else that of all), the settings of all rows,
the row's own. A row without settings is the project as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weldgen.classifier.claims import read_claims
from weldgen.classifier.splitting import split_outside
from weldgen.classifier.sweep import CompareConfig, Row, Variant, check_key, load_sections, make_variants
from weldgen.errors import ConfigError

DEFAULT_SWEEP = "mix.real_ratio=1,0.75,0.5,0.25,0.1"
_PRESET = "preset="
_EXAMPLE = "e.g. --row 'fast: train.training.epochs=5' --row 'tiny: preset=tiny_data train.model.layers=last'"
# What a preset could change and a comparison may not.
_FIXED = ("seed", "split")


def compare_config(
    sweep: str = "",
    rows: Sequence[str] = (),
    *,
    settings: Mapping[str, Any] | None = None,
    preset: str | None = None,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> CompareConfig:
    """The configuration of a comparison: the sections `mix` and `train` of the project with what differs.

    Args:
        sweep: `KEY=V1,V2,...`; where neither it nor rows are given, the share of real photos is swept.
        rows: `NAME: key=value ...`, or paths of YAML files of such lines.
        settings: `repeats`, `parallel`, `timing` and `claims`; None values are left out.
        preset: Name of a preset.
        overrides: `mix.key=value` and `train.key=value`, the same for all values.
        flags: `seed`, `device` and `jobs`; None values are left out.

    Raises:
        ConfigError: A setting that does not exist or does not fit.
    """
    if sweep and rows:
        raise ConfigError("--sweep and --row were given, one of them is accepted", "write the sweep's values as rows")
    own = {name: value for name, value in {**(settings or {}), **(flags or {})}.items() if value is not None}
    if own.get("repeats", 1) < 1:
        raise ConfigError(f"--repeats {own['repeats']}: 1 or more is accepted")
    parallel = str(own.get("parallel", "auto"))
    if parallel != "auto" and not (parallel.isdecimal() and int(parallel)):
        raise ConfigError(f"--parallel {parallel}: auto or a number of trainings, 1 or more, is accepted")
    if own.get("claims"):
        read_claims(own["claims"])
    mixing, training = load_sections(preset=preset, overrides=overrides, flags=flags)
    found = {
        name: _load_row(name, text, preset=preset, overrides=overrides, flags=flags)
        for name, text in read_rows(rows).items()
    }
    swept = "" if found else sweep or DEFAULT_SWEEP
    config = CompareConfig(sweep=swept, rows=found, mix=mixing, train=training, **own)
    variants_of(config)
    return config


def variants_of(config: CompareConfig) -> list[Variant]:
    """What is compared, checked before anything runs.

    Raises:
        ConfigError: A key or value that does not fit, fewer than two rows, rows that mean the same, or a row with
            other test photos.
    """
    if not config.rows:
        return make_variants(config.sweep, config.mix, config.train)
    if len(config.rows) < 2:
        raise ConfigError(f"--row: one row ({', '.join(config.rows)}) compares nothing", _EXAMPLE)
    variants: list[Variant] = []
    for name, row in config.rows.items():
        for fixed in _FIXED:
            for section, own, common in (("mix", row.mix, config.mix), ("train", row.train, config.train)):
                if getattr(own, fixed) != getattr(common, fixed):
                    raise ConfigError(f"--row '{name}' changes {section}.{fixed}, which must be the same for all rows")
        same = [other.value for other in variants if (other.mix, other.train) == (row.mix, row.train)]
        if same:
            raise ConfigError(f"--row: '{same[0]}' and '{name}' mean the same", "give each row once")
        variants.append(Variant(name, row.mix, row.train, row.settings))
    return variants


def read_rows(texts: Sequence[str]) -> dict[str, str]:
    """Name -> settings of rows.

    Args:
        texts: `NAME: key=value ...` each, or a YAML file of such lines.

    Raises:
        ConfigError: One is of another form, or a name is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        lines = _read_file(Path(text)) if Path(text).suffix in (".yaml", ".yml") else [_read_line(text)]
        for name, settings in lines:
            if name in found:
                raise ConfigError(f"--row: the name '{name}' is given twice")
            found[name] = settings
    return found


def _read_line(text: str) -> tuple[str, str]:
    name, colon, settings = (part.strip() for part in text.partition(":"))
    if not name or not colon or "=" in name:
        raise ConfigError(f"--row '{text}': NAME: key=value key=value is accepted, or a YAML file", _EXAMPLE)
    return name, settings


def _read_file(file: Path) -> list[tuple[str, str]]:
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"--row {file} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not all(isinstance(v, str | None) for v in content.values()):
        raise ConfigError(f"--row {file}: lines 'name: key=value key=value' are accepted", _EXAMPLE)
    return [(str(name), settings or "") for name, settings in content.items()]


def _load_row(
    name: str, text: str, *, preset: str | None, overrides: Sequence[str], flags: Mapping[str, Any] | None
) -> Row:
    """One row with all that it stands on."""
    try:
        words = [word for word in split_outside(text, " \t\n") if word]
    except ValueError as error:
        raise ConfigError(f"--row '{name}': {error}", "a value with brackets has all of them") from error
    presets = [word.removeprefix(_PRESET) for word in words if word.startswith(_PRESET)]
    if len(presets) > 1:
        raise ConfigError(f"--row '{name}': one preset is accepted, got {', '.join(presets)}")
    own = [word for word in words if not word.startswith(_PRESET)]
    for word in own:
        key, equals, _ = word.partition("=")
        if not equals:
            raise ConfigError(f"--row '{name}': '{word}' is no key=value", _EXAMPLE)
        check_key(key, "--row")
    own_preset = presets[0] if presets else preset
    mixing, training = load_sections(preset=own_preset, overrides=[*overrides, *own], flags=flags)
    return Row(settings=" ".join(words), mix=mixing, train=training)
