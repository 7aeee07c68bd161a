"""U-Nets on ImageNet's EfficientNet-Lite0, and the ONNX files that ship of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import timm
import torch
import torch.nn.functional as F
from torch import nn

from assets.training.pictures import CROP_PX
from assets.training.tools import Log, Replay, follow, rate_factor, write_halved
from weldgen.classifier.embedded import embedded_state

# Channels of the encoder's features at a half, a quarter, ... of the picture's size.
CHANNELS = (16, 24, 40, 112, 320)
# Groups of the encoder's blocks down to each of them.
_BLOCKS = (1, 2, 3, 5, 7)
_ENCODER_RATE = 0.35


@dataclass(frozen=True)
class Plan:
    """How a U-Net is trained.

    Attributes:
        minutes: How long.
        batch: Examples in a step.
        rate: Peak of the learning rate; that of ImageNet's encoder is a third of it.
        decay: Of averaged weights.
        checkpoint: File of the averaged weights; the log lies beside it.
    """

    minutes: float
    batch: int
    rate: float
    decay: float
    checkpoint: Path


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


class UNet(nn.Module):
    """(N, 3, H, W) in -1..1, H and W multiples of 32, to logits (N, `outputs`, H, W).

    Args:
        outputs: Kinds of pixels.
        finest: Scale of the features that the logits are made of: 0 a half, 1 a quarter of the picture's size.
        coarsest: Scale of the coarsest features; what the encoder has beyond them is left out.
        widths: Channels of the way up, coarse to fine, one less than there are scales.
    """

    def __init__(self, outputs: int, finest: int, coarsest: int, widths: Sequence[int]) -> None:
        super().__init__()
        scales = tuple(range(finest, coarsest + 1))
        self.encoder = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=scales)
        self.encoder.blocks = self.encoder.blocks[: _BLOCKS[coarsest]]  # timm computes what nobody asked for, too
        fine = [CHANNELS[scale] for scale in scales]
        coarse = [fine[-1], *widths[:-1]]
        ups = [Up(*channels) for channels in zip(coarse, reversed(fine[:-1]), widths, strict=True)]
        self.up = nn.ModuleList(ups)
        self.last = nn.Conv2d(widths[-1], outputs, 3, padding=1)
        self.enlargement = float(2 ** (finest + 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return F.interpolate(self.small(image), scale_factor=self.enlargement, mode="bilinear", align_corners=False)

    def small(self, image: torch.Tensor) -> torch.Tensor:
        """The logits before they are enlarged."""
        features = self.encoder(image)
        x = features[-1]
        for up, fine in zip(self.up, reversed(features[:-1]), strict=True):
            x = up(x, fine)
        logits: torch.Tensor = self.last(x)
        return logits


class Shipped(nn.Module):
    """A network as it ships: uint8 RGB (N, H, W, 3) to logits that are not enlarged, for OpenCV does that faster."""

    def __init__(self, net: UNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.net.small(image.permute(0, 3, 1, 2).float() / 127.5 - 1)


def prepared(images: torch.Tensor) -> torch.Tensor:
    """uint8 (N, H, W, 3) to -1..1 (N, 3, H, W), as EfficientNet-Lite expects it."""
    return (images.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def start(net: UNet, resume: Path | None) -> UNet:
    """The network with ImageNet's encoder, or as a checkpoint holds it."""
    if resume:
        net.load_state_dict(torch.load(resume, map_location="cpu", weights_only=True))
    else:
        missing = net.encoder.load_state_dict(embedded_state(), strict=False).missing_keys
        if missing:
            raise SystemExit(f"the ImageNet weights lack {missing}")
    return net.to(memory_format=torch.channels_last)


def learn(
    net: UNet,
    supply: Replay,
    loss: Callable[[UNet, tuple[torch.Tensor, ...]], torch.Tensor],
    judge: Callable[[UNet], dict[str, float]],
    plan: Plan,
) -> UNet:
    """Train for so many minutes.

    Args:
        net: What of it requires a gradient learns.
        supply: Examples; it is closed at the end.
        loss: Of a batch.
        judge: Figures of the averaged network for the log.
        plan: How.

    Returns:
        The network with averaged weights; from time to time, and at the end, it is saved as the plan's checkpoint.
    """
    average = deepcopy(net).requires_grad_(False)
    learning = [(name.startswith("encoder."), value) for name, value in net.named_parameters() if value.requires_grad]
    parts = [
        {"params": [value for encodes, value in learning if encodes], "lr": _ENCODER_RATE * plan.rate},
        {"params": [value for encodes, value in learning if not encodes], "lr": plan.rate},
    ]
    optimiser = torch.optim.AdamW(parts, weight_decay=0.01)
    peaks = [group["lr"] for group in optimiser.param_groups]
    log = Log(plan.checkpoint.parent / "log.jsonl", min(5.0, plan.minutes / 6))

    def report() -> None:
        log.write(judge(average) | {"examples": float(supply.seen)})
        torch.save(average.state_dict(), plan.checkpoint)

    while log.minutes < plan.minutes:
        factor = rate_factor(log.step, log.minutes / plan.minutes)
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = peak * factor
        wrong = loss(net, supply.draw(plan.batch))
        optimiser.zero_grad()
        wrong.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimiser.step()
        follow(average, net, plan.decay)
        if log.take(wrong.item()):
            report()
    report()
    supply.close()
    return average.cpu()


def held_out(example: Callable[[int], tuple[Any, ...]], count: int, device: str) -> list[tuple[torch.Tensor, ...]]:
    """The first so many examples of a supply, in batches of 16."""
    drawn = [example(index) for index in range(count)]
    columns = [torch.from_numpy(np.stack(column)).to(device) for column in zip(*drawn, strict=True)]
    return [tuple(column[at : at + 16] for column in columns) for at in range(0, count, 16)]


def export(net: UNet, path: Path) -> None:
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
