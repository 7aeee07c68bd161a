"""How long a run is, in what batches it trains, and which epochs see which size of images."""

from __future__ import annotations

from dataclasses import dataclass

from weldgen.classifier.settings import TrainConfig
from weldgen.classifier.share import ALONE, Share


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
        batch_size: Images a batch, in all processes together.
        sizes: Image sizes, one for each of so many parts of the run.
        share: Which part of each batch this process computes.
    """

    epochs: int
    steps_per_epoch: int
    seed: int
    backbone_lr_ratio: float
    pretrained: bool = True
    accumulation: int = 1
    batch_size: int = 1
    sizes: int = 1
    share: Share = ALONE

    @property
    def steps(self) -> int:
        """Optimisation steps altogether."""
        return self.epochs * self.steps_per_epoch

    @property
    def first_full(self) -> int:
        """The first epoch, counted from 0, whose images have the size of the model's input."""
        return next(epoch for epoch in range(self.epochs) if self.part(epoch) == self.sizes - 1)

    def part(self, epoch: int) -> int:
        """Which size an epoch sees, both counted from 0: parts are equally long, what is left over goes to the last."""
        return self.sizes - 1 - (self.epochs - 1 - epoch) * self.sizes // self.epochs

    def batch_number(self, epoch: int, batch: int) -> int:
        """Number of a batch in the whole run; all are counted from 0."""
        return epoch * self.steps_per_epoch * self.accumulation + batch

    def ends_step(self, batch: int) -> bool:
        """Whether the optimizer makes a step after a batch of an epoch, counted from 0."""
        return (batch + 1) % self.accumulation == 0


def plan_run(images: int, stock: int, config: TrainConfig, device: str, *, pretrained: bool) -> Plan:
    """Number of epochs: as configured, or as many as `min_steps` takes, or on a CPU as `cpu_max_steps` allows.

    A step accumulates no more batches than an epoch has, so that each epoch makes one at least.

    Args:
        images: Drawn in an epoch.
        stock: That there are to draw from; a batch is no larger.
        config: Settings.
        device: Where it trains.
        pretrained: Whether the backbone starts from pre-trained weights.
    """
    batch_size = min(config.training.batch_size, stock)
    batches = -(-images // batch_size)
    accumulation = min(config.training.accumulation, batches)
    steps = -(-batches // accumulation)
    epochs = max(config.training.epochs, -(-config.training.min_steps // steps))
    if device == "cpu" and config.training.cpu_max_steps:
        epochs = max(1, min(epochs, round(config.training.cpu_max_steps / steps)))
    sizes = len(config.training.progressive) or 1
    ratio = config.model.backbone_lr_ratio
    return Plan(epochs, steps, config.seed, ratio, pretrained, accumulation, batch_size, sizes)
