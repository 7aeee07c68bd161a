"""The models of a comparison: a mix, a training and an evaluation for each value and seed, by the stages themselves."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weldgen.classifier.attempts import Attempts
from weldgen.classifier.costs import Costs, Deployed, mark_shared, read_shared, train_watched
from weldgen.classifier.evaluate import EvaluateConfig, evaluate
from weldgen.classifier.names import PREDICTIONS
from weldgen.classifier.settings import TrainConfig
from weldgen.classifier.shortcuts import UNASKED
from weldgen.classifier.side_by_side import Job, plan_slots, run_side_by_side
from weldgen.classifier.sweep import CompareConfig, Variant
from weldgen.classifier.train import resolve_config, train
from weldgen.data.dataset import Dataset
from weldgen.data.mix import mix
from weldgen.errors import DataError, WeldgenError
from weldgen.receipts import Summary, finished, stage_key
from weldgen.runtime import content_hash, log, resolve_jobs

if TYPE_CHECKING:
    from weldgen.classifier.comparison import Comparison

_COMMAND = (sys.executable, "-m", "weldgen.classifier.trial")


@dataclass(frozen=True)
class Run:
    """A model that was trained and evaluated.

    Attributes:
        variant: Its value and settings.
        seed: Of its training.
        folder: Where its model and evaluation lie.
        trained: What the training said.
        evaluated: What the evaluation said.
        right: Whether it was right, by test photo.
        parameters: Of its network.
        memory_mb: Peak memory of its training; None where it was not measured.
        beside: How many trainings ran at the same time, this one among them.
    """

    variant: Variant
    seed: int
    folder: Path
    trained: Summary
    evaluated: Summary
    right: Mapping[str, bool]
    parameters: int
    memory_mb: float | None
    beside: int = 1


def mix_all(
    variants: Sequence[Variant], parts: tuple[Path, Path], out: Path, key: str, attempts: Attempts
) -> dict[str, Path]:
    """Value -> its mix; one for all where the training differs and not the mix."""
    mixes = {}
    own = differ_in_mix(variants)
    for variant in variants:
        folder = (variant_folder(out, key, variant.value) if own else out) / "mixed"
        if attempts.run(f"{key}={variant.value}", partial(mix, *parts, folder, variant.mix)):
            mixes[variant.value] = folder
    return mixes


def differ_in_mix(variants: Sequence[Variant]) -> bool:
    """Whether not all variants train on the same mix."""
    return any(variant.mix != variants[0].mix for variant in variants)


def require_test_photos(mixes: Mapping[str, Path], attempts: Attempts) -> Path:
    """A mix to measure on; all have the same test photos, because the split knows nothing of the synthetic images.

    Raises:
        DataError: There is no test photo, or only of one class.
        WeldgenError: No mix could be made; the first one's error.
    """
    if not mixes:
        raise attempts.errors[0]
    reference = next(iter(mixes.values()))
    dataset = Dataset.open(reference)
    if not dataset.select(split="test", origin="real"):
        counts = ", ".join(f"{name} {len(dataset.select(split=name, origin='real'))}" for name in ("train", "val"))
        raise DataError(
            f"there is no real test photo to compare on; real photos: {counts}",
            "add photos (a class needs three that are no copies of each other), or set mix.split.test above 0",
        )
    labels = {sample.label for sample in dataset.select(split="test", origin="real")}
    if len(labels) < 2:
        raise DataError(
            f"all real test photos are of class '{labels.pop()}': that compares nothing",
            "add photos of the other classes (each needs three that are no copies of each other)",
        )
    return reference


@dataclass(frozen=True)
class Trial:
    """One training with its evaluation, as a process of its own can be told.

    Attributes:
        train: Settings, its seed among them.
        measured: Settings of its evaluation.
        mixed: What it trains on.
        reference: The dataset whose test photos count.
        folder: Where its model and evaluation go.
    """

    train: TrainConfig
    measured: EvaluateConfig
    mixed: Path
    reference: Path
    folder: Path

    def job(self, share: int = 1) -> dict[str, Any]:
        """As JSON, for one of `share` processes on the machine: each takes its part of the workers."""
        jobs = {"jobs": max(1, resolve_jobs(self.train.jobs) // share)}
        return {
            "train": self.train.model_copy(update=jobs).model_dump(mode="json"),
            "measured": self.measured.model_copy(update=jobs).model_dump(mode="json"),
            **{name: str(getattr(self, name)) for name in ("mixed", "reference", "folder")},
        }

    @staticmethod
    def from_job(job: Mapping[str, Any]) -> Trial:
        """What `job` wrote."""
        return Trial(
            TrainConfig.model_validate(job["train"]),
            EvaluateConfig.model_validate(job["measured"]),
            *(Path(job[name]) for name in ("mixed", "reference", "folder")),
        )

    def takes_any_gpu(self) -> bool:
        """Whether it names no GPU and needs no second one."""
        return {self.train.device, self.measured.device} <= {"auto", "cuda"} and self.train.training.devices == 1

    def is_trained(self) -> bool:
        """Whether its model is there already."""
        try:
            key = stage_key("train", resolve_config(self.train), {"dataset": self.mixed})
        except WeldgenError:  # its own attempt says so
            return False
        return finished(self.folder / "model", key) is not None


def train_all(
    variants: Sequence[Variant],
    mixes: Mapping[str, Path],
    reference: Path,
    out: Path,
    config: CompareConfig,
    attempts: Attempts,
) -> list[Run]:
    """Train and evaluate every value with every seed; what was done before is taken over.

    Raises:
        WeldgenError: All failed; the first one's error.
    """
    key = config.key
    plan = [(v, config.train.seed + k) for v in variants if v.value in mixes for k in range(config.repeats)]
    measured = EvaluateConfig(seed=config.seed, device=config.device, jobs=config.jobs, shortcuts=UNASKED)
    trials: dict[str, tuple[Variant, Trial]] = {}
    for variant, seed in plan:
        folder = variant_folder(out, key, variant.value) / f"seed{seed}"
        settings = variant.train.model_copy(update={"seed": seed})
        trial = Trial(settings, measured, mixes[variant.value], reference, folder)
        trials[f"{key}={variant.value}/seed{seed}"] = (variant, trial)
    failed = _train_beside({name: trial for name, (_, trial) in trials.items()}, config)
    runs = []
    for number, (name, (variant, trial)) in enumerate(trials.items(), start=1):
        if name in failed:
            attempts.keep(name, failed[name])
            continue
        log.info("compare: model %d of %d, %s", number, len(plan), name)
        run = attempts.run(name, partial(_take, variant, trial))
        if run:
            runs.append(run)
    if not runs:
        raise attempts.errors[0]
    return runs


def _train_beside(trials: Mapping[str, Trial], config: CompareConfig) -> dict[str, WeldgenError]:
    """Train what is not there yet side by side, where the configuration and the devices say so; the errors by name."""
    spread = all(trial.takes_any_gpu() for trial in trials.values())
    if not plan_slots(config.parallel, len(trials), spread=spread):
        return {}
    waiting = {name: trial for name, trial in trials.items() if not trial.is_trained()}
    slots = plan_slots(config.parallel, len(waiting), spread=spread)
    if not slots:
        return {}
    log.info("compare: %d trainings, %d side by side", len(waiting), len(slots))
    jobs = [Job(name, _COMMAND, {"trial": t.job(len(slots)), "beside": len(slots)}) for name, t in waiting.items()]
    return {name: error for name, error in run_side_by_side(jobs, slots).items() if error}


def run_trial(trial: Trial, beside: int = 1) -> tuple[Summary, float | None, Summary]:
    """Train and evaluate one model, or take over what is there.

    Args:
        trial: What is trained.
        beside: How many trainings run at the same time, this one among them.

    Returns:
        What the training said, its peak memory in MB, and what the evaluation said.
    """
    model = trial.folder / "model"
    if beside > 1 and not trial.is_trained():
        mark_shared(trial.folder, trial.train, beside)
    trained, memory_mb = train_watched(partial(train, trial.mixed, model, trial.train), trial.folder)
    return trained, memory_mb, evaluate(model, trial.reference, trial.folder / "evaluation", trial.measured)


def _take(variant: Variant, trial: Trial) -> Run:
    """Train and evaluate one model in this process, or take over what is there."""
    from weldgen.classifier.model_file import load_model

    trained, memory_mb, evaluated = run_trial(trial)
    lines = (trial.folder / "evaluation" / PREDICTIONS).read_text(encoding="utf-8").splitlines()
    right = {line["file"]: line["label"] == line["predicted"] for line in map(json.loads, lines)}
    network, _ = load_model(trial.folder / "model")
    parameters = sum(weight.numel() for weight in network.parameters())
    beside = read_shared(trial.folder, trial.train)
    return Run(variant, trial.train.seed, trial.folder, trained, evaluated, right, parameters, memory_mb, beside)


def compare_runs(runs: Sequence[Run], reference: Path, config: CompareConfig, deployed: Deployed) -> Comparison:
    """Put the runs of each value together: a photo's answer is the share of the runs that were right."""
    import numpy as np

    from weldgen.classifier.comparison import Comparison, Entry
    from weldgen.classifier.paired import Answers
    from weldgen.data.labels import good_class

    files = list(runs[0].right)
    samples = {sample.file_name: sample for sample in Dataset.open(reference).samples}
    entries, right = [], []
    for value in dict.fromkeys(run.variant.value for run in runs):
        own = [run for run in runs if run.variant.value == value]
        right.append(np.mean([[run.right[file] for file in files] for run in own], axis=0))
        entries.append(
            Entry(
                value,
                tuple(run.seed for run in own),
                tuple(float(run.evaluated.details["balanced_accuracy"]) for run in own),
                own[0].trained.counts["real"],
                own[0].trained.counts["synthetic"],
                float(np.mean([run.trained.details["epochs"] for run in own])),
                _costs(own, deployed),
                own[0].variant.settings,
            )
        )
    labels = [samples[file].label for file in files]
    answers = Answers.of(labels, [samples[file].group for file in files], right)
    classes = sorted(set(labels))
    good = good_class(classes)
    index = None if good is None else classes.index(good)
    return Comparison.of(config.key, entries, answers, config.resamples, config.seed, index)


def _costs(runs: Sequence[Run], deployed: Deployed) -> Costs:
    """What the runs of one value cost."""
    value = runs[0].variant.value
    return Costs(
        sum(run.trained.details["training_seconds"] for run in runs) / len(runs),
        runs[0].parameters,
        {weight["id"]: weight["licence"] for weight in runs[0].trained.weights},
        max((run.memory_mb for run in runs if run.memory_mb is not None), default=None),
        deployed.file_mb.get(value),
        deployed.latency.median_ms.get(value) if deployed.latency else None,
        max(run.beside for run in runs),
    )


def variant_folder(out: Path, key: str, value: str) -> Path:
    """Folder of one value; characters that a file name may not have are replaced."""
    plain = re.sub(r"[^\w.+-]", "_", value)
    return out / f"{key}={plain if plain == value else f'{plain}-{content_hash(value.encode())[:6]}'}"
