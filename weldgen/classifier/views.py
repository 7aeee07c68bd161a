"""Photos for the self-supervised training: decoded once, shrunk to what the crops need, cut into views at random."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightly.transforms.dino_transform import DINOViewTransform
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from weldgen.classifier.pretraining import CropSettings
from weldgen.data.dataset import Dataset, Failure, Sample
from weldgen.data.images import read_rgb
from weldgen.errors import DataError
from weldgen.runtime import derive_seed, track

RGB = npt.NDArray[np.uint8]

# A large crop of 40 % of the photo still fills its pixels: sqrt(1 / 0.4) = 1.6.
_STORED = 1.6


class Photos:
    """Training images without labels, by row.

    Photos keep their aspect ratio and are not padded: a crop of padding would teach nothing.

    Args:
        sources: Datasets with the samples to take from each.
        side_px: Side of the large crops; the shorter side of a photo is kept at 1.6 times that, if it has it.
        cache_gb: Decoded photos are kept up to this size, the others are read again each time.
        jobs: Threads that read.

    Attributes:
        samples: Those that could be decoded.
        failures: The others, with the reason.
    """

    def __init__(
        self, sources: Sequence[tuple[Dataset, Sequence[Sample]]], *, side_px: int, cache_gb: float, jobs: int
    ) -> None:
        self._shorter_px = round(_STORED * side_px)
        entries = [(dataset, sample) for dataset, samples in sources for sample in samples]
        self.samples: list[Sample] = []
        self.failures: list[Failure] = []
        self._datasets: list[Dataset] = []
        self._kept: dict[int, RGB] = {}
        left = cache_gb * 1e9
        with ThreadPoolExecutor(jobs) as pool:
            results = zip(entries, pool.map(self._try, entries), strict=True)
            for (dataset, sample), result in track(results, total=len(entries), description="reading"):
                if isinstance(result, Failure):
                    self.failures.append(result)
                    continue
                left -= result.nbytes
                if left >= 0:
                    self._kept[len(self.samples)] = result
                self.samples.append(sample)
                self._datasets.append(dataset)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, row: int) -> RGB:
        """One photo, (H, W, 3) uint8 RGB."""
        kept = self._kept.get(row)
        return self._read(self._datasets[row], self.samples[row]) if kept is None else kept

    def _try(self, entry: tuple[Dataset, Sample]) -> RGB | Failure:
        try:
            return self._read(*entry)
        except DataError as error:
            return Failure(entry[1].file_name, error.message)

    def _read(self, dataset: Dataset, sample: Sample) -> RGB:
        pixels = read_rgb(dataset.path(sample))
        scale = self._shorter_px / min(pixels.shape[:2])
        if scale >= 1:
            return pixels
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))


class ViewSet(TorchDataset[tuple[Tensor, Tensor]]):
    """Views of photos, addressed by (epoch, row): (2, 3, S, S) large and (N, 3, s, s) small ones, uint8 RGB.

    Args:
        photos: What to cut.
        settings: The crops.
        seed: Seed of the run; with the epoch and the sample's id it decides each view.
    """

    def __init__(self, photos: Photos, settings: CropSettings, seed: int) -> None:
        self._photos = photos
        self._seed = seed
        self._count = settings.local_count
        small_area = (min(settings.local_area, settings.global_area), settings.global_area)
        # Blur and solarisation as in the paper: each kind of view has its own share.
        self._first = _view(settings, settings.global_px, (settings.global_area, 1.0), 0.5, 0.0)
        self._second = _view(settings, settings.global_px, (settings.global_area, 1.0), 0.1, 0.2)
        self._small = _view(settings, settings.local_px, small_area, 0.3, 0.0)

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, row = key
        image = Image.fromarray(self._photos[row])
        seed = derive_seed(self._seed, "views", epoch, self._photos.samples[row].id)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            state = np.random.get_state()
            np.random.seed(seed % 2**32)  # lightly's blur and solarisation draw from NumPy's global generator
            try:
                large = torch.stack([_bytes(self._first(image)), _bytes(self._second(image))])
                small = [_bytes(self._small(image)) for _ in range(self._count)]
            finally:
                np.random.set_state(state)
        side = small[0].shape[-1] if small else 1
        return large, torch.stack(small) if small else torch.zeros(0, 3, side, side, dtype=torch.uint8)


def _view(
    settings: CropSettings, side_px: int, area: tuple[float, float], blur: float, solarised: float
) -> DINOViewTransform:
    """Random crop, flips, colours, blur of one view, from an image to (3, S, S) from 0 to 1."""
    chances: dict[str, Any] = {"gaussian_blur": blur, "solarization_prob": solarised, "normalize": None}
    # A weak blur only: pores are a few pixels wide. Hue stays nearly as it is: rust and heat tint are colours.
    return DINOViewTransform(
        crop_size=side_px,
        crop_scale=area,
        hf_prob=settings.hflip,
        vf_prob=settings.vflip,
        cj_strength=settings.colour,
        cj_hue=0.1,
        sigmas=(0.1, max(0.2, side_px / 128)),
        **chances,
    )


def _bytes(view: Tensor) -> Tensor:
    return (view * 255).round().to(torch.uint8)
