"""The training step, the validation and the optimizer, for Lightning."""

from __future__ import annotations

from typing import Any, cast

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from weldgen.classifier.ema import averaged_copy, decay_at, follow
from weldgen.classifier.losses import smooth, training_loss
from weldgen.classifier.metrics import balanced_accuracy, confusion_matrix
from weldgen.classifier.mixing import mix_batch
from weldgen.classifier.network import WeldNetwork, keep_statistics, parameter_groups
from weldgen.classifier.optimizers import OPTIMIZERS, group_options, rate_factor
from weldgen.classifier.plan import Plan
from weldgen.classifier.settings import AugmentationSettings, TrainConfig
from weldgen.classifier.share import gather_rows, of_whole_batch, same_statistics
from weldgen.runtime import derive_seed


class ClassifierModule(pl.LightningModule):
    """Trains a `WeldNetwork`.

    Args:
        network: What to train.
        config: Optimizer and loss, and how images of a batch are mixed.
        plan: Length and seed, and the process's share of each batch.
        class_weights: (K,) weights of the loss.

    Attributes:
        network: As given.
        result: What is validated and becomes the model: the network, or with `ema_decay` the average of its weights.
        epoch_metrics: What the last validation found: `val_loss`, `val_accuracy`, `val_balanced_accuracy`.
    """

    class_weights: Tensor

    def __init__(self, network: WeldNetwork, config: TrainConfig, plan: Plan, class_weights: Tensor) -> None:
        super().__init__()
        self.network = network
        # A part of the module of its own, so that it goes to the device and into the checkpoint by itself.
        self.average = averaged_copy(network) if config.training.ema_decay else None
        self.epoch_metrics: dict[str, float] = {}
        self._settings = config.training
        self._mixing: AugmentationSettings = config.augmentation
        self._plan = plan
        # The compiled function shares the network's weights; compiling in place would stay with the saved network.
        self._predict = torch.compile(network.forward) if config.training.compile else network.forward
        self._losses: list[Tensor] = []
        self._validated: list[tuple[Tensor, Tensor]] = []
        self.register_buffer("class_weights", class_weights, persistent=False)

    @property
    def result(self) -> WeldNetwork:
        """What is validated and becomes the model."""
        return self.network if self.average is None else self.average

    def on_train_start(self) -> None:
        """The average starts from the weights as they are now, with the statistics of the user's photos."""
        if self.average is not None and self.global_step == 0:
            self.average.load_state_dict(self.network.state_dict())

    def on_train_epoch_start(self) -> None:
        """Put the layers into their modes: the statistics of a pre-trained backbone stay as they are."""
        self._losses.clear()
        self.network.train()
        keep_statistics(self.network.backbone, frozen_only=not self._plan.pretrained)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Dropout depends on the number of the batch alone, so that a resumed run goes on exactly."""
        torch.manual_seed(self._batch_seed("step", batch_idx))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of one batch."""
        images, classes = batch
        targets = F.one_hot(classes, len(self.class_weights)).float()
        images, targets = mix_batch(images, targets, self._mixing, self._batch_seed("mix", batch_idx))
        loss = training_loss(self._predict(images, targets), targets, self.class_weights, self._settings)
        whole = loss.detach()
        if not self._plan.share.alone:
            weight = (smooth(targets, self._settings.label_smoothing) * self.class_weights).sum()
            loss, whole = of_whole_batch(loss, weight, self._plan.share)
        self._losses.append(whole)
        return loss

    def _batch_seed(self, purpose: str, batch_idx: int) -> int:
        number = self._plan.batch_number(self.current_epoch, batch_idx)
        return derive_seed(self._plan.seed, *self._plan.share.seed_parts(purpose, number))

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Take each step's weights into the average."""
        if self.average is not None and self._plan.ends_step(batch_idx):
            follow(self.average, self.network, decay_at(self.global_step, self._settings.ema_decay))

    @property
    def train_loss(self) -> float:
        """Mean loss of the epoch so far."""
        return float(torch.stack(self._losses).mean())

    def on_train_epoch_end(self) -> None:
        """Loss and learning rates for TensorBoard."""
        self.log("train_loss", self.train_loss)
        for group in cast(Any, self.optimizers()).param_groups:
            self.log(f"lr/{group['name'].split()[0]}", group["lr"])

    def on_validation_epoch_start(self) -> None:
        """All processes judge the same network."""
        if not self._plan.share.alone:
            same_statistics(self.result)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Keep the logits of one batch."""
        images, classes = batch
        self._validated.append((self.result(images).float().cpu(), classes.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Loss and balanced accuracy over all validation photos."""
        logits, classes = (torch.cat(parts) for parts in zip(*self._validated, strict=True))
        self._validated.clear()
        if not self._plan.share.alone:
            total = len(cast(Any, self.trainer.val_dataloaders).dataset)
            logits, classes = gather_rows((logits, classes), total, self._plan.share, self.device)
        predicted = logits.argmax(dim=1)
        matrix = confusion_matrix(classes.tolist(), predicted.tolist(), logits.shape[1])
        found = {
            "val_loss": float(F.cross_entropy(logits, classes)),
            "val_accuracy": float((predicted == classes).float().mean()),
            "val_balanced_accuracy": balanced_accuracy(matrix),
        }
        # What decides when to stop must be the same everywhere to the last bit.
        self.epoch_metrics = self.trainer.strategy.broadcast(found)
        self.log_dict(self.epoch_metrics)

    def configure_optimizers(self) -> Any:
        """The optimizer with a slower backbone, and the schedule of its rates."""
        settings = self._settings
        groups = parameter_groups(self.network, settings.lr, self._plan.backbone_lr_ratio, settings.weight_decay)
        groups = [group | group_options(settings) for group in groups]
        optimizer = OPTIMIZERS[settings.optimizer](groups, self._plan.steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate_factor(settings, step, self._plan.steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
