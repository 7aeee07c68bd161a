"""Lightning's trainer and its loaders, set up for one run."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch._dynamo.exc import TorchDynamoException
from torch.utils.data import DataLoader

from weldgen.classifier.loader import EpochOrder, Images, TrainingSet, ValidationSet
from weldgen.classifier.loggers import open_loggers
from weldgen.classifier.module import ClassifierModule
from weldgen.classifier.plan import Plan
from weldgen.classifier.progressive import frames_by_epoch
from weldgen.classifier.settings import TrainConfig
from weldgen.classifier.share import PartOfBatches, Share
from weldgen.classifier.signals import keep_signals
from weldgen.classifier.watch import watchers
from weldgen.errors import BackendError
from weldgen.runtime import cpu_count, resolve_jobs

_MAX_WORKERS = 8
PRECISIONS: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
Loader = DataLoader[Any]


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


def make_loaders(
    training: Images, judges: Images, weights: Sequence[float], device: str, config: TrainConfig, plan: Plan
) -> tuple[Loader, Loader | None]:
    """Batches of training images, and of those that judge; None where there are none.

    Args:
        training: What to train on.
        judges: What chooses the best epoch; always at the size of the model's input.
        weights: How often each training image is drawn.
        device: Where the network is.
        config: Settings.
        plan: Batches and length of the run, and this process's share of each batch.
    """
    # On a CPU the training itself takes all cores, and workers would only compete with it.
    share = plan.share
    jobs = max(1, resolve_jobs(config.jobs) // share.count)
    workers = 0 if device == "cpu" else min(jobs, cpu_count(), _MAX_WORKERS)
    shared: dict[str, Any] = {
        "batch_size": share.size_of(plan.batch_size),
        "num_workers": workers,
        "pin_memory": device.startswith("cuda"),
        "persistent_workers": workers > 0,
    }
    order = EpochOrder(weights, plan.batch_size * plan.accumulation, config.seed)
    # The statistics of pre-trained layers are taken from the first images that are drawn: at the model's own size.
    order.set_epoch(plan.first_full)
    frames = frames_by_epoch(training.frame, config.training.progressive, config.data.image_size, plan)
    images = TrainingSet(training, config.augmentation, config.seed, frames)
    judging = ValidationSet(judges)
    if share.alone:
        return DataLoader(images, sampler=order, **shared), DataLoader(judging, **shared) if len(judges) else None
    return (
        DataLoader(images, sampler=PartOfBatches(order, plan.batch_size, share), **shared),
        DataLoader(judging, sampler=share.rows_of(len(judges)), **shared) if len(judges) else None,
    )


def lightning_options(out: Path, device: str, precision: str, epochs: int, clip_norm: float) -> dict[str, Any]:
    """What all trainings tell Lightning: where and how to compute, and that it neither writes nor prints by itself."""
    kind, _, index = device.partition(":")
    return {
        "accelerator": "gpu" if kind == "cuda" else kind,
        "devices": [int(index)] if index else 1,
        "precision": PRECISIONS[precision],
        "max_epochs": epochs,
        "gradient_clip_val": clip_norm or None,
        "log_every_n_steps": 1,
        "num_sanity_val_steps": 0,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": out,
    }


def shared_options(share: Share, *, idle_weights: bool) -> dict[str, Any]:
    """What Lightning is told besides where several processes train, which are there already.

    Args:
        share: Of this process.
        idle_weights: Whether the network has weights that its answer does not depend on, whose gradients the processes
            must not wait for.
    """
    return {
        "devices": share.count,
        "strategy": DDPStrategy(
            cluster_environment=LightningEnvironment(),
            find_unused_parameters=idle_weights,
            # Statistics of batch norms are the same already, or are made so before each validation.
            broadcast_buffers=False,
        ),
        "use_distributed_sampler": False,
    }


def make_trainer(
    out: Path, options: Mapping[str, Any], plan: Plan, config: TrainConfig, callbacks: Sequence[pl.Callback]
) -> pl.Trainer:
    """Lightning's trainer of a run.

    Args:
        out: Folder of the model.
        options: Of `lightning_options` and `shared_options`.
        plan: Length of the run, and this process's share of it.
        config: Settings.
        callbacks: Are called before the `watchers`.
    """
    return pl.Trainer(
        **options,
        accumulate_grad_batches=plan.accumulation,
        logger=open_loggers(out, config) if plan.share.leads else False,
        callbacks=[*callbacks, *watchers()],
        inference_mode=False,
    )


def run_trainer(
    trainer: pl.Trainer, module: ClassifierModule, loaders: tuple[Loader, Loader | None], resume: Path | None
) -> None:
    """Train.

    Raises:
        BackendError: The network cannot be compiled.
        KeyboardInterrupt: The user stopped it.
    """
    try:
        with keep_signals(trainer):
            trainer.fit(module, loaders[0], loaders[1], ckpt_path=resume, weights_only=True)
    except SystemExit as error:  # Lightning turns Ctrl-C into an exit; the command line has its own words for it
        raise KeyboardInterrupt from error
    except TorchDynamoException as error:
        reason = str(error).strip().splitlines()[0]
        raise BackendError(f"torch cannot compile this network: {reason}", "training.compile=false") from error


@contextmanager
def repeatable(*, wanted: bool) -> Iterator[None]:
    """Compute in the same order each time, which a GPU does not for speed, as far as there is a way to.

    Args:
        wanted: False changes nothing.
    """
    if not wanted:
        yield
        return
    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    chosen = torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs for it
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        torch.backends.cudnn.benchmark = chosen


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
