"""What the user is told of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weldgen.classifier.metrics import share_words
from weldgen.classifier.settings import MAX_FOLDS

_FEW_PHOTOS = 60


def notes_on(metrics: Mapping[str, Any], split: str) -> list[str]:
    """What the user is told: each share with its n and interval, and what the number of photos cannot show.

    Args:
        metrics: What `metrics.json` holds.
        split: Split that was measured.
    """
    n = metrics["n"]
    if not n:
        return [
            f"nothing was measured: no class has real photos to spare for '{split}', so how good the model is on real "
            "photos nobody knows; weldgen evaluate --data FOLDER measures it on others"
        ]
    balanced, ends = metrics["balanced_accuracy"], metrics["balanced_accuracy_interval"]
    more = "" if balanced is None else f"; balanced accuracy {balanced:.1%} ({ends[0]:.0%} to {ends[1]:.0%})"
    notes = [f"accuracy on real {split} photos: {share_words(metrics['accuracy'])}{more}"]
    good, misses, alarms = (metrics[name] for name in ("good_class", "miss_rate", "false_alarm_rate"))
    if good is not None:
        notes += [f"missed (bad called {good}): {share_words(misses)}"] if misses["n"] else []
        notes += [f"false alarms ({good} called bad): {share_words(alarms)}"] if alarms["n"] else []
    if metrics["groups"] < n:
        notes.append(
            f"the {n} photos are of {metrics['groups']} groups (views of one part): intervals and claims count groups, "
            "because views of one part are not independent"
        )
        if metrics["groups"] <= MAX_FOLDS:
            notes.append(
                f"few groups: weldgen train folds={MAX_FOLDS} leaves each group out once (or, where there are more, a "
                "few at a time) and measures on all of them"
            )
    absent = [label for label, values in metrics["classes"].items() if not values["support"]]
    if absent:
        alone = "; one class alone has no balanced accuracy" if balanced is None else ""
        notes.append(f"no real {split} photo of {', '.join(absent)}: nothing is known about it{alone}")
    if n < _FEW_PHOTOS:
        notes.append(f"few photos ({n}): to show a recall of 95 % takes 59 bad photos without a miss, 99 % takes 299")
    if split != "test":
        notes.append(f"split '{split}' was used for the training or for choosing the epoch: these numbers flatter")
    return notes


def quality_notes(metrics: Mapping[str, Any]) -> list[str]:
    """How well the probabilities rank the photos, and whether they mean what they say."""
    error = metrics["calibration"]["expected_calibration_error"]
    calibration = f"expected calibration error {error:.3f}"
    auroc, precision = metrics["auroc"]["macro"], metrics["average_precision"]["macro"]
    if auroc is None:
        return [f"{calibration}; one class alone has no AUROC"]
    return [f"AUROC {auroc:.3f} and average precision {precision:.3f}, mean of the classes; {calibration}"]


def group_notes(record: Mapping[str, Any]) -> list[str]:
    """On which value of a field the model is worst.

    Args:
        record: The part `by_group` of `metrics.json`.
    """
    rows = record["rows"]
    if len(rows) < 2:
        return []
    worst = rows[0]
    if worst["accuracy"]["value"] == 1:
        return [f"right on all photos of each of {len(rows)} values of '{record['field']}'"]
    return [f"worst of {len(rows)} values of '{record['field']}': {worst['value']}, {share_words(worst['accuracy'])}"]


def tta_notes(record: Mapping[str, Any]) -> list[str]:
    """What asking from several views changed."""
    without, together = (share_words(record[name]) for name in ("without", "with"))
    return [
        f"{record['views']} views of each photo: right on {together}, without them on {without}; they put "
        f"{record['put_right']} right and {record['put_wrong']} wrong"
    ]
