"""What a comparison found, as numbers, a table and a picture; the sentences are in `verdict`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weldgen.classifier.paired import (
    Answers,
    Pair,
    accuracy_interval,
    balanced_accuracies,
    balanced_interval,
    compare_pair,
    resample,
)


@dataclass(frozen=True)
class Entry:
    """One value of the sweep, over its runs.

    Attributes:
        value: As it was written.
        seeds: One for each run that finished.
        run_scores: Balanced accuracy of each run.
        real: Real training photos.
        synthetic: Synthetic training images.
        epochs: Mean number of epochs.
        training_s: Mean training time.
        parameters: Of the network.
    """

    value: str
    seeds: tuple[int, ...]
    run_scores: tuple[float, ...]
    real: int
    synthetic: int
    epochs: float
    training_s: float
    parameters: int


@dataclass(frozen=True)
class Comparison:
    """All values on the same photos.

    Attributes:
        key: The setting that differs.
        entries: The values that finished, in the order of the sweep.
        answers: What their models said; its rows are the entries.
        best: Index of the highest balanced accuracy; of equal ones the more accurate, then the first.
        pairs: The best against each other entry, by the other's index.
    """

    key: str
    entries: tuple[Entry, ...]
    answers: Answers
    best: int
    pairs: Mapping[int, Pair]

    @staticmethod
    def of(key: str, entries: Sequence[Entry], answers: Answers, resamples: int, seed: int) -> Comparison:
        """Find the best entry and compare it with each other one."""
        balanced = balanced_accuracies(answers)
        accuracy = answers.right.mean(axis=1)
        best = max(range(len(entries)), key=lambda k: (balanced[k], accuracy[k], -k))
        others = [k for k in range(len(entries)) if k != best]
        resampled = resample(answers, resamples, seed)
        pairs = {k: compare_pair(answers, resampled, best, k, len(others)) for k in others}
        return Comparison(key, tuple(entries), answers, best, pairs)

    @property
    def photos(self) -> int:
        """Number of test photos."""
        return int(self.answers.truth.size)

    def scores(self, index: int) -> dict[str, tuple[float, float, float]]:
        """Accuracy and balanced accuracy of an entry, each with the ends of its 95 % interval."""
        accuracy = float(self.answers.right[index].mean())
        balanced = float(balanced_accuracies(self.answers)[index])
        return {
            "accuracy": (accuracy, *accuracy_interval(self.answers, index)),
            "balanced_accuracy": (balanced, *balanced_interval(self.answers, index)),
        }

    def record(self) -> dict[str, Any]:
        """What `comparison.json` keeps."""
        results = [
            {
                "value": entry.value,
                **{name: dict(zip(("value", "low", "high"), s, strict=True)) for name, s in self.scores(k).items()},
                "runs": [
                    {"seed": seed, "balanced_accuracy": score}
                    for seed, score in zip(entry.seeds, entry.run_scores, strict=True)
                ],
                "real": entry.real,
                "synthetic": entry.synthetic,
                "epochs": entry.epochs,
                "training_seconds": round(entry.training_s, 1),
                "parameters": entry.parameters,
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


def table_lines(comparison: Comparison) -> list[str]:
    """The results as a Markdown table."""
    rows = [(comparison.key, "real + synthetic", "balanced accuracy", "accuracy", "training", "parameters")]
    for k, entry in enumerate(comparison.entries):
        scores = comparison.scores(k)
        rows.append(
            (
                entry.value,
                f"{entry.real} + {entry.synthetic}",
                _share(scores["balanced_accuracy"]),
                _share(scores["accuracy"]),
                f"{entry.training_s:.0f} s",
                f"{entry.parameters / 1e6:.2f} M",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, tuple("-" * width for width in widths))  # type: ignore[arg-type]
    return ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows]


def csv_text(comparison: Comparison) -> str:
    """The results for a spreadsheet, one row a value."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    measures = ("accuracy", "balanced_accuracy")
    writer.writerow(
        [comparison.key, "runs", "real", "synthetic"]
        + [f"{measure}{end}" for measure in measures for end in ("", "_low", "_high")]
        + ["epochs", "training_seconds", "parameters", "test_photos"]
    )
    for k, entry in enumerate(comparison.entries):
        scores = comparison.scores(k)
        writer.writerow(
            [entry.value, len(entry.seeds), entry.real, entry.synthetic]
            + [f"{value:.6f}" for measure in measures for value in scores[measure]]
            + [f"{entry.epochs:g}", f"{entry.training_s:.1f}", entry.parameters, comparison.photos]
        )
    return stream.getvalue()


def comparison_png(comparison: Comparison) -> bytes:
    """Accuracy and balanced accuracy of each value with their intervals, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    values = [entry.value for entry in comparison.entries]
    figure = Figure(figsize=(max(5.0, 1.6 + 1.1 * len(values)), 3.8), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for measure, shift, marker in (("balanced_accuracy", -0.08, "o"), ("accuracy", 0.08, "s")):
        scores = [comparison.scores(k)[measure] for k in range(len(values))]
        middle = [100 * value for value, _, _ in scores]
        ends = [[100 * (v - low) for v, low, _ in scores], [100 * (high - v) for v, _, high in scores]]
        places = [k + shift for k in range(len(values))]
        axes.errorbar(places, middle, yerr=ends, fmt=marker, capsize=4, label=measure.replace("_", " "))
    turned: dict[str, Any] = {"rotation": 30, "ha": "right"} if max(map(len, values)) > 12 else {}
    axes.set_xticks(range(len(values)), values, **turned)
    axes.set_xlim(-0.5, len(values) - 0.5)
    axes.set_ylim(0, 103)
    axes.set_xlabel(comparison.key)
    axes.set_ylabel("% of the photos, 95 % interval")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="lower left")
    axes.set_title(f"the same {comparison.photos} real test photos", fontsize=10)
    stream = io.BytesIO()
    canvas.print_figure(stream, dpi=130, format="png")
    return stream.getvalue()


def _share(score: tuple[float, float, float]) -> str:
    value, low, high = score
    return f"{value:.1%} ({low:.0%} to {high:.0%})"
