"""Images a second of `weldgen train` against timm's own training loop: same backbone, size, batch, workers, precision.

timm's side is what its train script does: `create_dataset`, `create_loader` with its default augmentation, `Mixup` off,
AdamW, autocast, channels-last. Both train from random weights on the same rendered photos; two lengths are timed and
subtracted, so that starting up does not count. The two take turns, because other work on the machine comes and goes;
the median of the rounds counts, of the seconds on the clock and of those of the processor, which depend less on that
other work. It loses when our input pipeline holds the network up.

    python benchmarks/train.py [--backbone tf_efficientnet_lite0] [--size 224] [--batch 16] [--images 96] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from weldgen.data.images import write_rgb
from weldgen.synthesis.render.photos import render_photo

LABELS = ("good", "bad")


def make_photos(folder: Path, count: int) -> None:
    """Photos of every class in train/, and two of each for validation and test, which nobody trains on."""
    for index in range(count + 8):
        label = LABELS[index % 2]
        split = "train" if index < count else ("val", "test")[index // 2 % 2]
        write_rgb(folder / split / label / f"{index:04d}.jpg", render_photo(index, label, 640, 480, marked=False))


def taken() -> tuple[float, float]:
    """Seconds on the clock, and seconds of the processor for this program and those that it has waited for."""
    return time.perf_counter(), sum(os.times()[:4])


def ours(photos: Path, given: argparse.Namespace, epochs: int) -> None:
    """`weldgen train`."""
    with tempfile.TemporaryDirectory() as out:
        words = [
            f"model.backbone={given.backbone}", "model.weights=none", "model.freeze_stages=0", "data.shape=square",
            f"data.image_size={given.size}", f"training.batch_size={given.batch}", f"training.epochs={epochs}",
            "training.min_steps=0", "training.cpu_max_steps=0", "training.patience=0", "training.method=finetune",
            f"training.precision={given.precision}", f"jobs={given.jobs}",
        ]  # fmt: skip
        command = [sys.executable, "-m", "weldgen.cli", "train", str(photos), "--out", f"{out}/model", *words]
        run = subprocess.run(command, check=False, capture_output=True, text=True)
        if run.returncode:
            raise SystemExit(run.stderr)


def timms(photos: Path, given: argparse.Namespace, epochs: int) -> None:
    """timm's loop."""
    import timm
    from timm.data import create_dataset, create_loader, resolve_data_config

    torch.manual_seed(0)
    torch.set_num_threads(given.jobs)
    network = timm.create_model(given.backbone, num_classes=2).to(memory_format=torch.channels_last)
    network.train()
    settings = resolve_data_config({}, model=network)
    dataset: Any = create_dataset("", root=str(photos / "train"))
    loader = create_loader(
        dataset, (3, given.size, given.size), given.batch, is_training=True, use_prefetcher=False,
        num_workers=given.jobs, mean=settings["mean"], std=settings["std"], interpolation=settings["interpolation"],
    )  # fmt: skip
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    loss = torch.nn.CrossEntropyLoss()
    for _ in range(epochs):
        for images, targets in loader:
            with torch.autocast("cpu", torch.bfloat16, enabled=given.precision == "bf16"):
                value = loss(network(images.contiguous(memory_format=torch.channels_last)), targets)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder)
        make_photos(photos, given.images)
        ratios: dict[str, list[float]] = {"clock": [], "processor": []}
        for number in range(given.rounds):
            seconds = {}
            for epochs in (2, 6):  # the two of one length follow each other
                for name, run in (("timm", timms), ("weldgen", ours)):
                    before = taken()
                    run(photos, given, epochs)
                    seconds[name, epochs] = [now - then for now, then in zip(taken(), before, strict=True)]
            seen = 4 * (given.images // given.batch * given.batch)
            for place, (kind, found) in enumerate(ratios.items()):
                rates = {n: seen / (seconds[n, 6][place] - seconds[n, 2][place]) for n in ("timm", "weldgen")}
                found.append(rates["weldgen"] / rates["timm"])
                shown = ", ".join(f"{name} {rate:.1f}" for name, rate in rates.items())
                print(f"round {number + 1}, images a second of the {kind}: {shown}; ratio {found[-1]:.2f}", flush=True)
    for kind, found in ratios.items():
        print(f"weldgen / timm by the {kind}: {statistics.median(found):.2f}, the median of {len(found)} rounds")


if __name__ == "__main__":
    main()
