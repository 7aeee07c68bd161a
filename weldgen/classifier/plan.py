"""How long a run is."""

from __future__ import annotations

from dataclasses import dataclass

from weldgen.classifier.settings import TrainConfig


@dataclass(frozen=True)
class Plan:
    """What one run does.

    Attributes:
        epochs: Passes over the training images.
        steps_per_epoch: Optimisation steps of a pass.
        seed: Seed of the run.
        backbone_lr_ratio: Learning rate of the backbone relative to the head's.
        pretrained: Whether the backbone starts from pre-trained weights.
        accumulation: Batches a step.
    """

    epochs: int
    steps_per_epoch: int
    seed: int
    backbone_lr_ratio: float
    pretrained: bool = True
    accumulation: int = 1

    @property
    def steps(self) -> int:
        """Optimisation steps altogether."""
        return self.epochs * self.steps_per_epoch

    def batch_number(self, epoch: int, batch: int) -> int:
        """Number of a batch in the whole run; all are counted from 0."""
        return epoch * self.steps_per_epoch * self.accumulation + batch

    def ends_step(self, batch: int) -> bool:
        """Whether the optimizer makes a step after a batch of an epoch, counted from 0."""
        return (batch + 1) % self.accumulation == 0


def plan_run(images: int, config: TrainConfig, device: str, *, pretrained: bool) -> Plan:
    """Number of epochs: as configured, or as many as `min_steps` takes, or on a CPU as `cpu_max_steps` allows.

    A step accumulates no more batches than an epoch has, so that each epoch makes one at least.
    """
    batches = -(-images // min(config.training.batch_size, images))
    accumulation = min(config.training.accumulation, batches)
    steps = -(-batches // accumulation)
    epochs = max(config.training.epochs, -(-config.training.min_steps // steps))
    if device == "cpu" and config.training.cpu_max_steps:
        epochs = max(1, min(epochs, round(config.training.cpu_max_steps / steps)))
    return Plan(epochs, steps, config.seed, config.model.backbone_lr_ratio, pretrained, accumulation)
