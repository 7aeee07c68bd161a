"""What a search found: the best settings, and whether the validation photos can show that they are better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import weldgen
from weldgen.classifier.metrics import wilson_interval
from weldgen.classifier.outcomes import Outcome
from weldgen.classifier.paired import Answers, Pair, balanced_interval, compare_pair, resample
from weldgen.classifier.plots import to_png
from weldgen.classifier.settings import TrainConfig
from weldgen.classifier.space import TuneConfig, apply, differing
from weldgen.data.dataset import Sample
from weldgen.data.mix import MixConfig

_SHOWN = 10
# Machine and bookkeeping: no part of what makes a model good.
_NOT_IN_PRESET = ("device", "jobs", "logging")


@dataclass(frozen=True)
class Tuning:
    """A search that has ended.

    Attributes:
        first: The settings as they are.
        trials: All others, in their order.
        best: The highest balanced accuracy; of equal ones the settings as they are, then the earliest.
        answers: What `first` and `best` said of the validation photos.
        pair: The best against the settings as they are, with intervals that allow for the number of trials.
        photos: Validation photos by class.
        importance: Of each setting.
        config: The search.
    """

    first: Outcome
    trials: tuple[Outcome, ...]
    best: Outcome
    answers: Answers
    pair: Pair
    photos: Mapping[str, int]
    importance: Mapping[str, float]
    config: TuneConfig

    @staticmethod
    def best_of(first: Outcome, trials: Sequence[Outcome]) -> Outcome:
        """The best complete outcome."""
        complete = [first, *(trial for trial in trials if trial.state == "complete")]
        return max(complete, key=lambda outcome: outcome.score or 0.0)  # max takes the first of equal ones

    @staticmethod
    def of(
        first: Outcome,
        trials: Sequence[Outcome],
        samples: Mapping[str, Sample],
        importance: Mapping[str, float],
        config: TuneConfig,
    ) -> Tuning:
        """Choose the best and compare it with the settings as they are.

        Args:
            first: The settings as they are.
            trials: All others.
            samples: Of the dataset, by file.
            importance: Of each setting.
            config: The search.
        """
        best = Tuning.best_of(first, trials)
        files = list(first.right)
        labels = [samples[file].label for file in files]
        groups = [samples[file].group for file in files]
        right = [[outcome.right[file] for file in files] for outcome in (first, best)]
        answers = Answers.of(labels, groups, right)  # type: ignore[arg-type]
        complete = sum(trial.state == "complete" for trial in trials)
        pair = compare_pair(answers, resample(answers, config.resamples, config.seed), 1, 0, max(1, complete))
        return Tuning(first, tuple(trials), best, answers, pair, Counter(labels), importance, config)

    def counts(self) -> dict[str, int]:
        """Totals for the summary."""
        states = Counter(trial.state for trial in self.trials)
        return {
            "trials": len(self.trials),
            "complete": states["complete"],
            "cut short": states["pruned"],
            "validation photos": sum(self.photos.values()),
        }

    def record(self) -> dict[str, Any]:
        """What the receipt keeps."""
        low, high = balanced_interval(self.answers, 1)
        return {
            "best": self.best.record(),
            "best_interval": [low, high],
            "as_they_are": self.first.record(),
            "against_as_they_are": self.pair.record(),
            "validation_photos": dict(self.photos),
            "importance": dict(self.importance),
            "space": dict(self.config.space),
        }

    def sentences(self, preset: Path) -> list[str]:
        """What may be said, the most important first.

        Args:
            preset: Where the best settings are written.
        """
        n = sum(self.photos.values())
        lines = [self._verdict(n), *self._caveats(n)]
        if self.best is not self.first:
            mixed = any(key.startswith("mix.") for key in self.best.choice)
            before = f"weldgen mix --config-name {preset} and " if mixed else ""
            lines.append(f"then: {before}weldgen train --config-name {preset}")
        return lines

    def _verdict(self, n: int) -> str:
        low, high = balanced_interval(self.answers, 1)
        reached = f"balanced accuracy {self.best.score or 0:.1%} (95 % interval {low:.0%} to {high:.0%})"
        if self.best is self.first:
            return f"no trial was better on the {n} validation photos than the settings as they are: {reached}"
        pair = self.pair
        ends = [round(100 * value, 1) + 0.0 for value in (pair.difference, pair.low, pair.high)]  # no "-0.0"
        points = (
            f"{ends[0]:+.1f} points (95 % interval {ends[1]:+.1f} to {ends[2]:+.1f}, allowing for the best of many)"
        )
        if pair.shown:
            return (
                f"trial {self.best.name} is better than the settings as they are: {reached}, {points}, on {n} "
                "validation photos, in one training each"
            )
        return (
            f"trial {self.best.name} came out best: {reached}; but {n} validation photos cannot show that it is better "
            f"than the settings as they are: {points}: the difference is within chance"
        )

    def _caveats(self, n: int) -> list[str]:
        rarest = min(self.photos.values())
        one = 1 / rarest / len(self.photos)
        low, high = wilson_interval(n, n)
        shares = ", ".join(f"{count} {label}" for label, count in sorted(self.photos.items()))
        lines = [
            f"validation photos: {shares}; one photo more or less right moves balanced accuracy by up to {one:.1%}, "
            f"and even {n} of {n} right only shows an accuracy of {low:.0%} to {high:.0%} (95 % Wilson interval)"
        ]
        equal = sum(t.state == "complete" and t.score == self.best.score for t in (self.first, *self.trials))
        if equal > 1:
            lines.append(f"{equal} of the models are equally good on these photos: which one leads is chance")
        lines.append(
            "the best of several flatters, because it was chosen on these photos: train with it and ask weldgen "
            "evaluate, which uses test photos that the search never saw"
        )
        return lines

    def preset(self) -> str:
        """The best settings as a file for `--config-name`: what differs from weldgen's defaults."""
        import yaml

        mixing, training = apply(self.config, self.best.choice)
        sections: dict[str, Any] = {}
        for name, config, default in (("mix", mixing, MixConfig()), ("train", training, TrainConfig())):
            keep = [key.partition(".")[2] for key in self.best.choice if key.startswith(f"{name}.")]
            section = differing(config, default, keep)
            section = {key: value for key, value in section.items() if key not in _NOT_IN_PRESET}
            sections |= {name: section} if section else {}
        low, high = balanced_interval(self.answers, 1)
        head = (
            f"# Made by weldgen tune {weldgen.__version__}: "
            + ("the settings as they were" if self.best is self.first else f"trial {self.best.name}")
            + f", balanced accuracy {self.best.score or 0:.1%} on {sum(self.photos.values())} validation photos\n"
            f"# (95 % interval {low:.0%} to {high:.0%}; chosen on them, so it flatters).\n"
        )
        return head + (yaml.safe_dump(sections, sort_keys=False) if sections else "")

    def table_lines(self) -> list[str]:
        """The settings as they are and the best trials as a Markdown table."""
        complete = [trial for trial in self.trials if trial.state == "complete"]
        chosen = sorted(complete, key=lambda trial: -(trial.score or 0))[:_SHOWN]
        keys = list(self.config.space)
        rows = [("trial", "balanced accuracy, validation", "epochs", *keys)]
        for outcome in (self.first, *chosen):
            values = [outcome.choice.get(key, "") for key in keys]
            rows.append((outcome.name, f"{outcome.score or 0:.1%}", str(outcome.epochs), *values))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        rows.insert(1, tuple("-" * width for width in widths))
        return ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows]

    def png(self) -> bytes:
        """Balanced accuracy over the trials, and the importance of the settings, as PNG."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 3.8), layout="constrained")
        history, importance = figure.subplots(1, 2, width_ratios=(3, 2))
        styles = {"complete": ("o", "#b4500f"), "pruned": ("x", "#9aa7b3")}
        for state, (marker, colour) in styles.items():
            points = [t for t in self.trials if t.state == state and t.score is not None]
            history.scatter(
                [int(t.name) for t in points], [100 * (t.score or 0) for t in points], marker=marker, color=colour,
                label="cut short" if state == "pruned" else "trial",
            )  # fmt: skip
        low, high = balanced_interval(self.answers, 0)
        history.axhline(100 * (self.first.score or 0), color="#1c2530", linewidth=1, label="settings as they are")
        history.axhspan(100 * low, 100 * high, color="#1c2530", alpha=0.08, label="their 95 % interval")
        history.set(
            xlabel="trial", ylabel="balanced accuracy, %", title=f"{sum(self.photos.values())} validation photos"
        )
        history.xaxis.get_major_locator().set_params(integer=True)
        history.legend(loc="lower right", fontsize=8)
        names = list(self.importance)[::-1]
        importance.barh([n.partition(".")[2] for n in names], [self.importance[n] for n in names], color="#5a6876")
        importance.set(title="importance" if names else "importance: too few trials", xlim=(0, 1))
        if not names:
            importance.set_axis_off()
        for axes in (history, importance):
            axes.spines[["top", "right"]].set_visible(False)
        return to_png(figure)
