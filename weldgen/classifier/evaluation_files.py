"""The files of an evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from weldgen.classifier.measurement import Measurement
from weldgen.classifier.metrics import Counts
from weldgen.classifier.names import (
    CONFUSION,
    CONFUSION_NORMALISED,
    EVIDENCE,
    METRICS,
    PRECISION_RECALL,
    PREDICTIONS,
    RELIABILITY,
    ROC,
)
from weldgen.classifier.plots import confusion_png, precision_recall_png, reliability_png, roc_png
from weldgen.data.dataset import Failure, failures_text
from weldgen.receipts import FAILURES_NAME
from weldgen.runtime import output_errors, write_atomic

_CURVES = (ROC, PRECISION_RECALL, RELIABILITY)
FILES = (METRICS, PREDICTIONS, EVIDENCE, CONFUSION, CONFUSION_NORMALISED, *_CURVES)


def write_results(
    out: Path,
    metrics: Mapping[str, Any],
    measured: Measurement,
    failures: Sequence[Failure],
    shown: Sequence[Mapping[str, Any]],
) -> None:
    """Write what was found; `metrics.json` first, which says that weldgen made the rest.

    Args:
        out: Folder.
        metrics: What `metrics.json` is to hold.
        measured: What was measured, with the answers and the curves.
        failures: Photos that could not be read.
        shown: Lines of `evidence.jsonl`.
    """
    labels, title = metrics["labels"], f"real {metrics['split']} photos, n = {metrics['n']}"
    matrix: Counts = np.array(metrics["confusion"], np.int64)
    write_atomic(out / METRICS, json.dumps(metrics, indent=1, ensure_ascii=False) + "\n")
    lines = "".join(json.dumps(prediction.record(), ensure_ascii=False) + "\n" for prediction in measured.predictions)
    write_atomic(out / PREDICTIONS, lines)
    write_atomic(out / EVIDENCE, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in shown))
    write_atomic(out / CONFUSION, confusion_png(matrix, labels, shares=False, title=title))
    write_atomic(out / CONFUSION_NORMALISED, confusion_png(matrix, labels, shares=True, title=f"{title}, share of row"))
    pictures = _pictures(metrics, measured, title)
    with output_errors(out):
        for name in (FAILURES_NAME, *_CURVES):  # of an earlier run
            (out / name).unlink(missing_ok=True)
    for name, picture in pictures.items():
        write_atomic(out / name, picture)
    if failures:
        write_atomic(out / FAILURES_NAME, failures_text(failures))


def _pictures(metrics: Mapping[str, Any], measured: Measurement, title: str) -> dict[str, bytes]:
    """Curves and reliability by file name, as far as they are defined for these photos."""
    if not measured.predictions:
        return {}
    found = {RELIABILITY: reliability_png(metrics["calibration"], title)}
    if metrics["auroc"]["macro"] is not None:
        found[ROC] = roc_png(measured.curves.roc, title)
        found[PRECISION_RECALL] = precision_recall_png(measured.curves.precision_recall, title)
    return found
