"""What a comparison found, as numbers; tables, pictures and sentences are made of them elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weldgen.classifier.costs import Costs
from weldgen.classifier.metrics import wilson_interval
from weldgen.classifier.paired import (
    Answers,
    Pair,
    accuracy_interval,
    balanced_accuracies,
    balanced_interval,
    compare_pair,
    recalls,
    resample,
)

# A share with the ends of its 95 % interval.
Score = tuple[float, float, float]


@dataclass(frozen=True)
class Entry:
    """One value of the sweep, over its runs.

    Attributes:
        value: As it was written; the name of a row.
        seeds: One for each run that finished.
        run_scores: Balanced accuracy of each run.
        real: Real training photos.
        synthetic: Synthetic training images.
        epochs: Mean number of epochs.
        costs: What it takes to train and to use.
        settings: Of a row: what differs, as it was written.
    """

    value: str
    seeds: tuple[int, ...]
    run_scores: tuple[float, ...]
    real: int
    synthetic: int
    epochs: float
    costs: Costs
    settings: str = ""


@dataclass(frozen=True)
class Comparison:
    """All values on the same photos.

    Attributes:
        key: The setting that differs.
        entries: The values that finished, in the order of the sweep.
        answers: What their models said; its rows are the entries.
        best: Index of the highest balanced accuracy; of equal ones the more accurate, then the first.
        pairs: The best against each other entry, by the other's index.
        good: Index of the class that means "nothing wrong"; None where there is none among the photos.
    """

    key: str
    entries: tuple[Entry, ...]
    answers: Answers
    best: int
    pairs: Mapping[int, Pair]
    good: int | None = None

    @staticmethod
    def of(
        key: str, entries: Sequence[Entry], answers: Answers, resamples: int, seed: int, good: int | None = None
    ) -> Comparison:
        """Find the best entry and compare it with each other one."""
        balanced = balanced_accuracies(answers)
        accuracy = answers.right.mean(axis=1)
        best = max(range(len(entries)), key=lambda k: (balanced[k], accuracy[k], -k))
        others = [k for k in range(len(entries)) if k != best]
        resampled = resample(answers, resamples, seed)
        pairs = {k: compare_pair(answers, resampled, best, k, len(others)) for k in others}
        return Comparison(key, tuple(entries), answers, best, pairs, good)

    @property
    def photos(self) -> int:
        """Number of test photos."""
        return int(self.answers.truth.size)

    def scores(self, index: int) -> dict[str, Score]:
        """Accuracy, balanced accuracy and, where a class is good, false alarms of an entry, each with its interval."""
        accuracy = float(self.answers.right[index].mean())
        balanced = float(balanced_accuracies(self.answers)[index])
        found = {
            "accuracy": (accuracy, *accuracy_interval(self.answers, index)),
            "balanced_accuracy": (balanced, *balanced_interval(self.answers, index)),
        }
        if self.good is not None:
            shares, groups = recalls(self.answers)
            alarms, n = 1 - float(shares[index, self.good]), int(groups[self.good])
            found["false_alarms"] = (alarms, *wilson_interval(round(alarms * n), n))
        return found

    def record(self) -> dict[str, Any]:
        """What `comparison.json` keeps."""
        results = [
            {
                "value": entry.value,
                **({"settings": entry.settings} if entry.settings else {}),
                **{name: dict(zip(("value", "low", "high"), s, strict=True)) for name, s in self.scores(k).items()},
                "runs": [
                    {"seed": seed, "balanced_accuracy": score}
                    for seed, score in zip(entry.seeds, entry.run_scores, strict=True)
                ],
                "real": entry.real,
                "synthetic": entry.synthetic,
                "epochs": entry.epochs,
                **entry.costs.record(),
            }
            for k, entry in enumerate(self.entries)
        ]
        best = self.entries[self.best].value
        pairs = [{"first": best, "second": self.entries[k].value, **p.record()} for k, p in self.pairs.items()]
        return {
            "key": self.key,
            "photos": self.photos,
            "groups": self.answers.groups,
            "results": results,
            "pairs": pairs,
            "winner": best if self.pairs and all(pair.shown for pair in self.pairs.values()) else None,
        }
