"""Train the inpainting network of `weldgen clean` and write `inpaint.onnx`.

See README.md beside this file for the data, the seed and what was measured.

    python -m assets.training.pictures WELDS --count 1400
    python -m assets.inpaint.train WELDS --photos PHOTOS --minutes 60
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import cv2
import numpy as np
import onnx
import timm
import torch
from torch import nn

from assets.inpaint.examples import Examples
from assets.inpaint.network import FillNet, FourierUnit
from assets.training.pictures import CROP_PX
from assets.training.tools import Log, Stream, rate_factor, split_pictures, write_halved
from weldgen.classifier.backbones import embedded_state

SEED = 30
HELD_OUT_CROPS = 96
FEATURE_WEIGHT, EDGE_WEIGHT, KNOWN_WEIGHT = 0.5, 1.0, 0.02
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Eye(nn.Module):
    """Features of ImageNet's EfficientNet-Lite0 at three scales; a fill should look right to it, not only be near."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(0, 1, 2))
        missing = self.encoder.load_state_dict(embedded_state(), strict=False).missing_keys
        if missing:
            raise SystemExit(f"the ImageNet weights lack {missing}")
        self.eval().requires_grad_(False)

    def forward(self, made: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            wanted = self.encoder(truth)
        return sum(
            (a.float() - b.float()).abs().mean() / b.float().abs().mean()
            for a, b in zip(self.encoder(made), wanted, strict=True)
        )


class Shipped(nn.Module):
    """The network as it ships: uint8 RGB (N, H, W, 3) and holes (N, H, W) uint8 of 0 and 1, to uint8 RGB."""

    def __init__(self, net: FillNet) -> None:
        super().__init__()
        self.net = net
        for module in net.modules():
            if isinstance(module, FourierUnit):
                module.as_products = True

    def forward(self, smooth: torch.Tensor, holes: torch.Tensor) -> torch.Tensor:
        made = self.net(smooth.permute(0, 3, 1, 2).float() / 127.5 - 1, holes[:, None].float())
        grey = torch.round((made + 1) * 127.5).clamp(0, 255)
        return grey.to(torch.uint8).permute(0, 2, 3, 1)


def prepared(images: torch.Tensor) -> torch.Tensor:
    """uint8 (N, H, W, 3) to -1..1 (N, 3, H, W)."""
    return (images.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def loss_of(made: torch.Tensor, truth: torch.Tensor, holes: torch.Tensor, eye: Eye) -> torch.Tensor:
    """Difference of pixels and of edges in the holes, and of features anywhere."""
    inside = holes / holes.mean(dim=(2, 3), keepdim=True).clamp_min(0.02)
    pixels = ((made - truth).abs() * inside).mean()
    edges = torch.zeros(())
    for step in (1, 2, 4):
        across = ((made[..., step:] - made[..., :-step]) - (truth[..., step:] - truth[..., :-step])).abs()
        down = ((made[..., step:, :] - made[..., :-step, :]) - (truth[..., step:, :] - truth[..., :-step, :])).abs()
        edges = edges + (across * inside[..., step:]).mean() + (down * inside[..., step:, :]).mean()
    with torch.autocast("cpu", torch.bfloat16):
        features = eye(made, truth)
    return pixels + EDGE_WEIGHT * edges / 6 + FEATURE_WEIGHT * features


@torch.inference_mode()
def measure(net: FillNet, held_out: list[Batch]) -> dict[str, float]:
    """PSNR in the holes and the ratio of local deviations there, of the fill and of the smooth one it starts from."""
    net.eval()
    rows = []
    for truths, smooths, holes in held_out:
        made = net(prepared(smooths), holes[:, None].float())
        filled = ((made + 1) * 127.5).round().clamp(0, 255).permute(0, 2, 3, 1).numpy()
        for truth, smooth, result, hole in zip(truths.numpy(), smooths.numpy(), filled, holes.numpy() > 0, strict=True):
            error = [float(((a[hole].astype(float) - truth[hole]) ** 2).mean()) for a in (result, smooth)]
            rows.append(
                [
                    *(10 * np.log10(255**2 / max(e, 1e-3)) for e in error),
                    _deviation(result, hole) / _deviation(truth, hole),
                ]
            )
    net.train()
    psnr, smooth_psnr, texture = np.mean(rows, axis=0).tolist()
    return {"psnr": psnr, "smooth_psnr": smooth_psnr, "texture_ratio": texture}


def _deviation(image: np.ndarray, hole: np.ndarray) -> float:
    grey = image.astype(np.float32).mean(axis=2)
    mean = cv2.blur(grey, (7, 7))
    return float(np.sqrt(np.maximum(cv2.blur(grey * grey, (7, 7)) - mean * mean, 0))[hole].mean()) + 0.1


def export(net: FillNet, path: Path) -> None:
    """Write the network as it ships."""
    example = torch.zeros((1, CROP_PX, CROP_PX, 3), dtype=torch.uint8)
    axes = {0: "crops", 1: "height", 2: "width"}
    buffer = io.BytesIO()
    torch.onnx.export(
        Shipped(net).eval(), (example, torch.zeros_like(example[..., 0])), buffer, dynamo=False, opset_version=17,
        input_names=["image", "holes"], output_names=["filled"], dynamic_axes={"image": axes, "holes": axes},
    )  # fmt: skip
    write_halved(onnx.load_from_string(buffer.getvalue()), path)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backgrounds", type=Path, help="folder that assets.training.pictures filled")
    parser.add_argument("--photos", type=Path, nargs="*", default=[], help="folders of photos without writing")
    parser.add_argument("--photo-share", type=float, default=0.25)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--resume", type=Path, help="a checkpoint to go on from")
    parser.add_argument("--first", type=int, default=0, help="index of the first example")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    return parser.parse_args()


def supply_and_judge(asked: argparse.Namespace) -> tuple[Stream, list[Batch]]:
    """Endless training examples, and fixed crops of rendered welds that are in none of them."""
    pictures, kept = split_pictures(asked.backgrounds, asked.photos, asked.photo_share)
    judge = Examples(kept, SEED + 1)
    crops = [judge.example(index) for index in range(HELD_OUT_CROPS)]
    held_out = [
        tuple(torch.from_numpy(np.stack(kind)) for kind in zip(*crops[at : at + 16], strict=True))
        for at in range(0, len(crops), 16)
    ]
    return Stream(Examples(pictures, SEED).example, asked.first), held_out


def main() -> None:
    """Train for so many minutes, then export."""
    asked = parse()
    torch.manual_seed(SEED)
    supply, held_out = supply_and_judge(asked)
    net, eye = FillNet().to(memory_format=torch.channels_last), Eye()
    if asked.resume:
        net.load_state_dict(torch.load(asked.resume, weights_only=True))
    optimiser = torch.optim.AdamW(net.parameters(), asked.rate, weight_decay=0.01)
    loader = iter(torch.utils.data.DataLoader(supply, asked.batch, num_workers=1, prefetch_factor=4))
    log = Log(asked.out / "log.jsonl")
    while log.minutes < asked.minutes:
        for group in optimiser.param_groups:
            group["lr"] = asked.rate * rate_factor(log.step, log.minutes / asked.minutes)
        truths, smooths, holes = next(loader)
        truth, hole = prepared(truths), holes[:, None].float()
        with torch.autocast("cpu", torch.bfloat16):
            made = net(prepared(smooths), hole)
        loss = loss_of(made.float(), truth, hole, eye)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        if log.take(loss.item()):
            log.write(measure(net, held_out))
            torch.save(net.state_dict(), asked.backgrounds / "inpaint.pt")
    log.write(measure(net, held_out))
    torch.save(net.state_dict(), asked.backgrounds / "inpaint.pt")
    export(net, asked.out / "inpaint.onnx")


if __name__ == "__main__":
    main()
