"""Training examples for the ink network: writing drawn on pictures of metal, with exact masks.

Writing is drawn anew for every crop, so no two examples are alike.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from assets.ink.blemishes import with_glare, with_pores
from assets.training.pictures import CROP_PX, RGB, Floats, Pictures, Rng, photograph
from assets.training.writing import USUAL, Habits, write
from weldgen.synthesis.render.markings import apply_overlay

# Share of examples without any writing: there the network learns what is no ink.
_EMPTY_SHARE = 0.3
# Ink thinner than this is invisible, and no target; a marking that changes the picture less than this is not judged.
_VISIBLE_ALPHA = 0.10
_VISIBLE_CHANGE = 0.035
METAL, INK, STAMPED, UNJUDGED = range(4)
# How much of the metal's grain shows in the ink.
_GRAIN_IN_INK = (0.0, 0.45)
# Metal in glare: so much of what it lacks to white is left.
_GLARE = (0.15, 0.6)
# Share of crops of small photos, which are shown to the network enlarged by this much.
_SMALL_SHARE, _ENLARGED = 0.3, (1.1, 2.2)


class Examples:
    """An endless supply of crops with exact masks.

    Args:
        pictures: What is written on.
        seed: Of everything.
        habits: How often it is written in which way.
        pores_share: Share of crops with a cluster of open pores.
        pale_share: Share of crops of bright metal, with pale ink where anything is written on it.
        glare_share: Share of crops that shine white in places, some of them with a net of bright veins.
    """

    def __init__(
        self,
        pictures: Pictures,
        seed: int,
        habits: Habits = USUAL,
        pores_share: float = 0.0,
        pale_share: float = 0.0,
        glare_share: float = 0.0,
    ) -> None:
        self._pictures, self._seed, self._habits = pictures, seed, habits
        self._pores_share, self._pale_share, self._glare_share = pores_share, pale_share, glare_share

    def example(self, index: int) -> tuple[RGB, npt.NDArray[np.uint8]]:
        """Crop (256, 256, 3) uint8 RGB and target (256, 256) uint8 of METAL, INK, STAMPED, UNJUDGED."""
        rng = np.random.default_rng((self._seed, index))
        picture = self._pictures.draw(rng)
        if self._pores_share and rng.random() < self._pores_share:
            picture = with_pores(picture, rng)
        if self._glare_share and rng.random() < self._glare_share:
            picture = with_glare(picture, rng)
        pale = bool(self._pale_share) and rng.random() < self._pale_share
        if pale:
            picture = 1 - (1 - picture) * np.float32(rng.uniform(*_GLARE))
        target = np.zeros(picture.shape[:2], np.uint8)
        if rng.random() > _EMPTY_SHARE:
            picture, target = _write(picture, rng, self._habits, pale)
        if rng.random() < _SMALL_SHARE:
            return _enlarged_photo(picture, rng), target
        return photograph(picture, rng), target


def _write(picture: Floats, rng: Rng, habits: Habits, pale: bool) -> tuple[Floats, npt.NDArray[np.uint8]]:
    target = np.zeros(picture.shape[:2], np.uint8)
    grain = float(rng.uniform(*_GRAIN_IN_INK))
    for written in write(rng, habits=habits, pale=pale):
        before, picture = picture, apply_overlay(picture, written.overlay, grain)
        inked = (written.overlay.alpha > _VISIBLE_ALPHA).astype(np.uint8)
        solid = cv2.morphologyEx(inked, cv2.MORPH_CLOSE, np.ones((3, 3)))
        if not solid.any():
            continue
        visible = np.abs(picture - before).mean(axis=2)[solid > 0].mean() > _VISIBLE_CHANGE
        kind = (STAMPED if written.relief else INK) if visible else UNJUDGED
        target = np.where(solid > 0, kind, target).astype(np.uint8)
    return picture, target


def _enlarged_photo(picture: Floats, rng: Rng) -> RGB:
    """The crop as a camera of fewer pixels saw it."""
    side = round(CROP_PX / float(rng.uniform(*_ENLARGED)))
    small = np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.float32)
    return np.asarray(cv2.resize(photograph(small, rng), (CROP_PX, CROP_PX), interpolation=cv2.INTER_LINEAR), np.uint8)
