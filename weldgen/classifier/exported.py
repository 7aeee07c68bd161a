"""What an exported file says about itself; written by export, read by evaluate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from weldgen.classifier.model_file import ModelCard
from weldgen.classifier.operating_point import OperatingPoint
from weldgen.decision import CONFIDENCE_KEY, OPERATING_KEY, read_decision, read_operating
from weldgen.errors import DataError
from weldgen.inference import read_metadata


@dataclass(frozen=True)
class ExportedCard:
    """Metadata of an exported network.

    Attributes:
        classes: Names, in the order of the outputs.
        seen: Ids of the real photos of training and validation, by split.
        operating: How it decides; None where the most probable class wins and nothing abstains.
    """

    classes: tuple[str, ...]
    seen: Mapping[str, Sequence[str]]
    operating: OperatingPoint | None


def metadata_of(card: ModelCard, threshold: float, precision: str, point: OperatingPoint | None) -> dict[str, str]:
    """Names and texts that travel inside the exported file.

    Args:
        card: The model's.
        threshold: Predictions with a lower probability abstain; 0: as the operating point says.
        precision: Of the weights.
        point: The operating point that evaluation chose.
    """
    operating = {OPERATING_KEY: json.dumps(point.record())} if point else {}
    return {
        "classes": json.dumps(card.classes),
        "frame": json.dumps(card.frame),
        CONFIDENCE_KEY: str(threshold or (point.decision.confidence if point else 0.0)),
        **operating,
        "temperature": str(card.temperature),
        "temperature_fitted_on": str(card.temperature_fitted_on),
        "backbone": card.backbone,
        "precision": precision,
        "licences": json.dumps(dict(card.licences)),
        "warnings": json.dumps(list(card.warnings)),
        "seen": json.dumps(_seen(card)),
        "locator": card.locator,
        "weldgen": card.weldgen,
    }


def _seen(card: ModelCard) -> dict[str, list[str]]:
    """What the network in the file saw: photos that it learned are none of validation, whatever they were before."""
    seen = {split: list(ids) for split, ids in card.seen.items()}
    if card.learned_validation:
        seen = {"train": sorted({*seen.get("train", ()), *seen.get("val", ())}), "val": []}
    return seen


def read_exported(model: Path) -> ExportedCard:
    """Card of an exported network.

    Raises:
        BackendError: The file cannot be read.
        DataError: It was not written by weldgen.
    """
    metadata = read_metadata(model)
    if "classes" not in metadata:
        raise DataError(f"{model} was not exported by weldgen: it names no classes", "weldgen export")
    decision, record = read_decision(metadata), read_operating(metadata)
    point = None
    if record:
        point = replace(OperatingPoint.from_record(record), decision=decision)
    elif decision.confidence:
        point = OperatingPoint(decision)
    return ExportedCard(tuple(json.loads(metadata["classes"])), json.loads(metadata["seen"]), point)
