"""What is written on a plate, where and with which pen; nothing in it depends on the weld's class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from weldgen.synthesis.render.bead import BeadSpec
from weldgen.synthesis.render.glyphs import GLYPHS, SIGNS
from weldgen.synthesis.render.light import CameraSpec
from weldgen.synthesis.render.markings import HAND_TOOLS, TOOLS, Marking, apply_overlay, draw_markings
from weldgen.synthesis.render.material import Canvas
from weldgen.synthesis.render.noise import Rng, stream

_PENS = [name for name, tool in TOOLS.items() if not tool.relief]
_LETTERS = [glyph for glyph in GLYPHS if glyph.isupper()]


def sample_markings(rng: Rng, bead: BeadSpec, aspect: float, camera: CameraSpec) -> tuple[Marking, ...]:
    """One to five things written beside the bead, mostly with one pen; nothing in them depends on the class."""
    tool = str(rng.choice(["marker", "marker", "paint", "ballpoint"]))
    ink = str(rng.choice(TOOLS[tool].inks))
    taken: list[tuple[float, float, float, float]] = []
    markings = []
    upside_down = np.cos(np.deg2rad(camera.roll_deg)) < 0  # most photos are taken so that the writing can be read
    turn = 180.0 if upside_down and rng.random() < 0.8 else 0.0
    for _ in range(int(rng.integers(1, 6))):
        if rng.random() < 0.15:  # another hand
            tool = str(rng.choice(HAND_TOOLS))
            ink = str(rng.choice(TOOLS[tool].inks))
        text = str(rng.choice(list(SIGNS))) if rng.random() < 0.16 else _sample_text(rng)
        size = float(rng.uniform(0.08, 0.17)) * (0.6 if tool == "ballpoint" else 1.0)
        room = 0.5 - bead.width / 2 - abs(bead.offset)
        size = min(size, 0.62 * room)
        length = size * (len(text) if text not in SIGNS else 1)
        for _ in range(10):
            side = float(rng.choice([-1, 1]))
            y = bead.offset + side * (
                bead.width / 2 + float(rng.uniform(0.65 * size, max(0.66 * size, room - 0.6 * size)))
            )
            x = float(rng.uniform(-0.46 * aspect, max(0.46 * aspect - length, -0.45 * aspect)))
            if all(abs(y - b) > 0.6 * (size + s) or x + length < a or x > a + n for a, b, n, s in taken):
                taken.append((x, y, length, size))
                markings.append(
                    Marking(text, x + (length if turn else 0.0), y, size, turn + float(rng.normal(0, 5)), tool, ink)
                )
                break
    return tuple(markings)


def _sample_text(rng: Rng) -> str:
    """What welders write: numbers, dates, heat numbers, verdict-free codes."""

    def number(low: int, high: int) -> str:
        return str(int(rng.integers(low, high)))

    def letters(count: int) -> str:
        return "".join(str(rng.choice(_LETTERS)) for _ in range(count))

    forms = (
        lambda: number(1, 60), lambda: f"{number(1, 29)}/{number(1, 13)}",
        lambda: f"{number(100, 1300)}-{number(10, 99)}",
        lambda: letters(1) + number(1, 99), lambda: f"WPS-{number(1, 20)}", lambda: f"#{number(1, 40)}",
        lambda: letters(2), lambda: f"{letters(1)}{number(100, 999)}", lambda: f"REV{number(1, 6)}",
        lambda: f"({number(1, 9)}PH)", lambda: f"T{number(3, 16)}MM",
    )  # fmt: skip
    return forms[int(rng.integers(len(forms)))]()


def write_on(picture: npt.NDArray[np.uint8], seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """One to four things written on a picture of metal, with one pen, each beside the others.

    Args:
        picture: (H, W, 3) uint8 RGB.
        seed: Another seed, other writing.

    Returns:
        The picture with the writing, and (H, W) bool: where ink lies.
    """
    rng = stream(seed, "writing")
    height, width = picture.shape[:2]
    unit = float(min(height, width))
    canvas = Canvas(width, height, unit, (0.0, float(width)))
    tool = str(rng.choice(_PENS))
    ink = str(rng.choice(TOOLS[tool].inks))
    inked, cover = picture.astype(np.float32) / np.float32(255), np.zeros((height, width), bool)
    for _ in range(int(rng.integers(1, 5))):
        text = str(rng.choice(list(SIGNS))) if rng.random() < 0.2 else _sample_text(rng)
        size = float(rng.uniform(0.09, 0.2))
        length = size * (1 if text in SIGNS else 0.75 * len(text))
        for _ in range(10):
            left = float(rng.uniform(-0.5, max(-0.5, 0.5 - length * unit / width))) * width / unit
            middle = float(rng.uniform(-0.42, 0.42)) * height / unit
            drawn = draw_markings([Marking(text, left, middle, size, float(rng.normal(0, 5)), tool, ink)], canvas, rng)
            if not (cover & (drawn.mask > 0)).any():
                inked = apply_overlay(inked, drawn)
                cover |= drawn.mask > 0
                break
    return np.rint(np.clip(inked, 0, 1) * 255).astype(np.uint8), cover
