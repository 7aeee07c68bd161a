"""One training run with Lightning, from images in memory to a model on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from weldgen.classifier.backbones import AVERAGE, Backbone, create_backbone, set_pool
from weldgen.classifier.devices import check_stock, count_devices, device_notes, has_idle_weights, join_norms
from weldgen.classifier.freezing import freeze_backbone
from weldgen.classifier.judges import aside_notes, calibration_notes, choose_judges, judged_temperature
from weldgen.classifier.keeper import LAST, Keeper
from weldgen.classifier.layers import LAST_MAP
from weldgen.classifier.loader import Images, images_an_epoch
from weldgen.classifier.loggers import close_loggers
from weldgen.classifier.losses import class_weights_of
from weldgen.classifier.memory import batch_notes, free_memory, is_out_of_memory, smaller_batches, with_batches_of
from weldgen.classifier.model_file import ModelCard, by_origin, licences, save_model
from weldgen.classifier.module import ClassifierModule
from weldgen.classifier.network import WeldNetwork, adapt_statistics
from weldgen.classifier.oversample import drawn_of, oversample_notes
from weldgen.classifier.parallel import together
from weldgen.classifier.plan import Plan, plan_run
from weldgen.classifier.pretraining import PretrainSettings
from weldgen.classifier.progressive import frames_by_epoch, size_notes, size_spans
from weldgen.classifier.result import Result, details_of, draw_weights, seen_by
from weldgen.classifier.settings import ModelSettings, TrainConfig
from weldgen.classifier.share import ALONE, Share
from weldgen.classifier.top import BEST
from weldgen.classifier.trainer import (
    Loader,
    choose_precision,
    lightning_options,
    make_loaders,
    make_trainer,
    quiet_lightning,
    repeatable,
    run_trainer,
    shared_options,
)
from weldgen.classifier.training_settings import TrainingSettings
from weldgen.classifier.watch import HistoryTold, told_to_watchers
from weldgen.data.sample import located_by
from weldgen.runtime import derive_seed, log, temporary_for

_ADAPT_BATCHES = 12


@dataclass(frozen=True)
class _Job:
    """What is to be trained; goes to other processes where there are several devices.

    Attributes:
        training: Images to learn from.
        judges: Those that choose the best epoch.
        judges_name: What they are called.
        labels: Classes.
        out: Folder of the model.
        device: `cpu`, `cuda`, `cuda:N` or `mps`.
        config: Settings.
    """

    training: Images
    judges: Images
    judges_name: str
    labels: tuple[str, ...]
    out: Path
    device: str
    config: TrainConfig


@dataclass(frozen=True)
class _Trained:
    """A run that is ready, or has ended.

    Attributes:
        module: What trains; at the end with the weights of the best epoch.
        settings: Of the network, with `auto` decided.
        backbone: What it is made of.
        keeper: What was seen of each epoch.
        weights: How often each training image is drawn.
        plan: As it runs.
        precision: As it runs.
        learning: Share of the backbone's parameters that learn.
        notes: Sentences for the user.
    """

    module: ClassifierModule
    settings: ModelSettings
    backbone: Backbone
    keeper: Keeper
    weights: tuple[float, ...]
    plan: Plan
    precision: str
    learning: float
    notes: tuple[str, ...]

    @property
    def network(self) -> WeldNetwork:
        """What becomes the model."""
        return self.module.result


def fit(
    training: Images, validation: Images, labels: Sequence[str], *, out: Path, device: str, config: TrainConfig
) -> Result:
    """Train, or go on with a run that was interrupted, and write the model of the best epoch.

    Where the device runs out of memory, the run goes on with smaller batches (`weldgen.classifier.memory`).

    Args:
        training: Images to learn from.
        validation: Real photos that choose the best epoch, may be empty; or the synthetic images that stand in for
            them, with the real photos that there are.
        labels: Classes.
        out: Folder of the model.
        device: `cpu`, `cuda`, `cuda:N` or `mps`.
        config: Settings.

    Raises:
        BackendError: Weights are missing, or not even one image fits into the device's memory.
    """
    judges = choose_judges(training, validation)
    devices = count_devices(config, device)
    job = _Job(training, judges.images, judges.name, tuple(labels), out, device, config)
    if devices > 1:  # so that the processes share one copy of the images
        job = replace(
            job,
            training=training.mapped(temporary_for(out / "training.npy")),
            judges=judges.images.mapped(temporary_for(out / "judges.npy")),
        )
    while (trained := _try(job, devices)) is None:
        free_memory(device)
    backbone, record = trained.backbone, trained.keeper.history[trained.keeper.best_epoch - 1]
    temperature, fitted_on = judged_temperature(trained.network, judges, learned=True)
    card = ModelCard(
        classes=tuple(labels),
        frame=training.frame,
        backbone=backbone.name,
        features=backbone.features,
        mean=backbone.mean,
        std=backbone.std,
        settings=trained.settings.model_dump(mode="json"),
        temperature=temperature,
        temperature_fitted_on=fitted_on,
        trained_on=by_origin(training.samples),
        validated_on=by_origin(judges.images.samples),
        warnings=(judges.warning,) if judges.warning else (),
        seen=seen_by(training, validation),
        licences=licences(training.samples, backbone.weights),
        locator=located_by(training.samples),
        validation={name: value for name, value in record.items() if name.startswith("val_")},
    )
    save_model(out, trained.network, card)
    frames = frames_by_epoch(card.frame, config.training.progressive, config.data.image_size, trained.plan)
    ran = frames[: len(trained.keeper.history)]
    aside = aside_notes(trained.network, judges.aside, "which chose nothing")
    notes = (*trained.notes, *_notes(card, trained, config), *size_notes(ran), *aside)
    sizes = [{"frame": list(frame), "epochs": count} for frame, count in size_spans(ran)]
    return Result(notes, backbone.weights, _details(card, trained) | {"image_sizes": sizes})


def _try(job: _Job, devices: int) -> _Trained | None:
    """Train; None where the device had too little memory, and the next try takes smaller batches."""
    ready = _prepare(job, Share(0, devices))
    try:
        if devices == 1:
            _train(job, ready)
        else:
            check_stock(ready.plan)
            state = together(_work, job, devices, job.device, told_to_watchers(ready.keeper, ready.plan, ready.module))
            ready.keeper.load_state_dict(state)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        smaller_batches(ready.plan, job.out, error)
        return None
    best = torch.load(job.out / BEST, map_location="cpu", weights_only=True)
    ready.module.load_state_dict(best["state_dict"])
    return ready


def _prepare(job: _Job, share: Share) -> _Trained:
    """Set up what trains: the same in every process, but for its share of the batches."""
    training, config, labels = job.training, job.config, job.labels
    torch.manual_seed(derive_seed(config.seed, "weights"))
    backbone = create_backbone(config.model.backbone, config.model.weights, training.frame, config.model.drop_path)
    pool = AVERAGE if config.model.pool == "auto" else config.model.pool
    settings = config.model.model_copy(update={"pool": pool, "layers": LAST_MAP})
    set_pool(backbone, settings.pool)
    learning, learning_note = freeze_backbone(backbone, settings)
    network = WeldNetwork(backbone.model, backbone.features, (backbone.mean, backbone.std), settings, len(labels))
    network.lay_out(channels_last=config.training.channels_last)
    weights = draw_weights(training, labels, config.training.oversample)
    drawn = drawn_of(weights, training.targets.tolist(), len(labels))
    planned = plan_run(images_an_epoch(weights), len(training), config, job.device, pretrained=bool(backbone.weights))
    plan = replace(with_batches_of(job.out, planned), share=share)
    class_weights = class_weights_of(config.training, labels, drawn)
    module = ClassifierModule(network, config, plan, class_weights)
    keeper = Keeper(job.out, config.training, plan, job.judges_name)
    precision = choose_precision(config.training.precision, job.device)
    notes = (
        *backbone.notes,
        learning_note,
        *oversample_notes(drawn, labels, config.training.oversample),
        *batch_notes(planned, plan),
        *device_notes(network, plan, job.device),
    )
    return _Trained(module, settings, backbone, keeper, tuple(weights), plan, precision, learning, notes)


def _train(job: _Job, ready: _Trained, watching: Sequence[pl.Callback] = ()) -> None:
    """Train in this process, alone or with others, or go on with what lies in the folder."""
    out, device, config, plan = job.out, job.device, job.config, ready.plan
    network, share = ready.module.network, plan.share
    loaders = make_loaders(job.training, job.judges, ready.weights, device, config, plan)
    resume = out / LAST if (out / LAST).is_file() else None
    options = lightning_options(out, device, ready.precision, plan.epochs, config.training.clip_norm)
    if not share.alone:
        options |= shared_options(share, idle_weights=has_idle_weights(network, job.training.frame))
    with quiet_lightning(), repeatable(wanted=config.training.deterministic):
        trainer = make_trainer(out, options, plan, config, [ready.keeper, *watching])
        try:
            if resume:
                log.info("going on with the run that was interrupted")
            elif plan.pretrained:
                # Every process looks at whole batches, as one alone would.
                whole = loaders[0] if share.alone else _whole_batches(job, ready)
                adapt_statistics(network.to(device), (images for images, _ in islice(whole, _ADAPT_BATCHES)))
            if not share.alone:
                join_norms(network, device)
            run_trainer(trainer, ready.module, loaders, resume)
        finally:
            if not share.alone:  # alone, a run stays open for what is known after the training
                close_loggers(trainer.loggers)


def _whole_batches(job: _Job, ready: _Trained) -> Loader:
    alone = replace(ready.plan, share=ALONE)
    return make_loaders(job.training, job.judges, ready.weights, job.device, job.config, alone)[0]


def _work(share: Share, job: _Job, tell: Callable[[object], None]) -> dict[str, Any]:
    """What one of several processes does; returns what its keeper knows."""
    ready = _prepare(job, share)
    _train(job, ready, [HistoryTold(ready.keeper, tell)] if share.leads else ())
    return ready.keeper.state_dict()


def length_notes(epochs: int, asked: TrainingSettings | PretrainSettings) -> list[str]:
    """Sentences on a run that has other epochs than were asked for."""
    if epochs > asked.epochs:
        return [
            f"few images: {epochs} epochs instead of {asked.epochs}, to make {asked.min_steps} steps "
            "(training.min_steps)"
        ]
    if epochs < asked.epochs:
        return [
            f"many images for a CPU: {epochs} epochs instead of {asked.epochs}; "
            "training.cpu_max_steps=0 lifts the limit"
        ]
    return []


def _notes(card: ModelCard, trained: _Trained, config: TrainConfig) -> tuple[str, ...]:
    keeper = trained.keeper
    ran = len(keeper.history)
    lines = length_notes(trained.plan.epochs, config.training)
    found = card.validation.get("val_balanced_accuracy")
    best = f"best epoch {keeper.best_epoch} of {ran}"
    lines.append(best if found is None else f"{best}: balanced accuracy {found:.1%} on the {keeper.judges}")
    lines += calibration_notes(card.temperature, card.temperature_fitted_on)
    synthetic = card.licences.get("synthetic images")
    if synthetic:
        lines.append(f"synthetic images were made under {synthetic}")
    return tuple(lines)


def _details(card: ModelCard, trained: _Trained) -> dict[str, Any]:
    history = trained.keeper.history
    return details_of(card) | {
        "method": "finetune",
        "learning_share": round(trained.learning, 4),
        "precision": trained.precision,
        "epochs": len(history),
        "steps": history[-1]["step"],
        "steps_per_epoch": trained.plan.steps_per_epoch,
        "batch_size": trained.plan.batch_size,
        "accumulation": trained.plan.accumulation,
        "best_epoch": trained.keeper.best_epoch,
        "training_seconds": round(sum(record["seconds"] for record in history), 1),
    }
