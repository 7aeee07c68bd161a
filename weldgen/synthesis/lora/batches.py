"""Batch number n of a run: a function of the seed and n alone, so that a resumed run is the unbroken one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from weldgen.runtime import derive_seed
from weldgen.synthesis.lora.data import TrainingData, shape_groups
from weldgen.synthesis.lora.loss import draw_timesteps
from weldgen.synthesis.lora.settings import LoraConfig


@dataclass(frozen=True)
class Batch:
    """Photos of one shape with their noise; tensors on the CPU.

    Attributes:
        latents: (B, C, h, w) float32, scaled.
        noise: Of the same shape.
        timesteps: (B,) int64.
        embeds: (B, T, D).
        pooled: (B, P).
        time_ids: (B, 6) float32.
    """

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    embeds: torch.Tensor
    pooled: torch.Tensor
    time_ids: torch.Tensor


class Order:
    """Which shots make batch number n: each shot once in a pass, in a new order each time.

    Args:
        groups: Numbers of the shots of each shape.
        batch_size: Shots in a batch; the last of a shape is filled up with shots of that shape.
        seed: Seed of the run.
    """

    def __init__(self, groups: Sequence[Sequence[int]], batch_size: int, seed: int) -> None:
        self._groups = [np.array(group) for group in groups]
        self._batch_size = batch_size
        self._seed = seed
        self._per_pass = sum(-(-len(group) // batch_size) for group in groups)
        self._current: tuple[int, list[list[int]]] = (-1, [])

    def at(self, number: int) -> list[int]:
        """The shots of a batch."""
        turn, position = divmod(number, self._per_pass)
        if self._current[0] != turn:
            self._current = (turn, self._pass(turn))
        return self._current[1][position]

    def _pass(self, turn: int) -> list[list[int]]:
        rng = np.random.default_rng(derive_seed(self._seed, "order", turn))
        batches = []
        for group in self._groups:
            dealt = rng.permutation(group)
            whole = -(-len(group) // self._batch_size) * self._batch_size
            batches += np.resize(dealt, (whole // self._batch_size, self._batch_size)).tolist()
        return [batches[index] for index in rng.permutation(len(batches))]


class Batches:
    """All batches of a run.

    Args:
        data: Encoded photos and prompts.
        schedule: The noise schedule.
        config: Settings.
    """

    def __init__(self, data: TrainingData, schedule: Any, config: LoraConfig) -> None:
        self._data = data
        self._schedule = schedule
        self._config = config
        groups = shape_groups(data.shots, balance=config.data.balance)
        self._order = Order(groups, config.training.batch_size, config.seed)

    def at(self, number: int) -> Batch:
        """Batch number `number`, from 0."""
        rng = np.random.default_rng(derive_seed(self._config.seed, "views", number))
        generator = torch.Generator().manual_seed(derive_seed(self._config.seed, "noise", number))
        shots = [self._data.shots[index] for index in self._order.at(number)]
        views = [int(rng.integers(len(shot.mean))) for shot in shots]
        prompts = [shot.prompts[int(rng.integers(len(shot.prompts)))] for shot in shots]
        mean = torch.stack([shot.mean[view] for shot, view in zip(shots, views, strict=True)])
        std = torch.stack([shot.std[view] for shot, view in zip(shots, views, strict=True)])
        embeddings = [self._data.embeddings[prompt] for prompt in prompts]
        return Batch(
            latents=mean + std * torch.randn(mean.shape, generator=generator),
            noise=torch.randn(mean.shape, generator=generator),
            timesteps=draw_timesteps(len(shots), self._schedule, self._config.train_on, generator),
            embeds=torch.stack([embeds for embeds, _ in embeddings]),
            pooled=torch.stack([pooled for _, pooled in embeddings]),
            time_ids=torch.stack([shot.time_ids[view] for shot, view in zip(shots, views, strict=True)]),
        )
