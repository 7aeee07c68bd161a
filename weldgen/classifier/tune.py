"""Search for better training settings, judged on the real validation photos alone: `weldgen tune`.

What is notable: the settings as they are are trained first and stay unless something beats them, and the result says
whether the validation photos can show the difference at all. Test photos are never looked at.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from weldgen.classifier.space import TuneConfig, dimensions, tune_config
from weldgen.data.dataset import Dataset, Failure, failures_text
from weldgen.data.mix import mix
from weldgen.errors import DataError, OutputError
from weldgen.receipts import FAILURES_NAME, Summary, fingerprint, finished, run_key, write_receipt
from weldgen.runtime import log, output_errors, write_atomic

if TYPE_CHECKING:
    from weldgen.classifier.outcomes import Outcome, Places
    from weldgen.classifier.tuning import Tuning

__all__ = ["TuneConfig", "tune", "tune_config"]

STUDY, LINES, BEST_PRESET, PNG = "study.db", "study.jsonl", "best.yaml", "tuning.png"
# How long and how the trials are run is no part of a search's identity: more trials go on with the ones that are there.
_LENGTH = {"trials": 1, "resamples": 2000}


def tune(real: Path, synthetic: Path, out: Path, config: TuneConfig) -> Summary:
    """Search for training settings with a higher balanced accuracy on the real validation photos.

    Args:
        real: Dataset of real photos.
        synthetic: Dataset of synthetic images; without one all trials train on real photos alone.
        out: Folder for `study.db`, `study.jsonl`, `best.yaml`, `tuning.png`, and the trials.
        config: Space and length; `tune_config` makes it.

    Returns:
        The notes are the table and the verdict. A trial that failed counts as a failure and is not tried again.

    Raises:
        DataError: There are no validation photos, or no synthetic image for a search over the mix alone.
        WeldgenError: The settings as they are cannot be trained with.
        OutputError: Another search runs in the folder, or a file stands there that weldgen did not make.
    """
    from weldgen.classifier.outcomes import Places

    started = time.monotonic()
    inputs = {"real": real, "synthetic": synthetic}
    identities = {name: fingerprint(path) for name, path in inputs.items() if path.exists()}
    key = run_key("tune", config, identities)
    done = finished(out, key)
    if done:
        return done
    asked = config
    notes: list[str] = []
    if not synthetic.is_dir():
        config, notes = _real_alone(config)
    identity = run_key("tune", config.model_copy(update=_LENGTH), identities)
    with _locked(out):
        _check_out(out)
        places = Places((real, synthetic), out / "mixes", out / "trials" / identity[:8])
        _require_validation(config, places)
        result = _search(config, places, out, identity)
        failures = [Failure(f"trial {o.name}", o.reason) for o in result.trials if o.state == "failed"]
        sentences = [*result.sentences(out / BEST_PRESET), *notes]
        sentences += [f"failed: {failure.file}: {failure.reason}" for failure in failures]
        _write(out, result, failures)
        summary = Summary(
            "tune",
            out,
            result.counts(),
            len(failures),
            (*result.table_lines(), *sentences),
            details={**result.record(), "verdict": sentences},
            seconds=time.monotonic() - started,
        )
        write_receipt(out, key, asked, inputs, summary)
    return summary


def _search(config: TuneConfig, places: Places, out: Path, identity: str) -> Tuning:
    """Run what is left of the search."""
    from weldgen.classifier.outcomes import importances, lighten, outcomes
    from weldgen.classifier.search import next_trial, open_study, run_as_they_are, run_trial
    from weldgen.classifier.tuning import Tuning

    space = dimensions(config)
    first = run_as_they_are(config, places)
    study = open_study(out / STUDY, identity, config, space, first)
    while coming := next_trial(study, config, space):
        name, trial, choice = coming
        log.info("tune: trial %s of %d, %s", name, config.trials, ", ".join(f"{k}={v}" for k, v in choice.items()))
        run_trial(name, trial, choice, config, places)
        ended = outcomes(study, places)
        write_atomic(out / LINES, _lines([first, *ended]))
        lighten(places, [first.name, Tuning.best_of(first, ended).name])
    samples = {sample.file_name: sample for sample in Dataset.open(next(places.mixes.iterdir())).samples}
    return Tuning.of(first, outcomes(study, places), samples, importances(study), config)


def _real_alone(config: TuneConfig) -> tuple[TuneConfig, list[str]]:
    """The search without synthetic images.

    Raises:
        DataError: Nothing is left to search.
    """
    space = {key: text for key, text in config.space.items() if not key.startswith("mix.")}
    if not space:
        raise DataError(
            f"the search over {', '.join(config.space)} mixes synthetic images in, but there are none",
            "weldgen synth --n 10000 makes some",
        )
    mixing = config.mix.model_copy(update={"real_ratio": 1.0})
    notes = ["there are no synthetic images: all models were trained on real photos alone"]
    return config.model_copy(update={"space": space, "mix": mixing}), notes


def _require_validation(config: TuneConfig, places: Places) -> None:
    """Refuse data on which no trial could be judged.

    Raises:
        DataError: There is no validation photo, or a class has none.
    """
    from weldgen.runtime import content_hash

    mixed = places.mixes / content_hash(config.mix.model_dump_json().encode())[:8]
    mix(*places.parts, mixed, config.mix)
    dataset = Dataset.open(mixed)
    counts = {label: len(dataset.select(split="val", origin="real", label=label)) for label in dataset.labels}
    missing = [label for label, count in counts.items() if not count and dataset.select(label=label)]
    if missing or not sum(counts.values()):
        found = ", ".join(f"{label} {count}" for label, count in counts.items())
        raise DataError(
            f"trials are judged on real validation photos, and there are too few: {found}",
            "add photos (a class needs three that are no copies of each other), or set mix.split.val above 0",
        )


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """One search at a time in a folder."""
    with output_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(f"another weldgen run searches in {out}", "wait for it, or choose another --out") from error
    try:
        yield
    finally:
        lock.release()
        (out / ".lock").unlink(missing_ok=True)


def _check_out(out: Path) -> None:
    """Refuse a folder whose files are a user's; `study.db`, which is written first, marks ours."""
    there = [out / name for name in (LINES, BEST_PRESET, PNG) if (out / name).exists()]
    if there and not (out / STUDY).is_file():
        raise OutputError(
            f"{there[0]} exists and was not made by weldgen tune", "move it away, or choose another --out"
        )


def _lines(outcomes: Sequence[Outcome]) -> str:
    return "".join(json.dumps(outcome.record(), ensure_ascii=False) + "\n" for outcome in outcomes)


def _write(out: Path, result: Tuning, failures: Sequence[Failure]) -> None:
    write_atomic(out / LINES, _lines([result.first, *result.trials]))
    write_atomic(out / PNG, result.png())
    write_atomic(out / BEST_PRESET, result.preset())
    with output_errors(out):
        (out / FAILURES_NAME).unlink(missing_ok=True)
    if failures:
        write_atomic(out / FAILURES_NAME, failures_text(failures))
