"""Progressive resizing: the first epochs see smaller images, which cost less.

The network learns what is coarse from small images and the rest from images of its own size; EfficientNetV2 was trained
so (Tan and Le, ICML 2021). Validation always sees the size of the model's input. An epoch's size depends on its number
alone, so that a run that was killed goes on exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from weldgen.classifier.backbones import has_fixed_shape
from weldgen.classifier.local_weights import WEIGHT_CHOICES, read_own_weights
from weldgen.classifier.plan import Plan
from weldgen.classifier.preprocess import FILL, Frame
from weldgen.classifier.settings import TrainConfig
from weldgen.errors import ConfigError

_STEP_PX = 32


def check_progressive(config: TrainConfig, *, linear: bool) -> None:
    """Refuse a `training.progressive` that cannot be done.

    Args:
        config: Settings of the run.
        linear: Whether the backbone stays as it is.

    Raises:
        ConfigError: It does not end at `data.image_size`, nothing is trained in epochs, or the network takes one size.
    """
    sizes, wanted = config.training.progressive, config.data.image_size
    if not sizes:
        return
    said = f"training.progressive={list(sizes)}"
    if sizes[-1] != wanted:
        raise ConfigError(
            f"{said} must end with the size of the model's input, data.image_size={wanted}",
            f"training.progressive={[*(size for size in sizes if size < wanted), wanted]}, or "
            f"data.image_size={sizes[-1]}",
        )
    if linear:
        raise ConfigError(
            f"{said}: training.method=linear looks at each image once and has no epochs",
            "training.progressive=[], or training.method=finetune",
        )
    name = config.model.backbone
    if config.model.weights not in WEIGHT_CHOICES:
        name = read_own_weights(config.model.weights).backbone or name
    if has_fixed_shape(name):
        raise ConfigError(
            f"{said}: {name} is built for images of one size", "training.progressive=[], or another model.backbone"
        )


def frames_by_epoch(frame: Frame, sizes: Sequence[int], full_px: int, plan: Plan) -> tuple[Frame, ...]:
    """Height and width of the images of each epoch of a run.

    Args:
        frame: Of the model's input.
        sizes: Those of `training.progressive`; empty: all epochs see `frame`.
        full_px: `data.image_size`: the side of the square that has as many pixels as `frame`.
        plan: Which epochs see which size.
    """
    frames = [_smaller(frame, size / full_px) for size in sizes] or [frame]
    return tuple(frames[plan.part(epoch)] for epoch in range(plan.epochs))


def _smaller(frame: Frame, scale: float) -> Frame:
    """The frame of the same shape, as far as whole steps allow."""
    height, width = (max(_STEP_PX, round(side * scale / _STEP_PX) * _STEP_PX) for side in frame)
    return height, width


def shrink(image: Tensor, frame: Frame) -> Tensor:
    """Average an image over areas, down to a smaller frame; photos keep their shape, what is left over is grey.

    Args:
        image: (3, H, W) uint8 RGB, letterboxed.
        frame: Height and width wanted.

    Returns:
        (3, h, w) uint8; the image itself where it has that size.
    """
    height, width = image.shape[-2:]
    if (height, width) == frame:
        return image
    scale = min(frame[0] / height, frame[1] / width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    small = F.interpolate(image[None].float(), inner, mode="area")[0].round().to(torch.uint8)
    top, left = (frame[0] - inner[0]) // 2, (frame[1] - inner[1]) // 2
    return F.pad(small, (left, frame[1] - inner[1] - left, top, frame[0] - inner[0] - top), value=FILL)


def size_notes(frames: Sequence[Frame]) -> list[str]:
    """A sentence on what sizes the epochs saw; none where it was one size."""
    spans = size_spans(frames)
    if len(spans) < 2:
        return []
    parts = ", then ".join(f"{width} x {height} px for {count} epochs" for (height, width), count in spans)
    return [f"training images: {parts} (training.progressive)"]


def size_spans(frames: Sequence[Frame]) -> list[tuple[Frame, int]]:
    """Each size that the epochs saw, in their order, and for how many."""
    return [(frame, frames.count(frame)) for frame in dict.fromkeys(frames)]
