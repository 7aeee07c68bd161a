"""The same classifier with different settings: the same split, the same real test photos, an honest sentence.

Each value of the sweep gets a folder with its mix, its models and their evaluations, made by the stages themselves: an
interrupted comparison goes on where it stopped, and a value that is added later trains alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import weldgen
from weldgen.classifier.attempts import Attempts
from weldgen.classifier.claims import read_claims
from weldgen.classifier.costs import FILE_SENTENCE, MEMORY_SENTENCE, SHARED_SENTENCE, Deployed
from weldgen.classifier.deployed import measure_deployed
from weldgen.classifier.rows import compare_config, variants_of
from weldgen.classifier.sweep import CompareConfig, Variant
from weldgen.classifier.trials import (
    Run,
    compare_runs,
    mix_all,
    require_test_photos,
    train_all,
)
from weldgen.data.dataset import Failure, failures_text
from weldgen.errors import DataError
from weldgen.receipts import FAILURES_NAME, Summary, check_results, finished, stage_key, write_receipt
from weldgen.runtime import output_errors, write_atomic

if TYPE_CHECKING:
    from weldgen.classifier.comparison import Comparison

__all__ = ["CompareConfig", "compare", "compare_config"]

JSON, CSV, PNG, PARETO = "comparison.json", "comparison.csv", "comparison.png", "pareto.png"
# Rounding to whole images moves the share of real photos.
_SHARE_TOLERANCE = 0.05


def compare(real: Path, synthetic: Path | None, out: Path, config: CompareConfig) -> Summary:
    """Train with each value of a sweep, or each row, and compare the models on the same real test photos.

    Args:
        real: Dataset of real photos.
        synthetic: Dataset of synthetic images; without one all models train on real photos alone.
        out: Folder for the models, `comparison.json`, `comparison.csv`, `comparison.png` and `pareto.png`.
        config: Settings.

    Returns:
        The notes are the table, the verdict, and how the rest was measured. A value that failed counts as a failure and
        is tried again next time.

    Raises:
        ConfigError: A key or a value does not exist or does not fit.
        DataError: There is no test photo, or no synthetic image for values that differ in the mix.
        WeldgenError: All values failed; the first one's error.
    """
    from weldgen.classifier.comparison_table import markdown, table_rows
    from weldgen.classifier.verdict import verdict

    started = time.monotonic()
    variants = variants_of(config)
    inputs = {"real": real} | ({"synthetic": synthetic} if synthetic else {})
    key = stage_key("compare", config.model_copy(update={"parallel": "auto"}), inputs)  # it changes no result
    done = finished(out, key)
    if done and not done.failures:
        return done
    check_results(out, "compare", JSON, (JSON, CSV, PNG, PARETO))
    variants, notes = _without_synthetic(variants, synthetic, config)
    attempts = Attempts()
    mixes = mix_all(variants, (real, synthetic or out / "no-synthetic"), out, config.key, attempts)
    reference = require_test_photos(mixes, attempts)
    runs = train_all(variants, mixes, reference, out, config, attempts)
    deployed = measure_deployed(runs, reference, config, attempts) if config.timing else Deployed({})
    comparison = compare_runs(runs, reference, config, deployed)
    sentences = [*verdict(comparison), *notes, *_data_notes(runs), *_cost_notes(deployed, runs)]
    sentences += [f"failed: {failure.file}: {failure.reason}" for failure in attempts.failures]
    table, claims = table_rows(comparison), read_claims(config.claims) if config.claims else None
    record = {"weldgen": weldgen.__version__, **comparison.record(), "verdict": sentences, "table": table}
    record |= {"claims": claims.record()} if claims else {}
    _write(out, record, comparison, attempts.failures)
    claimed = [claims.sentence(), *markdown(claims.table())] if claims else []
    summary = Summary(
        "compare",
        out,
        {"values": len(comparison.entries), "models": len(runs), "test photos": comparison.photos},
        len(attempts.failures),
        (*markdown(table), *sentences, *claimed),
        details=record,
        seconds=time.monotonic() - started,
    )
    write_receipt(out, key, config, inputs, summary)
    return summary


def _without_synthetic(
    variants: list[Variant], synthetic: Path | None, config: CompareConfig
) -> tuple[list[Variant], list[str]]:
    """Real photos alone for all variants where there are no synthetic images."""
    if synthetic and synthetic.is_dir():
        return variants, []
    trainings = [variant.train for variant in variants]
    if any(training in trainings[:k] for k, training in enumerate(trainings)):
        what = f"--sweep {config.sweep}" if config.sweep else f"what differs between the rows {', '.join(config.rows)}"
        raise DataError(
            f"{what} mixes synthetic images in, but there are none" + (f" in {synthetic}" if synthetic else ""),
            "weldgen synth --n 10000 makes some",
        )
    real_alone = variants[0].mix.model_copy(update={"real_ratio": 1.0})
    notes = ["there are no synthetic images: all models were trained on real photos alone"]
    return [replace(variant, mix=real_alone) for variant in variants], notes


def _data_notes(runs: Sequence[Run]) -> list[str]:
    """Photos that could not be read, and mixes that hold another share of real photos than their value says."""
    unreadable = max(run.evaluated.failures for run in runs)
    notes = [f"{unreadable} test photos could not be read and do not count"] if unreadable else []
    for value, run in {run.variant.value: run for run in runs}.items():
        counts, wanted = run.trained.counts, run.variant.mix.real_ratio
        share = counts["real"] / (counts["real"] + counts["synthetic"])
        if share > wanted + _SHARE_TOLERANCE and run.variant.mix.use_all is not True:
            notes.append(
                f"{value}: {share:.0%} of the training images are real instead of {wanted:.0%}, because there are too "
                "few synthetic images; weldgen synth with a larger --n mends it"
            )
    return notes


def _cost_notes(deployed: Deployed, runs: Sequence[Run]) -> list[str]:
    """How the columns beside the accuracy were measured."""
    sized = [FILE_SENTENCE] if deployed.file_mb else []
    most = max(run.beside for run in runs)
    shared = [SHARED_SENTENCE.format(most=most)] if most > 1 else []
    return [*shared, MEMORY_SENTENCE, *sized, *([deployed.latency.sentence()] if deployed.latency else [])]


def _write(out: Path, record: Mapping[str, Any], comparison: Comparison, failures: Sequence[Failure]) -> None:
    """Write the result's files."""
    from weldgen.classifier.comparison_plots import comparison_png, pareto_png
    from weldgen.classifier.comparison_table import csv_text

    write_atomic(out / JSON, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    write_atomic(out / CSV, csv_text(comparison))
    write_atomic(out / PNG, comparison_png(comparison))
    pareto = pareto_png(comparison)
    with output_errors(out):
        for name in (FAILURES_NAME, *(() if pareto else (PARETO,))):
            (out / name).unlink(missing_ok=True)
    if pareto:
        write_atomic(out / PARETO, pareto)
    if failures:
        write_atomic(out / FAILURES_NAME, failures_text(failures))
