"""Where a training runs: Accelerate's device and processes, the precision, the optimizer."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from weldgen.errors import BackendError, ConfigError
from weldgen.runtime import resolve_device
from weldgen.synthesis.lora.settings import LoraConfig, TrainingSettings


def choose_precision(wanted: str, device: str) -> str:
    """`fp32`, `bf16` or `fp16`.

    Raises:
        ConfigError: fp16 was asked for on a CPU.
    """
    if wanted == "fp16" and device == "cpu":
        raise ConfigError("training.precision=fp16 needs a GPU; on a CPU fp32 and bf16 are accepted")
    if wanted != "auto":
        return wanted
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "fp32"


@contextmanager
def open_accelerator(config: LoraConfig) -> Iterator[tuple[Any, str]]:
    """Accelerate's `Accelerator` and the precision; one process, or those that `accelerate launch` started.

    Raises:
        BackendError: The device is not present.
        ConfigError: The precision does not fit it.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState

    device = resolve_device(config.device)
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)
    precision = choose_precision(config.training.precision, device)
    accelerator = Accelerator(
        mixed_precision="no" if precision == "fp32" else precision,
        gradient_accumulation_steps=config.training.accumulation,
        cpu=device == "cpu",
    )
    try:
        yield accelerator, precision
    finally:
        accelerator.free_memory()
        accelerator.end_training()
        # Accelerate keeps one state for the process; a second training in it may want another precision.
        GradientState._reset_state()
        AcceleratorState._reset_state(reset_partial_state=True)


def make_optimizer(parameters: Iterable[Any], settings: TrainingSettings, device: str) -> tuple[Any, str]:
    """AdamW, with 8-bit moments where asked for or fit, and its name.

    Raises:
        BackendError: adam8bit was asked for, and bitsandbytes is not installed or cannot be loaded.
    """
    name = settings.optimizer
    if name == "auto":
        found = device.startswith("cuda") and importlib.util.find_spec("bitsandbytes") is not None
        name = "adam8bit" if found else "adamw"
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay), name
    try:
        optimizers: Any = importlib.import_module("bitsandbytes.optim")
    except (ImportError, RuntimeError, OSError) as error:
        raise BackendError(
            f"training.optimizer=adam8bit needs bitsandbytes: {error}",
            "pip install bitsandbytes, or set training.optimizer=adamw",
        ) from error
    return optimizers.AdamW8bit(parameters, lr=settings.lr, weight_decay=settings.weight_decay), name


def check_optimizer(settings: TrainingSettings) -> None:
    """Refuse adam8bit without bitsandbytes, before anything is loaded or written.

    Raises:
        BackendError: It is not installed.
    """
    if settings.optimizer == "adam8bit" and importlib.util.find_spec("bitsandbytes") is None:
        raise BackendError(
            "training.optimizer=adam8bit needs bitsandbytes, which is not installed",
            "pip install bitsandbytes, or set training.optimizer=adamw",
        )
