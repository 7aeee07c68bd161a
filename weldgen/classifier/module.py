"""The training step, the validation and the optimizer, for Lightning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from weldgen.classifier.losses import soft_cross_entropy
from weldgen.classifier.metrics import balanced_accuracy, confusion_matrix
from weldgen.classifier.network import WeldNetwork, keep_statistics, parameter_groups
from weldgen.classifier.settings import TrainingSettings
from weldgen.runtime import derive_seed


@dataclass(frozen=True)
class Plan:
    """What one run does.

    Attributes:
        epochs: Passes over the training images.
        steps_per_epoch: Optimisation steps of a pass.
        seed: Seed of the run.
        backbone_lr_ratio: Learning rate of the backbone relative to the head's.
        pretrained: Whether the backbone starts from pre-trained weights.
    """

    epochs: int
    steps_per_epoch: int
    seed: int
    backbone_lr_ratio: float
    pretrained: bool = True

    @property
    def steps(self) -> int:
        """Optimisation steps altogether."""
        return self.epochs * self.steps_per_epoch


class ClassifierModule(pl.LightningModule):
    """Trains a `WeldNetwork`.

    Args:
        network: What to train.
        settings: Optimizer and loss.
        plan: Length and seed.
        class_weights: (K,) weights of the loss.

    Attributes:
        epoch_metrics: What the last validation found: `val_loss`, `val_accuracy`, `val_balanced_accuracy`.
    """

    class_weights: Tensor

    def __init__(self, network: WeldNetwork, settings: TrainingSettings, plan: Plan, class_weights: Tensor) -> None:
        super().__init__()
        self.network = network
        self.epoch_metrics: dict[str, float] = {}
        self._settings = settings
        self._plan = plan
        self._losses: list[Tensor] = []
        self._validated: list[tuple[Tensor, Tensor]] = []
        self.register_buffer("class_weights", class_weights, persistent=False)

    def on_train_epoch_start(self) -> None:
        """Put the layers into their modes: the statistics of a pre-trained backbone stay as they are."""
        self._losses.clear()
        self.network.train()
        keep_statistics(self.network.backbone, frozen_only=not self._plan.pretrained)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Dropout depends on the step alone, so that a resumed run goes on exactly."""
        torch.manual_seed(derive_seed(self._plan.seed, "step", self.global_step))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of one batch."""
        images, classes = batch
        targets = F.one_hot(classes, len(self.class_weights)).float()
        loss = soft_cross_entropy(self.network(images, targets), targets, self.class_weights)
        self._losses.append(loss.detach())
        return loss

    @property
    def train_loss(self) -> float:
        """Mean loss of the epoch so far."""
        return float(torch.stack(self._losses).mean())

    def on_train_epoch_end(self) -> None:
        """Loss and learning rates for TensorBoard."""
        self.log("train_loss", self.train_loss)
        for group in cast(Any, self.optimizers()).param_groups:
            self.log(f"lr/{group['name'].split()[0]}", group["lr"])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Keep the logits of one batch."""
        images, classes = batch
        self._validated.append((self.network(images).float().cpu(), classes.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Loss and balanced accuracy over all validation photos."""
        logits, classes = (torch.cat(parts) for parts in zip(*self._validated, strict=True))
        self._validated.clear()
        predicted = logits.argmax(dim=1)
        matrix = confusion_matrix(classes.tolist(), predicted.tolist(), logits.shape[1])
        self.epoch_metrics = {
            "val_loss": float(F.cross_entropy(logits, classes)),
            "val_accuracy": float((predicted == classes).float().mean()),
            "val_balanced_accuracy": balanced_accuracy(matrix),
        }
        self.log_dict(self.epoch_metrics)

    def configure_optimizers(self) -> Any:
        """AdamW with a slower backbone; the rates rise linearly, then fall along a cosine to zero."""
        settings = self._settings
        groups = parameter_groups(self.network, settings.lr, self._plan.backbone_lr_ratio, settings.weight_decay)
        optimizer = torch.optim.AdamW(groups)
        warmup = max(1, round(settings.warmup * self._plan.steps))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, self._plan.steps - warmup))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
