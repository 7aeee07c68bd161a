"""A chosen operating point: kept beside the model, measured on other photos, put into words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import weldgen
from weldgen.classifier.metrics import Indices, Share, confusion_matrix, photos_needed, proven_share, share_words
from weldgen.decision import Decision
from weldgen.runtime import write_atomic

OPERATING_NAME = "operating.json"
_SETTINGS = ("min_recall", "max_false_reject", "abstain")


@dataclass(frozen=True)
class OperatingPoint:
    """A decision, and what it was chosen for.

    Attributes:
        decision: The rule.
        settings: `min_recall`, `max_false_reject` and `abstain` as they were asked for; 0: not.
        tta: Views of each photo when it was chosen; with another number the probabilities are others.
        chosen_on: Real validation photos that it was chosen on, by class.
    """

    decision: Decision
    settings: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(_SETTINGS, 0.0))
    tta: int = 1
    chosen_on: Mapping[str, int] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """What is kept of it: beside the model and inside the exported file."""
        return {
            **self.decision.record(), **self.settings, "tta": self.tta, "chosen_on": dict(self.chosen_on),
        }  # fmt: skip

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> OperatingPoint:
        """The point of a `record`."""
        settings = {name: record[name] for name in _SETTINGS}
        return OperatingPoint(Decision.from_record(record), settings, record["tta"], record["chosen_on"])


def save_point(folder: Path, point: OperatingPoint | None) -> None:
    """Keep the point in the folder of a model, or take away an earlier one."""
    path = folder / OPERATING_NAME
    if point is None:
        path.unlink(missing_ok=True)
        return
    content = {"weldgen": weldgen.__version__, **point.record()}
    write_atomic(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def load_point(folder: Path) -> OperatingPoint | None:
    """The point that `weldgen evaluate` chose for the model in a folder; None where it did not."""
    path = folder / OPERATING_NAME
    return OperatingPoint.from_record(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


@dataclass(frozen=True)
class Decided:
    """What a decision made of photos.

    Attributes:
        predicted: (N,) index of the answers.
        abstained: (N,) whether a person should look.
    """

    predicted: npt.NDArray[np.int64]
    abstained: npt.NDArray[np.bool_]


def decide(decision: Decision, probabilities: npt.NDArray[Any], classes: tuple[str, ...]) -> Decided:
    """Apply a decision to (N, K) probabilities."""
    answers = [decision(row, classes) for row in probabilities]
    return Decided(np.array([k for k, _ in answers], np.int64), np.array([unsure for _, unsure in answers], bool))


def measure_point(
    point: OperatingPoint, decided: Decided, truth: Indices, classes: Sequence[str], groups: Indices | None = None
) -> dict[str, Any]:
    """What `metrics.json` says of an operating point: each share with its count and interval.

    Args:
        point: The point.
        decided: What its decision made of the N photos.
        truth: (N,) true classes.
        classes: The K names.
        groups: (N,) indices of the photos' groups; None where each photo stands for itself.
    """
    owner = np.arange(len(truth)) if groups is None else groups
    right, kept = decided.predicted == truth, ~decided.abstained
    every = np.ones(len(truth), bool)
    found: dict[str, Any] = {
        **point.record(),
        "accuracy": _share(right, every, owner),
        "abstained": _share(decided.abstained, every, owner),
        "decided_accuracy": _share(right, kept, owner),
        "confusion": confusion_matrix(truth.tolist(), decided.predicted.tolist(), len(classes)).tolist(),
    }
    if point.decision.positive:
        index = list(classes).index(point.decision.positive)
        positive, called = truth == index, decided.predicted == index
        found |= {
            "recall": _share(called, positive, owner),
            "false_reject_rate": _share(called, ~positive, owner),
            "escaped": _share(~called & kept, positive, owner),
            "claims": _claims(point, called, positive, owner),
        }
    return found


def _claims(
    point: OperatingPoint, called: npt.NDArray[np.bool_], positive: npt.NDArray[np.bool_], groups: Indices
) -> list[dict[str, Any]]:
    """What the photos allow to claim of what was asked for; empty where no threshold was.

    The bound is exact for independent trials, and views of one part are none. So a trial is a group, and it is a hit
    only if every photo of it is. Then the claim is about parts of which no view is missed, and it holds for their
    views all the more.
    """
    asked = []
    if point.settings["min_recall"]:
        asked.append(("recall", point.settings["min_recall"], called[positive], groups[positive]))
    if point.settings["max_false_reject"]:
        asked.append(("specificity", 1 - point.settings["max_false_reject"], ~called[~positive], groups[~positive]))
    found = []
    for name, required, hits, owner in asked:
        trials, missed = len(np.unique(owner)), len(np.unique(owner[~hits]))
        found.append(
            {
                "of": name,
                "required": required,
                "n": trials,
                "photos": len(hits),
                "photos_without_miss": photos_needed(required),
                "claimable": proven_share(trials, trials),
                "claimed": proven_share(trials - missed, trials),
            }
        )
    return found


def point_notes(record: Mapping[str, Any], split: str) -> list[str]:
    """Sentences on what `measure_point` gave.

    Args:
        record: Its result.
        split: Split that was measured.
    """
    notes = []
    positive = record["positive"]
    chosen = ", ".join(f"{count} {label}" for label, count in record["chosen_on"].items())
    if positive:
        asked = (
            f"a recall of {_percent(record['min_recall'])}" if record["min_recall"]
            else f"at most {_percent(record['max_false_reject'])} false rejects"
        )  # fmt: skip
        notes.append(
            f"threshold: {positive} from a probability of {record['threshold']:.3g} on, for {asked} of the real "
            f"validation photos ({chosen})"
        )
        notes.append(
            f"with it, {split} photos: recall of {positive} {share_words(record['recall'])}; others called {positive} "
            f"{share_words(record['false_reject_rate'])}"
        )
    notes += [_claim_sentence(claim, positive) for claim in record.get("claims", ())]
    if record["abstain"] and record["band"] is None and not record["confidence"]:
        few = sum(record["chosen_on"].values())
        notes.append(
            f"no photo is handed to a person: the {few} validation photos are too few, or too much alike, to choose "
            f"{_percent(record['abstain'])} of them"
        )
    elif record["band"] is not None or record["confidence"]:
        notes.append(
            f"handed to a person: {share_words(record['abstained'])}; right on {share_words(record['accuracy'])} of "
            f"all and {share_words(record['decided_accuracy'])} of the others"
        )
    if positive and record["band"] is not None:
        notes.append(f"{positive} that nobody would see: {share_words(record['escaped'])}")
    return notes


def _claim_sentence(claim: Mapping[str, Any], positive: str) -> str:
    """What the number of photos allows to say to others."""
    photos = positive if claim["of"] == "recall" else f"others than {positive}"
    what = f"recall of {positive}" if claim["of"] == "recall" else f"share of others not called {positive}"
    required, n = _percent(claim["required"]), claim["n"]
    grouped = f"{claim['photos']} photos in {n} groups, each of which counts once" if n < claim["photos"] else ""
    if claim["claimed"] >= claim["required"]:
        of = f" from {grouped}" if grouped else ""
        return (
            f"{what}: at least {_floor(claim['claimed'])} can be claimed at 95 % confidence{of}, {required} was asked "
            "for"
        )
    if claim["photos_without_miss"] is None:
        needed = f"no number of photos claims a {what} of 100 %"
    else:
        needed = (
            f"to claim a {what} of at least {required} at 95 % confidence takes {claim['photos_without_miss']} photos "
            f"of {photos} without a miss"
        )
    if not n:
        return f"{needed}; there are none"
    return (
        f"{needed}; there are {grouped or n}, with which at most {_floor(claim['claimable'])} can be claimed, and "
        f"these results claim at least {_floor(claim['claimed'])}"
    )


def _share(flags: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_], groups: Indices) -> dict[str, Any]:
    return Share.of(flags[among], groups[among]).record()


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _floor(share: float) -> str:
    """A claim in percent, never rounded up."""
    return f"{int(1000 * share) / 10:g} %"
