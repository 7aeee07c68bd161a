"""Train the inpainter of `weldgen clean` and write `metal.onnx`.

First towards the truth (L1 and the features of an ImageNet network), then also against a critic, so that made metal has
the grain of metal and not its average. See README.md beside this file for the data, the seed and what was measured.

    python -m assets.training.pictures WELDS --count 2000
    python -m assets.inpaint.train WELDS --photos PHOTOS --minutes 8 --device cuda
"""

from __future__ import annotations

import argparse
import io
from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
import timm
import torch
import torch.nn.functional as F
from torch import nn

from assets.inpaint.examples import BLANK, COVERED, Examples
from assets.inpaint.network import Critic, Inpainter
from assets.training.pictures import CROP_PX, Pictures
from assets.training.tools import Log, Replay, arguments, follow, rate_factor, split_pictures, write_halved
from weldgen.classifier.embedded import embedded_state

SEED = 31
HELD_OUT_CROPS = 128
# Rust, paint and parts lie on the metal less often than the ink network must see them.
_LITTERED = 0.35
# Share of the time after which the critic judges too.
CRITIC_FROM = 0.5
_RATE, _CRITIC_RATE, _LATE_RATE = 2e-3, 3e-4, 4e-4
_L1_WEIGHT, _FEATURE_WEIGHT, _MATCH_WEIGHT, _CRITIC_WEIGHT = 10.0, 1.0, 1.0, 0.5
Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class Shipped(nn.Module):
    """The network as it ships: uint8 RGB (N, 256, 256, 3) and holes (N, 256, 256) to filled uint8 RGB."""

    def __init__(self, net: Inpainter) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
        filled = self.net(image.permute(0, 3, 1, 2).float() / 255, *_planes(hole))
        return torch.round(filled.clamp(0, 1) * 255).permute(0, 2, 3, 1).to(torch.uint8)


def _planes(hole: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return (hole == COVERED).float()[:, None], (hole == BLANK).float()[:, None]


class Features(nn.Module):
    """Distance of pictures as an ImageNet network sees them, in the manner of LPIPS (Zhang et al., CVPR 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(0, 1, 2))
        self.net.load_state_dict(embedded_state(), strict=False)
        self.requires_grad_(False).eval()

    def forward(self, made: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        both = self.net(torch.cat([made, truth]) * 2 - 1)
        distance = made.new_zeros(())
        for features in both:
            one, other = F.normalize(features.float(), dim=1).chunk(2)
            distance = distance + ((one - other) ** 2).sum(dim=1).mean()
        return distance


def unpacked(batch: tuple[torch.Tensor, ...]) -> Tensors:
    """Crops, truths (N, 3, 256, 256) in 0..1, and the two planes of the holes."""
    image, hole, truth = batch
    given, wanted = (part.permute(0, 3, 1, 2).float() / 255 for part in (image, truth))
    return given, wanted, *_planes(hole)


def distance(made: torch.Tensor, truth: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    """L1 in the holes."""
    return ((made - truth).abs() * hole).sum() / (3 * hole.sum()).clamp(min=1)


def patches(hole: torch.Tensor) -> torch.Tensor:
    """Where the critic's patches hold something that was made, (N, 1, 32, 32)."""
    return (F.max_pool2d(hole, 8) > 0).float()


class Trainer:
    """The networks, their optimisers, and a step of each."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.net = Inpainter().to(device, memory_format=torch.channels_last)
        self.average = deepcopy(self.net).requires_grad_(False)
        self.critic = Critic().to(device, memory_format=torch.channels_last)
        self.features = Features().to(device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=_RATE, betas=(0.9, 0.99), weight_decay=1e-4)
        self.judge = torch.optim.AdamW(self.critic.parameters(), lr=_CRITIC_RATE, betas=(0.5, 0.99), weight_decay=0)

    def step(self, batch: tuple[torch.Tensor, ...], rate: float, *, judged: bool) -> float:
        """One step of the inpainter, and where it is judged, one of the critic; the loss without the critic's."""
        given, truth, covered, blank = unpacked(batch)
        hole = covered + blank
        self.optimiser.param_groups[0]["lr"] = rate
        with torch.autocast(self.device.type, torch.bfloat16):
            made = self.net(given, covered, blank).float()
            seen = self.features(made, truth)
        share = hole.mean().clamp(min=0.02)  # the features are those of the whole picture
        loss = _L1_WEIGHT * distance(made, truth, hole) + _FEATURE_WEIGHT * seen / share
        total = loss + self._against_critic(made, truth, hole, loss) if judged else loss
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        if judged:
            self._judge(made.detach(), truth, hole)
        follow(self.average, self.net)
        return float(loss.detach())

    def _against_critic(
        self, made: torch.Tensor, truth: torch.Tensor, hole: torch.Tensor, loss: torch.Tensor
    ) -> torch.Tensor:
        """What the critic wants, weighed by its pull on the last layer (Esser et al., CVPR 2021), and its features."""
        self.critic.requires_grad_(False)
        with torch.autocast(self.device.type, torch.bfloat16):
            verdict, features = self.critic(made, hole)
            with torch.no_grad():
                wanted = self.critic(truth, hole)[1]
        self.critic.requires_grad_(True)
        where = patches(hole)
        real = -(verdict.float() * where).sum() / where.sum().clamp(min=1)
        match = sum(
            (F.l1_loss(a.float(), b.float()) for a, b in zip(features, wanted, strict=True)), made.new_zeros(())
        )
        last = self.net.last.weight
        pulls = [torch.autograd.grad(part, last, retain_graph=True)[0].norm() for part in (loss, real)]
        weight = (pulls[0] / (pulls[1] + 1e-6)).clamp(0, 1e3).detach()
        return _CRITIC_WEIGHT * weight * real + _MATCH_WEIGHT * match

    def _judge(self, made: torch.Tensor, truth: torch.Tensor, hole: torch.Tensor) -> None:
        with torch.autocast(self.device.type, torch.bfloat16):
            real, fake = self.critic(truth, hole)[0].float(), self.critic(made, hole)[0].float()
        where = patches(hole)
        loss = ((F.relu(1 - real) + F.relu(1 + fake)) * where).sum() / where.sum().clamp(min=1)
        self.judge.zero_grad(set_to_none=True)
        loss.backward()
        self.judge.step()


@torch.inference_mode()
def measure(net: Inpainter, held_out: list[tuple[torch.Tensor, ...]], device: torch.device) -> dict[str, float]:
    """PSNR in the holes and texture (local deviation of grey over the truth's), for covered and for blank holes."""
    net.eval()
    measured = {}
    for kind in ("covered", "blank"):
        errors, textures = [], []
        for batch in held_out:
            given, truth, covered, blank = unpacked(tuple(part.to(device) for part in batch))
            made, hole = net(given, covered, blank), covered if kind == "covered" else blank
            square = (((made - truth) ** 2) * hole).sum(dim=(1, 2, 3)) / (3 * hole.sum(dim=(1, 2, 3)).clamp(min=1))
            there = hole.sum(dim=(1, 2, 3)) > 0
            errors.append(-10 * torch.log10(square[there] + 1e-6))
            stds = [(_deviation(picture) * hole).sum(dim=(1, 2, 3))[there] for picture in (made, truth)]
            textures.append(stds[0].sum() / stds[1].sum().clamp(min=1e-6))
        measured[f"psnr_{kind}"] = float(torch.cat(errors).mean())
        measured[f"texture_{kind}"] = float(torch.stack(textures).mean())
    net.train()
    return measured


def _deviation(picture: torch.Tensor) -> torch.Tensor:
    grey = picture.mean(dim=1, keepdim=True)
    mean = F.avg_pool2d(grey, 7, 1, 3)
    return (F.avg_pool2d(grey * grey, 7, 1, 3) - mean * mean).clamp(min=0).sqrt()


def export(net: Inpainter, path: Path) -> None:
    """Write the network as it ships."""
    example = torch.zeros((1, CROP_PX, CROP_PX, 3), dtype=torch.uint8)
    buffer = io.BytesIO()
    shipped = Shipped(deepcopy(net).cpu().float()).eval()
    torch.onnx.export(
        shipped, (example, example[:, :, :, 0]), buffer, dynamo=False, opset_version=17,
        input_names=["image", "hole"], output_names=["filled"], dynamic_axes={"image": {0: "n"}, "hole": {0: "n"}},
    )  # fmt: skip
    write_halved(onnx.load_from_string(buffer.getvalue()), path)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = arguments(__doc__, photo_share=0.4, out=Path(__file__).parent)
    parser.add_argument("--judged", type=Path, nargs="*", default=[], help="folders of photos to measure on")
    return parser.parse_args()


def crops_to_measure(asked: argparse.Namespace, kept: Pictures) -> list[tuple[torch.Tensor, ...]]:
    """Fixed crops of photos, or of rendered welds where none are given, that are in no training example."""
    photos = [file for folder in asked.judged for file in sorted(folder.rglob("*.jpg"))]
    judge = Examples(Pictures(photos, [1] * len(photos), 0.0) if photos else kept, SEED + 1)
    crops = [judge.example(index) for index in range(HELD_OUT_CROPS)]
    columns = [torch.from_numpy(np.stack(column)) for column in zip(*crops, strict=True)]
    return [tuple(column[at : at + 32] for column in columns) for at in range(0, HELD_OUT_CROPS, 32)]


def main() -> None:
    """Train for so many minutes, then export."""
    asked = parse()
    torch.manual_seed(SEED)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    pictures, kept = split_pictures(asked.backgrounds, asked.photos, asked.photo_share, _LITTERED)
    held_out = crops_to_measure(asked, kept)
    device = torch.device(asked.device)
    supply = Replay(Examples(pictures, SEED).example, asked.workers, device)
    trainer, log, judged = Trainer(device), Log(asked.out / "log.jsonl", asked.minutes / 12), False
    while log.minutes < asked.minutes:
        done = log.minutes / asked.minutes
        if done > CRITIC_FROM and not judged:
            judged = True
            save(trainer, asked.out, "smooth")
        rate = _LATE_RATE * rate_factor(log.step, 2 * done - 1) if judged else _RATE * rate_factor(log.step, 1.6 * done)
        loss = trainer.step(supply.draw(asked.batch), rate, judged=judged)
        if log.take(loss):
            log.write(measure(trainer.average, held_out, device) | {"examples": float(supply.seen)})
    log.write(measure(trainer.average, held_out, device) | {"examples": float(supply.seen)})
    supply.close()
    save(trainer, asked.out, "metal")


def save(trainer: Trainer, folder: Path, name: str) -> None:
    """The averaged network, as it ships and as a checkpoint."""
    export(trainer.average, folder / f"{name}.onnx")
    halved = {key: value.half() for key, value in trainer.average.state_dict().items() if value.is_floating_point()}
    torch.save(halved, folder / f"{name}.pt")


if __name__ == "__main__":
    main()
