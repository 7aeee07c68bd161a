"""What became of the trials of a search, and what is kept of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from weldgen.classifier.folder import TENSORBOARD
from weldgen.classifier.keeper import LAST
from weldgen.classifier.model_file import WEIGHTS_NAME
from weldgen.classifier.names import PREDICTIONS
from weldgen.classifier.top import BEST, TOP

AS_THEY_ARE = "as they are"


@dataclass(frozen=True)
class Outcome:
    """What became of one trial.

    Attributes:
        name: `as they are`, or the number of the trial.
        state: `complete`, `pruned` or `failed`.
        choice: Key of each searched setting -> its value, as written.
        score: Balanced accuracy on the real validation photos; of a pruned trial the best until then.
        epochs: That ran.
        seconds: Training time.
        reason: Why it failed.
        right: Whether it was right, by validation photo; of complete trials.
    """

    name: str
    state: str
    choice: Mapping[str, str]
    score: float | None = None
    epochs: int = 0
    seconds: float = 0.0
    reason: str = ""
    right: Mapping[str, bool] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """The line of `study.jsonl`."""
        return {
            "trial": self.name,
            "state": self.state,
            "balanced_accuracy": self.score,
            "settings": dict(self.choice),
            "epochs": self.epochs,
            "seconds": self.seconds,
            **({"reason": self.reason} if self.reason else {}),
        }


@dataclass(frozen=True)
class Places:
    """Where a search reads and writes.

    Attributes:
        parts: Datasets of real photos and of synthetic images.
        mixes: Folder for the mixes, which trials share.
        trials: Folder for the trials.
    """

    parts: tuple[Path, Path]
    mixes: Path
    trials: Path


def outcomes(study: optuna.Study, places: Places) -> list[Outcome]:
    """What became of the trials that have ended, in their order."""
    states = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    trials = [t for t in study.get_trials(deepcopy=False) if "name" not in t.user_attrs]
    found = []
    for number, trial in enumerate(trials):
        if trial.state not in states:
            continue
        complete = trial.state is TrialState.COMPLETE
        attributes = trial.user_attrs
        reports = [value for _, value in sorted(trial.intermediate_values.items())]
        found.append(
            Outcome(
                str(number),
                states[trial.state],
                attributes.get("choice", {}),
                trial.value if complete else (reports[-1] if reports else None),
                attributes.get("epochs", 0),
                attributes.get("seconds", 0.0),
                attributes.get("reason", ""),
                right_photos(places.trials / str(number)) if complete else {},
            )
        )
    return found


def lighten(places: Places, keep: Sequence[str]) -> None:
    """Remove the weights of ended trials but those named: what is measured of them is written down elsewhere."""
    for folder in places.trials.iterdir() if places.trials.is_dir() else ():
        if folder.name not in {folder_name(name) for name in keep}:
            for name in (BEST, LAST, WEIGHTS_NAME):
                (folder / "model" / name).unlink(missing_ok=True)
            for name in (TENSORBOARD, TOP):
                shutil.rmtree(folder / "model" / name, ignore_errors=True)


def importances(study: optuna.Study) -> dict[str, float]:
    """How much of the difference between good and other trials each setting explains (PED-ANOVA, Watanabe et al. 2023).

    Empty where there are too few complete trials, or all are equally good.
    """
    complete = [t for t in study.get_trials(deepcopy=False) if t.state is TrialState.COMPLETE]
    if len(complete) < 4 or len({trial.value for trial in complete}) < 2:
        return {}
    return dict(optuna.importance.get_param_importances(study))


def right_photos(folder: Path) -> dict[str, bool]:
    """Whether the trial in a folder was right, by real validation photo."""
    lines = (folder / "evaluation" / PREDICTIONS).read_text(encoding="utf-8").splitlines()
    return {line["file"]: line["label"] == line["predicted"] for line in map(json.loads, lines)}


def folder_name(name: str) -> str:
    """Folder of a trial below `Places.trials`."""
    return name.replace(" ", "-")
