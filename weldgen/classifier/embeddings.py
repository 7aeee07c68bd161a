"""Embeddings of photos: what a backbone sees, as one row of numbers a photo."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from weldgen.classifier.backbones import create_backbone
from weldgen.classifier.model_file import load_model
from weldgen.classifier.preprocess import Frame, letterbox
from weldgen.data.dataset import Dataset, Failure, Sample
from weldgen.data.images import read_rgb
from weldgen.errors import DataError
from weldgen.runtime import track

Features = npt.NDArray[np.float32]

_BATCH = 16


@dataclass(frozen=True)
class Embedder:
    """A backbone that can be asked.

    Attributes:
        name: Of the backbone.
        frame: Height and width of the input in pixels.
        embed: (B, 3, h, w) uint8 RGB -> (B, F) float32.
        seen: Ids of the real photos whose labels it was trained on.
        weights: Records of the third-party weights in it.
        notes: What was chosen and what would be better.
    """

    name: str
    frame: Frame
    embed: Callable[[Tensor], Tensor]
    seen: frozenset[str] = frozenset()
    weights: tuple[Mapping[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def open_backbone(name: str, weights: str, frame: Frame, device: str) -> Embedder:
    """A pre-trained backbone, which knows no label of the user's.

    Raises:
        ConfigError: The name or the weights do not exist.
        BackendError: The weights are not on this machine.
    """
    backbone = create_backbone(name, weights, frame)
    statistics = [torch.tensor(values).view(1, 3, 1, 1) * 255 for values in (backbone.mean, backbone.std)]
    embed = _embedding(backbone.model, statistics[0], statistics[1], device)
    return Embedder(backbone.name, frame, embed, weights=backbone.weights, notes=backbone.notes)


def open_trained(model: Path, device: str) -> Embedder:
    """The backbone of a trained classifier; the layers behind it, which fit the labels closest, are left out.

    Raises:
        DataError: There is no model.
    """
    network, card = load_model(model, device)
    embed = _embedding(network.backbone, network.mean, network.std, device)
    seen = frozenset(identity for ids in card.seen.values() for identity in ids)
    weights = tuple({"id": name, "licence": licence} for name, licence in card.licences.items())
    return Embedder(card.backbone, card.frame, embed, seen, weights)


def embed_photos(
    dataset: Dataset, samples: Sequence[Sample], embedder: Embedder, jobs: int
) -> tuple[list[Sample], Features, list[Failure]]:
    """Embed photos, a few at a time.

    Returns:
        The N samples that could be read, their embeddings, (N, F) float32, and the files that could not be read.
    """
    kept: list[Sample] = []
    failures: list[Failure] = []
    rows: list[Features] = []
    framed: list[npt.NDArray[np.uint8]] = []

    def flush() -> None:
        if framed:
            rows.append(embedder.embed(torch.from_numpy(np.stack(framed))).float().cpu().numpy())
            framed.clear()

    loaded = _load(dataset, samples, embedder.frame, jobs)
    for sample, pixels in track(loaded, total=len(samples), description="embedding", unit="photos"):
        if isinstance(pixels, Failure):
            failures.append(pixels)
            continue
        kept.append(sample)
        framed.append(pixels)
        if len(framed) == _BATCH:
            flush()
    flush()
    return kept, np.concatenate(rows) if rows else np.zeros((0, 0), np.float32), failures


def _embedding(model: nn.Module, mean: Tensor, std: Tensor, device: str) -> Callable[[Tensor], Tensor]:
    model = model.to(torch.device(device)).eval()
    mean, std = mean.to(device), std.to(device)

    @torch.inference_mode()
    def embed(images: Tensor) -> Tensor:
        pixels = (images.to(device).float() - mean) / std
        features: Tensor = model(pixels.contiguous(memory_format=torch.channels_last))
        return features

    return embed


def _load(
    dataset: Dataset, samples: Sequence[Sample], frame: Frame, jobs: int
) -> Iterator[tuple[Sample, npt.NDArray[np.uint8] | Failure]]:
    """Decode and letterbox one batch while the backbone works on the one before."""

    def load(sample: Sample) -> npt.NDArray[np.uint8] | Failure:
        try:
            return letterbox(read_rgb(dataset.path(sample)), frame)
        except DataError as error:
            return Failure(sample.file_name, error.message)

    batches = [samples[start : start + _BATCH] for start in range(0, len(samples), _BATCH)]
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(load, sample) for sample in batches[0]] if batches else []
        for number, batch in enumerate(batches):
            following = batches[number + 1] if number + 1 < len(batches) else ()
            ready, waiting = waiting, [pool.submit(load, sample) for sample in following]
            for sample, future in zip(batch, ready, strict=True):
                yield sample, future.result()
