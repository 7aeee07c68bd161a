"""One model on several held-out sets: each is evaluated by itself, and one table puts them side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import weldgen
from weldgen.classifier.evaluate import EvaluateConfig
from weldgen.classifier.operating import OperatingSettings
from weldgen.errors import ConfigError, DataError, OutputError, WeldgenError
from weldgen.receipts import Summary, check_results, read_receipt
from weldgen.runtime import log, write_atomic

SETS, PAGE = "sets.json", "report.html"
# Evaluates one set: its dataset, the folder of its results, settings.
EvaluateOne = Callable[[Path, Path, EvaluateConfig], Summary]
_UNKNOWN = "-"


@dataclass(frozen=True)
class Sets:
    """What was found.

    Attributes:
        summaries: Name of each set that was measured -> its evaluation.
        errors: Name of each other set -> why not.
        record: What `sets.json` holds.
    """

    summaries: Mapping[str, Summary]
    errors: Mapping[str, WeldgenError]
    record: Mapping[str, Any]

    @property
    def unmet(self) -> str:
        """Targets that were missed, by set, in one sentence; empty where none was."""
        return "; ".join(f"{name}: {summary.unmet}" for name, summary in self.summaries.items() if summary.unmet)

    @property
    def partial(self) -> bool:
        """Whether a set, or a photo of one, could not be measured."""
        return bool(self.errors) or any(summary.failures for summary in self.summaries.values())


def evaluate_sets(
    model: Path, datasets: Sequence[Path], out: Path, config: EvaluateConfig, evaluate_one: EvaluateOne
) -> Sets:
    """Evaluate a model on each dataset and put the figures into one table.

    An operating point that the settings ask for is chosen once, with the first set that can be measured; the others are
    measured with it, so that all rows are about the same decisions. An exported file keeps none, so there each set
    chooses its own.

    Args:
        model: Folder of a trained model, or an exported file.
        datasets: What it is measured on.
        out: Folder for `sets.json` and a folder for each set.
        config: Settings of all.
        evaluate_one: Evaluates one set.

    Raises:
        ConfigError: A dataset is given twice.
        OutputError: The folder holds something else.
        WeldgenError: No set could be measured; the first one's error.
    """
    names = name_sets(datasets)
    _check_out(out)
    summaries: dict[str, Summary] = {}
    errors: dict[str, WeldgenError] = {}
    for number, (name, dataset) in enumerate(names.items(), start=1):
        log.info("evaluate: set %d of %d, %s", number, len(names), name)
        kept = config.operating.wanted and summaries and model.is_dir()
        settings = config.model_copy(update={"operating": OperatingSettings()}) if kept else config
        try:
            summary = evaluate_one(dataset, out / name, settings)
            if not summary.details["n"]:
                raise DataError(f"{dataset}: no photo could be measured")
            summaries[name] = summary
        except OutputError:
            raise
        except WeldgenError as error:
            log.warning("%s was not measured: %s", name, error.message)
            errors[name] = error
    if not summaries:
        raise next(iter(errors.values()))
    rows = [
        {"name": name, "data": str(names[name]), "out": str(out / name), **_figures(summary.details)}
        for name, summary in summaries.items()
    ]
    failed = [{"name": name, "data": str(names[name]), "reason": error.message} for name, error in errors.items()]
    record = {"weldgen": weldgen.__version__, "model": str(model), "sets": rows, "failed": failed}
    record |= {"table": table_rows(rows), "notes": _notes(rows, failed)}
    write_atomic(out / SETS, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return Sets(summaries, errors, record)


def name_sets(datasets: Sequence[Path]) -> dict[str, Path]:
    """A name for each dataset: its folder's, with those above it where two are called alike.

    Raises:
        ConfigError: One is given twice.
    """
    resolved = [dataset.resolve() for dataset in datasets]
    for k, dataset in enumerate(datasets):
        if resolved[k] in resolved[:k]:
            raise ConfigError(f"--data {dataset} is given twice", "give each dataset once")
    for depth in range(1, max(len(path.parts) for path in resolved) + 1):
        names = ["-".join(part.strip("/\\:") for part in path.parts[-depth:]).strip("-") for path in resolved]
        if len(set(names)) == len(names):
            break
    else:
        names = [f"{name}-{k}" for k, name in enumerate(names, start=1)]
    return dict(zip(names, datasets, strict=True))


def _check_out(out: Path) -> None:
    receipt = read_receipt(out)
    if receipt:
        raise OutputError(
            f"{out} holds the result of one weldgen {receipt.get('stage', 'stage')}", "choose another --out"
        )
    check_results(out, "evaluate", SETS, (SETS, PAGE))


def _figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What is compared, as `metrics.json` has it; `recall` is that of all classes but the good one."""
    operating = metrics.get("operating") or {}
    bad = [label for label in metrics["labels"] if label != metrics["good_class"]]
    return {
        **{name: metrics[name] for name in ("split", "n", "groups", "accuracy", "balanced_accuracy")},
        "balanced_accuracy_interval": metrics["balanced_accuracy_interval"],
        "false_alarm_rate": metrics["false_alarm_rate"],
        "bad": (bad[0] if len(bad) == 1 else "all but good") if metrics["good_class"] else None,
        "recall": _complement(metrics["miss_rate"]),
        "expected_calibration_error": metrics["calibration"]["expected_calibration_error"],
        "like_training": len(metrics.get("copies_of_training", ())),
        "operating": {
            name: operating[name] for name in ("positive", "threshold", "recall", "false_reject_rate")
        } if operating.get("positive") else None,
        "unmet": metrics.get("unmet", ""),
    }  # fmt: skip


def _complement(share: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The others of a share."""
    if share is None:
        return None
    value = None if share["value"] is None else 1 - share["value"]
    turned = {"value": value, "count": share["n"] - share["count"], "low": 1 - share["high"], "high": 1 - share["low"]}
    return {**share, **turned}


def table_rows(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Head and rows as text; what was measured of no set is left out."""
    bad = next((row["bad"] for row in rows if row["bad"]), "")
    positive = next((row["operating"]["positive"] for row in rows if row["operating"]), "")
    head = (
        "set", "photos", "groups", "accuracy", "balanced accuracy", "false alarms", f"recall of {bad}",
        "calibration error", "like the training's", f"recall of {positive} by the threshold",
        f"others called {positive} by it",
    )  # fmt: skip
    texts = []
    for row in rows:
        operating, balanced = row["operating"] or {}, row["balanced_accuracy"]
        low, high = row["balanced_accuracy_interval"]
        texts.append(
            (
                row["name"],
                str(row["n"]),
                str(row["groups"]) if row["groups"] < row["n"] else _UNKNOWN,
                _share(row["accuracy"]),
                _UNKNOWN if balanced is None else f"{balanced:.1%} ({low:.0%} to {high:.0%})",
                _share(row["false_alarm_rate"]),
                _share(row["recall"]),
                f"{row['expected_calibration_error']:.3f}",
                str(row["like_training"]) if row["like_training"] else _UNKNOWN,
                _share(operating.get("recall")),
                _share(operating.get("false_reject_rate")),
            )
        )
    used = [column for column in range(len(head)) if any(text[column] != _UNKNOWN for text in texts)]
    return [tuple(text[column] for column in used) for text in (head, *texts)]


def _share(share: Mapping[str, Any] | None) -> str:
    if not share or share["value"] is None:
        return _UNKNOWN
    return f"{share['value']:.1%} ({share['low']:.0%} to {share['high']:.0%})"


def _notes(rows: Sequence[Mapping[str, Any]], failed: Sequence[Mapping[str, str]]) -> list[str]:
    """What the table does not say by itself."""
    notes = []
    ranked = sorted((row for row in rows if row["balanced_accuracy"] is not None), key=lambda r: r["balanced_accuracy"])
    if len(ranked) > 1:
        worst, best = ranked[0], ranked[-1]
        if worst["balanced_accuracy_interval"][1] < best["balanced_accuracy_interval"][0]:
            notes.append(
                f"worst on {worst['name']}: its balanced accuracy lies below that on {best['name']} by more than both "
                "intervals allow"
            )
        else:
            notes.append(
                f"lowest on {worst['name']}, highest on {best['name']}, but the 95 % intervals of their balanced "
                "accuracies overlap: these photos may not tell the sets apart"
            )
    if any(row["like_training"] for row in rows):
        notes.append("photos like the training's flatter a set: its evaluation names them")
    return notes + [f"not measured: {row['name']}: {row['reason']}" for row in failed]
