"""The same classifier with different settings: the same split, the same real test photos, an honest sentence.

Each value of the sweep gets a folder with its mix, its models and their evaluations, made by the stages themselves: an
interrupted comparison goes on where it stopped, and a value that is added later trains alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import weldgen
from weldgen.classifier.sweep import CompareConfig, Variant, compare_config, make_variants
from weldgen.classifier.trials import Attempts, Run, compare_runs, mix_all, require_test_photos, train_all
from weldgen.data.dataset import Failure, failures_text
from weldgen.errors import DataError
from weldgen.receipts import FAILURES_NAME, Summary, check_results, finished, stage_key, write_receipt
from weldgen.runtime import output_errors, write_atomic

if TYPE_CHECKING:
    from weldgen.classifier.comparison import Comparison

__all__ = ["CompareConfig", "compare", "compare_config"]

JSON, CSV, PNG = "comparison.json", "comparison.csv", "comparison.png"
# Rounding to whole images moves the share of real photos.
_SHARE_TOLERANCE = 0.05


def compare(real: Path, synthetic: Path | None, out: Path, config: CompareConfig) -> Summary:
    """Train with each value of a sweep and compare the models on the same real test photos.

    Args:
        real: Dataset of real photos.
        synthetic: Dataset of synthetic images; without one all models train on real photos alone.
        out: Folder for the models, `comparison.json`, `comparison.csv` and `comparison.png`.
        config: Settings.

    Returns:
        The notes are the table and the verdict. A value that failed counts as a failure and is tried again next time.

    Raises:
        ConfigError: The sweep's key or a value does not exist or does not fit.
        DataError: There is no test photo, or no synthetic image for a sweep over the mix.
        WeldgenError: All values failed; the first one's error.
    """
    from weldgen.classifier.comparison import table_lines
    from weldgen.classifier.verdict import verdict

    started = time.monotonic()
    variants = make_variants(config.sweep, config.mix, config.train)
    inputs = {"real": real} | ({"synthetic": synthetic} if synthetic else {})
    key = stage_key("compare", config, inputs)
    done = finished(out, key)
    if done and not done.failures:
        return done
    check_results(out, "compare", JSON, (JSON, CSV, PNG))
    variants, notes = _without_synthetic(variants, synthetic, config)
    attempts = Attempts()
    mixes = mix_all(variants, (real, synthetic or out / "no-synthetic"), out, config.sweep, attempts)
    reference = require_test_photos(mixes, attempts)
    runs = train_all(variants, mixes, reference, out, config, attempts)
    comparison = compare_runs(runs, reference, config)
    sentences = [*verdict(comparison), *notes, *_data_notes(runs)]
    sentences += [f"failed: {failure.file}: {failure.reason}" for failure in attempts.failures]
    record = _write(out, comparison, sentences, attempts.failures)
    summary = Summary(
        "compare",
        out,
        {"values": len(comparison.entries), "models": len(runs), "test photos": comparison.photos},
        len(attempts.failures),
        (*table_lines(comparison), *sentences),
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
    if config.sweep.strip().startswith("mix."):
        raise DataError(
            f"--sweep {config.sweep} mixes synthetic images in, but there are none"
            + (f" in {synthetic}" if synthetic else ""),
            "weldgen synth --n 10000 makes some",
        )
    alone = [
        Variant(variant.value, variant.mix.model_copy(update={"real_ratio": 1.0}), variant.train)
        for variant in variants
    ]
    return alone, ["there are no synthetic images: all models were trained on real photos alone"]


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


def _write(out: Path, comparison: Comparison, sentences: Sequence[str], failures: Sequence[Failure]) -> dict[str, Any]:
    """Write the result's files; returns what `comparison.json` holds."""
    from weldgen.classifier.comparison import comparison_png, csv_text

    record = {"weldgen": weldgen.__version__, **comparison.record(), "verdict": list(sentences)}
    write_atomic(out / JSON, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    write_atomic(out / CSV, csv_text(comparison))
    write_atomic(out / PNG, comparison_png(comparison))
    with output_errors(out):
        (out / FAILURES_NAME).unlink(missing_ok=True)
    if failures:
        write_atomic(out / FAILURES_NAME, failures_text(failures))
    return record
