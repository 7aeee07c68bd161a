"""Whether a model's embedding says which training images are synthetic, and whether that says anything of the class.

A model may tell rendered images from photos without harm as long as every class has the same share of them. Where the
shares differ, "looks rendered" is a cheap mark of a class, and no real photo shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weldgen.classifier.embeddings import Embedder, Features, embed_photos
from weldgen.classifier.model_file import load_model
from weldgen.classifier.shift import auc, held_out_scores
from weldgen.data.dataset import Dataset, Sample
from weldgen.runtime import evenly

# Images of each origin that are looked at, all classes together.
_MOST = 200
# From this AUC on, by the lower end of its interval, origin can be read; shares that far apart tell classes.
_READABLE, _APART = 0.8, 0.1


def open_embedder(model: Path, device: str) -> Embedder:
    """A trained classifier up to its embedding, which is all that its head sees.

    Raises:
        DataError: There is no model.
    """
    network, card = load_model(model, device)

    @torch.inference_mode()
    def embed(images: Tensor) -> Tensor:
        return network.embed(images.to(network.mean.device))

    return Embedder(card.backbone, card.frame, embed)


def read_origin(dataset: Dataset, embedder: Embedder, jobs: int, seed: int) -> dict[str, Any]:
    """Embed training images and tell real ones from synthetic ones; see `origin_record`.

    Args:
        dataset: What the model was trained on; it holds real and synthetic training images.
        embedder: The model up to its embedding.
        jobs: Threads that decode.
        seed: Of the folds.
    """
    by_class = by_label(dataset.select(split="train"), dataset.labels)
    kept, rows, _ = embed_photos(dataset, choose_images(by_class, _MOST), embedder, jobs)
    return origin_record(by_class, kept, rows, seed)


def by_label(samples: Sequence[Sample], labels: Sequence[str]) -> dict[str, list[Sample]]:
    """The images of each class that has some."""
    found = {label: [sample for sample in samples if sample.label == label] for label in labels}
    return {label: own for label, own in found.items() if own}


def choose_images(by_class: Mapping[str, Sequence[Sample]], most: int) -> list[Sample]:
    """Images of the classes that have real and synthetic ones, evenly chosen: at most so many of each origin."""
    each = max(1, most // len(by_class))
    return [
        sample
        for samples in by_class.values()
        for origin in ("real", "synthetic")
        if len({s.origin for s in samples}) == 2
        for sample in evenly([s for s in samples if s.origin == origin], each)
    ]


def origin_record(
    by_class: Mapping[str, Sequence[Sample]], kept: Sequence[Sample], rows: Features, seed: int
) -> dict[str, Any]:
    """How well real training photos can be told from synthetic training images, class by class, cross-validated.

    Class by class, because where the shares differ a probe of all images could go by the class alone.

    Args:
        by_class: All training images.
        kept: The N that were embedded.
        rows: (N, F) embeddings.
        seed: Of the folds.

    Returns:
        What `metrics.json` keeps: AUC and its 95 % interval, balanced accuracy and numbers of images of each class with
        enough images of both kinds, the classes' shares of synthetic images among what training draws, and whether both
        together are a shortcut.
    """
    apart = {label: _told_apart(kept, rows, label, seed) for label in by_class}
    found = {label: ends for label, ends in apart.items() if ends}
    shares = {label: round(synthetic_share(samples), 4) for label, samples in by_class.items()}
    readable = any(ends["low"] > _READABLE for ends in found.values())
    differ = max(shares.values()) - min(shares.values()) > _APART
    return {
        "images": len(kept), "told_apart": found, "synthetic_share": shares, "readable": readable,
        "shares_differ": differ, "shortcut": readable and differ,
    }  # fmt: skip


def _told_apart(samples: Sequence[Sample], rows: Features, label: str, seed: int) -> dict[str, Any] | None:
    sides = []
    for origin in ("real", "synthetic"):
        own = [k for k, sample in enumerate(samples) if (sample.label, sample.origin) == (label, origin)]
        sides.append((np.asarray(rows[own], np.float64), [_group(samples[k]) for k in own]))
    scores = held_out_scores(sides[0], sides[1], seed)
    if scores is None:
        return None
    real, synthetic = scores
    right = float(((real < 0).mean() + (synthetic > 0).mean()) / 2)
    ends = dict(zip(("auc", "low", "high"), auc(real, synthetic), strict=True))
    return {**ends, "balanced_accuracy": right, "real": len(real), "synthetic": len(synthetic)}


def _group(sample: Sample) -> str:
    """Images made from one photo are no independent ones."""
    return sample.group or (sample.parents[0] if sample.parents else sample.id)


def synthetic_share(samples: Sequence[Sample]) -> float:
    """Share of synthetic images among what training draws; real photos may be drawn more often."""
    real = sum(float(s.extra.get("weight", 1.0)) for s in samples if s.origin == "real")
    made = sum(s.origin == "synthetic" for s in samples)
    return made / (real + made)
