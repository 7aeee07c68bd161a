"""What the linear classifier sees: features of a backbone that stays as it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from weldgen.classifier.backbones import AVERAGE, MAXIMUM, Backbone, create_backbone, has_map, set_pool
from weldgen.classifier.layers import LAST_MAP, STAGES, has_stages, with_stages
from weldgen.classifier.linear_strength import enough_photos
from weldgen.classifier.loader import Images, ValidationSet
from weldgen.classifier.network import WeldNetwork
from weldgen.classifier.settings import ModelSettings, TrainConfig

Floats = npt.NDArray[np.float64]

_BATCH = 16


def open_features(training: Images, config: TrainConfig) -> tuple[Backbone, ModelSettings]:
    """The backbone that gives the features, and the network's settings with `auto` decided.

    Next to no photos are told apart by the maxima of the last map (`weldgen.classifier.linear` says why), ten of each
    class or more by the means of several layers.

    Raises:
        ConfigError: The backbone does not exist, or has not the layers or the map that were asked for.
        BackendError: Its weights are missing.
    """
    backbone = create_backbone(config.model.backbone, config.model.weights, training.frame)
    many = enough_photos(training.targets, training.samples)
    pool: str = config.model.pool
    layers: str = config.model.layers
    if pool == "auto":
        pool = MAXIMUM if has_map(backbone) and not many else AVERAGE
    if layers == "auto":
        layers = STAGES if many and has_stages(backbone) else LAST_MAP
    set_pool(backbone, pool)
    if layers == STAGES:
        backbone = with_stages(backbone, pool)
    own = {"head": "unit_softmax", "embedding_size": backbone.features, "pool": pool, "layers": layers}
    return backbone, config.model.model_copy(update=own)


@torch.inference_mode()
def features_of(network: WeldNetwork, images: Images) -> Floats:
    """(N, F) features of the backbone, each row of length 1, as the head sees them."""
    device = network.mean.device
    network.eval()
    parts = [np.zeros((0, network.embedding.in_features), np.float32)]
    for batch, _ in DataLoader(ValidationSet(images), batch_size=_BATCH):
        parts.append(network.features(batch.to(device)).float().cpu().numpy())
    rows = np.concatenate(parts).astype(np.float64)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
