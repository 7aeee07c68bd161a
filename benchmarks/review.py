"""How many labels that were flipped on purpose `weldgen review` puts at the head of its list.

A share of the labels is given to another class, as the seed draws it; the photos are embedded once, for no label
changes how they look, and then ranked for each seed by what the command ranks with. Found is a flipped label that is
in the first photos of the list. The own errors of the photos are in the list too and count as nothing found.

    python benchmarks/review.py [--data FOLDER] [--share 0.1] [--seeds 8] [--seed 0] [--most 300] [review settings ...]

FOLDER holds a folder a class, or is a dataset of weldgen. Without it rendered welds stand in.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from weldgen.classifier.embeddings import embed_photos
from weldgen.classifier.findings import group_photos
from weldgen.classifier.metrics import Share, share_words
from weldgen.classifier.review import ReviewConfig, open_embedder, rank_photos
from weldgen.config import load_config
from weldgen.data.dataset import Dataset
from weldgen.data.images import write_rgb
from weldgen.errors import WeldgenError
from weldgen.runtime import derive_seed, resolve_jobs
from weldgen.synthesis.render.photos import render_photo

HEADS = (0.15, 0.10)
STAND_INS = 30  # of each class


@dataclass(frozen=True)
class Draw:
    """One draw of wrong labels.

    Attributes:
        flipped: How many labels were wrong.
        listed: Photos in the list.
        ranks: Ranks of the wrong ones that could be judged, from 0.
    """

    flipped: int
    listed: int
    ranks: tuple[int, ...]

    def found(self, head: float) -> int:
        """How many of them are in the first part of the list."""
        return sum(rank < round(head * self.listed) for rank in self.ranks)


def stand_ins(folder: Path) -> Path:
    for number, label in enumerate(("good", "bad")):
        for index in range(STAND_INS):
            image = render_photo(700 * number + index, label, 180, 120, marked=False)
            write_rgb(folder / label / f"{index:03d}.png", image)
    return folder


def choose(dataset: Dataset, most: int, seed: int) -> Dataset:
    """At most so many of the real photos, as equally many of each class as there are."""
    rng = np.random.default_rng(derive_seed(seed, "photos"))
    shuffled = {
        label: [samples[k] for k in rng.permutation(len(samples))]
        for label in dataset.labels
        if (samples := dataset.select(label=label, origin="real"))
    }
    dealt = [(k, sample) for samples in shuffled.values() for k, sample in enumerate(samples)]
    kept = {sample.file_name for _, sample in sorted(dealt, key=lambda pair: pair[0])[:most]}
    return dataset.where(lambda sample: sample.file_name in kept)


def flip(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, frozenset[str]]:
    """The photos with a share of the labels wrong, and the files of those."""
    rng = np.random.default_rng(derive_seed(seed, "labels"))
    samples = list(dataset.samples)
    chosen = rng.choice(len(samples), round(share * len(samples)), replace=False)
    for k in chosen:
        others = [label for label in dataset.labels if label != samples[k].label]
        samples[k] = replace(samples[k], label=others[rng.integers(len(others))])
    return replace(dataset, samples=tuple(samples)), frozenset(samples[k].file_name for k in chosen)


def run(data: Path, share: float, seeds: Sequence[int], most: int, config: ReviewConfig) -> list[Draw]:
    photos = choose(Dataset.open(data), most, config.seed)
    embedder = open_embedder(photos, config)
    samples, features, failures = embed_photos(photos, photos.samples, embedder, resolve_jobs(config.jobs))
    photos = replace(photos, samples=tuple(samples), labels=tuple(sorted({sample.label for sample in samples})))
    groups, _ = group_photos(photos, config.duplicate_bits, config.group_pattern)
    said = f", {len(failures)} could not be read" if failures else ""
    print(f"{data.name}: {len(samples)} photos of {', '.join(photos.labels)}{said}; {embedder.name}", flush=True)
    draws = []
    for seed in seeds:
        flipped, wrong = flip(photos, share, seed)
        findings = rank_photos(flipped, features, groups, config.model_copy(update={"seed": seed}))
        ranks = tuple(rank for rank, finding in enumerate(findings) if finding.sample.file_name in wrong)
        draws.append(Draw(len(wrong), len(findings), ranks))
        shown = ", ".join(f"{draws[-1].found(head)} in the first {head:.0%}" for head in HEADS)
        print(f"seed {seed}: of {len(wrong)} flipped labels {shown} of {len(findings)}", flush=True)
    return draws


def report(draws: Sequence[Draw]) -> list[str]:
    """All draws together. They are of the same photos, so the interval is about other flips, not other photos."""
    lines = []
    for head in HEADS:
        found, shares = [draw.found(head) for draw in draws], [draw.found(head) / draw.flipped for draw in draws]
        together = share_words(Share(sum(found), sum(draw.flipped for draw in draws)).record())
        lines.append(f"first {head:.0%}: mean {np.mean(shares):.0%}, worst {min(shares):.0%}; together {together}")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=300)
    options, words = parser.parse_known_args(arguments)
    if not 0 < options.share < 1 or options.seeds < 1:
        parser.error(f"--share {options.share} --seeds {options.seeds}: a share between 0 and 1, and 1 seed or more")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            config = load_config("review", ReviewConfig, overrides=words, flags={"seed": options.seed})
            data = options.data or stand_ins(Path(scratch) / "rendered")
            seeds = range(options.seed, options.seed + options.seeds)
            draws = run(data, options.share, seeds, options.most, config)
        except WeldgenError as error:
            raise SystemExit(f"{error.message}\n{error.hint}".strip()) from error
    if not draws[0].flipped:
        raise SystemExit(f"--share {options.share} of so few photos flips no label")
    print("\n".join([*report(draws), f"{time.monotonic() - started:.0f} s"]), flush=True)


if __name__ == "__main__":
    main()
