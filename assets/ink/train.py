"""Train the ink network of `weldgen clean` and write `ink.onnx`.

A U-Net on ImageNet's EfficientNet-Lite0 (Apache-2.0) with two outputs, ink and stamped characters. See README.md beside
this file for the data, the seed and what was measured.

    python -m assets.training.pictures WELDS --count 2000
    python -m assets.ink.train WELDS --photos PHOTOS --minutes 60
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from assets.ink.examples import INK, STAMPED, UNJUDGED, Examples
from assets.training.hands import Fonts
from assets.training.tools import DECAY, Replay, arguments, split_pictures
from assets.training.unet import Plan, UNet, export, held_out, learn, prepared, start
from assets.training.writing import USUAL, Habits
from weldgen.classifier.trainer import choose_precision

SEED = 20
HELD_OUT_CROPS = 192
# Where there are only a few hundred steps, weights are averaged over fewer.
SETTLED_DECAY = 0.99
# Parts of the encoder that `--settled` leaves as they are: edges and textures, at the sizes that cost most.
EARLY = ("encoder.conv_stem", "encoder.bn1", "encoder.blocks.0", "encoder.blocks.1")


def ink_net() -> UNet:
    """Two outputs, ink and stamped characters, of features as fine as a half."""
    return UNet(2, 0, 4, (96, 64, 40, 32))


def loss_of(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy, harder pixels weighing more, and soft Dice over the batch."""
    judged = (target != UNJUDGED).float()[:, None]
    truth = torch.stack([target == INK, target == STAMPED], dim=1).float()
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    focus = (1 - torch.exp(-entropy)).detach() ** 0.5 + 0.05
    weight = judged * focus * torch.tensor([1.0, 0.5], device=logits.device)[None, :, None, None]
    probability = torch.sigmoid(logits) * judged
    shared = (probability * truth).sum(dim=(0, 2, 3))
    dice = 1 - (2 * shared + 50) / (probability.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3)) + 50)
    return 4 * (entropy * weight).mean() + 0.5 * (dice * torch.tensor([1.0, 0.4], device=logits.device)).sum()


@torch.inference_mode()
def measure(net: UNet, held_out: list[tuple[torch.Tensor, ...]]) -> dict[str, float]:
    """Pixel recall, precision and the share of plain crops' pixels that are called ink, on crops of held-out photos."""
    net.eval()
    hit = truth = called = alarm = plain = stamp_hit = stamp_truth = 0
    for images, targets in held_out:
        found = torch.sigmoid(net(prepared(images))) > 0.5
        ink, judged = found[:, 0], targets != UNJUDGED
        hit += int((ink & (targets == INK)).sum())
        truth += int((targets == INK).sum())
        called += int((ink & judged).sum())
        stamp_hit += int((found[:, 1] & (targets == STAMPED)).sum())
        stamp_truth += int((targets == STAMPED).sum())
        empty = (targets == 0).flatten(1).all(dim=1)
        alarm += int(ink[empty].sum())
        plain += int(empty.sum()) * targets[0].numel()
    net.train()
    return {
        "ink_recall": hit / max(1, truth), "ink_precision": hit / max(1, called),
        "false_alarm_share": alarm / max(1, plain), "stamped_recall": stamp_hit / max(1, stamp_truth),
    }  # fmt: skip


def parse() -> argparse.Namespace:
    """The command line."""
    parser = arguments(__doc__, photo_share=0.25, out=Path(__file__).parent)
    parser.add_argument("--fonts", type=Path, help="folder of handwriting fonts (.woff, .ttf)")
    parser.add_argument("--pores-share", type=float, default=0.0, help="share of crops with a cluster of pores")
    parser.add_argument("--pale-share", type=float, default=0.0, help="share of crops with pale ink on bright metal")
    parser.add_argument("--glare-share", type=float, default=0.0, help="share of crops that shine white in places")
    parser.add_argument(
        "--broad-share", type=float, default=USUAL.broad_share, help="share of writing with a broad tip"
    )
    parser.add_argument("--dots-weight", type=float, default=USUAL.dots_weight, help="dot print; a marker weighs 5")
    parser.add_argument(
        "--plain-share", type=float, default=0.0, help="share of written crops with one plain large word"
    )
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--resume", type=Path, help="a checkpoint to go on from")
    parser.add_argument("--settled", action="store_true", help="keep batch statistics and early layers, for few steps")
    parser.add_argument("--less", type=float, default=0.0, help="what the exported logits of ink have less")
    parser.add_argument("--first", type=int, default=0, help="index of the first example")
    return parser.parse_args()


def supply_and_judge(asked: argparse.Namespace) -> tuple[Replay, list[tuple[torch.Tensor, ...]]]:
    """Endless training examples, and fixed crops of rendered welds that are in none of them."""
    pictures, kept = split_pictures(asked.backgrounds, asked.photos, asked.photo_share)
    fonts = Fonts(sorted([*asked.fonts.glob("*.woff"), *asked.fonts.glob("*.ttf")]) if asked.fonts else [])
    habits = Habits(fonts, asked.broad_share, asked.dots_weight, asked.plain_share)
    shares = {name: getattr(asked, name) for name in ("pores_share", "pale_share", "glare_share")}
    drawn_on = partial(Examples, habits=habits, **shares)
    crops = held_out(drawn_on(kept, SEED + 1).example, HELD_OUT_CROPS, asked.device)
    supply = Replay(drawn_on(pictures, SEED).example, asked.workers, torch.device(asked.device), asked.first)
    return supply, crops


def settle(net: UNet) -> None:
    """Let only what needs to learn learn: the deeper layers, by the statistics that the checkpoint has."""
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(not name.startswith(EARLY))


def main() -> None:
    """Train for so many minutes, then export."""
    asked = parse()
    torch.manual_seed(SEED)
    supply, crops = supply_and_judge(asked)
    net = start(ink_net(), asked.resume).to(asked.device)
    if asked.settled:
        settle(net)
    half = choose_precision("auto", asked.device) == "bf16"

    def loss(net: UNet, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        images, targets = batch
        with torch.autocast(asked.device, torch.bfloat16, enabled=half):
            logits = net(prepared(images))
        return loss_of(logits.float(), targets)

    decay = SETTLED_DECAY if asked.settled else DECAY
    plan = Plan(asked.minutes, asked.batch, asked.rate, decay, asked.out / "ink.pt")
    average = learn(net, supply, loss, partial(measure, held_out=crops), plan)
    with torch.no_grad():
        average.last.bias[0] -= asked.less
    export(average, asked.out / "ink.onnx")


if __name__ == "__main__":
    main()
