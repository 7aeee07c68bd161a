"""Self-distillation without labels (DINO, Caron et al. 2021, https://arxiv.org/abs/2104.14294).

A student sees large and small crops of a photo and learns to say what a teacher says of the large ones; the teacher is
the student's moving average. Loss, projection head and views are those of the `lightly` package (MIT).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightly.loss.dino_loss import DINOLoss
from lightly.models.modules.heads import DINOProjectionHead
from lightly.models.utils import update_momentum
from lightly.utils.debug import std_of_l2_normalized
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor, nn

from weldgen.classifier.backbones import Backbone
from weldgen.classifier.network import keep_statistics
from weldgen.classifier.pretraining import PretrainConfig
from weldgen.runtime import derive_seed

# Width of the layer before the prototypes, as in the paper.
_BOTTLENECK = 256


class Branch(nn.Module):
    """A backbone with a projection head: the student, or the teacher.

    Args:
        backbone: Network that turns (B, 3, S, S) normalised images into (B, F) features.
        features: F.
        normalisation: Mean and standard deviation of RGB from 0 to 1.
        config: Size of the head.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        features: int,
        normalisation: tuple[tuple[float, ...], tuple[float, ...]],
        config: PretrainConfig,
    ) -> None:
        super().__init__()
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in normalisation)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)
        self.backbone = backbone
        self.head = DINOProjectionHead(
            features, config.model.hidden, _BOTTLENECK, config.model.prototypes, freeze_last_layer=1
        )

    def embed(self, images: Tensor) -> Tensor:
        """(B, F) features of (B, 3, S, S) RGB from 0 to 255, uint8 or float."""
        pixels = (images.float() - self.mean) / self.std
        return cast(Tensor, self.backbone(pixels.contiguous(memory_format=torch.channels_last)))


@dataclass(frozen=True)
class Length:
    """How long a run is.

    Attributes:
        epochs: Passes over the images.
        steps_per_epoch: Optimisation steps of a pass.
    """

    epochs: int
    steps_per_epoch: int

    @property
    def steps(self) -> int:
        """Optimisation steps altogether."""
        return self.epochs * self.steps_per_epoch


class DinoModule(pl.LightningModule):
    """Student and teacher.

    Args:
        backbone: Where both start; its network becomes the student's.
        config: Settings.
        length: Length of the run.

    Attributes:
        epoch_metrics: What the epoch so far says: `loss`, and `spread` of the teacher's embeddings of the first crops
            (0: all alike).
    """

    def __init__(self, backbone: Backbone, config: PretrainConfig, length: Length) -> None:
        super().__init__()
        normalisation = (backbone.mean, backbone.std)
        self.teacher = Branch(copy.deepcopy(backbone.model), backbone.features, normalisation, config)
        self.student = Branch(backbone.model, backbone.features, normalisation, config)
        # The head's weight norm cannot be copied with deepcopy, so both are built and made equal.
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)
        settings = config.training
        self.loss = DINOLoss(
            config.model.prototypes,
            warmup_teacher_temp=settings.teacher_temperature,
            teacher_temp=settings.teacher_temperature,
            student_temp=settings.student_temperature,
        )
        self._config = config
        self._length = length
        self._pretrained = bool(backbone.weights)
        self._losses: list[Tensor] = []
        self._spreads: list[Tensor] = []

    def on_train_epoch_start(self) -> None:
        """Put the layers into their modes: the statistics of a pre-trained backbone stay as they are."""
        self._losses.clear()
        self._spreads.clear()
        self.train()
        for branch in (self.student, self.teacher):
            keep_statistics(branch.backbone, frozen_only=not self._pretrained)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Dropout depends on the step alone, so that a resumed run goes on exactly."""
        torch.manual_seed(derive_seed(self._config.seed, "step", self.global_step))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of one batch: large crops (B, 2, 3, S, S) and small ones (B, N, 3, s, s), uint8."""
        large, small = batch
        count, device = len(large), large.device
        large = large.transpose(0, 1).flatten(0, 1)  # all first views, then all second ones
        with torch.no_grad():
            embedded = self.teacher.embed(large)
            taught = self.teacher.head(embedded)
        seen = [self.student.embed(large)]
        if small.shape[1]:
            seen.append(self.student.embed(small.transpose(0, 1).flatten(0, 1)))
        said = self.student.head(torch.cat(seen))
        # In half precision the softmax over thousands of prototypes is too coarse.
        with torch.autocast(device.type, enabled=False):
            loss: Tensor = self.loss(list(taught.float().split(count)), list(said.float().split(count)))
        self._losses.append(loss.detach())
        if count > 1:
            self._spreads.append(std_of_l2_normalized(embedded[:count].float()) * math.sqrt(embedded.shape[1]))
        return loss

    def on_after_backward(self) -> None:
        """The prototypes stay as they are in the first epoch (section 5 and appendix of the paper)."""
        self.student.head.cancel_last_layer_gradients(self.current_epoch)

    def on_train_batch_end(self, *_: Any) -> None:
        """Move the teacher towards the student."""
        start = self._config.training.momentum
        momentum = cosine_schedule(self.global_step - 1, self._length.steps, start, 1.0)
        update_momentum(self.student.backbone, self.teacher.backbone, momentum)
        update_momentum(self.student.head, self.teacher.head, momentum)

    @property
    def epoch_metrics(self) -> dict[str, float]:
        """Means over the epoch so far."""
        means = {"loss": float(torch.stack(self._losses).mean())}
        if self._spreads:
            means["spread"] = float(torch.stack(self._spreads).mean())
        return means

    def on_train_epoch_end(self) -> None:
        """Curves for TensorBoard."""
        self.log_dict({**self.epoch_metrics, "lr": cast(Any, self.optimizers()).param_groups[0]["lr"]})

    def configure_optimizers(self) -> Any:
        """AdamW; the rate rises linearly, then falls along a cosine to zero. No decay on biases and norms."""
        settings, steps = self._config.training, self._length.steps
        learning = [p for p in self.student.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in learning if p.ndim > 1], "weight_decay": settings.weight_decay},
            {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=settings.lr)
        warmup = max(1, round(settings.warmup * steps))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
