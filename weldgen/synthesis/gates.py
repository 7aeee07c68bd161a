"""Gates that an image must pass before it joins the data: not blank, not blurred, its defect in sight, no copy.

Those that compare it with the real photos by what it looks like are in `judge`.

Copies are found by a perceptual hash of 256 bits (the signs of a picture's low frequencies), among the synthetic
images themselves and against the real photos of validation and test, which training must not see in any form.
Measured on 200 renderings: two different ones lie 80 bits or more apart; a copy that was resized, brightened or cut by
a few pixels lies 32 or less from its original.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field

from weldgen.config import Config
from weldgen.synthesis.requests import RGB, DefectBox

Hash = npt.NDArray[np.uint8]  # (32,) packed bits

HASH_BYTES = 32
# So many images of consecutive numbers are compared with each other; machines that share a run take whole blocks.
BLOCK = 100
_HASH_SIDE = 16
_PICTURE_SIDE = 64


class GateConfig(Config):
    """What an image must be."""

    min_deviation: float = Field(6.0, ge=0, description="deviation of the grey values (0..255) below which it is blank")
    min_detail: float = Field(1.0, ge=0, description="mean step between neighbours (0..255) below which it is blurred")
    max_clipped: float = Field(
        0.3, gt=0, le=1, description="largest share of pixels that are black, or burnt out in a colour"
    )
    min_defect_px: int = Field(12, ge=0, description="smallest visible area of a defect of the recipe")
    duplicate_bits: int = Field(
        32, ge=-1, le=80, description="hashes at most so many of 256 bits apart are copies; -1: off"
    )
    near: float = Field(
        0.5, ge=0, le=1, description="closer to a photo than this share of the usual distance between photos is a copy"
    )
    outlier: float = Field(
        1.5,
        ge=0,
        description="further from all photos than this many times their largest distance is an outlier; 0: off",
    )
    outlier_floor: float = Field(0.85, ge=0, le=2, description="what is nearer than this (1 - cosine) is no outlier")
    contradiction: float = Field(
        0.9, gt=0, le=1, description="refused where a probe gives another class this probability; 1: off"
    )
    probe_photos: int = Field(8, ge=2, description="training photos that each class needs for the probe")
    writing: Literal["auto", "always", "never"] = Field(
        "auto", description="where writing is looked for: auto: photos, and what sdxl makes; always: every image"
    )
    attempts: int = Field(40, ge=1, description="tries for one image before the run stops")
    max_rejected: float = Field(
        0.8, gt=0, le=1, description="share of the last 200 tries of a class that may be refused before the run stops"
    )


def check_image(image: RGB, defects: Sequence[DefectBox], config: GateConfig) -> str:
    """Why an image, (H, W, 3) uint8 RGB, is refused, in two or three words; empty where it passes."""
    grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
    if float(grey.std()) < config.min_deviation:
        return "blank"
    if float(np.abs(np.diff(grey, axis=1)).mean() + np.abs(np.diff(grey, axis=0)).mean()) / 2 < config.min_detail:
        return "blurred"
    if float(np.mean((grey < 2) | (image.max(axis=2) > 253))) > config.max_clipped:
        return "clipped"
    if any(defect.area_px < config.min_defect_px for defect in defects):
        return "defect not visible"
    return ""


def picture_hash(image: RGB) -> Hash:
    """Perceptual hash of an image, (H, W, 3) uint8 RGB: (32,) uint8."""
    small = Image.fromarray(image).convert("L").resize((_PICTURE_SIDE, _PICTURE_SIDE), Image.Resampling.BOX)
    basis = _cosines()
    low = basis @ np.asarray(small, np.float32) @ basis.T  # (16, 16)
    return np.packbits(low.ravel() > np.median(low))


@cache
def _cosines() -> npt.NDArray[np.float32]:
    """The 16 lowest vectors of the cosine transform, the constant left out, (16, 64)."""
    step = np.arange(_PICTURE_SIDE)
    return np.stack(
        [np.cos(np.pi * order * (step + 0.5) / _PICTURE_SIDE) for order in range(1, _HASH_SIDE + 1)]
    ).astype(np.float32)


def nearest_bits(own: Hash, others: npt.NDArray[np.uint8]) -> int:
    """Distance in bits to the nearest of other hashes, (N, 32); 256 where there is none."""
    if len(others) == 0:
        return 8 * HASH_BYTES
    return int(np.bitwise_count(others ^ own).sum(axis=1, dtype=np.int64).min())


class KnownHashes:
    """Hashes of the accepted images by their number.

    An image is compared with those of lower numbers only, so the result does not depend on where a run was
    interrupted.

    Args:
        n: Number of images.
    """

    def __init__(self, n: int) -> None:
        self._bits: npt.NDArray[np.uint8] = np.zeros((n, HASH_BYTES), np.uint8)
        self._there: npt.NDArray[np.bool_] = np.zeros(n, bool)

    def add(self, index: int, bits: bytes) -> None:
        """Take in an accepted image."""
        self._bits[index] = np.frombuffer(bits, np.uint8)
        self._there[index] = True

    def nearest(self, index: int, bits: bytes) -> int:
        """Distance in bits to the nearest image of a lower number in its block; 256 where there is none."""
        block = slice(index - index % BLOCK, index)
        return nearest_bits(np.frombuffer(bits, np.uint8), self._bits[block][self._there[block]])
