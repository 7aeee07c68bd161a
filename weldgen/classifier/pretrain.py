"""Warm a backbone up on the shop's own photos before any label is used: `weldgen pretrain`.

What is notable: crops, order and dropout are functions of seed, epoch and image, so a run that was killed goes on from
its last checkpoint to the same result; validation and test photos are never among the images, and `weldgen train`
refuses weights that were made from them.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from weldgen.classifier.local_weights import pin_config as resolve_config
from weldgen.classifier.pretraining import PretrainConfig
from weldgen.data.dataset import Dataset, Sample, failures_text
from weldgen.data.split import decide_split
from weldgen.errors import DataError
from weldgen.receipts import FAILURES_NAME, Summary, finished, stage_key, write_receipt
from weldgen.runfolder import RunFolder
from weldgen.runtime import resolve_device, resolve_jobs, write_atomic

__all__ = ["PretrainConfig", "pretrain", "resolve_config"]

_FEW_IMAGES = 100


def pretrain(dataset: Path, synthetic: Path, out: Path, config: PretrainConfig) -> Summary:
    """Train a backbone without labels on the training images, and write its weights for `weldgen train`.

    Args:
        dataset: Dataset folder with splits, or a plain folder, which is then divided as `train` would; its training
            images count, whatever their origin.
        synthetic: Dataset of synthetic images, which join them; may be missing.
        out: Folder for `backbone.safetensors`, `backbone.json`, `history.json` and `tensorboard/`.
        config: Settings.

    Returns:
        The details hold the spread of the embeddings before and after, by which a collapse is known.

    Raises:
        DataError: There are fewer than two training images, or a synthetic one was made from a photo that is held out.
        BackendError: Weights or a device are missing.
        OutputError: The folder holds files that weldgen did not make, or cannot be written.
    """
    from weldgen.classifier.folder import MODEL
    from weldgen.classifier.pretrain_run import fit
    from weldgen.classifier.views import Photos

    started = time.monotonic()
    config = resolve_config(config)
    inputs = {"dataset": dataset, "synthetic": synthetic}
    key = stage_key("pretrain", config, inputs)
    done = finished(out, key)
    if done:
        return done
    sources = open_sources(dataset, synthetic, config)
    device = resolve_device(config.device)
    with RunFolder(out, MODEL, key) as folder:
        photos = Photos(
            sources, side_px=config.crops.global_px, cache_gb=config.cache_gb, jobs=resolve_jobs(config.jobs)
        )
        failures = [*(failure for opened, _ in sources for failure in opened.failures), *photos.failures]
        if len(photos) < 2:
            raise DataError(
                f"{dataset}: {len(photos)} training images could be read, at least 2 are needed",
                failures[0].reason if failures else "add photos",
            )
        result = fit(photos, out=out, device=device, config=config)
        if failures:
            write_atomic(out / FAILURES_NAME, failures_text(failures))
        origins = Counter(sample.origin for sample in photos.samples)
        summary = Summary(
            "pretrain",
            out,
            {"images": len(photos), "real": origins["real"], "synthetic": origins["synthetic"]},
            len(failures),
            (*result.notes, *_notes(len(photos)), *folder.notes),
            result.weights,
            result.details,
            time.monotonic() - started,
        )
        write_receipt(out, key, config, inputs, summary)
        folder.finish()
    return summary


def open_sources(root: Path, synthetic: Path, config: PretrainConfig) -> list[tuple[Dataset, list[Sample]]]:
    """The training images of both datasets.

    Raises:
        DataError: A synthetic image was made from a validation or test photo.
    """
    dataset = decide_split(Dataset.open(root), config.split, config.seed)
    sources: list[tuple[Dataset, list[Sample]]] = [(dataset, dataset.select(split="train"))]
    # A mix holds its synthetic images already.
    if not synthetic.is_dir() or dataset.select(origin="synthetic"):
        return sources
    held_out = {sample.id: sample.split for sample in dataset.samples if sample.split != "train"}
    made = Dataset.open(synthetic)
    for sample in made.samples:
        split = next((held_out[parent] for parent in sample.parents if parent in held_out), None)
        if split:
            raise DataError(
                f"{made.path(sample)} was made from a {split} photo, which would leak it into the weights",
                "make the synthetic images again with weldgen synth",
            )
    return [*sources, (made, [s for s in made.samples if s.origin == "synthetic"])]


def _notes(images: int) -> list[str]:
    if images >= _FEW_IMAGES:
        return []
    return [
        f"{images} images are few to learn from without labels: compare with weldgen compare --sweep "
        "train.model.weights=auto,FOLDER before relying on it"
    ]
