"""The trials of a search: Optuna suggests settings, the stages train and measure, a database remembers.

The database is written at each step, so a search that was killed goes on: finished trials count, the one that was cut
off goes on with the same settings from its last checkpoint. The sampler is seeded anew for each trial from its number,
so what it suggests depends on the finished trials alone, not on where a search was resumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from weldgen.classifier.attempts import Attempts
from weldgen.classifier.evaluate import EvaluateConfig, evaluate
from weldgen.classifier.keeper import Keeper
from weldgen.classifier.outcomes import AS_THEY_ARE, Outcome, Places, folder_name, right_photos
from weldgen.classifier.shortcuts import UNASKED
from weldgen.classifier.space import Dimension, TuneConfig, apply, as_they_are, current
from weldgen.classifier.train import train
from weldgen.classifier.watch import watching
from weldgen.data.mix import mix
from weldgen.runtime import content_hash, derive_seed, log, output_errors

# Trials are compared at tenths of their planned epochs, because settings may change the number of epochs.
_TENTHS = 10
# In the first three tenths the learning rate rises and a comparison says little.
_NOT_BEFORE = 3


class Reporter(pl.Callback):
    """Tells Optuna how a trial gets on, and stops it where the pruner says so.

    Args:
        trial: The trial.
    """

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial = trial
        self._told = set(_frozen(trial).intermediate_values)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the best balanced accuracy so far when the next tenth of the epochs is done.

        Raises:
            TrialPruned: The trial is not worth its time.
        """
        epochs = trainer.max_epochs or 1
        step = _TENTHS * (trainer.current_epoch + 1) // epochs
        keeper = next(callback for callback in trainer.callbacks if isinstance(callback, Keeper))  # type: ignore[attr-defined]
        if step in self._told or not step:
            return
        self._told.add(step)
        self._trial.report(max(record["val_balanced_accuracy"] for record in keeper.history), step)
        if step < _TENTHS and self._trial.should_prune():
            raise optuna.TrialPruned


def run_as_they_are(config: TuneConfig, places: Places) -> Outcome:
    """Train with the settings as they are: what the search has to beat.

    Raises:
        WeldgenError: They cannot be trained with; no trial would do better.
    """
    found = _run(AS_THEY_ARE, {}, config, places)
    return replace(found, choice={key: str(current(config, key)) for key in config.space})


def open_study(file: Path, name: str, config: TuneConfig, space: Sequence[Dimension], first: Outcome) -> optuna.Study:
    """The search of this name, new or as it was left; the settings as they are count as tried where they lie inside.

    Args:
        file: The database.
        name: Identity of data and settings; one database holds the searches of a folder.
        config: Pruner.
        space: What is searched.
        first: What the settings as they are reached.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruners: dict[str, optuna.pruners.BasePruner] = {
        "median": optuna.pruners.MedianPruner(n_startup_trials=config.startup, n_warmup_steps=_NOT_BEFORE),
        "asha": optuna.pruners.SuccessiveHalvingPruner(
            min_resource=_NOT_BEFORE, reduction_factor=3, bootstrap_count=config.startup
        ),
        "none": optuna.pruners.NopPruner(),
    }
    with output_errors(file):
        file.touch()  # a folder that cannot be written is one sentence, not SQL's
    storage = optuna.storages.RDBStorage(f"sqlite:///{file.resolve().as_posix()}")
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        direction="maximize",
        pruner=pruners[config.pruner],
        load_if_exists=True,
    )
    inside = as_they_are(config, space)
    if not study.get_trials(deepcopy=False) and len(inside) == len(space):
        study.add_trial(
            optuna.trial.create_trial(
                params=inside,
                distributions={dimension.key: _distribution(dimension) for dimension in space},
                value=first.score,
                user_attrs={"name": AS_THEY_ARE},
            )
        )
    return study


def next_trial(
    study: optuna.Study, config: TuneConfig, space: Sequence[Dimension]
) -> tuple[str, optuna.Trial, dict[str, str]] | None:
    """Name, trial and settings of what is to be run next: the one that was cut off, else a new one; None at the end."""
    trials = [t for t in study.get_trials(deepcopy=False) if "name" not in t.user_attrs]
    cut_off = next((t for t in trials if t.state is TrialState.RUNNING), None)
    if cut_off is None and len(trials) >= config.trials:
        return None
    number = trials.index(cut_off) if cut_off else len(trials)
    study.sampler = optuna.samplers.TPESampler(
        n_startup_trials=config.startup, seed=derive_seed(config.seed, "trial", number) % 2**32
    )
    # Optuna has no public way back to a trial that is under way.
    trial = optuna.Trial(study, cut_off._trial_id) if cut_off else study.ask()
    choice = {dimension.key: dimension.text(_suggest(trial, dimension)) for dimension in space}
    return str(number), trial, choice


def run_trial(name: str, trial: optuna.Trial, choice: Mapping[str, str], config: TuneConfig, places: Places) -> None:
    """Run one trial and tell the study what became of it; a failure is recorded and ends only this trial.

    Raises:
        OutputError: The disk is full, which ends all.
    """
    attempts = Attempts()
    study = trial.study
    trial.set_user_attr("choice", dict(choice))
    try:
        with watching(Reporter(trial)):
            found = attempts.run(f"trial {name}", partial(_run, name, choice, config, places))
    except optuna.TrialPruned:
        log.info("trial %s: cut short, others were better by then", name)
        study.tell(trial, state=TrialState.PRUNED)
        return
    if found is None:
        trial.set_user_attr("reason", attempts.failures[0].reason)
        study.tell(trial, state=TrialState.FAIL)
        return
    trial.set_user_attr("epochs", found.epochs)
    trial.set_user_attr("seconds", found.seconds)
    study.tell(trial, found.score)
    log.info("trial %s: balanced accuracy %.1f %% on the validation photos", name, 100 * (found.score or 0))


def _run(name: str, choice: Mapping[str, str], config: TuneConfig, places: Places) -> Outcome:
    """Mix, train and measure on the real validation photos, by the stages themselves."""
    mixing, training = apply(config, choice)
    mixed = places.mixes / content_hash(mixing.model_dump_json().encode())[:8]
    mix(*places.parts, mixed, mixing)
    folder = places.trials / folder_name(name)
    trained = train(mixed, folder / "model", training)
    measured = EvaluateConfig(seed=config.seed, device=config.device, jobs=config.jobs, split="val", shortcuts=UNASKED)
    evaluated = evaluate(folder / "model", mixed, folder / "evaluation", measured)
    return Outcome(
        name,
        "complete",
        choice,
        float(evaluated.details["balanced_accuracy"]),
        int(trained.details["epochs"]),
        float(trained.details["training_seconds"]),
        "",
        right_photos(folder),
    )


def _frozen(trial: optuna.Trial) -> FrozenTrial:
    return next(t for t in trial.study.get_trials(deepcopy=False) if t.number == trial.number)


def _distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.values:
        return CategoricalDistribution(dimension.values)
    if dimension.whole:
        return IntDistribution(round(dimension.low), round(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _suggest(trial: optuna.Trial, dimension: Dimension) -> float | int | str:
    if dimension.values:
        value: str = trial.suggest_categorical(dimension.key, dimension.values)
        return value
    if dimension.whole:
        return trial.suggest_int(dimension.key, round(dimension.low), round(dimension.high), log=dimension.log)
    return trial.suggest_float(dimension.key, dimension.low, dimension.high, log=dimension.log)
