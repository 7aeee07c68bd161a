"""Writing to train on: one to five markings anywhere on a crop, across welds, edges and its border."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from assets.training.hands import Fonts, scrawl, usual_width_px
from assets.training.pictures import CROP_PX, Rng
from weldgen.synthesis.render.glyphs import GLYPHS, SIGNS
from weldgen.synthesis.render.markings import INKS, TOOLS, Marking, Overlay, draw_markings, ink_line
from weldgen.synthesis.render.material import Canvas

_LETTER_PX = (9.0, 180.0)
_TOOL_WEIGHTS = {
    "marker": 5, "paint": 2.5, "ballpoint": 2, "chalk": 1.5, "stencil": 1, "print": 1.5, "stamp": 1.2,
}  # fmt: skip
_SIGN_SHARE, _FADED_SHARE, _SMEARED_SHARE, _OTHER_PEN_SHARE = 0.22, 0.3, 0.08, 0.15
_PALE_TOOLS = ("paint", "chalk", "marker")
# Where fonts are given: shares of words in one of them, and of drawings without letters.
_FONT_SHARE, _SCRAWL_SHARE = 0.45, 0.12
_BROADER = (1.4, 2.4)
_PLAIN_LETTER_PX, _PLAIN_WIDER = (50.0, 220.0), (0.6, 1.8)


@dataclass(frozen=True)
class Habits:
    """How often things are written in one way or another.

    Attributes:
        fonts: Other hands; without them all letters are the renderer's.
        broad_share: Share of writing with a broad tip.
        dots_weight: How often print is made of dots; a marker is taken as often as 5.
        plain_share: Share of crops with one large word in even ink, by a steady hand: else a network takes straight
            dark strokes for wires and gaps.
    """

    fonts: Fonts | None = None
    broad_share: float = 0.15
    dots_weight: float = 0.7
    plain_share: float = 0.0


USUAL = Habits()


@dataclass(frozen=True)
class Written:
    """One thing that was written.

    Attributes:
        overlay: The ink.
        relief: It is pressed into the metal.
    """

    overlay: Overlay
    relief: bool


def write(
    rng: Rng,
    letter_px: tuple[float, float] = _LETTER_PX,
    *,
    stamps: bool = True,
    habits: Habits = USUAL,
    pale: bool = False,
) -> Iterator[Written]:
    """Draw markings on an empty crop, each with ink of its own.

    Args:
        rng: Of everything.
        letter_px: Smallest and largest height of letters.
        stamps: Whether characters may be pressed into the metal.
        habits: How often it is written in which way.
        pale: Paint, chalk and markers in white alone.
    """
    canvas = Canvas(CROP_PX, CROP_PX, 1.0, (0.0, float(CROP_PX)))
    if habits.plain_share and not pale and rng.random() < habits.plain_share:
        yield Written(_recoloured(draw_markings([_plain(rng)], canvas, rng), rng), relief=False)
        return
    tool, ink = _draw_tool(rng, habits, stamps, pale)
    letter = float(np.exp(rng.uniform(*np.log(letter_px))))
    angle = _draw_angle(rng)
    fade = float(rng.uniform(0.1, 0.6)) if rng.random() < _FADED_SHARE else 0.0
    weight = float(np.exp(rng.normal(0, 0.15)))
    if rng.random() < habits.broad_share:
        weight *= float(rng.uniform(*_BROADER))
    for _ in range(int(rng.integers(1, 6))):
        if rng.random() < _OTHER_PEN_SHARE:
            tool, ink = _draw_tool(rng, habits, stamps, pale)
        text = _draw_sign_or_text(rng, list(SIGNS))
        size = letter * float(np.exp(rng.normal(0, 0.15))) * (1.4 if text in SIGNS else 1.0)
        x, y = rng.uniform(-0.55, 0.45, 2) * CROP_PX
        smear = float(rng.uniform(0.1, 0.5)) if rng.random() < _SMEARED_SHARE else 0.0
        marking = Marking(text, float(x), float(y), size, angle, tool, ink, fade, smear, weight)
        hand = rng.random() if habits.fonts else 1.0
        if hand >= _FONT_SHARE + _SCRAWL_SHARE:
            overlay = draw_markings([marking], canvas, rng)
        else:
            word = hand < _FONT_SHARE and text not in SIGNS
            overlay = _other_hand(marking, habits.fonts if word else None, rng)
        yield Written(_recoloured(overlay, rng), TOOLS[tool].relief)


def _plain(rng: Rng) -> Marking:
    """A large sign or short word as a steady hand or a drawing program writes it."""
    letter, wider = (float(np.exp(rng.uniform(*np.log(bounds)))) for bounds in (_PLAIN_LETTER_PX, _PLAIN_WIDER))
    signs = [sign for sign in SIGNS if sign != "zigzag"]  # which in broad strokes would be a dab of paint
    text = _draw_sign_or_text(rng, signs, 3)
    angle = _draw_angle(rng)
    x, y = rng.uniform(0.1, 0.9, 2) * CROP_PX - 0.3 * letter - 0.5 * CROP_PX
    ink = "black" if rng.random() < 0.6 else str(rng.choice(list(INKS)))
    return Marking(text, float(x), float(y), letter, angle, "print", ink, weight=wider)


def _other_hand(marking: Marking, fonts: Fonts | None, rng: Rng) -> Overlay:
    """A word in one of the fonts, or without them a drawing, in the marking's ink."""
    if fonts:
        line = fonts.draw(marking.text, marking.size, marking.angle_deg, rng)
        return ink_line(line, usual_width_px(line), marking, rng)
    # A scribble in broad strokes would be a dab of paint.
    width = max(1.1, marking.size * float(rng.uniform(*TOOLS[marking.tool].width)) * min(1.0, marking.weight))
    return ink_line(scrawl(marking.size, width, rng), width, marking, rng)


def _draw_tool(rng: Rng, habits: Habits, stamps: bool, pale: bool) -> tuple[str, str]:
    """A tool to write with, and the colour of its ink."""
    if pale:
        return str(rng.choice(_PALE_TOOLS)), "white"
    often = _TOOL_WEIGHTS | {"dots": habits.dots_weight}
    names = [name for name in TOOLS if stamps or not TOOLS[name].relief]
    weights = np.array([often[name] for name in names], np.float64)
    tool = str(rng.choice(names, p=weights / weights.sum()))
    return tool, str(rng.choice(TOOLS[tool].inks if rng.random() < 0.7 else list(INKS)))


def _draw_angle(rng: Rng) -> float:
    """Upright or turned by quarters, never quite straight; degrees."""
    return float(rng.choice([0, 0, 0, 90, 180, 270])) + float(rng.normal(0, 9))


def _draw_sign_or_text(rng: Rng, signs: list[str], most: int | None = None) -> str:
    """A sign, or text of at most so many characters."""
    return str(rng.choice(signs)) if rng.random() < _SIGN_SHARE else _draw_text(rng)[:most]


def _draw_text(rng: Rng) -> str:
    """One to seven characters."""
    letters = [glyph for glyph in GLYPHS if glyph.strip()]
    alphabet = list("0123456789") if rng.random() < 0.5 else letters
    length = int(rng.choice([1, 1, 2, 2, 3, 4, 5, 7]))
    return "".join(str(rng.choice(alphabet)) for _ in range(length))


def _recoloured(overlay: Overlay, rng: Rng) -> Overlay:
    """The same ink in a neighbouring colour, as another maker sells it."""
    gain = np.exp(rng.normal(0, 0.25, 3)).astype(np.float32)
    lift = np.float32(rng.uniform(0, 0.18))
    return Overlay(np.clip(overlay.colour * gain + lift * (1 - overlay.colour), 0, 1), overlay.alpha)
