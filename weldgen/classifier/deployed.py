"""Export the models of a comparison and measure the files: their size, and the time of a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from weldgen.classifier.attempts import Attempts
from weldgen.classifier.costs import Deployed
from weldgen.classifier.export import ExportConfig, export
from weldgen.classifier.latency import measure_latency
from weldgen.classifier.sweep import CompareConfig
from weldgen.classifier.trials import Run
from weldgen.data.dataset import Dataset
from weldgen.runtime import evenly

_PHOTOS = 5


def measure_deployed(runs: Sequence[Run], reference: Path, config: CompareConfig, attempts: Attempts) -> Deployed:
    """Export the first model of each value and measure the files; what fails is kept in `attempts`."""
    first: dict[str, Run] = {}
    for run in runs:
        first.setdefault(run.variant.value, run)
    files = {}
    for value, run in first.items():
        out = run.folder / "export" / "classifier.onnx"
        settings = ExportConfig(seed=config.seed, device=config.device, jobs=config.jobs)
        exported = attempts.run(f"{config.key}={value}/export", partial(export, run.folder / "model", out, settings))
        if exported:
            files[value] = out
    dataset = Dataset.open(reference)
    photos = [dataset.path(sample) for sample in evenly(dataset.select(split="test", origin="real"), _PHOTOS)]
    latency = attempts.run("latency", partial(measure_latency, files, photos)) if files else None
    return Deployed({value: file.stat().st_size / 1e6 for value, file in files.items()}, latency)
