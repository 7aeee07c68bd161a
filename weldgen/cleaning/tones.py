"""Put right the tones of filled holes: a small network of our own that was trained on our own fillings.

Simulated and copied grain is like that of the metal around it, but with it come tones that are not those of the place:
edges and ripples do not quite meet, plain metal gets clouds. The network sees a filled crop at no more than half its
size, where little grain is left, and says what the tones in the holes lack. It has Fourier convolutions, so that what
it sees on one side of a hole counts on the other (in the manner of LaMa, Suvorov et al., WACV 2022). Training and
figures: `assets/inpaint`.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from weldgen import weights
from weldgen.cleaning.settings import TONES_WEIGHT
from weldgen.inference import Network

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

# The network works on squares.
SIDE_PX = 128
# What a pixel is.
KNOWN, HOLE, OUTSIDE = range(3)
# A pixel that the network sees is at least so many of the photo; finer is grain and stays.
_LEAST_REDUCTION = 2.0
# Finer changes than this, in pixels that the network sees, would smooth the grain.
_TONE_SIGMA_PX = 1.5


class ToneNetwork:
    """The tones network. It may be used by several threads at once.

    Raises:
        BackendError: The network is missing or damaged.
    """

    def __init__(self) -> None:
        # ONNX Runtime lets threads run one network at once; each crop takes 15 ms
        self._network = Network(weights.require(TONES_WEIGHT), runtime="onnxruntime", threads=1)

    def correct(self, filled: RGB, hole: Mask) -> RGB:
        """Put right the tones in a hole.

        Args:
            filled: (H, W, 3) uint8 RGB: a filled hole and the metal around it.
            hole: (H, W) bool.

        Returns:
            (H, W, 3) uint8 RGB; outside the hole nothing changes.
        """
        if not hole.any() or hole.all():
            return filled
        seen, small = reduced(filled, hole)
        height, width = small.shape
        kind = np.full((1, SIDE_PX, SIDE_PX), OUTSIDE, np.uint8)
        kind[0, :height, :width] = np.where(small > 0, HOLE, KNOWN)
        canvas = np.zeros((1, SIDE_PX, SIDE_PX, 3), np.float32)
        canvas[0, :height, :width] = seen
        (lack,) = self._network({"filled": canvas, "kind": kind})
        tones = _tones(lack[0, :height, :width], small > 0)
        change = cv2.resize(tones, hole.shape[::-1], interpolation=cv2.INTER_CUBIC)
        result = filled.copy()
        result[hole] = np.clip(np.rint(filled[hole] + change[hole]), 0, 255).astype(np.uint8)
        return result


def reduced(image: RGB, hole: Mask) -> tuple[Floats, Floats]:
    """A crop as the network sees it, (h, w, 3) float32, and the hole's share of each pixel, (h, w) float32."""
    scale = min(1 / _LEAST_REDUCTION, SIDE_PX / max(hole.shape))
    size = max(1, round(hole.shape[1] * scale)), max(1, round(hole.shape[0] * scale))
    small, share = (
        np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)
        for values in (image, hole.astype(np.float32))
    )
    return small, share


def _tones(lack: Floats, hole: Mask) -> Floats:
    """What a hole lacks without its detail, (h, w, 3) float32; beside the hole it goes on, so its rim does not fade."""
    weight = cv2.GaussianBlur(hole.astype(np.float32), (0, 0), _TONE_SIGMA_PX)
    return np.asarray(cv2.GaussianBlur(lack, (0, 0), _TONE_SIGMA_PX) / np.maximum(weight, 1e-3)[:, :, None], np.float32)
