"""Train the network that tells a weld from its plate, and write `bead.onnx`.

A U-Net on the first part of ImageNet's EfficientNet-Lite0 (Apache-2.0). See README.md beside this file for the data,
the seed and what was measured.

    python -m assets.bead.examples WELDS --count 2000
    python -m assets.bead.train WELDS --minutes 40
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from assets.bead.examples import UNJUDGED, WELD, Examples
from assets.training.tools import DECAY, HELD_OUT, Replay
from assets.training.unet import Plan, UNet, export, held_out, learn, prepared, start

SEED = 30
HELD_OUT_VIEWS = 192
# Sides of the views in training; their mean costs half of the largest, with which photos are looked at.
SIDES_PX = (160, 192, 224, 256)
# ImageNet's first edges are as good for welds, and cost most at a picture's full size.
EARLY = ("conv_stem", "bn1", "blocks.0")
# Where there are only a few hundred steps, weights are averaged over fewer.
SHORT_DECAY = 0.99


def bead_net() -> UNet:
    """One output, of features as fine as a quarter and as coarse as a sixteenth."""
    return UNet(1, 1, 3, (64, 40))


def loss_of(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy, and soft Dice of each view, for a small weld counts as much as a large one."""
    judged = (target != UNJUDGED).float()
    truth = (target == WELD).float()
    entropy = F.binary_cross_entropy_with_logits(logits[:, 0], truth, reduction="none")
    probability = torch.sigmoid(logits[:, 0]) * judged
    shared = (probability * truth).sum(dim=(1, 2))
    dice = 1 - (2 * shared + 20) / (probability.sum(dim=(1, 2)) + truth.sum(dim=(1, 2)) + 20)
    return (entropy * judged).sum() / judged.sum().clamp(min=1) + 0.5 * dice.mean()


def loss_of_views(net: UNet, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """`loss_of` a batch of images and targets, seen at a size drawn at random."""
    images, targets = batch
    side_px = SIDES_PX[int(torch.randint(len(SIDES_PX), ()))]
    small = F.interpolate(prepared(images), size=(side_px, side_px), mode="area")
    return loss_of(F.interpolate(net(small), size=images.shape[1:3], mode="bilinear", align_corners=False), targets)


@torch.inference_mode()
def measure(net: UNet, held_out: list[tuple[torch.Tensor, ...]]) -> dict[str, float]:
    """Intersection over union with the true weld, on views that show at least a little of one."""
    net.eval()
    overlaps = []
    for images, targets in held_out:
        found = (net(prepared(images))[:, 0] > 0) & (targets != UNJUDGED)
        truth = targets == WELD
        both, either = (pixels.sum(dim=(1, 2)).float() for pixels in (found & truth, found | truth))
        shown = truth.sum(dim=(1, 2)) > 200
        overlaps += (both / either.clamp(min=1))[shown].tolist()
    net.train()
    return {
        "overlap_mean": float(np.mean(overlaps)), "overlap_median": float(np.median(overlaps)),
        "overlap_below_half": float(np.mean(np.array(overlaps) < 0.5)),
    }  # fmt: skip


def main() -> None:
    """Train for so many minutes, then export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("welds", type=Path, help="folder that assets.bead.examples filled")
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw examples")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--resume", type=Path, help="a checkpoint to go on from")
    parser.add_argument("--first", type=int, default=0, help="index of the first example")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    asked = parser.parse_args()
    torch.manual_seed(SEED)
    files = sorted(asked.welds.glob("*.jpg"))
    views = held_out(Examples(files[:HELD_OUT], SEED + 1).example, HELD_OUT_VIEWS, asked.device)
    supply = Replay(Examples(files[HELD_OUT:], SEED).example, asked.workers, torch.device(asked.device), asked.first)
    net = start(bead_net(), asked.resume).to(asked.device)
    for name, parameter in net.encoder.named_parameters():
        parameter.requires_grad_(not name.startswith(EARLY))
    decay = DECAY if asked.device != "cpu" else SHORT_DECAY
    plan = Plan(asked.minutes, asked.batch, asked.rate, decay, asked.out / "bead.pt")
    average = learn(net, supply, loss_of_views, partial(measure, held_out=views), plan)
    export(average, asked.out / "bead.onnx")


if __name__ == "__main__":
    main()
