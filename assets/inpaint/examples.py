"""Training examples for the inpainter: photos of metal with holes, and the same photos without.

What lies in a hole differs: ink that was drawn there, some of it half transparent; nothing; or a coarse filling, as a
first pass over a large hole leaves it. So the network restores what can still be seen, and makes up the rest.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from assets.training.pictures import CROP_PX, RGB, Floats, Pictures, Rng, photograph
from assets.training.writing import write
from weldgen.synthesis.render.markings import apply_overlay

Plane = npt.NDArray[np.uint8]

KNOWN, COVERED, BLANK = range(3)
# Shares of holes that show ink and that show a coarse filling; the others show nothing.
_INK_SHARE, _COARSE_SHARE = 0.5, 0.15
_BOX_SHARE = 0.2
_MARGIN_PX = (1, 9)
_LARGEST_HOLE = 0.45
_COARSE = (2.0, 6.0)
_GRAIN_IN_INK = (0.0, 0.45)
_TINT = 0.02


class Examples:
    """An endless supply of crops with holes.

    Args:
        pictures: Metal without writing.
        seed: Of everything.
    """

    def __init__(self, pictures: Pictures, seed: int) -> None:
        self._pictures, self._seed = pictures, seed

    def example(self, index: int) -> tuple[RGB, Plane, RGB]:
        """Crop with holes (256, 256, 3) uint8, hole (256, 256) uint8 of KNOWN, COVERED, BLANK, and the truth."""
        rng = np.random.default_rng((self._seed, index))
        picture = self._pictures.draw(rng)
        camera = int(rng.integers(2**31))
        truth = photograph(picture, np.random.default_rng(camera))
        shows = rng.random()
        if shows < _INK_SHARE:
            inked, hole = _inked(picture, rng)
            return photograph(inked, np.random.default_rng(camera)), hole * COVERED, truth
        hole = _boxes(rng) if rng.random() < _BOX_SHARE else _inked(picture, rng)[1]
        if shows < _INK_SHARE + _COARSE_SHARE:
            return np.where(hole[:, :, None] > 0, _coarse(truth, rng), truth), hole * COVERED, truth
        return np.where(hole[:, :, None] > 0, 0, truth).astype(np.uint8), hole * BLANK, truth


def _inked(picture: Floats, rng: Rng) -> tuple[Floats, Plane]:
    """A picture with writing on it, and where a mask of it would be, (256, 256) uint8 0 or 1."""
    margin = int(rng.integers(*_MARGIN_PX))
    grain = float(rng.uniform(*_GRAIN_IN_INK))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    hole = np.zeros(picture.shape[:2], np.uint8)
    for written in write(rng, stamps=False):
        wider = hole | cv2.dilate((written.overlay.alpha > 0).astype(np.uint8), kernel)
        if wider.mean() <= _LARGEST_HOLE:
            picture, hole = apply_overlay(picture, written.overlay, grain), wider
    return picture, hole


def _boxes(rng: Rng) -> Plane:
    """One to three boxes, as masks by hand are."""
    hole = np.zeros((CROP_PX, CROP_PX), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        left, top = rng.integers(-20, CROP_PX, 2)
        width, height = np.exp(rng.uniform(np.log(12), np.log(120), 2)).astype(int)
        hole[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)] = 1
    return hole


def _coarse(truth: RGB, rng: Rng) -> RGB:
    """The truth without its fine detail, and a little off in tone."""
    side = round(CROP_PX / float(rng.uniform(*_COARSE)))
    small = cv2.resize(truth, (side, side), interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (CROP_PX, CROP_PX), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    return np.clip(large * (1 + rng.normal(0, _TINT, 3)), 0, 255).astype(np.uint8)
