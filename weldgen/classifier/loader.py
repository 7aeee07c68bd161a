"""Training and validation images: decoded and letterboxed once, drawn in an order that seed and epoch decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from weldgen.classifier.augment import augment
from weldgen.classifier.preprocess import Frame, letterbox
from weldgen.classifier.progressive import shrink
from weldgen.classifier.settings import AugmentationSettings
from weldgen.data.dataset import Dataset, Failure, Sample
from weldgen.data.images import read_rgb
from weldgen.errors import DataError
from weldgen.runtime import derive_seed, log, output_errors, temporary_for, track

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Images:
    """Letterboxed images with their samples.

    Attributes:
        samples: The N that could be decoded.
        framed: (N, 3, h, w) uint8 RGB, in memory or mapped from a file.
        targets: (N,) int64 indices of the classes.
        root: What the files that samples name are relative to.
    """

    samples: tuple[Sample, ...]
    framed: Pixels
    targets: npt.NDArray[np.int64]
    root: Path = Path()

    @property
    def frame(self) -> Frame:
        """Height and width of the images in pixels."""
        return self.framed.shape[2], self.framed.shape[3]

    def __len__(self) -> int:
        return len(self.samples)

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process a file that is mapped goes by its name."""
        framed = _place_of(self.framed) if isinstance(self.framed, np.memmap) else self.framed
        return _images_from, (self.samples, framed, self.targets, self.root)

    def mapped(self, path: Path) -> Images:
        """The same, mapped from a file, which is written where there is none yet."""
        if isinstance(self.framed, np.memmap) or not len(self):
            return self
        with output_errors(path), path.open("wb") as stream:
            np.save(stream, self.framed)
        return Images(self.samples, np.load(path, mmap_mode="r"), self.targets, self.root)

    def subset(self, split: str) -> Images:
        """Those of one split."""
        rows = [row for row, sample in enumerate(self.samples) if sample.split == split]
        # A slice of a mapped file stays mapped; the rows of a split lie together.
        chosen = self.framed[rows[0] : rows[-1] + 1] if rows else self.framed[:0]
        return Images(tuple(self.samples[row] for row in rows), chosen, self.targets[rows], self.root)

    def by_origin(self, origin: str) -> Images:
        """Those of one origin, copied; all of them where there is no other."""
        rows = [row for row, sample in enumerate(self.samples) if sample.origin == origin]
        if len(rows) == len(self):
            return self
        return Images(tuple(self.samples[row] for row in rows), self.framed[rows], self.targets[rows], self.root)


def _place_of(mapped: Any) -> tuple[str, int, tuple[int, ...]]:
    """File, first byte and shape of a slice of a mapped file."""
    whole = mapped
    while isinstance(whole.base, np.memmap):
        whole = whole.base
    return str(whole.filename), whole.offset + mapped.ctypes.data - whole.ctypes.data, mapped.shape


def _images_from(
    samples: tuple[Sample, ...],
    framed: Pixels | tuple[str, int, tuple[int, ...]],
    targets: npt.NDArray[np.int64],
    root: Path,
) -> Images:
    if isinstance(framed, tuple):
        path, offset, shape = framed
        framed = np.memmap(path, np.uint8, "r", offset, shape)
    return Images(samples, framed, targets, root)


def load_images(
    dataset: Dataset,
    samples: Sequence[Sample],
    labels: Sequence[str],
    *,
    frame: Frame,
    jobs: int,
    scratch: tuple[Path, float],
) -> tuple[Images, list[Failure]]:
    """Decode and letterbox images once.

    Args:
        dataset: Where the samples lie.
        samples: What to load; the result is grouped by split.
        labels: Classes, in the order of the targets.
        frame: Height and width in pixels.
        jobs: Threads.
        scratch: Folder for the file that takes what does not fit, and the gigabytes that do fit into memory.

    Returns:
        The images, and the files that could not be decoded with the reason.
    """
    samples = sorted(samples, key=lambda sample: (sample.split, sample.file_name))
    framed = _allocate((len(samples), 3, *frame), *scratch)
    failures: list[Failure] = []
    kept: list[Sample] = []

    def load(sample: Sample) -> Pixels | Failure:
        try:
            return letterbox(read_rgb(dataset.path(sample)), frame)
        except DataError as error:
            return Failure(sample.file_name, error.message)

    with ThreadPoolExecutor(jobs) as pool:
        results = zip(samples, pool.map(load, samples), strict=True)
        for sample, result in track(results, total=len(samples), description="reading"):
            if isinstance(result, Failure):
                failures.append(result)
            else:
                framed[len(kept)] = result
                kept.append(sample)
    targets = np.array([labels.index(sample.label) for sample in kept], np.int64)
    return Images(tuple(kept), framed[: len(kept)], targets, dataset.root), failures


def _allocate(shape: tuple[int, ...], folder: Path, limit_gb: float) -> Pixels:
    size_gb = float(np.prod(shape)) / 1e9
    if size_gb <= limit_gb:
        return np.empty(shape, np.uint8)
    path = temporary_for(folder / "images.npy")
    log.info("%.1f GB of decoded images are kept in %s during the training", size_gb, path)
    with output_errors(path):
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)


class TrainingSet(TorchDataset[tuple[Tensor, int]]):
    """Augmented training images, addressed by (epoch, row).

    Args:
        images: What to train on.
        settings: The augmentation.
        seed: Seed of the run; with the epoch and the sample's id it decides each augmentation.
        frames: Height and width of the images of each epoch; empty: they stay as they are.
    """

    def __init__(self, images: Images, settings: AugmentationSettings, seed: int, frames: Sequence[Frame] = ()) -> None:
        self._images = images
        self._settings = settings
        self._seed = seed
        self._frames = frames

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        epoch, row = key
        seed = derive_seed(self._seed, "augment", epoch, self._images.samples[row].id)
        image = torch.from_numpy(np.array(self._images.framed[row]))
        if self._frames:
            image = shrink(image, self._frames[epoch])
        return augment(image, self._settings, seed), int(self._images.targets[row])


class ValidationSet(TorchDataset[tuple[Tensor, int]]):
    """Images as they are, addressed by row."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return torch.from_numpy(np.array(self._images.framed[row])), int(self._images.targets[row])


def images_an_epoch(weights: Sequence[float]) -> int:
    """Images that make an epoch: all of them where they weigh the same, else their effective number.

    With three photos that are drawn a hundred times as often as each of 600 others, an epoch of 600 draws would repeat
    the three fifty times over before the next look at validation. The effective number (Kish 1965) is that of equal
    weights which are worth as much: the square of their sum over the sum of their squares.

    Args:
        weights: How often each image is drawn relative to the others.
    """
    total, squares = sum(weights), sum(weight * weight for weight in weights)
    return max(1, round(total * total / squares))


class EpochOrder(Sampler[tuple[int, int]]):
    """Keys (epoch, row) in an order of seed and epoch alone, so that a resumed run goes on exactly.

    There are as many keys as fill whole steps: the last one is completed with images drawn once more, because
    batch statistics of two or three images are noise. Lightning calls `set_epoch`.

    Args:
        weights: How often each image should be drawn relative to the others; all equal means each once an epoch,
            else an epoch is `images_an_epoch` draws with replacement.
        step_size: Images a step of the optimizer, fewer than twice as many as there are images.
        seed: Seed of the run.
    """

    def __init__(self, weights: Sequence[float], step_size: int, seed: int) -> None:
        self._weights = torch.tensor(weights, dtype=torch.float64)
        self._drawn = -(-images_an_epoch(weights) // step_size) * step_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._drawn

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "order", self._epoch))
        count = len(self._weights)
        if bool((self._weights == self._weights[0]).all()):
            order = torch.cat([torch.randperm(count, generator=generator), torch.randperm(count, generator=generator)])
        else:
            order = torch.multinomial(self._weights, self._drawn, replacement=True, generator=generator)
        yield from ((self._epoch, row) for row in order[: self._drawn].tolist())
