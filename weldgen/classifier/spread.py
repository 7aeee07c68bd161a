"""Whether a representation still tells photos apart: the spread of its embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from weldgen.classifier.dino import Branch
from weldgen.classifier.preprocess import letterbox
from weldgen.classifier.views import Photos

# Photos that are looked at.
MEASURED = 512
_BATCH = 16
# Spread below which embeddings count as collapsed: relative to that of directions drawn at random, and to the start.
# (Photos that look much alike lie at 0.04 under ImageNet's weights; weld beads at 0.46.)
_COLLAPSED, _COLLAPSED_SHARE = 0.01, 0.2


def measure_spread(branch: Branch, photos: Photos, side_px: int) -> float:
    """How far apart the embeddings of the photos lie: 0 where all are alike, 1 where they point everywhere.

    The mean standard deviation of the normalised embeddings along each dimension (Chen and He 2021, SimSiam), divided
    by 1 / sqrt(F), which directions drawn at random would have.
    """
    from lightly.utils.debug import std_of_l2_normalized

    branch.eval()
    embedded = []
    with torch.inference_mode():
        for start in range(0, min(len(photos), MEASURED), _BATCH):
            rows = range(start, min(start + _BATCH, len(photos), MEASURED))
            embedded.append(branch.embed(squares(photos, rows, side_px).to(branch.mean.device)).float().cpu())
    vectors = torch.cat(embedded)
    return round(float(std_of_l2_normalized(vectors)) * math.sqrt(vectors.shape[1]), 4)


def collapsed(before: float, after: float) -> bool:
    """Whether the embeddings have become (nearly) one and the same; NaN counts as that."""
    return not after >= max(_COLLAPSED, _COLLAPSED_SHARE * before)


def squares(photos: Photos, rows: Sequence[int], side_px: int) -> Tensor:
    """Letterboxed photos, (B, 3, S, S) uint8: as the classifier will see them."""
    return torch.stack([torch.from_numpy(letterbox(photos[row], (side_px, side_px))) for row in rows])
