"""Targets: what a measured value has to reach, whether it does, and whether the number of photos proves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from weldgen.config import Config, did_you_mean
from weldgen.data.labels import good_class
from weldgen.errors import ConfigError

_OPERATING = ("accuracy", "decided_accuracy", "abstained")
_OPERATING_POSITIVE = ("recall", "false_reject_rate", "escaped")


class Target(Config):
    """Where a value has to lie."""

    min: float | None = Field(None, ge=0, le=1, description="at least")
    max: float | None = Field(None, ge=0, le=1, description="at most")

    @model_validator(mode="after")
    def _check(self) -> Target:
        if self.min is None and self.max is None:
            raise ValueError("a target has min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min={self.min:g} is above max={self.max:g}")
        return self

    def holds(self, low: float, high: float) -> bool:
        """Whether everything from `low` to `high` lies where it has to."""
        return (self.min is None or low >= self.min) and (self.max is None or high <= self.max)

    def __str__(self) -> str:
        parts = [f"at least {self.min:g}"] if self.min is not None else []
        parts += [f"at most {self.max:g}"] if self.max is not None else []
        return " and ".join(parts)


@dataclass(frozen=True)
class Measured:
    """A value with its 95 % interval.

    Attributes:
        value: The value; None where there was no photo to measure it on.
        low: Lower end.
        high: Upper end.
    """

    value: float | None
    low: float
    high: float


def parse_targets(content: Any) -> dict[str, Target]:
    """Targets from what a YAML file says, e.g. `{"recall.bad": {"min": 0.97}}`.

    Raises:
        ValueError: It is something else; the message says what.
    """
    if not isinstance(content, Mapping):
        raise ValueError("targets are written as NAME: {min: 0.95} or NAME: {max: 0.05}")
    targets = {}
    for name, target in content.items():
        try:
            targets[str(name)] = target if isinstance(target, Target) else Target.model_validate(target)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in (name, *first["loc"]))
            raise ValueError(f"{where}={first['input']!r}: {first['msg'][:1].lower()}{first['msg'][1:]}") from error
    return targets


def read_targets(file: Path) -> dict[str, Target]:
    """The targets in a YAML file.

    Raises:
        ConfigError: There is no such file, or it holds something else.
    """
    import yaml

    if not file.is_file():
        raise ConfigError(f"targets={file}: there is no such file", "write NAME: {min: 0.95} into it, a line for each")
    try:
        return parse_targets(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{file}: {' '.join(str(error).split())}") from error


def metric_names(labels: Sequence[str], *, operating: bool, threshold: bool) -> list[str]:
    """Names that a target may have.

    Args:
        labels: The classes.
        operating: Whether an operating point is measured.
        threshold: Whether it has a threshold for one class.
    """
    names = ["accuracy", "balanced_accuracy"]
    names += ["false_alarm_rate", "miss_rate"] if good_class(labels) is not None else []
    names += [f"{kind}.{label}" for label in labels for kind in ("recall", "precision", "f1")]
    names += [f"operating.{name}" for name in _OPERATING] if operating else []
    return names + ([f"operating.{name}" for name in _OPERATING_POSITIVE] if threshold else [])


def check_names(targets: Mapping[str, Target], names: Sequence[str]) -> None:
    """Refuse targets of values that are not measured.

    Raises:
        ConfigError: One is unknown; the nearest right one is named.
    """
    for name in targets:
        if name not in names:
            hint = did_you_mean(name, names)
            if name.startswith("operating.") and not any(known.startswith("operating.") for known in names):
                hint = "set operating.min_recall, operating.max_false_reject or operating.abstain as well"
            raise ConfigError(f"targets: nothing is called '{name}'; accepted: {', '.join(names)}", hint)


def measured_values(metrics: Mapping[str, Any]) -> dict[str, Measured]:
    """All values that a target may be about, by name, from what `metrics.json` holds.

    Shares have Wilson's interval, which counts groups of photos where they are known; those of the balanced accuracy
    and of F1 are made of such.
    """
    found = {"accuracy": _of_share(metrics["accuracy"])}
    found["balanced_accuracy"] = Measured(metrics["balanced_accuracy"], *metrics["balanced_accuracy_interval"])
    if metrics["good_class"] is not None:
        found |= {name: _of_share(metrics[name]) for name in ("false_alarm_rate", "miss_rate")}
    for label, row in metrics["classes"].items():
        found |= {f"{kind}.{label}": _of_share(row[kind]) for kind in ("recall", "precision")}
        found[f"f1.{label}"] = Measured(row["f1"] if row["support"] + row["predicted"] else None, *row["f1_interval"])
    operating = metrics.get("operating") or {}
    names = [name for name in (*_OPERATING, *_OPERATING_POSITIVE) if name in operating]
    return found | {f"operating.{name}": _of_share(operating[name]) for name in names}


def judge(targets: Mapping[str, Target], metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `metrics.json` says of each target.

    `pass`: the value reaches it. `proven`: so does the far end of its interval. A value that could not be measured does
    neither.
    """
    values = measured_values(metrics)
    rows = []
    for name, target in targets.items():
        found = values.get(name, Measured(None, 0.0, 1.0))
        value, low, high = found.value, found.low, found.high
        passed = value is not None and target.holds(value, value)
        rows.append(
            {
                "metric": name, "min": target.min, "max": target.max, "value": value, "low": low, "high": high,
                "pass": passed, "proven": passed and target.holds(low, high),
            }
        )  # fmt: skip
    return rows


def target_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One sentence on the targets, where there are any."""
    if not rows:
        return []
    proven = sum(row["proven"] for row in rows)
    return [f"targets: {sum(row['pass'] for row in rows)} of {len(rows)} reached, {proven} proven by the intervals"]


def unmet_sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which targets are missed, in one sentence; empty where none is."""
    missed = [_missed(row) for row in rows if not row["pass"]]
    return f"{len(missed)} of {len(rows)} targets missed: {'; '.join(missed)}" if missed else ""


def _missed(row: Mapping[str, Any]) -> str:
    asked = Target(min=row["min"], max=row["max"])
    if row["value"] is None:
        return f"{row['metric']} could not be measured, {asked} was asked for"
    interval = f"95 % interval {row['low']:.3f} to {row['high']:.3f}"
    return f"{row['metric']} is {row['value']:.3f} ({interval}), {asked} was asked for"


def _of_share(record: Mapping[str, Any]) -> Measured:
    return Measured(record["value"], record["low"], record["high"])
