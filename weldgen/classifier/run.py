"""One training run with Lightning, from images in memory to a model on disk."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch._dynamo.exc import TorchDynamoException
from torch.utils.data import DataLoader

from weldgen.classifier.backbones import AVERAGE, create_backbone, set_pool
from weldgen.classifier.calibrate import MIN_PHOTOS, fit_temperature
from weldgen.classifier.freezing import freeze_backbone
from weldgen.classifier.judges import Judges, aside_notes, choose_judges, logits_of
from weldgen.classifier.keeper import BEST, LAST, Keeper
from weldgen.classifier.loader import EpochOrder, Images, TrainingSet, ValidationSet, images_an_epoch
from weldgen.classifier.loggers import close_loggers, open_loggers
from weldgen.classifier.losses import class_weights_of
from weldgen.classifier.model_file import ModelCard, by_origin, licences, save_model
from weldgen.classifier.module import ClassifierModule
from weldgen.classifier.network import WeldNetwork, adapt_statistics
from weldgen.classifier.plan import Plan, plan_run
from weldgen.classifier.pretraining import PretrainSettings
from weldgen.classifier.result import Result, details_of, draw_weights, seen_by
from weldgen.classifier.settings import TrainConfig, TrainingSettings
from weldgen.classifier.watch import watchers
from weldgen.errors import BackendError
from weldgen.runtime import cpu_count, derive_seed, log, resolve_jobs

_MAX_WORKERS = 8
_ADAPT_BATCHES = 12
PRECISIONS: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def fit(
    training: Images, validation: Images, labels: Sequence[str], *, out: Path, device: str, config: TrainConfig
) -> Result:
    """Train, or go on with a run that was interrupted, and write the model of the best epoch.

    Args:
        training: Images to learn from.
        validation: Real photos that choose the best epoch, may be empty; or the synthetic images that stand in for
            them, with the real photos that there are.
        labels: Classes.
        out: Folder of the model.
        device: `cpu`, `cuda`, `cuda:N` or `mps`.
        config: Settings.
    """
    torch.manual_seed(derive_seed(config.seed, "weights"))
    frame = training.frame
    backbone = create_backbone(config.model.backbone, config.model.weights, frame, config.model.drop_path)
    settings = config.model.model_copy(update={"pool": AVERAGE if config.model.pool == "auto" else config.model.pool})
    set_pool(backbone, settings.pool)
    learning, learning_note = freeze_backbone(backbone, settings)
    network = WeldNetwork(backbone.model, backbone.features, (backbone.mean, backbone.std), settings, len(labels))
    judges = choose_judges(training, validation)
    weights = draw_weights(training)
    plan = plan_run(images_an_epoch(weights), config, device, pretrained=bool(backbone.weights))
    network.lay_out(channels_last=config.training.channels_last)
    class_weights = class_weights_of(config.training, labels, _drawn(training, weights, len(labels)))
    module = ClassifierModule(network, config, plan, class_weights)
    keeper = Keeper(out, config.training, plan, judges.name)
    precision = choose_precision(config.training.precision, device)
    loaders = _loaders(training, judges.images, weights, device, config, plan.accumulation)
    with quiet_lightning():
        trainer = _trainer(out, device, precision, plan, config, keeper)
        resume = out / LAST if (out / LAST).is_file() else None
        if resume:
            log.info("going on with the run that was interrupted")
        elif plan.pretrained:
            adapt_statistics(network.to(device), (images for images, _ in islice(loaders[0], _ADAPT_BATCHES)))
        try:
            _fit(trainer, module, loaders, resume)
        finally:
            close_loggers(trainer.loggers)
    best = torch.load(out / BEST, map_location="cpu", weights_only=True)
    module.load_state_dict(best["state_dict"])
    network = module.result
    temperature, fitted_on = _temperature(network, judges)
    record = keeper.history[keeper.best_epoch - 1]
    card = ModelCard(
        classes=tuple(labels),
        frame=frame,
        backbone=backbone.name,
        features=backbone.features,
        mean=backbone.mean,
        std=backbone.std,
        settings=settings.model_dump(mode="json"),
        temperature=temperature,
        temperature_fitted_on=fitted_on,
        trained_on=by_origin(training.samples),
        validated_on=by_origin(judges.images.samples),
        warnings=(judges.warning,) if judges.warning else (),
        seen=seen_by(training, validation),
        licences=licences(training.samples, backbone.weights),
        validation={name: value for name, value in record.items() if name.startswith("val_")},
    )
    save_model(out, network, card)
    return Result(
        (
            *backbone.notes,
            learning_note,
            *_notes(card, keeper, plan, config),
            *aside_notes(network, judges.aside, "which chose nothing"),
        ),
        backbone.weights,
        _details(card, keeper, plan, precision, learning),
    )


def choose_precision(wanted: str, device: str) -> str:
    """`fp32`, `bf16` or `fp16`; `auto` takes what is fastest on the device.

    CPUs with AMX train half as fast again in bf16; those that have AVX512-bf16 alone are slower in it
    (EfficientNet-Lite0 at 256 px, one Zen 4 core, channels last: 9.2 images a second in fp32, 7.4 in bf16).
    """
    if wanted != "auto":
        return wanted
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device == "cpu" and torch.cpu._is_amx_tile_supported():
        return "bf16"
    return "fp32"


def _drawn(training: Images, weights: Sequence[float], classes: int) -> list[float]:
    """How often images of each class are drawn."""
    zeros = torch.zeros(classes)
    return zeros.index_add(0, torch.from_numpy(training.targets), torch.tensor(weights)).tolist()


def _loaders(
    training: Images,
    validation: Images,
    weights: Sequence[float],
    device: str,
    config: TrainConfig,
    accumulation: int,
) -> tuple[DataLoader[Any], DataLoader[Any] | None]:
    batch = min(config.training.batch_size, len(training))
    # On a CPU the training itself takes all cores, and workers would only compete with it.
    workers = 0 if device == "cpu" else min(resolve_jobs(config.jobs), cpu_count(), _MAX_WORKERS)
    shared: dict[str, Any] = {
        "batch_size": batch,
        "num_workers": workers,
        "pin_memory": device.startswith("cuda"),
        "persistent_workers": workers > 0,
    }
    order = EpochOrder(weights, batch * accumulation, config.seed)
    train: DataLoader[Any] = DataLoader(
        TrainingSet(training, config.augmentation, config.seed), sampler=order, **shared
    )
    return train, DataLoader(ValidationSet(validation), **shared) if len(validation) else None


def _trainer(out: Path, device: str, precision: str, plan: Plan, config: TrainConfig, keeper: Keeper) -> pl.Trainer:
    kind, _, index = device.partition(":")
    return pl.Trainer(
        accelerator="gpu" if kind == "cuda" else kind,
        devices=[int(index)] if index else 1,
        precision=PRECISIONS[precision],
        max_epochs=plan.epochs,
        gradient_clip_val=config.training.clip_norm or None,
        accumulate_grad_batches=plan.accumulation,
        logger=open_loggers(out, config),
        callbacks=[keeper, *watchers()],
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=out,
        inference_mode=False,
    )


def _fit(
    trainer: pl.Trainer,
    module: ClassifierModule,
    loaders: tuple[DataLoader[Any], DataLoader[Any] | None],
    resume: Path | None,
) -> None:
    try:
        trainer.fit(module, loaders[0], loaders[1], ckpt_path=resume, weights_only=True)
    except SystemExit as error:  # Lightning turns Ctrl-C into an exit; the command line has its own words for it
        raise KeyboardInterrupt from error
    except torch.OutOfMemoryError as error:
        raise BackendError(
            "the device has too little memory for this batch", "lower training.batch_size or data.image_size"
        ) from error
    except TorchDynamoException as error:
        reason = str(error).strip().splitlines()[0]
        raise BackendError(f"torch cannot compile this network: {reason}", "training.compile=false") from error


def _temperature(network: WeldNetwork, judges: Judges) -> tuple[float, int]:
    """Fitted on real photos alone: how sure it may be of synthetic ones says nothing about others."""
    if judges.warning or len(judges.images) < MIN_PHOTOS:
        return 1.0, 0
    return fit_temperature(*logits_of(network, judges.images)), len(judges.images)


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


def _notes(card: ModelCard, keeper: Keeper, plan: Plan, config: TrainConfig) -> tuple[str, ...]:
    ran = len(keeper.history)
    lines = length_notes(plan.epochs, config.training)
    found = card.validation.get("val_balanced_accuracy")
    best = f"best epoch {keeper.best_epoch} of {ran}"
    lines.append(best if found is None else f"{best}: balanced accuracy {found:.1%} on the {keeper.judges}")
    if not card.temperature_fitted_on:
        lines.append(f"confidence is not calibrated: that takes {MIN_PHOTOS} real validation photos")
    synthetic = card.licences.get("synthetic images")
    if synthetic:
        lines.append(f"synthetic images were made under {synthetic}")
    return tuple(lines)


def _details(card: ModelCard, keeper: Keeper, plan: Plan, precision: str, learning: float) -> dict[str, Any]:
    seconds = sum(record["seconds"] for record in keeper.history)
    return details_of(card) | {
        "method": "finetune",
        "learning_share": round(learning, 4),
        "precision": precision,
        "epochs": len(keeper.history),
        "steps": keeper.history[-1]["step"],
        "steps_per_epoch": plan.steps_per_epoch,
        "best_epoch": keeper.best_epoch,
        "training_seconds": round(seconds, 1),
    }


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Lightning's hints and warnings are for its own users."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
