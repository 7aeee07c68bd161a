"""Train the network that puts tones right in filled holes and write `tones.onnx`.

It learns what the tones of a filling lack (Huber's loss of pixels and of larger tones). It makes no grain, so it needs
no critic, and one core of a processor learns it in less than an hour. See README.md beside this file.

    python -m assets.training.pictures WELDS --count 1400
    python -m assets.inpaint.examples WELDS EXAMPLES.npy --photos PHOTOS --count 2600
    python -m assets.inpaint.examples WELDS HELD_OUT.npy --held-out --count 60
    python -m assets.inpaint.train EXAMPLES.npy --judged HELD_OUT.npy --minutes 30
"""

from __future__ import annotations

import argparse
import io
from copy import deepcopy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
import torch.nn.functional as F
from torch import nn

from assets.inpaint.examples import FILLED, KIND, LACK, NOTHING
from assets.inpaint.network import Tones
from assets.training.tools import Log, follow, rate_factor, write_halved
from weldgen.cleaning.tones import HOLE, OUTSIDE, SIDE_PX

SEED = 31
_RATE = 2e-3
# Errors are weighed again after averaging over these squares: a large tone that is off is seen more than a small one.
_TONES_PX = (4,)
# Less than this is no lack.
_LEAST_LACK = 2 / 255
# Of the examples this share is a part of the picture, and at least so large.
_PART_SHARE, _LEAST_PART_PX = 0.6, 40
_GREY_SHARE, _GAIN, _TINT = 0.2, 0.25, 0.06
Examples = npt.NDArray[np.uint8]
Rng = np.random.Generator


class Batch:
    """Examples: filled pictures and what they lack, (N, 3, 128, 128) in 0..1; holes and outside, (N, 1, ...)."""

    def __init__(self, examples: torch.Tensor) -> None:
        planes = examples.permute(0, 3, 1, 2)
        self.filled = planes[:, FILLED].float() / 255
        self.lack = (planes[:, LACK].float() - NOTHING) / 255
        kind = planes[:, KIND : KIND + 1]
        self.hole, self.outside = (kind == HOLE).float(), (kind == OUTSIDE).float()

    def vary(self, rng: Rng) -> None:
        """Other contrasts and colours: a filling of those would lack that much more or less."""
        count = len(self.filled)
        gain = np.exp(rng.normal(0, _GAIN, (count, 1, 1, 1)) + rng.normal(0, _TINT, (count, 3, 1, 1)))
        grey = torch.from_numpy(rng.random((count, 1, 1, 1)) < _GREY_SHARE)
        for name in ("filled", "lack"):
            values = getattr(self, name) * torch.from_numpy(gain).float()
            setattr(self, name, torch.where(grey, values.mean(dim=1, keepdim=True), values))


def drawn(examples: Examples, count: int, rng: Rng) -> Batch:
    """So many examples, turned, mirrored, in part, and in other colours."""
    picked = []
    for index in rng.integers(len(examples), size=count):
        example = np.rot90(examples[index], int(rng.integers(4)))
        example = np.array(example[:, ::-1] if rng.random() < 0.5 else example)
        if rng.random() < _PART_SHARE:
            _leave_part(example, rng)
        picked.append(example)
    batch = Batch(torch.from_numpy(np.stack(picked)))
    batch.vary(rng)
    return batch


def _leave_part(example: Examples, rng: Rng) -> None:
    """Put all outside but a rectangle with a hole in it."""
    rows, columns = np.nonzero(example[:, :, KIND] == HOLE)
    at = int(rng.integers(len(rows)))
    inside = np.zeros((SIDE_PX, SIDE_PX), bool)
    window = []
    for middle in (int(rows[at]), int(columns[at])):
        side = int(rng.integers(_LEAST_PART_PX, SIDE_PX + 1))
        start = int(np.clip(middle - rng.uniform(0.2, 0.8) * side, 0, SIDE_PX - side))
        window.append(slice(start, start + side))
    inside[tuple(window)] = True
    example[~inside, KIND] = OUTSIDE


def distance(made: torch.Tensor, wanted: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    """Error in the holes, of pixels and of larger tones; all examples count alike, however much they lack."""
    count = (3 * hole.sum(dim=(1, 2, 3))).clamp(min=1)
    usual = (((wanted * hole) ** 2).sum(dim=(1, 2, 3)) / count).sqrt() + _LEAST_LACK
    error = (made - wanted) * hole / usual[:, None, None, None]
    total = made.new_zeros(())
    for side in (1, *_TONES_PX):
        tones = F.avg_pool2d(error, side) if side > 1 else error
        losses = F.huber_loss(tones, torch.zeros_like(tones), reduction="none").sum(dim=(1, 2, 3))
        total = total + (losses * side**2 / count).mean()
    return total


def step(net: Tones, optimiser: torch.optim.Optimizer, batch: Batch) -> float:
    """One step; the loss."""
    with torch.autocast("cpu", torch.bfloat16):
        made = net(batch.filled, batch.hole, batch.outside)
    loss = distance(made.float(), batch.lack, batch.hole)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


@torch.inference_mode()
def measure(net: Tones, judged: dict[str, Examples]) -> dict[str, float]:
    """By how many dB the tones in the holes come nearer to the truth: of all together, and of the median example."""
    net.eval()
    measured = {}
    for name, examples in judged.items():
        rows = []
        for start in range(0, len(examples), 16):
            batch = Batch(torch.from_numpy(np.array(examples[start : start + 16])))
            made = net(batch.filled, batch.hole, batch.outside)
            squares = [((lack * batch.hole) ** 2).sum(dim=(1, 2, 3)) for lack in (batch.lack, batch.lack - made)]
            rows.append(torch.stack(squares) + 1e-6)
        before, after = torch.cat(rows, dim=1)
        measured[f"gain_{name}"] = 10 * float(torch.log10(before.sum() / after.sum()))
        measured[f"median_{name}"] = 10 * float(torch.log10(before / after).median())
    net.train()
    return measured


class Shipped(nn.Module):
    """The network as it ships: float32 RGB (1, 128, 128, 3), 0 to 255, and kinds of pixels (1, 128, 128) uint8."""

    def __init__(self, net: Tones) -> None:
        super().__init__()
        self.net = net

    def forward(self, filled: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        planes = (kind == HOLE).float()[:, None], (kind == OUTSIDE).float()[:, None]
        return (255 * self.net(filled.permute(0, 3, 1, 2) / 255, *planes)).permute(0, 2, 3, 1)


def export(net: Tones, path: Path) -> None:
    """Write the network as it ships."""
    example = torch.zeros((1, SIDE_PX, SIDE_PX, 3)), torch.zeros((1, SIDE_PX, SIDE_PX), dtype=torch.uint8)
    buffer = io.BytesIO()
    torch.onnx.export(
        Shipped(deepcopy(net).float()).eval(), example, buffer, dynamo=False, opset_version=17,
        input_names=["filled", "kind"], output_names=["lack"],
    )  # fmt: skip
    write_halved(onnx.load_from_string(buffer.getvalue()), path)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", type=Path, help="file that assets.inpaint.examples wrote")
    parser.add_argument("--judged", type=Path, nargs="*", default=[], help="files of examples to measure on")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    return parser.parse_args()


def main() -> None:
    """Train for so many minutes, then export."""
    asked = parse()
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    examples = np.load(asked.examples)
    judged = {path.stem: np.load(path) for path in asked.judged}
    net = Tones()
    average = deepcopy(net).requires_grad_(False)
    optimiser = torch.optim.AdamW(net.parameters(), lr=_RATE, betas=(0.9, 0.99), weight_decay=1e-2)
    log = Log(asked.out / "log.jsonl", asked.minutes / 12)
    while log.minutes < asked.minutes:
        optimiser.param_groups[0]["lr"] = _RATE * rate_factor(log.step, log.minutes / asked.minutes)
        loss = step(net, optimiser, drawn(examples, asked.batch, rng))
        follow(average, net)
        if log.take(loss):
            log.write(measure(average, judged))
            export(average, asked.out / "tones.onnx")
    log.write(measure(average, judged))
    export(average, asked.out / "tones.onnx")


if __name__ == "__main__":
    main()
