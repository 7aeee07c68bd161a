"""Training examples for the ink network: writing drawn on pictures of metal, with exact masks.

Writing is drawn anew for every crop, so no two examples are alike.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from assets.training.pictures import CROP_PX, RGB, Floats, Pictures, Rng, photograph
from assets.training.writing import USUAL, Habits, write
from weldgen.synthesis.render.markings import apply_overlay
from weldgen.synthesis.render.noise import blur

# Share of examples without any writing: there the network learns what is no ink.
_PLAIN_SHARE = 0.3
# Ink thinner than this is invisible, and no target; a marking that changes the picture less than this is not judged.
_VISIBLE_ALPHA = 0.10
_VISIBLE_CHANGE = 0.035
METAL, INK, STAMPED, UNJUDGED = range(4)
# Pores of a cluster, their size and the cluster's length and width: beside writing they look like dots of ink.
_PORES, _PORE_PX, _CLUSTER_PX = (6, 90), (1.5, 13.0), ((40.0, 260.0), (8.0, 80.0))
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
    """

    def __init__(
        self,
        pictures: Pictures,
        seed: int,
        habits: Habits = USUAL,
        pores_share: float = 0.0,
        pale_share: float = 0.0,
    ) -> None:
        self._pictures, self._seed, self._habits = pictures, seed, habits
        self._pores_share, self._pale_share = pores_share, pale_share

    def example(self, index: int) -> tuple[RGB, npt.NDArray[np.uint8]]:
        """Crop (256, 256, 3) uint8 RGB and target (256, 256) uint8 of METAL, INK, STAMPED, UNJUDGED."""
        rng = np.random.default_rng((self._seed, index))
        picture = self._pictures.draw(rng)
        if self._pores_share and rng.random() < self._pores_share:
            picture = _with_pores(picture, rng)
        pale = bool(self._pale_share) and rng.random() < self._pale_share
        if pale:
            picture = 1 - (1 - picture) * np.float32(rng.uniform(*_GLARE))
        target = np.zeros(picture.shape[:2], np.uint8)
        if rng.random() > _PLAIN_SHARE:
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


def _with_pores(picture: Floats, rng: Rng) -> Floats:
    """A cluster of open pores: dark hollows side by side, each with a lip that may catch the light."""
    shape = picture.shape[:2]
    angle, middle = rng.uniform(0, np.pi), rng.uniform(0, CROP_PX, 2)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    length, width = (float(np.exp(rng.uniform(*np.log(bounds)))) for bounds in _CLUSTER_PX)
    usual = float(np.exp(rng.uniform(*np.log(_PORE_PX))))
    hollow, taken = np.zeros(shape, np.uint8), np.zeros((0, 3))
    for _ in range(int(rng.integers(*_PORES))):
        place = middle + along * length * rng.uniform(-0.5, 0.5) + across * max(width, usual) * rng.normal(0, 0.4)
        radius = usual * float(np.exp(rng.normal(0, 0.4)))
        if (np.hypot(*(taken[:, :2] - place).T) < 1.1 * (taken[:, 2] + radius) + 1).any():
            continue  # walls stand between pores; drops that run together look like ink
        taken = np.vstack([taken, [*place, radius]])
        axes = (2 * radius, 2 * radius * float(rng.uniform(0.5, 1.0)))
        cv2.ellipse(hollow, (tuple(place), axes, float(rng.uniform(0, 180))), 255, -1, cv2.LINE_AA)
    depth = blur(hollow.astype(np.float32) / 255, float(rng.choice([0.5, 0.9, 1.6])))
    shift = usual * 0.4 * np.array([np.cos(light := rng.uniform(0, 2 * np.pi)), np.sin(light)])
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
    lip = np.clip(cv2.warpAffine(depth, move, shape[::-1]) - depth, 0, 1)[:, :, None]
    dark = np.float32(rng.uniform(0.02, 0.18)) * (1 + rng.normal(0, 0.08, 3)).astype(np.float32)
    picture = picture + depth[:, :, None] * np.float32(rng.uniform(0.7, 1.0)) * (dark - picture)
    return np.clip(picture + lip * np.float32(rng.uniform(0.1, 0.9)) * (1 - picture), 0, 1)


def _enlarged_photo(picture: Floats, rng: Rng) -> RGB:
    """The crop as a camera of fewer pixels saw it."""
    side = round(CROP_PX / float(rng.uniform(*_ENLARGED)))
    small = np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.float32)
    return np.asarray(cv2.resize(photograph(small, rng), (CROP_PX, CROP_PX), interpolation=cv2.INTER_LINEAR), np.uint8)
