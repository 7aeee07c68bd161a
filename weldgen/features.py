"""What pictures look like to a network: features of ImageNet's EfficientNet-Lite0, which comes with a package.

What is notable: images are looked at one at a time by one thread, so that the features of an image do not depend on
the batch it is in, on the number of jobs, or on where a run was resumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen.inference import Network
from weldgen.lite_graph import LITE_WEIGHT, LiteGraph, lite_state

RGB = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

FEATURE_WEIGHT = LITE_WEIGHT
FEATURES = 1280
SIDE_PX = 224
_FILL = 128


class FeatureExtractor:
    """Images in, features out.

    Args:
        network: The ONNX file that `feature_network` makes.

    Raises:
        BackendError: The runtime is missing.
    """

    def __init__(self, network: bytes) -> None:
        self._network = Network(network, threads=1)

    def __call__(self, images: Iterable[RGB]) -> Floats:
        """Features of images, each (H, W, 3) uint8 RGB of any size.

        Returns:
            (N, 1280) float32, each row of length 1.
        """
        rows = [self._network(letterbox(image)[None])[0][0] for image in images]
        return unit_rows(feature_rows(rows))


def feature_rows(rows: Sequence[npt.NDArray[Any]]) -> Floats:
    """(N, 1280) float32 of N rows; N may be 0."""
    return np.array(rows, np.float32).reshape(-1, FEATURES)


def unit_rows(rows: npt.NDArray[Any]) -> Floats:
    """The rows of (N, F), each scaled to length 1, float32."""
    wide = rows.astype(np.float64)
    scaled: Floats = (wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return scaled


def letterbox(image: RGB) -> RGB:
    """Scale an image into a square and pad it with grey, (224, 224, 3) uint8 RGB."""
    import cv2

    scale = SIDE_PX / max(image.shape[:2])
    width, height = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square = np.full((SIDE_PX, SIDE_PX, 3), _FILL, np.uint8)
    top, left = (SIDE_PX - height) // 2, (SIDE_PX - width) // 2
    square[top : top + height, left : left + width] = cv2.resize(image, (width, height), interpolation=method)
    return square


def feature_network() -> bytes | None:
    """The network as an ONNX file, (1, 224, 224, 3) uint8 RGB to (1, 1280); None where its weights are missing.

    Raises:
        BackendError: The file of the weights is damaged.
    """
    state = lite_state()
    if state is None:
        return None
    graph = LiteGraph(state)
    pooled = graph.node("GlobalAveragePool", [graph.head(graph.stages("image")[-1])])
    flat = graph.node("Flatten", [pooled], "features")
    return graph.build([1, SIDE_PX, SIDE_PX, 3], (flat, [1, FEATURES]))
