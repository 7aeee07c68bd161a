"""One training of a comparison in a process of its own: `python -m weldgen.classifier.trial` with a job as JSON."""

from __future__ import annotations

from functools import partial

from weldgen.classifier.attempts import Attempts
from weldgen.classifier.side_by_side import read_job, say_outcome
from weldgen.classifier.trials import Trial, run_trial
from weldgen.errors import OutputError, WeldgenError


def _main() -> None:
    job = read_job()
    trial, attempts = Trial.from_job(job["trial"]), Attempts()
    error: WeldgenError | None = None
    try:
        if attempts.run("training", partial(run_trial, trial, job["beside"])) is None:
            error = attempts.errors[0]
    except OutputError as full:
        error = full
    say_outcome(error)


if __name__ == "__main__":
    _main()
