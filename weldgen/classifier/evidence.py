"""Where on photos a model found what speaks for its answer, and how much of it lies on writing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.path import Path as Outline

from weldgen.classifier.activation import activation_maps
from weldgen.classifier.model_file import load_model
from weldgen.classifier.predictions import Prediction, read_ahead
from weldgen.classifier.preprocess import Frame, letterbox, photo_in_frame
from weldgen.classifier.shift import brightness
from weldgen.data.dataset import Dataset, Failure, Sample
from weldgen.runtime import track

RGB = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
# Corners of a region, (N, 2), x and y in pixels of the photo.
Polygon = npt.NDArray[Any]

# Independent groups of photos below which nothing is claimed.
MIN_GROUPS = 5
# Longest side of a map that is kept for the page.
_PAGE_CELLS = 32


@dataclass(frozen=True)
class Looker:
    """A trained model that says where it looked.

    Attributes:
        frame: Height and width of its input in pixels.
        look: One (H, W, 3) uint8 RGB photo and a class -> (h, w) float32, the share of the evidence for it in each
            cell of the frame; all 0 where there is none.
    """

    frame: Frame
    look: Callable[[RGB, str], Floats]


@dataclass(frozen=True, eq=False)
class Look:
    """What was seen of one photo.

    Attributes:
        file: Path below the dataset's root.
        shape: (H, W, 3) of the photo.
        brightness: Mean grey, 0 to 255.
        regions: Where writing is, or was until clean took it away; None where nobody looked for it.
        shares: (h, w) float32, the share of the evidence in each cell of the frame; None without a looker.
    """

    file: str
    shape: tuple[int, ...]
    brightness: float
    regions: Sequence[Polygon] | None
    shares: Floats | None


@dataclass(frozen=True)
class Ratio:
    """How much more evidence lies on regions than by their area.

    Attributes:
        share: Mean share of the evidence that lies on them.
        area: Mean share of the photos that they take.
        value: The first by the second.
        low: Lower end of its 95 % interval; None with too few groups.
        high: Upper end.
        photos: That have such regions.
        groups: Independent groups of these.
    """

    share: float
    area: float
    value: float
    low: float | None
    high: float | None
    photos: int
    groups: int


def open_looker(model: Path, device: str) -> Looker:
    """Open a trained folder.

    Raises:
        DataError: There is no model, or an ensemble of several.
        BackendError: Its backbone makes no map.
    """
    network, card = load_model(model, device)
    blank = torch.zeros(1, 3, *card.frame, device=device)
    activation_maps(network, blank, torch.zeros(1, dtype=torch.long, device=device))  # refuses before the work

    def look(image: RGB, answer: str) -> Floats:
        framed = torch.from_numpy(letterbox(image, card.frame))[None].to(device)
        asked = torch.tensor([card.classes.index(answer)], device=device)
        found: Floats = activation_maps(network, framed, asked)[0].cpu().numpy()
        return found

    return Looker(card.frame, look)


def look_at(
    dataset: Dataset,
    predictions: Sequence[Prediction],
    looker: Looker | None,
    finder: Callable[[RGB], Sequence[Polygon]] | None,
    jobs: int,
) -> list[Look]:
    """Look at photos, at where the model found the evidence for what it predicted, and at where writing is.

    Args:
        dataset: Holds the photos.
        predictions: What the model said of each.
        looker: The model; None where it shows no map.
        finder: Finds the writing where the dataset does not say where it is.
        jobs: Threads that decode.
    """
    of_file = {sample.file_name: sample for sample in dataset.samples}
    answers = {prediction.file: prediction.predicted for prediction in predictions}
    pairs = read_ahead(dataset, [of_file[name] for name in answers], jobs)
    looks = []
    for sample, image in track(pairs, total=len(answers), description="evidence", unit="photos"):
        if isinstance(image, Failure):
            continue  # it was read a moment ago, so this is no finding about the photo
        regions: Sequence[Polygon] | None = recorded_regions(sample)
        if regions is None and finder and looker:
            regions = finder(image)
        shares = looker.look(image, answers[sample.file_name]) if looker else None
        looks.append(Look(sample.file_name, image.shape, brightness(image), regions, shares))
    return looks


def recorded_regions(sample: Sample) -> list[Polygon] | None:
    """Where `clean` found writing on a photo; None where it did not look."""
    regions = sample.extra.get("regions")
    return None if regions is None else [np.array(region["polygon"]) for region in regions]


def map_on_photo(shares: Floats, shape: tuple[int, ...], frame: Frame) -> Floats:
    """A map of the frame, (h, w), as one of the photo: at most 32 cells a side, float32, 1 where most evidence is.

    Args:
        shares: Share of the evidence in each cell of the frame.
        shape: (H, W, ...) of the photo.
        frame: Height and width of the frame in pixels.
    """
    top, left, height, width = photo_in_frame(shape, frame)
    smooth = cv2.resize(shares, (frame[1], frame[0]), interpolation=cv2.INTER_LINEAR)
    inside = smooth[top : top + height, left : left + width]
    scale = min(1.0, _PAGE_CELLS / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(inside, size, interpolation=cv2.INTER_AREA), np.float32)
    return np.asarray(small / max(float(small.max()), 1e-12), np.float32)


def share_on(
    shares: Floats, regions: Sequence[Polygon], shape: tuple[int, ...], frame: Frame
) -> tuple[float, float] | None:
    """Share of the evidence on regions of a photo, and share of the photo's area that they take.

    A cell's evidence counts as spread evenly over it, so that an even map has equal shares. Padding is left out of
    both.

    Returns:
        The two shares; None where there is no evidence on the photo, or the regions have no area.
    """
    top, left, height, width = photo_in_frame(shape, frame)
    photo = np.zeros(frame, np.float32)
    photo[top : top + height, left : left + width] = 1
    centres = np.stack(np.meshgrid(np.arange(frame[1]), np.arange(frame[0])), axis=-1).reshape(-1, 2) + 0.5
    scale = np.array([width / shape[1], height / shape[0]])
    covered = np.zeros(len(centres), bool)
    for polygon in regions:
        # not OpenCV's or Pillow's filling, which adds the border: half a pixel all around is much of a small word
        covered |= Outline(np.asarray(polygon, np.float64) * scale + (left, top)).contains_points(centres)
    cells = (shares.shape[1], shares.shape[0])
    on_photo, on_regions = (
        cv2.resize(part, cells, interpolation=cv2.INTER_AREA)
        for part in (photo, covered.reshape(frame).astype(np.float32) * photo)
    )
    evidence, area = float((shares * on_photo).sum()), float(on_regions.sum() / on_photo.sum())
    return (float((shares * on_regions).sum()) / evidence, area) if evidence > 0 and area > 0 else None


def evidence_ratio(pairs: Sequence[tuple[float, float]], groups: Sequence[str]) -> Ratio:
    """Mean share of the evidence by mean share of the area, with the interval of a ratio of means of groups.

    The ratio estimator of cluster sampling (Cochran, Sampling Techniques, 1977, section 6.3) on the scale of
    logarithms, with Student's t for the few groups.

    Args:
        pairs: Of each photo that has regions, as `share_on`; at least one.
        groups: Their groups; photos of one group (views of one part) are not independent.
    """
    from scipy.stats import t

    shares, areas = np.array(pairs, np.float64).T
    names = np.unique(np.array(groups), return_inverse=True)[1]
    count = int(names.max()) + 1
    value = float(shares.mean() / areas.mean())
    low = high = None
    if count >= MIN_GROUPS:
        sums, weights = (np.bincount(names, column, count) for column in (shares, areas))
        off = sums - value * weights
        error = math.sqrt(count / (count - 1) * float((off**2).sum())) / float(weights.sum())
        reach = float(t.ppf(0.975, count - 1)) * error
        # an interval of the logarithm never reaches below 0; where nothing at all was found there is no logarithm
        low, high = (value * math.exp(-reach / value), value * math.exp(reach / value)) if value else (0.0, None)
    return Ratio(float(shares.mean()), float(areas.mean()), value, low, high, len(pairs), count)
