"""Training examples for the ink network: writing drawn on pictures of metal, with exact masks.

Writing is drawn anew for every crop, so no two examples are alike.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from assets.training.pictures import CROP_PX, RGB, Floats, Pictures, Rng, photograph
from weldgen.synthesis.render.glyphs import GLYPHS, SIGNS
from weldgen.synthesis.render.markings import INKS, TOOLS, Marking, Overlay, apply_overlay, draw_markings
from weldgen.synthesis.render.material import Canvas

# Share of examples without any writing: there the network learns what is no ink.
_PLAIN_SHARE = 0.3
# Ink thinner than this is invisible, and no target; a marking that changes the picture less than this is not judged.
_VISIBLE_ALPHA = 0.10
_VISIBLE_CHANGE = 0.035
METAL, INK, STAMPED, UNJUDGED = range(4)
_LETTER_PX = (11.0, 115.0)
_TOOL_WEIGHTS = {
    "marker": 5, "paint": 2, "ballpoint": 2, "chalk": 1.5, "stencil": 1, "print": 1.5, "dots": 0.7, "stamp": 1.2,
}  # fmt: skip


class Examples:
    """An endless supply of crops with exact masks.

    Args:
        pictures: What is written on.
        seed: Of everything.
    """

    def __init__(self, pictures: Pictures, seed: int) -> None:
        self._pictures, self._seed = pictures, seed

    def example(self, index: int) -> tuple[RGB, npt.NDArray[np.uint8]]:
        """Crop (256, 256, 3) uint8 RGB and target (256, 256) uint8 of METAL, INK, STAMPED, UNJUDGED."""
        rng = np.random.default_rng((self._seed, index))
        picture = self._pictures.draw(rng)
        target = np.zeros(picture.shape[:2], np.uint8)
        if rng.random() > _PLAIN_SHARE:
            picture, target = _write(picture, rng)
        return photograph(picture, rng), target


def _write(picture: Floats, rng: Rng) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """Draw one to five markings anywhere, also across welds, edges and the crop's own border."""
    canvas = Canvas(CROP_PX, CROP_PX, 1.0, (0.0, float(CROP_PX)))
    target = np.zeros(picture.shape[:2], np.uint8)
    tool, ink = draw_tool(rng)
    letter = float(np.exp(rng.uniform(*np.log(_LETTER_PX))))
    angle = float(rng.choice([0, 0, 0, 90, 180, 270])) + float(rng.normal(0, 9))
    fade = float(rng.uniform(0.1, 0.6)) if rng.random() < 0.3 else 0.0
    for _ in range(int(rng.integers(1, 6))):
        if rng.random() < 0.15:
            tool, ink = draw_tool(rng)
        text = str(rng.choice(list(SIGNS))) if rng.random() < 0.22 else draw_text(rng)
        size = letter * float(np.exp(rng.normal(0, 0.15))) * (1.4 if text in SIGNS else 1.0)
        x, y = rng.uniform(-0.55, 0.45, 2) * CROP_PX
        smear = float(rng.uniform(0.1, 0.5)) if rng.random() < 0.08 else 0.0
        marking = Marking(text, float(x), float(y), size, angle, tool, ink, fade, smear)
        overlay = _recoloured(draw_markings([marking], canvas, rng), rng)
        before, picture = picture, apply_overlay(picture, overlay)
        solid = cv2.morphologyEx((overlay.alpha > _VISIBLE_ALPHA).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3)))
        if not solid.any():
            continue
        visible = np.abs(picture - before).mean(axis=2)[solid > 0].mean() > _VISIBLE_CHANGE
        kind = (STAMPED if TOOLS[tool].relief else INK) if visible else UNJUDGED
        target = np.where(solid > 0, kind, target).astype(np.uint8)
    return picture, target


def draw_tool(rng: Rng) -> tuple[str, str]:
    """A tool to write with, and the colour of its ink."""
    weights = np.array(list(_TOOL_WEIGHTS.values()), np.float64)
    tool = str(rng.choice(list(_TOOL_WEIGHTS), p=weights / weights.sum()))
    return tool, str(rng.choice(TOOLS[tool].inks if rng.random() < 0.7 else list(INKS)))


def draw_text(rng: Rng) -> str:
    """One to seven characters."""
    letters = [glyph for glyph in GLYPHS if glyph.strip()]
    digits = "0123456789"
    alphabet = digits if rng.random() < 0.5 else letters
    length = int(rng.choice([1, 1, 2, 2, 3, 4, 5, 7]))
    return "".join(str(rng.choice(list(alphabet))) for _ in range(length))


def _recoloured(overlay: Overlay, rng: Rng) -> Overlay:
    """The same ink in a neighbouring colour, as another maker sells it."""
    gain = np.exp(rng.normal(0, 0.25, 3)).astype(np.float32)
    lift = np.float32(rng.uniform(0, 0.18))
    return Overlay(np.clip(overlay.colour * gain + lift * (1 - overlay.colour), 0, 1), overlay.alpha)
