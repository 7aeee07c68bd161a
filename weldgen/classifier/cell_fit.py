"""Teach the judge of cells (`weldgen.classifier.cells`) by the masks of synthetic images."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch

from weldgen.classifier.cells import CellFeatures
from weldgen.classifier.loader import Images
from weldgen.classifier.network import WeldNetwork
from weldgen.classifier.preprocess import photo_in_frame
from weldgen.data.images import read_mask
from weldgen.data.labels import good_class
from weldgen.data.sample import DEFECT_MASK, Sample
from weldgen.errors import ConfigError
from weldgen.runtime import derive_seed, evenly, log

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Kinds = npt.NDArray[np.int64]

# A class of defects needs so many images with a mask.
_LEAST_MASKED = 10
# Images of a class that teach, and cells of each kind from one of them: neighbours show much the same.
_MOST_IMAGES, _MOST_CELLS = 150, 50
# A cell that a defect covers by less teaches nothing, unless it is free of any or no cell is covered by more.
_COVERED = 0.05
# Inverse strength of the weights' decay, for a mean loss; 2 to 200 ranked photos the same.
_STRENGTH = 20.0
_BATCH = 16


def teaches_cells(training: Images, labels: Sequence[str]) -> bool:
    """Whether every class of defects has enough synthetic images that say where the defects are."""
    good = good_class(labels)
    if good is None:
        return False
    counts = [
        sum(bool(_mask_of(sample)) for sample in training.samples if sample.label == label)
        for label in labels
        if label != good
    ]
    return min(counts, default=0) >= _LEAST_MASKED


def fit_cells(network: WeldNetwork, training: Images, labels: Sequence[str], seed: int) -> None:
    """Fit the judge of cells in place: logistic regression of cells with a defect of each class against sound ones.

    Only synthetic images teach, so that real ones can say by how much they look different
    (`weldgen.classifier.linear`). Flaws of images that are called sound are sound, and so is the padding.

    Args:
        network: Its backbone is a `CellFeatures`.
        training: The training images.
        labels: Names of the classes, one of which is that of sound photos.
        seed: Of the choice of cells.

    Raises:
        ConfigError: All masks of a class are empty.
        DataError: A mask cannot be read.
    """
    from sklearn.linear_model import LogisticRegression

    judge: CellFeatures = network.backbone  # type: ignore[assignment]
    cells, kinds = _cells_of(network, judge, training, labels, seed)
    if len(np.unique(kinds)) <= judge.kinds:
        raise ConfigError("model.layers=cells: the masks of a class of defects are all empty", "model.layers=last")
    mean, deviation = cells.mean(axis=0), np.maximum(cells.std(axis=0), 1e-4)
    model = LogisticRegression(C=_STRENGTH / len(kinds), class_weight="balanced", max_iter=500)
    model.fit((cells - mean) / deviation, kinds)
    log.debug("judge of cells: %d cells of %d kinds", len(kinds), judge.kinds)
    weights, biases = np.asarray(model.coef_), np.asarray(model.intercept_)
    if judge.kinds > 1:  # evidence is how much likelier than a sound cell, which scikit-learn gives for two classes
        weights, biases = weights[1:] - weights[:1], biases[1:] - biases[:1]
    weights = weights / deviation
    biases = biases - weights @ mean
    with torch.no_grad():
        judge.judge.weight.copy_(torch.from_numpy(weights[:, :, None, None]).float())
        judge.judge.bias.copy_(torch.from_numpy(biases).float())  # type: ignore[union-attr]


def _cells_of(
    network: WeldNetwork, judge: CellFeatures, training: Images, labels: Sequence[str], seed: int
) -> tuple[Floats, Kinds]:
    """Cells of synthetic images, (N, C), and what they show: 0 nothing, k the k-th class of defects, (N,)."""
    random = np.random.default_rng(derive_seed(seed, "cells"))
    found: list[Floats] = []
    kinds: list[int] = []
    network.eval()
    lessons = _lessons(training, labels)
    for start in range(0, len(lessons), _BATCH):
        batch = lessons[start : start + _BATCH]
        images = torch.from_numpy(training.framed[[row for row, _ in batch]])
        with torch.inference_mode():
            maps = judge.fine_map(network.normalised(images.to(network.mean.device))).float().cpu().numpy()
        for (row, kind), channels in zip(batch, maps, strict=True):
            for shown, where in _shown(training, row, kind, (channels.shape[1], channels.shape[2])):
                places = random.permutation(np.argwhere(where))[:_MOST_CELLS]
                found.append(channels[:, places[:, 0], places[:, 1]].T)
                kinds += [shown] * len(places)
    return np.concatenate(found), np.array(kinds)


def _shown(training: Images, row: int, kind: int, grid: tuple[int, int]) -> list[tuple[int, Flags]]:
    """Which cells of an image, (h, w), show what."""
    if not kind:
        return [(0, np.ones(grid, bool))]
    cover = defect_cover(training, row, grid)
    if not cover.any():  # where the defect is was not said
        return []
    return [(kind, cover >= min(_COVERED, cover.max())), (0, cover == 0)]


def _lessons(training: Images, labels: Sequence[str]) -> list[tuple[int, int]]:
    """Rows of the images that teach, with what their defects are: 0 nothing, k the k-th class of defects."""
    good = good_class(labels)
    defective = [label for label in labels if label != good]
    found = []
    for label in labels:
        own = [
            row
            for row, sample in enumerate(training.samples)
            if sample.label == label and sample.origin == "synthetic" and (label == good or _mask_of(sample))
        ]
        found += [(row, 0 if label == good else defective.index(label) + 1) for row in evenly(own, _MOST_IMAGES)]
    return found


def defect_cover(training: Images, row: int, grid: tuple[int, int]) -> Floats:
    """Which share of each cell of a letterboxed image is defect, (h, w) from 0 to 1.

    Raises:
        DataError: The mask cannot be read.
    """
    sample, frame = training.samples[row], training.frame
    mask = read_mask(training.root / _mask_of(sample), (sample.height, sample.width))
    top, left, rows, columns = photo_in_frame(mask.shape, frame)
    framed = np.zeros(frame, np.float32)
    shown = cv2.resize((mask > 0).astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    framed[top : top + rows, left : left + columns] = shown
    return np.asarray(cv2.resize(framed, grid[::-1], interpolation=cv2.INTER_AREA), np.float32)


def _mask_of(sample: Sample) -> str:
    """Path of the mask of an image's defects, relative to the dataset; empty where there is none."""
    return str(sample.extra.get(DEFECT_MASK, ""))
