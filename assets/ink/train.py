"""Train the ink network of `weldgen clean` and write `ink.onnx`.

A U-Net on ImageNet's EfficientNet-Lite0 (Apache-2.0) with two outputs, ink and stamped characters. See README.md beside
this file for the data, the seed and what was measured.

    python -m assets.training.pictures WELDS --count 2000
    python -m assets.ink.train WELDS --photos PHOTOS --minutes 60
"""

from __future__ import annotations

import argparse
import io
from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import timm
import torch
import torch.nn.functional as F
from torch import nn

from assets.ink.examples import INK, STAMPED, UNJUDGED, Examples
from assets.training.hands import Fonts
from assets.training.pictures import CROP_PX
from assets.training.tools import DECAY, Log, Replay, arguments, follow, rate_factor, split_pictures, write_halved
from assets.training.writing import USUAL, Habits
from weldgen.classifier.embedded import embedded_state
from weldgen.classifier.trainer import choose_precision

SEED = 20
CHANNELS = (16, 24, 40, 112, 320)
HELD_OUT_CROPS = 192
# Where there are only a few hundred steps, weights are averaged over fewer.
SETTLED_DECAY = 0.99
# Parts of the encoder that `--settled` leaves as they are: edges and textures, at the sizes that cost most.
EARLY = ("encoder.conv_stem", "encoder.bn1", "encoder.blocks.0", "encoder.blocks.1")


class Up(nn.Module):
    """Enlarge by two, join with the finer features, two convolutions."""

    def __init__(self, coarse: int, fine: int, out: int) -> None:
        super().__init__()
        self.joined = nn.Sequential(
            nn.Conv2d(coarse + fine, out, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True),
            nn.Conv2d(out, out, 5, padding=2, groups=out, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True),
            nn.Conv2d(out, out, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True),
        )  # fmt: skip

    def forward(self, coarse: torch.Tensor, fine: torch.Tensor) -> torch.Tensor:
        larger = F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.joined(torch.cat([larger, fine], dim=1))


class InkNet(nn.Module):
    """(N, 3, H, W) in -1..1, H and W multiples of 32, to logits (N, 2, H, W) of ink and stamped characters."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(0, 1, 2, 3, 4))
        c = CHANNELS
        self.up = nn.ModuleList([Up(c[4], c[3], 96), Up(96, c[2], 64), Up(64, c[1], 40), Up(40, c[0], 32)])
        self.last = nn.Conv2d(32, 2, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return F.interpolate(self.halved(image), scale_factor=2.0, mode="bilinear", align_corners=False)

    def halved(self, image: torch.Tensor) -> torch.Tensor:
        """The logits before they are enlarged, (N, 2, H/2, W/2)."""
        features = self.encoder(image)
        x = features[-1]
        for up, fine in zip(self.up, reversed(features[:-1]), strict=True):
            x = up(x, fine)
        logits: torch.Tensor = self.last(x)
        return logits


class Shipped(nn.Module):
    """The network as it ships: uint8 RGB (N, H, W, 3) to logits (N, 2, H/2, W/2), for OpenCV enlarges faster."""

    def __init__(self, net: InkNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.net.halved(image.permute(0, 3, 1, 2).float() / 127.5 - 1)


def fix_padding(model: onnx.ModelProto) -> None:
    """Let convolutions pad for themselves what TensorFlow's compute at run time: a sixth of the network's time.

    That of stride s and kernel k is k - s for sides that s divides, of which more at the end.
    """
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        pad = made_by.get(node.input[0]) if node.op_type == "Conv" else None
        if pad is None or pad.op_type != "Pad":
            continue
        values = {attribute.name: attribute for attribute in node.attribute}
        whole = values["kernel_shape"].ints[0] - values["strides"].ints[0]
        values["pads"].ints[:] = [whole // 2] * 2 + [whole - whole // 2] * 2
        node.input[0] = pad.input[0]
    _drop_unused(graph)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes and constants that nothing takes any more."""
    while True:
        wanted = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        unused = [node for node in graph.node if wanted.isdisjoint(node.output)]
        if not unused:
            break
        for node in unused:
            graph.node.remove(node)
    for constant in [constant for constant in graph.initializer if constant.name not in wanted]:
        graph.initializer.remove(constant)


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
def measure(net: InkNet, held_out: list[tuple[torch.Tensor, ...]]) -> dict[str, float]:
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


def prepared(images: torch.Tensor) -> torch.Tensor:
    """uint8 (N, H, W, 3) to -1..1 (N, 3, H, W), as EfficientNet-Lite expects it."""
    return (images.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def export(net: InkNet, path: Path) -> None:
    """Write the network as it ships."""
    axes = {0: "photos", 1: "height", 2: "width"}
    example = torch.zeros((1, CROP_PX, CROP_PX, 3), dtype=torch.uint8)
    buffer = io.BytesIO()
    # The exporter by torch.export takes minutes to prove that the enlarged features fit the finer ones.
    torch.onnx.export(
        Shipped(net).eval(), (example,), buffer, dynamo=False, opset_version=17,
        input_names=["image"], output_names=["logits"], dynamic_axes={"image": axes},
    )  # fmt: skip
    model = onnx.load_from_string(buffer.getvalue())
    fix_padding(model)
    write_halved(model, path)


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
    judge = drawn_on(kept, SEED + 1)
    crops = [judge.example(index) for index in range(HELD_OUT_CROPS)]
    columns = [torch.from_numpy(np.stack(column)).to(asked.device) for column in zip(*crops, strict=True)]
    held_out = [tuple(column[at : at + 16] for column in columns) for at in range(0, HELD_OUT_CROPS, 16)]
    supply = Replay(drawn_on(pictures, SEED).example, asked.workers, torch.device(asked.device), asked.first)
    return supply, held_out


def start(resume: Path | None) -> InkNet:
    """The network with ImageNet's encoder, or as a checkpoint holds it."""
    net = InkNet()
    if resume:
        net.load_state_dict(torch.load(resume, map_location="cpu", weights_only=True))
    else:
        missing = net.encoder.load_state_dict(embedded_state(), strict=False).missing_keys
        if missing:
            raise SystemExit(f"the ImageNet weights lack {missing}")
    return net.to(memory_format=torch.channels_last)


def settle(net: InkNet) -> None:
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
    supply, held_out = supply_and_judge(asked)
    net = start(asked.resume).to(asked.device)
    average = deepcopy(net).requires_grad_(False)
    if asked.settled:
        settle(net)
    learning = [(name, parameter) for name, parameter in net.named_parameters() if parameter.requires_grad]
    parts = [
        {"params": [p for n, p in learning if n.startswith("encoder.")], "lr": 0.35 * asked.rate},
        {"params": [p for n, p in learning if not n.startswith("encoder.")], "lr": asked.rate},
    ]
    decay = SETTLED_DECAY if asked.settled else DECAY
    half = choose_precision("auto", asked.device) == "bf16"
    optimiser = torch.optim.AdamW(parts, weight_decay=0.01)
    peaks = [group["lr"] for group in optimiser.param_groups]
    log = Log(asked.out / "log.jsonl", min(5.0, asked.minutes / 6))
    while log.minutes < asked.minutes:
        factor = rate_factor(log.step, log.minutes / asked.minutes)
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = peak * factor
        images, targets = supply.draw(asked.batch)
        with torch.autocast(asked.device, torch.bfloat16, enabled=half):
            logits = net(prepared(images))
        loss = loss_of(logits.float(), targets)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimiser.step()
        follow(average, net, decay)
        if log.take(loss.item()):
            log.write(measure(average, held_out) | {"examples": float(supply.seen)})
            torch.save(average.state_dict(), asked.out / "ink.pt")
    log.write(measure(average, held_out) | {"examples": float(supply.seen)})
    torch.save(average.state_dict(), asked.out / "ink.pt")
    supply.close()
    with torch.no_grad():
        average.last.bias[0] -= asked.less
    export(average.cpu(), asked.out / "ink.onnx")


if __name__ == "__main__":
    main()
