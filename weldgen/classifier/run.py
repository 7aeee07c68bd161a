"""One training run with Lightning, from images in memory to a model on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from weldgen.classifier.backbones import AVERAGE, Backbone, create_backbone, set_pool
from weldgen.classifier.calibrate import MIN_PHOTOS
from weldgen.classifier.freezing import freeze_backbone
from weldgen.classifier.judges import Judges, aside_notes, choose_judges, judged_temperature
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
from weldgen.classifier.plan import Plan, plan_run
from weldgen.classifier.pretraining import PretrainSettings
from weldgen.classifier.progressive import frames_by_epoch, size_notes, size_spans
from weldgen.classifier.result import Result, details_of, draw_weights, seen_by
from weldgen.classifier.settings import ModelSettings, TrainConfig
from weldgen.classifier.top import BEST
from weldgen.classifier.trainer import choose_precision, make_loaders, make_trainer, quiet_lightning, run_trainer
from weldgen.classifier.training_settings import TrainingSettings
from weldgen.runtime import derive_seed, log

_ADAPT_BATCHES = 12


@dataclass(frozen=True)
class _Trained:
    """A run that has ended.

    Attributes:
        network: With the weights of the best epoch.
        settings: Of the network, with `auto` decided.
        backbone: What it was made of.
        keeper: What was seen of each epoch.
        plan: As it ran.
        precision: As it ran.
        learning: Share of the backbone's parameters that learned.
        notes: Sentences for the user.
    """

    network: WeldNetwork
    settings: ModelSettings
    backbone: Backbone
    keeper: Keeper
    plan: Plan
    precision: str
    learning: float
    notes: tuple[str, ...]


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
    while (trained := _try(training, judges, labels, out, device, config)) is None:
        free_memory(device)
    backbone, record = trained.backbone, trained.keeper.history[trained.keeper.best_epoch - 1]
    temperature, fitted_on = judged_temperature(trained.network, judges)
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
        validation={name: value for name, value in record.items() if name.startswith("val_")},
    )
    save_model(out, trained.network, card)
    frames = frames_by_epoch(card.frame, config.training.progressive, config.data.image_size, trained.plan)
    ran = frames[: len(trained.keeper.history)]
    aside = aside_notes(trained.network, judges.aside, "which chose nothing")
    notes = (*trained.notes, *_notes(card, trained, config), *size_notes(ran), *aside)
    sizes = [{"frame": list(frame), "epochs": count} for frame, count in size_spans(ran)]
    return Result(notes, backbone.weights, _details(card, trained) | {"image_sizes": sizes})


def _try(
    training: Images, judges: Judges, labels: Sequence[str], out: Path, device: str, config: TrainConfig
) -> _Trained | None:
    """Train; None where the device had too little memory, and the next try takes smaller batches."""
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
    planned = plan_run(images_an_epoch(weights), len(training), config, device, pretrained=bool(backbone.weights))
    plan = with_batches_of(out, planned)
    class_weights = class_weights_of(config.training, labels, drawn)
    module = ClassifierModule(network, config, plan, class_weights)
    keeper = Keeper(out, config.training, plan, judges.name)
    precision = choose_precision(config.training.precision, device)
    loaders = make_loaders(training, judges.images, weights, device, config, plan)
    resume = out / LAST if (out / LAST).is_file() else None
    with quiet_lightning():
        trainer = make_trainer(out, device, precision, plan, config, keeper)
        try:
            if resume:
                log.info("going on with the run that was interrupted")
            elif plan.pretrained:
                adapt_statistics(network.to(device), (images for images, _ in islice(loaders[0], _ADAPT_BATCHES)))
            run_trainer(trainer, module, loaders, resume)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            smaller_batches(plan, out, error)
            return None
        finally:
            close_loggers(trainer.loggers)
    best = torch.load(out / BEST, map_location="cpu", weights_only=True)
    module.load_state_dict(best["state_dict"])
    oversampling = oversample_notes(drawn, labels, config.training.oversample)
    notes = (*backbone.notes, learning_note, *oversampling, *batch_notes(planned, plan))
    return _Trained(module.result, settings, backbone, keeper, plan, precision, learning, notes)


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
    if not card.temperature_fitted_on:
        lines.append(f"confidence is not calibrated: that takes {MIN_PHOTOS} real validation photos")
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
