"""What an exported file says about itself; written by export, read by evaluate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from weldgen.classifier.model_file import ModelCard
from weldgen.errors import DataError
from weldgen.inference import read_metadata


@dataclass(frozen=True)
class ExportedCard:
    """Metadata of an exported network.

    Attributes:
        classes: Names, in the order of the outputs.
        threshold: Predictions with a lower probability abstain; 0: never.
        seen: Ids of the real photos of training and validation, by split.
    """

    classes: tuple[str, ...]
    threshold: float
    seen: Mapping[str, Sequence[str]]


def metadata_of(card: ModelCard, threshold: float, precision: str) -> dict[str, str]:
    """Names and texts that travel inside the exported file."""
    return {
        "classes": json.dumps(card.classes),
        "frame": json.dumps(card.frame),
        "threshold": str(threshold),
        "temperature": str(card.temperature),
        "temperature_fitted_on": str(card.temperature_fitted_on),
        "backbone": card.backbone,
        "precision": precision,
        "licences": json.dumps(dict(card.licences)),
        "warnings": json.dumps(list(card.warnings)),
        "seen": json.dumps({split: list(ids) for split, ids in card.seen.items()}),
        "weldgen": card.weldgen,
    }


def read_exported(model: Path) -> ExportedCard:
    """Card of an exported network.

    Raises:
        BackendError: The file cannot be read.
        DataError: It was not written by weldgen.
    """
    metadata = read_metadata(model)
    if "classes" not in metadata:
        raise DataError(f"{model} was not exported by weldgen: it names no classes", "weldgen export")
    return ExportedCard(
        tuple(json.loads(metadata["classes"])), float(metadata["threshold"]), json.loads(metadata["seen"])
    )
