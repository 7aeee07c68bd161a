"""MixUp and CutMix: pairs of images of a batch are mixed, and their targets by the same shares."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from weldgen.classifier.settings import AugmentationSettings


def mix_batch(images: Tensor, targets: Tensor, settings: AugmentationSettings, seed: int) -> tuple[Tensor, Tensor]:
    """Mix each image with another one of its batch, or leave the batch as it is.

    What is drawn depends on the seed alone, on every device. The padding of letterboxed photos counts as image: after
    the augmentation nothing tells where it is.

    Args:
        images: (B, 3, H, W) RGB from 0 to 255.
        targets: (B, K) shares of each class.
        settings: How much is mixed; where both are on, either has the same chance.
        seed: Seed of this batch.

    Returns:
        Images of the same shape (float32 where blended) and their targets, whose rows still sum to 1.
    """
    methods = [name for name in ("mixup", "cutmix") if getattr(settings, name)]
    if not methods:
        return images, targets
    random = np.random.default_rng(seed)
    if random.random() >= settings.mix_prob:
        return images, targets
    method = methods[random.integers(len(methods))]
    alpha = getattr(settings, method)
    kept = float(random.beta(alpha, alpha))
    partners = torch.from_numpy(random.permutation(len(images))).to(images.device)
    if method == "mixup":
        mixed = images.float().lerp(images[partners].float(), 1 - kept)
    else:
        mixed, kept = _cut(images, partners, kept, random)
    return mixed, kept * targets + (1 - kept) * targets[partners]


def _cut(images: Tensor, partners: Tensor, kept: float, random: np.random.Generator) -> tuple[Tensor, float]:
    """Put a rectangle of each partner into the images (Yun et al., ICCV 2019).

    Returns:
        The images, and the share of their own pixels, which is larger than `kept` where the rectangle meets the border.
    """
    height, width = images.shape[-2:]
    side = math.sqrt(1 - kept)
    rows, columns = (_span(length, side, random) for length in (height, width))
    mixed = images.clone()
    mixed[:, :, rows, columns] = images[partners][:, :, rows, columns]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return mixed, 1 - area / (height * width)


def _span(length: int, share: float, random: np.random.Generator) -> slice:
    """A stretch of an axis around a random point, cut off at the ends."""
    centre, half = random.integers(length), share * length / 2
    return slice(max(0, round(centre - half)), min(length, round(centre + half)))
