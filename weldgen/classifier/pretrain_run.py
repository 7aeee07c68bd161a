"""One self-supervised run with Lightning, from photos in memory to a backbone's weights on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

import weldgen
from weldgen.classifier.backbones import Backbone, create_backbone, has_fixed_shape
from weldgen.classifier.dino import Branch, DinoModule, Length
from weldgen.classifier.folder import TENSORBOARD
from weldgen.classifier.keeper import LAST
from weldgen.classifier.loader import EpochOrder
from weldgen.classifier.local_weights import OWN_RECORD, OWN_WEIGHTS
from weldgen.classifier.network import WeldNetwork, adapt_statistics
from weldgen.classifier.pretrain_keeper import PretrainKeeper
from weldgen.classifier.pretraining import PretrainConfig
from weldgen.classifier.run import length_notes
from weldgen.classifier.signals import keep_signals
from weldgen.classifier.spread import MEASURED, collapsed, measure_spread, squares
from weldgen.classifier.trainer import choose_precision, lightning_options, quiet_lightning
from weldgen.classifier.views import Photos, ViewSet
from weldgen.data.dataset import Sample
from weldgen.errors import BackendError
from weldgen.runtime import (
    cpu_count,
    derive_seed,
    file_hash,
    log,
    output_errors,
    resolve_jobs,
    temporary_for,
    write_atomic,
)

_FORMAT = 1
_MAX_WORKERS = 8


@dataclass(frozen=True)
class Result:
    """What a run found.

    Attributes:
        notes: Sentences for the user.
        weights: What the weights inherit: `{"id", "licence"}` each.
        details: For the receipt.
    """

    notes: tuple[str, ...]
    weights: tuple[Mapping[str, str], ...]
    details: Mapping[str, Any]


def fit(photos: Photos, *, out: Path, device: str, config: PretrainConfig) -> Result:
    """Train, or go on with a run that was interrupted, and write the teacher's backbone.

    Args:
        photos: Images to learn from.
        out: Folder of the result.
        device: `cpu`, `cuda`, `cuda:N` or `mps`.
        config: Settings.

    Raises:
        BackendError: Weights are missing, or the device has too little memory.
    """
    torch.manual_seed(derive_seed(config.seed, "weights"))
    backbone = create_backbone(config.model.backbone, config.model.weights, (config.crops.global_px,) * 2)
    crops = config.crops
    if has_fixed_shape(backbone.name):
        crops = crops.model_copy(update={"local_px": crops.global_px})
    length = _length(len(photos), device, config)
    module = DinoModule(backbone, config, length).to(memory_format=torch.channels_last)
    before = measure_spread(module.teacher.to(device), photos, config.crops.global_px)
    precision = choose_precision(config.training.precision, device)
    keeper = PretrainKeeper(out, length)
    resume = out / LAST if (out / LAST).is_file() else None
    if resume:
        log.info("going on with the run that was interrupted")
    loader = _loader(ViewSet(photos, crops, config.seed), len(photos), device, config)
    with quiet_lightning():
        trainer = _trainer(out, device, precision, length, config, keeper)
        try:
            with keep_signals(trainer):
                trainer.fit(module, loader, ckpt_path=resume, weights_only=True)
        except SystemExit as error:  # Lightning turns Ctrl-C into an exit; the command line has its own words for it
            raise KeyboardInterrupt from error
        except torch.OutOfMemoryError as error:
            raise BackendError(
                "the device has too little memory for this batch", "lower training.batch_size or crops.global_px"
            ) from error
    teacher = module.teacher.to(device)
    # Before the statistics are taken anew: those would pull even collapsed features apart.
    after = measure_spread(teacher, photos, config.crops.global_px)
    _adapt(teacher, photos, config, pretrained=bool(backbone.weights))
    weights = _inherited(backbone, photos.samples, out)
    _save(out, teacher, backbone, photos.samples, weights, after)
    details = {
        "backbone": backbone.name,
        "epochs": length.epochs,
        "steps": length.steps,
        "crops": {"global_px": crops.global_px, "local_px": crops.local_px, "local_count": crops.local_count},
        "precision": precision,
        "loss": {"first": keeper.history[0]["loss"], "last": keeper.history[-1]["loss"]},
        "spread": {"start": before, "end": after},
        "collapsed": collapsed(before, after),
        "training_seconds": round(sum(record["seconds"] for record in keeper.history), 1),
    }
    return Result(_notes(backbone, out, length, config, details), weights, details)


def _length(images: int, device: str, config: PretrainConfig) -> Length:
    """Number of epochs: as configured, or as many as `min_steps` takes, or on a CPU as `cpu_max_steps` allows."""
    settings = config.training
    steps = -(-images // min(settings.batch_size, images))
    epochs = max(settings.epochs, -(-settings.min_steps // steps))
    if device == "cpu" and settings.cpu_max_steps:
        epochs = max(1, min(epochs, round(settings.cpu_max_steps / steps)))
    return Length(epochs, steps)


def _loader(views: ViewSet, images: int, device: str, config: PretrainConfig) -> DataLoader[Any]:
    batch = min(config.training.batch_size, images)
    order = EpochOrder([1.0] * images, batch, config.seed)
    # Cutting views costs less than a step on a CPU, where workers would compete with the training.
    workers = 0 if device == "cpu" else min(resolve_jobs(config.jobs), cpu_count(), _MAX_WORKERS)
    return DataLoader(
        views,
        sampler=order,
        batch_size=batch,
        num_workers=workers,
        pin_memory=device.startswith("cuda"),
        persistent_workers=workers > 0,
    )


def _trainer(
    out: Path, device: str, precision: str, length: Length, config: PretrainConfig, keeper: PretrainKeeper
) -> pl.Trainer:
    return pl.Trainer(
        **lightning_options(out, device, precision, length.epochs, config.training.clip_norm),
        logger=TensorBoardLogger(out, name=TENSORBOARD, version=""),
        callbacks=[keeper],
    )


def _adapt(teacher: Branch, photos: Photos, config: PretrainConfig, *, pretrained: bool) -> None:
    """Take the running statistics, which stayed as they were, from the photos: the weights before them have changed."""
    if not pretrained:
        return
    count = min(len(photos), MEASURED)
    batch = max(2, min(config.training.batch_size, count))
    batches = (
        squares(photos, range(start, start + batch), config.crops.global_px)
        for start in range(0, count - batch + 1, batch)
    )
    teacher.requires_grad_(True)  # statistics of frozen layers would be left as they are
    adapt_statistics(cast(WeldNetwork, teacher), batches)


def _inherited(backbone: Backbone, samples: Sequence[Sample], out: Path) -> tuple[Mapping[str, str], ...]:
    """Licences of what the weights started from and of the images that they were made from."""
    made: set[str] = set()
    for sample in samples:
        made.update(sample.extra.get("licences", ()))
    terms = "made from the project's own images"
    return (
        *backbone.weights,
        {"id": f"{out.name} (weldgen pretrain)", "licence": f"{terms}; {', '.join(sorted(made))}" if made else terms},
    )


def _save(
    out: Path,
    teacher: Branch,
    backbone: Backbone,
    samples: Sequence[Sample],
    weights: Sequence[Mapping[str, str]],
    spread: float,
) -> None:
    """Write the weights, then the record that names them; each whole or not at all."""
    from safetensors.torch import save_file

    path = out / OWN_WEIGHTS
    state = {name: value.detach().cpu().contiguous() for name, value in teacher.backbone.state_dict().items()}
    with output_errors(path):
        save_file(state, temporary_for(path))
        temporary_for(path).replace(path)
    record = {
        "format": _FORMAT,
        "weldgen": weldgen.__version__,
        "backbone": backbone.name,
        "identity": file_hash(path),
        "weights": [dict(weight) for weight in weights],
        "spread": spread,
        "images": {
            origin: sum(sample.origin == origin for sample in samples) for origin in ("real", "synthetic")
        },
        "seen": sorted(sample.id for sample in samples if sample.origin == "real"),
    }  # fmt: skip
    write_atomic(out / OWN_RECORD, json.dumps(record, indent=1) + "\n")


def _notes(
    backbone: Backbone, out: Path, length: Length, config: PretrainConfig, details: Mapping[str, Any]
) -> tuple[str, ...]:
    lines = [*backbone.notes, *length_notes(length.epochs, config.training)]
    if details["crops"]["local_px"] != config.crops.local_px:
        lines.append(
            f"{backbone.name} is built for one size: its small crops have {config.crops.global_px} px instead of "
            f"{config.crops.local_px}"
        )
    spread = details["spread"]
    lines.append(f"spread of the embeddings: {spread['start']:.2f} at the start, {spread['end']:.2f} at the end")
    if details["collapsed"]:
        lines.append(
            "the embeddings have collapsed: they tell the photos apart no more, so do not use these weights; a lower "
            "training.lr, or a training.momentum nearer to 1, helps"
        )
    lines.append(f"then: weldgen train model.weights={out}")
    return tuple(lines)
