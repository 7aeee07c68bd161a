"""What the linear classifier sees: features of a backbone that stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from weldgen.classifier.backbones import AVERAGE, MAXIMUM, Backbone, create_backbone, has_map, set_pool
from weldgen.classifier.cell_fit import fit_cells, teaches_cells
from weldgen.classifier.cells import CELLS, has_cells, with_cells
from weldgen.classifier.layers import LAST_MAP, STAGES, has_stages, with_stages
from weldgen.classifier.linear_strength import enough_photos
from weldgen.classifier.loader import Images, ValidationSet
from weldgen.classifier.network import WeldNetwork
from weldgen.classifier.settings import ModelSettings, TrainConfig
from weldgen.data.sample import MIN_GROUPS_TO_SPLIT
from weldgen.errors import ConfigError

Floats = npt.NDArray[np.float64]

_BATCH = 16


def open_features(
    training: Images, labels: Sequence[str], config: TrainConfig, device: str
) -> tuple[WeldNetwork, Backbone, ModelSettings]:
    """The network whose head is still to be fitted, its backbone, and its settings with `auto` decided.

    Photos are told apart by the means of several layers where there are ten of each class or more, if only of three
    parts, or nothing but photos. Fewer of them beside synthetic images are by their worst cells
    (`weldgen.classifier.cells`) where those come with masks of their defects, else by the maxima of the last map
    (`weldgen.classifier.linear` says why). The embedding is the features themselves, of cells their evidence alone.

    Raises:
        ConfigError: The backbone does not exist, or has not the layers or the map that were asked for, or nothing says
            where defects are.
        BackendError: Its weights are missing.
        DataError: A mask cannot be read.
    """
    backbone = create_backbone(config.model.backbone, config.model.weights, training.frame)
    # without synthetic images the means were better from two photos of each class on, on four sets (docs/train.md)
    alone = all(sample.origin == "real" for sample in training.samples)
    many = alone or enough_photos(training.targets, training.samples, MIN_GROUPS_TO_SPLIT)
    pool: str = config.model.pool
    layers: str = config.model.layers
    if pool == "auto":
        pool = MAXIMUM if has_map(backbone) and not many else AVERAGE
    taught = teaches_cells(training, labels)
    if layers == "auto":
        few = CELLS if taught and has_cells(backbone) else LAST_MAP
        layers = (STAGES if has_stages(backbone) else LAST_MAP) if many else few
    if layers == CELLS and not taught:
        raise ConfigError(
            "model.layers=cells: nothing says where defects are",
            "it takes a class of sound photos and ten synthetic images with masks of each other class: weldgen synth",
        )
    set_pool(backbone, pool)
    kinds = len(labels) - 1
    if layers == STAGES:
        backbone = with_stages(backbone, pool)
    elif layers == CELLS:
        backbone = with_cells(backbone, kinds)
    own: dict[str, object] = {"pool": pool, "layers": layers, "embedding_size": backbone.features}
    own |= {"head": "softmax", "embedding_size": kinds} if layers == CELLS else {"head": "unit_softmax"}
    settings = config.model.model_copy(update=own)
    network = WeldNetwork(backbone.model, backbone.features, (backbone.mean, backbone.std), settings, len(labels))
    with torch.no_grad():
        network.embedding.weight.copy_(torch.eye(settings.embedding_size, backbone.features))
    network.to(device)
    if layers == CELLS:
        fit_cells(network, training, labels, config.seed)
    return network, backbone, settings


@torch.inference_mode()
def features_of(network: WeldNetwork, images: Images) -> Floats:
    """(N, F) embeddings as the head's linear layer sees them: each row of length 1 where the head makes it so."""
    device = network.mean.device
    network.eval()
    parts = [np.zeros((0, network.embedding.out_features), np.float32)]
    for batch, _ in DataLoader(ValidationSet(images), batch_size=_BATCH):
        parts.append(network.embed(batch.to(device)).float().cpu().numpy())
    rows = np.concatenate(parts).astype(np.float64)
    if not cast(Any, network.head).unit:
        return rows
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
