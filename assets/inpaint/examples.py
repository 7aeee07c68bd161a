"""Training examples for the inpainting network: pictures of metal, and holes as `weldgen clean` cuts them.

A hole is writing with a margin around its strokes, a whole box, or a thick line; what was there is known.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from assets.ink.examples import draw_text, draw_tool
from assets.training.pictures import CROP_PX, RGB, Pictures, Rng, photograph
from weldgen.cleaning.texture import spread
from weldgen.synthesis.render.glyphs import SIGNS
from weldgen.synthesis.render.markings import Marking, draw_markings
from weldgen.synthesis.render.material import Canvas

_LETTER_PX = (14.0, 130.0)
_MARGIN_PX = (2, 16)
# A crop with less of it has nothing to learn from, with more nothing to go by.
_LEAST, _MOST = 0.02, 0.45
Mask = npt.NDArray[np.bool_]


class Examples:
    """An endless supply of crops with holes.

    Args:
        pictures: What is seen.
        seed: Of everything.
    """

    def __init__(self, pictures: Pictures, seed: int) -> None:
        self._pictures, self._seed = pictures, seed

    def example(self, index: int) -> tuple[RGB, RGB, npt.NDArray[np.uint8]]:
        """The picture, the same with a smooth fill, (256, 256, 3) each, and the holes, (256, 256) of 0 and 1."""
        rng = np.random.default_rng((self._seed, index))
        picture = photograph(self._pictures.draw(rng), rng)
        holes = _holes(rng)
        return picture, prefilled(picture, holes), holes.astype(np.uint8)


def prefilled(picture: RGB, holes: Mask) -> RGB:
    """What the network sees: the picture with a smooth fill."""
    smooth = spread(picture.astype(np.float32), ~holes)
    return np.clip(np.round(smooth), 0, 255).astype(np.uint8)


def _holes(rng: Rng) -> Mask:
    while True:
        shape = rng.choice(["writing", "box", "line"], p=[0.7, 0.15, 0.15])
        solid = {"writing": _writing, "box": _boxes, "line": _lines}[str(shape)](rng)
        margin = int(rng.integers(*_MARGIN_PX))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
        holes = cv2.dilate(solid, kernel) > 0
        if _LEAST < holes.mean() < _MOST:
            return np.asarray(holes, bool)


def _writing(rng: Rng) -> npt.NDArray[np.uint8]:
    canvas = Canvas(CROP_PX, CROP_PX, 1.0, (0.0, float(CROP_PX)))
    solid = np.zeros((CROP_PX, CROP_PX), np.uint8)
    letter = float(np.exp(rng.uniform(*np.log(_LETTER_PX))))
    angle = float(rng.choice([0, 0, 0, 90, 180, 270])) + float(rng.normal(0, 9))
    for _ in range(int(rng.integers(1, 4))):
        text = str(rng.choice(list(SIGNS))) if rng.random() < 0.25 else draw_text(rng)
        x, y = rng.uniform(-0.5, 0.4, 2) * CROP_PX
        tool, ink = draw_tool(rng)
        marking = Marking(text, float(x), float(y), letter, angle, tool, ink, 0.0, 0.0)
        solid |= (draw_markings([marking], canvas, rng).alpha > 0.1).astype(np.uint8)
    return solid


def _boxes(rng: Rng) -> npt.NDArray[np.uint8]:
    solid = np.zeros((CROP_PX, CROP_PX), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        middle = rng.uniform(20, CROP_PX - 20, 2)
        size = np.exp(rng.uniform(np.log(8), np.log(90), 2))
        corners = cv2.boxPoints((tuple(middle), tuple(size), float(rng.normal(0, 10))))
        cv2.fillPoly(solid, [np.int32(corners)], 1)
    return solid


def _lines(rng: Rng) -> npt.NDArray[np.uint8]:
    solid = np.zeros((CROP_PX, CROP_PX), np.uint8)
    at = rng.uniform(0, CROP_PX, 2)
    heading = rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(2, 9))):
        heading += rng.normal(0, 0.9)
        to = at + rng.uniform(15, 80) * np.array([np.cos(heading), np.sin(heading)])
        cv2.line(solid, tuple(at.astype(int).tolist()), tuple(to.astype(int).tolist()), 1, int(rng.integers(2, 22)))
        at = np.clip(to, 0, CROP_PX)
    return solid
