"""The state of an interrupted training; one file, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from weldgen.runtime import output_errors, temporary_for

CHECKPOINT = "checkpoint.pt"

Record = dict[str, float]


@dataclass(frozen=True)
class State:
    """Where a training stands.

    Attributes:
        step: Steps that are done.
        parameters: Name -> LoRA parameter.
        optimizer: Its state.
        scaler: State of the fp16 loss scaling; empty elsewhere.
        history: A record of each step.
    """

    step: int
    parameters: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, Any]
    scaler: Mapping[str, Any]
    history: tuple[Record, ...]


def write_checkpoint(out: Path, state: State) -> None:
    """Replace the checkpoint of a folder.

    Raises:
        OutputError: The disk is full or the folder cannot be written.
    """
    path = out / CHECKPOINT
    content = {
        "step": state.step,
        "parameters": {name: parameter.detach().cpu() for name, parameter in state.parameters.items()},
        "optimizer": dict(state.optimizer),
        "scaler": dict(state.scaler),
        "history": list(state.history),
    }
    with output_errors(path):
        torch.save(content, temporary_for(path))
        temporary_for(path).replace(path)


def read_checkpoint(out: Path) -> State | None:
    """The checkpoint of a folder, on the CPU, or None."""
    path = out / CHECKPOINT
    if not path.is_file():
        return None
    content = torch.load(path, map_location="cpu", weights_only=True)
    return State(
        content["step"], content["parameters"], content["optimizer"], content["scaler"], tuple(content["history"])
    )
