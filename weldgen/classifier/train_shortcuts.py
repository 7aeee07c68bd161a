"""What a training says at once of signs that its model goes by something other than the weld.

Whether its embedding tells synthetic training images from real ones, and whether its errors on the validation photos
follow their origin, the occasion or their size: the same functions as in `weldgen evaluate`, on few images that are
decoded already, so that it takes seconds. Where the model looked, `weldgen evaluate` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weldgen.classifier.embeddings import Features
from weldgen.classifier.factors import explain_errors, taken_on
from weldgen.classifier.grouping import group_names
from weldgen.classifier.loader import Images
from weldgen.classifier.model_file import load_model
from weldgen.classifier.network import WeldNetwork
from weldgen.classifier.origin import by_label, choose_images, origin_record
from weldgen.classifier.settings import TrainConfig
from weldgen.classifier.shortcut_notes import training_notes
from weldgen.classifier.shortcuts import Shortcuts
from weldgen.data.dataset import Dataset, Sample
from weldgen.runtime import evenly

# Training images of each origin, and validation photos, that are looked at.
_MOST_EACH, _MOST_JUDGED = 100, 200
_BATCH = 16


def look_back(
    dataset: Dataset, training: Images, validation: Images, model: Path, config: TrainConfig, *, device: str
) -> Shortcuts:
    """Look for signs of shortcuts in what a training has at hand.

    Nothing is looked for where the training images are of one origin and the photos are not known to belong to groups
    or days: there is nothing to follow then but their size.

    Args:
        dataset: What was trained on.
        training: Images that were learned.
        validation: Those that were held back.
        model: Folder of the trained model.
        config: Settings of the training.
        device: Where the model computes.

    Returns:
        The record, empty where nothing was looked for, and sentences.
    """
    mixed = len({sample.origin for sample in training.samples}) > 1
    judged = evenly(validation.samples, _MOST_JUDGED)
    measured = replace(dataset, samples=tuple(judged))
    names = group_names(measured, judged, config.split.group_pattern)
    if not (mixed or len(set(names)) < len(names) or _on_several_days(measured)):
        return Shortcuts()
    # A model may have learned its validation photos in the end: it is asked as it was before.
    network, _ = load_model(model, device, judge=True)
    record: dict[str, Any] = {"origin": None, "factors": [], "validation_photos": len(judged)}
    if mixed:
        by_class = by_label(training.samples, dataset.labels)
        kept = choose_images(by_class, _MOST_EACH)
        rows = asked(network, training, kept, embed=True)
        record["origin"] = origin_record(by_class, kept, rows, config.seed)
    if judged:
        answers = asked(network, validation, judged, embed=False).argmax(axis=1)
        wrong = {s.file_name: dataset.labels[answer] != s.label for s, answer in zip(judged, answers, strict=True)}
        groups = {sample.file_name: name for sample, name in zip(judged, names, strict=True)}
        found = explain_errors(measured, wrong, groups, {}, config.seed)
        record["factors"] = [finding.record() for finding in found]
    return Shortcuts(record, tuple(training_notes(record)))


def _on_several_days(measured: Dataset) -> bool:
    return len({day for sample in measured.samples if (day := taken_on(measured.path(sample)))}) > 1


@torch.inference_mode()
def asked(network: WeldNetwork, images: Images, chosen: Sequence[Sample], *, embed: bool) -> Features:
    """Embeddings, (N, E), or logits, (N, K), of chosen ones of the images."""
    row_of = {sample.file_name: row for row, sample in enumerate(images.samples)}
    rows = [row_of[sample.file_name] for sample in chosen]
    ask = network.embed if embed else network
    found = [
        ask(torch.from_numpy(np.ascontiguousarray(images.framed[rows[start : start + _BATCH]])).to(network.mean.device))
        for start in range(0, len(rows), _BATCH)
    ]
    return torch.cat(found).float().cpu().numpy() if found else np.zeros((0, 0), np.float32)
