"""Receipts: the `stage.json` that a stage writes last, done-marker and skip test in one."""

from __future__ import annotations

import importlib.metadata
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import weldgen
from weldgen.config import StageConfig
from weldgen.errors import OutputError
from weldgen.runtime import content_hash, file_hash, write_atomic

RECEIPT_NAME = "stage.json"
# Pages beside a result, for people.
PAGES = ("report.html", "review.html")
FAILURES_NAME = "failures.jsonl"
# Do not change a result, so a different value is no reason to run again.
_NOT_IN_KEY = {"jobs", "device", "logging"}
# Versions worth knowing when a result cannot be reproduced.
_LIBRARIES = ("torch", "torchvision", "timm", "diffusers", "onnxruntime", "openvino", "opencv-python-headless", "numpy")


@dataclass(frozen=True)
class Summary:
    """What a stage did.

    Attributes:
        stage: Name of the stage.
        out: Folder (or file) that holds the result.
        counts: Named totals, e.g. `{"images": 40, "cleaned": 12}`.
        failures: Images that could not be processed, listed in `failures.jsonl` in `out`.
        notes: Sentences for the user: what `auto` chose, what would be better.
        weights: Third-party weights used: `{"id", "licence"}` each.
        details: JSON-able results that belong to the receipt (metrics, choices).
        seconds: Wall time.
        skipped: Whether nothing had to be done.
    """

    stage: str
    out: Path
    counts: Mapping[str, int] = field(default_factory=dict)
    failures: int = 0
    notes: tuple[str, ...] = ()
    weights: tuple[Mapping[str, str], ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    skipped: bool = False

    @property
    def unmet(self) -> str:
        """What the stage measured and found not good enough, in one sentence: then the command fails; else empty."""
        return str(self.details.get("unmet", ""))


def receipt_folder(out: Path) -> Path:
    """Folder that holds the receipt of a result: itself, or the folder of a single file."""
    return out if out.is_dir() else out.parent


def fingerprint(path: Path) -> str:
    """Identity of an input's content: a file's hash, or that of all files in a folder with their relative paths.

    A finished dataset's `stage.json` and its pages for people are not content; nor are hidden files.
    """
    if path.is_file():
        return file_hash(path)
    lines = [
        f"{file.relative_to(path).as_posix()}:{file_hash(file)}"
        for file in sorted(path.rglob("*"))
        if file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
        and file.name not in (RECEIPT_NAME, *PAGES)
    ]
    return content_hash("\n".join(lines).encode())


def stage_key(stage: str, config: StageConfig, inputs: Mapping[str, Path]) -> str:
    """`run_key` of a stage whose inputs lie on disk; an input that does not exist is left out."""
    return run_key(stage, config, {name: fingerprint(path) for name, path in inputs.items() if path.exists()})


def run_key(stage: str, config: StageConfig, inputs: Mapping[str, str]) -> str:
    """Identity of a run: the same key means the same result.

    Args:
        stage: Name of the stage.
        config: Its resolved configuration.
        inputs: Name of each input -> its `fingerprint`.
    """
    settings = config.model_dump(mode="json", exclude=_NOT_IN_KEY)
    return content_hash(json.dumps([stage, settings, dict(inputs)], sort_keys=True).encode())


def read_receipt(out: Path) -> dict[str, Any] | None:
    """The receipt in folder `out`, or None where there is none or it is unreadable."""
    try:
        receipt = json.loads((out / RECEIPT_NAME).read_text())
    except (OSError, ValueError):
        return None
    return receipt if isinstance(receipt, dict) else None


def finished(out: Path, key: str) -> Summary | None:
    """The summary of an earlier run with the same key that finished in `out`, or None."""
    receipt = read_receipt(out)
    if receipt is None or receipt.get("key") != key:
        return None
    return Summary(
        stage=receipt["stage"],
        out=out,
        counts=receipt["counts"],
        failures=receipt["failures"],
        notes=tuple(receipt["notes"]),
        weights=tuple(receipt["weights"]),
        details=receipt["details"],
        seconds=receipt["seconds"],
        skipped=True,
    )


def write_receipt(out: Path, key: str, config: StageConfig, inputs: Mapping[str, Path], summary: Summary) -> None:
    """Write `stage.json` into folder `out`: the last thing a stage does."""
    receipt = {
        "stage": summary.stage,
        "key": key,
        "weldgen": weldgen.__version__,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "config": config.model_dump(mode="json"),
        "seed": config.seed,
        "inputs": {name: str(path) for name, path in inputs.items()},
        "counts": dict(summary.counts),
        "failures": summary.failures,
        "notes": list(summary.notes),
        "weights": [dict(weight) for weight in summary.weights],
        "details": dict(summary.details),
        "seconds": round(summary.seconds, 2),
        "versions": _versions(),
    }
    write_atomic(out / RECEIPT_NAME, json.dumps(receipt, indent=2) + "\n")


def _versions() -> dict[str, str]:
    versions = {}
    for library in _LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def check_results(out: Path, stage: str, record: str, names: Sequence[str]) -> None:
    """Refuse to write over files of a user's.

    Args:
        out: Folder of a stage's results.
        stage: The command that writes them.
        record: The file that is written first; what weldgen wrote says so.
        names: Files that are going to be written.

    Raises:
        OutputError: One of them is there, and the record does not say that weldgen made it.
    """
    there = [out / name for name in names if (out / name).exists()]
    if not there:
        return
    try:
        made = json.loads((out / record).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        made = None
    if not isinstance(made, dict) or "weldgen" not in made:
        raise OutputError(
            f"{there[0]} exists and was not made by weldgen {stage}", "move it away, or choose another --out"
        )
