"""What the user is told of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weldgen.classifier.metrics import Counts, Share, balanced_accuracy
from weldgen.data.labels import good_class

_FEW_PHOTOS = 60


def notes_on(matrix: Counts, labels: Sequence[str], split: str) -> list[str]:
    """What the user is told: each share with its n and interval, and what the number of photos cannot show."""
    n = int(matrix.sum())
    if not n:
        return [
            f"nothing was measured: no class has real photos to spare for '{split}', so how good the model is on real "
            "photos nobody knows; weldgen evaluate --data FOLDER measures it on others"
        ]
    measured = int((matrix.sum(axis=1) > 0).sum())
    balanced = f"; balanced accuracy {balanced_accuracy(matrix):.1%}" if measured > 1 else ""
    notes = [f"accuracy on real {split} photos: {Share(int(matrix.trace()), n)}{balanced}"]
    good = good_class(labels)
    if good is not None:
        g = list(labels).index(good)
        misses: Share = Share(int(matrix[:, g].sum() - matrix[g, g]), int(n - matrix[g].sum()))
        alarms: Share = Share(int(matrix[g].sum() - matrix[g, g]), int(matrix[g].sum()))
        notes += [f"missed (bad called {good}): {misses}"] if misses.n else []
        notes += [f"false alarms ({good} called bad): {alarms}"] if alarms.n else []
    absent = [label for k, label in enumerate(labels) if not matrix[k].sum()]
    if absent:
        alone = "; one class alone has no balanced accuracy" if measured == 1 else ""
        notes.append(f"no real {split} photo of {', '.join(absent)}: nothing is known about it{alone}")
    if n < _FEW_PHOTOS:
        notes.append(f"few photos ({n}): to show a recall of 95 % takes 59 bad photos without a miss, 99 % takes 299")
    if split != "test":
        notes.append(f"split '{split}' was used for the training or for choosing the epoch: these numbers flatter")
    return notes


def tta_notes(record: Mapping[str, Any]) -> list[str]:
    """What asking from several views changed."""
    without, together = (Share(record[name]["count"], record[name]["n"]) for name in ("without", "with"))
    return [
        f"{record['views']} views of each photo: right on {together}, without them on {without}; they put "
        f"{record['put_right']} right and {record['put_wrong']} wrong"
    ]
