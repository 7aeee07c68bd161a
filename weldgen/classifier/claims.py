"""What other systems claim of themselves, to be shown beside what was measured and never among it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import Field

from weldgen.config import Config, did_you_mean
from weldgen.errors import ConfigError
from weldgen.runtime import resource_dir

MARK = "claimed by others, not measured here"
_COLUMNS = ("accuracy", "balanced_accuracy", "false_alarms", "training", "parameters", "file_size", "latency")


class Claim(Config):
    """Figures of one model, as its makers state them."""

    model: str
    accuracy: str = ""
    balanced_accuracy: str = ""
    false_alarms: str = ""
    training: str = ""
    parameters: str = ""
    file_size: str = ""
    latency: str = ""
    right: tuple[int, int] | None = Field(None, description="right answers and photos behind the accuracy")


class Claims(Config):
    """What the description of one system states."""

    source: str
    note: str
    rows: tuple[Claim, ...]

    def sentence(self) -> str:
        """Where the figures come from, and that they are not ours."""
        return f"{MARK}: {self.source}; {self.note}"

    def table(self) -> list[tuple[str, ...]]:
        """Head and rows; columns that no row fills are left out."""
        used = [name for name in _COLUMNS if any(getattr(row, name) for row in self.rows)]
        rows = [(row.model, *(_cell(row, name) for name in used)) for row in self.rows]
        return [(MARK, *(name.replace("_", " ") for name in used)), *rows] if rows else []

    def record(self) -> dict[str, Any]:
        """What `comparison.json` keeps."""
        head, *rows = self.table() or [()]
        return {"mark": self.sentence(), "head": list(head), "rows": [list(row) for row in rows]}


def read_claims(task: str) -> Claims:
    """The figures that are known of a task.

    Raises:
        ConfigError: There is no such task.
    """
    content = yaml.safe_load((resource_dir("configs") / "claims" / "default.yaml").read_text(encoding="utf-8"))
    if task not in content:
        names: Sequence[str] = sorted(content)
        raise ConfigError(f"--claims '{task}' is not known; tasks: {', '.join(names)}", did_you_mean(task, names))
    return Claims.model_validate(content[task])


def _cell(row: Claim, name: str) -> str:
    """A figure as it was stated; with the interval of its photos where their number was stated too."""
    if name != "accuracy" or row.right is None:
        return str(getattr(row, name))
    from weldgen.classifier.metrics import Share

    return f"{row.accuracy}: {Share(*row.right)}"
