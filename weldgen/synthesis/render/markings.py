"""Writing on metal: by hand, stencilled, printed and stamped, drawn stroke by stroke with our own letter forms.

A marking is an overlay in display values (it is composed on the developed picture) with an exact mask: no pixel
outside the mask differs from the picture without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.synthesis.render.glyphs import GLYPHS, SIGNS
from weldgen.synthesis.render.material import Canvas, RGBColour
from weldgen.synthesis.render.noise import Plane, Rng, blur, f32, fractal_noise, smoothstep, streaks

# Display RGB of the inks.
INKS: dict[str, RGBColour] = {
    "black": (0.07, 0.07, 0.09), "white": (0.93, 0.93, 0.90), "yellow": (0.93, 0.80, 0.16),
    "blue": (0.10, 0.17, 0.50), "red": (0.72, 0.11, 0.10),
}  # fmt: skip
_FINE = 3  # strokes are drawn so many times finer than the canvas
_ALPHA_FLOOR = 0.02


@dataclass(frozen=True)
class Tool:
    """A writing tool.

    Attributes:
        width: Low and high bound of the line's width, as a share of the letters' height.
        opacity: Low and high bound.
        dryness: 0 wet to 1 broken up by the metal's grain.
        inks: Colours that it comes in.
        unsteadiness: 0 a machine to 1 a hand.
        line: `full`; `bridged`, as a stencil leaves it; `dotted`, as a needle or an ink jet does.
        relief: Pressed into the metal: seen by its shaded walls and not by its colour.
    """

    width: tuple[float, float]
    opacity: tuple[float, float]
    dryness: float
    inks: tuple[str, ...]
    unsteadiness: float = 1.0
    line: str = "full"
    relief: bool = False


TOOLS: dict[str, Tool] = {
    "marker": Tool((0.09, 0.16), (0.80, 0.97), 0.25, ("black", "black", "black", "blue", "red")),
    "paint": Tool((0.14, 0.22), (0.90, 1.00), 0.60, ("white", "white", "yellow", "yellow", "red", "blue")),
    "ballpoint": Tool((0.035, 0.055), (0.55, 0.85), 0.35, ("black", "blue", "blue", "red")),
    "chalk": Tool((0.08, 0.16), (0.45, 0.85), 1.00, ("white", "white", "white", "yellow")),
    "stencil": Tool((0.15, 0.22), (0.75, 0.98), 0.35, ("black", "black", "white", "red"), 0.05, "bridged"),
    "print": Tool((0.10, 0.18), (0.85, 1.00), 0.05, ("black", "black", "black", "blue", "white"), 0.0),
    "dots": Tool((0.09, 0.13), (0.80, 1.00), 0.10, ("black", "black", "white", "yellow"), 0.1, "dotted"),
    "stamp": Tool((0.09, 0.15), (0.45, 0.80), 0.05, ("black",), 0.1, "full", True),
}
# The tools of a hand, of which there is most on a shop floor.
HAND_TOOLS = ("marker", "paint", "ballpoint")


@dataclass(frozen=True)
class Marking:
    """One thing written on the plate.

    Attributes:
        text: Characters of `GLYPHS`, or the name of a sign.
        x: Left end along the weld, scene units from the middle.
        y: Middle across the weld, scene units from the middle.
        size: Height of the letters, scene units.
        angle_deg: Turn of the line of writing.
        tool: A key of `TOOLS`.
        ink: A key of `INKS`.
        fade: 0 fresh to 1 gone.
        smear: How far a sleeve dragged the wet ink, in letter heights.
        weight: Width of the line over what the tool usually leaves.
    """

    text: str
    x: float
    y: float
    size: float
    angle_deg: float
    tool: str
    ink: str
    fade: float = 0.0
    smear: float = 0.0
    weight: float = 1.0


@dataclass(frozen=True)
class Overlay:
    """Ink to be laid over a picture.

    Attributes:
        colour: (H, W, 3) float32 display RGB 0..1.
        alpha: (H, W) float32 0..1; 0 where there is no ink.
    """

    colour: Plane
    alpha: Plane

    @property
    def mask(self) -> npt.NDArray[np.uint8]:
        """(H, W) uint8: 255 where there is ink, else 0."""
        return np.where(self.alpha > 0, 255, 0).astype(np.uint8)


def draw_markings(markings: Sequence[Marking], canvas: Canvas, rng: Rng) -> Overlay:
    """Draw markings on an empty canvas; later ones lie on top."""
    colour: Plane = np.zeros((*canvas.shape, 3), np.float32)
    alpha: Plane = np.zeros(canvas.shape, np.float32)
    for marking in markings:
        tool = TOOLS[marking.tool]
        size_px = marking.size * canvas.unit_px
        width_px = max(1.1, size_px * float(rng.uniform(*tool.width)) * marking.weight)
        paths = _strokes(marking, size_px, canvas, rng)
        line = _stroke_cover(_broken(paths, tool.line, width_px), width_px, canvas)
        ink, tone = _inked(line, width_px, marking, marking.smear * size_px, rng)
        colour += ink[:, :, None] * (tone - colour)
        alpha = alpha + ink * (1 - alpha)
    safe = np.maximum(alpha, 1e-6)[:, :, None]
    return Overlay(np.clip(colour / safe, 0, 1), alpha)


def ink_line(line: Plane, width_px: float, marking: Marking, rng: Rng) -> Overlay:
    """Ink on a line that was drawn in another way than with our letter forms.

    Args:
        line: (H, W) float32, the line's cover, 0 to 1.
        width_px: The line's usual width.
        marking: Tool, ink, fade and smear, and the size of letters in pixels; the rest of it does not matter.
        rng: Of everything.
    """
    alpha, tone = _inked(line, width_px, marking, marking.smear * marking.size, rng)
    return Overlay(np.clip(tone, 0, 1), alpha)


def warp_overlay(overlay: Overlay, matrix: Plane, width: int, height: int, blur_px: float) -> Overlay:
    """See an overlay through the camera: `matrix` maps canvas to picture, (3, 3)."""
    alpha = blur(cv2.warpPerspective(overlay.alpha, matrix, (width, height), flags=cv2.INTER_LINEAR), blur_px)
    premultiplied = overlay.colour * overlay.alpha[:, :, None]
    ink = blur(cv2.warpPerspective(premultiplied, matrix, (width, height), flags=cv2.INTER_LINEAR), blur_px)
    colour = ink / np.maximum(alpha, 1e-4)[:, :, None]
    return Overlay(np.clip(colour, 0, 1), np.where(alpha < _ALPHA_FLOOR, 0, alpha).astype(np.float32))


def apply_overlay(picture: Plane, overlay: Overlay, grain: float = 0.35) -> Plane:
    """Lay ink over a picture, both display values 0..1; the ink takes on the light that falls there.

    Args:
        picture: (H, W, 3) float32.
        overlay: The ink.
        grain: Ink lies in the metal's grain: so much of the texture below shows.
    """
    light = blur(picture.mean(axis=2), max(picture.shape[:2]) / 60)
    lit = np.clip(0.45 + 0.55 * light / max(float(light.mean()), 1e-3), 0.3, 1.35)[:, :, None]
    detail = (picture - blur(picture, 3.0)) * np.float32(grain)
    inked = np.clip(overlay.colour * lit + detail, 0, 1)
    return np.asarray(picture + overlay.alpha[:, :, None] * (inked - picture))


def _inked(line: Plane, width_px: float, marking: Marking, smear_px: float, rng: Rng) -> tuple[Plane, Plane]:
    """Opacity (H, W) and display colour (H, W, 3) of a line's ink, or of the walls of characters pressed in."""
    tool = TOOLS[marking.tool]
    ink = _ink_alpha(line, tool, width_px, rng)
    if smear_px:
        ink = _smeared(ink, smear_px, rng)
    ink = ink * np.float32(1 - marking.fade)
    tone = np.asarray(INKS[marking.ink], np.float32) * np.float32(rng.uniform(0.85, 1.05))
    grain = 1 + 0.06 * fractal_noise(rng, line.shape, 3 * width_px)[:, :, None]
    if tool.relief:
        ink, wall = _relief(line, ink, width_px, rng)
        return ink, np.repeat(wall[:, :, None], 3, axis=2)
    return ink, np.asarray(tone * grain)


def _strokes(marking: Marking, size_px: float, canvas: Canvas, rng: Rng) -> list[Plane]:
    """Pen paths of a marking in canvas pixels, (N, 2) each."""
    hand = TOOLS[marking.tool].unsteadiness
    slant, squeeze = hand * float(rng.normal(0.10, 0.10)), float(rng.uniform(0.52, 0.75))
    signs = marking.text in SIGNS
    letters = [SIGNS[marking.text]] if signs else [GLYPHS[letter] for letter in marking.text]
    pen, paths = 0.0, []
    for letter in letters:
        lift, grow = hand * float(rng.normal(0, 0.05)), float(np.exp(hand * rng.normal(0, 0.07)))
        for stroke in filter(None, letter.split(";")):
            points = _path(stroke, hand, rng) * grow
            points[:, 0] = points[:, 0] * squeeze + slant * (1 - points[:, 1]) + pen
            points[:, 1] += lift - 0.5
            paths.append(points)
        pen += squeeze * grow + float(rng.uniform(0.16, 0.30))
    angle = np.deg2rad(marking.angle_deg)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    origin = (canvas.x_px(marking.x), canvas.y_px(marking.y))
    return [points @ turn * size_px + origin for points in paths]


def _path(stroke: str, hand: float, rng: Rng) -> Plane:
    """One stroke of a glyph in letter heights, with the hand's unsteadiness, (N, 2)."""
    curved = stroke.startswith("~")
    points = np.array([[int(p[0], 16) / 6, int(p[1], 16) / 9] for p in stroke.lstrip("~").split()], np.float64)
    points += hand * rng.normal(0, 0.03, points.shape)
    if len(points) > 1:
        points[-1] += (points[-1] - points[-2]) * hand * rng.normal(0.03, 0.06)  # the pen overshoots
    if curved:
        for _ in range(3):  # Chaikin's corner cutting
            quarter = 0.75 * points[:-1] + 0.25 * points[1:]
            rest = 0.25 * points[:-1] + 0.75 * points[1:]
            middle = np.stack([quarter, rest], axis=1).reshape(-1, 2)
            points = np.concatenate([points[:1], middle, points[-1:]])
        return points
    dense = np.linspace(0, len(points) - 1, 6 * (len(points) - 1) + 1)
    path = np.stack([np.interp(dense, np.arange(len(points)), points[:, axis]) for axis in (0, 1)], axis=1)
    bend = hand * rng.normal(0, 0.012, path.shape)
    return path + np.cumsum(bend, axis=0) * 0.5


def _broken(paths: Sequence[Plane], line: str, width_px: float) -> list[Plane]:
    """The pen paths as a stencil with its bridges, or a row of dots, leaves them."""
    if line == "full":
        return list(paths)
    pieces = []
    for path in paths:
        steps = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
        length = float(steps[-1])
        if line == "dotted":
            at = np.arange(0, length + 1, 1.5 * width_px)
            dots = (np.array([[np.interp(s, steps, path[:, axis]) for axis in (0, 1)]]) for s in at)
            pieces += [np.repeat(dot, 2, axis=0) for dot in dots]
            continue
        middle, gap = length / 2, 0.9 * width_px
        for low, high in ((0.0, middle - gap), (middle + gap, length)):
            if high > low:
                at = np.linspace(low, high, 12)
                pieces.append(np.stack([np.interp(at, steps, path[:, axis]) for axis in (0, 1)], axis=1))
    return pieces


def _smeared(ink: Plane, reach_px: float, rng: Rng) -> Plane:
    """Ink with a veil that was dragged off it in one direction."""
    taps = 8
    angle = float(rng.uniform(0, 2 * np.pi))
    veil = np.zeros_like(ink)
    for step in range(1, taps + 1):
        away = reach_px * step / taps
        move = f32([[1, 0, away * np.cos(angle)], [0, 1, away * np.sin(angle)]])
        moved = cv2.warpAffine(ink, move, ink.shape[::-1])
        veil = np.maximum(veil, moved * np.float32(0.5 * (1 - step / (taps + 1))))
    veil *= np.clip(0.7 + 0.3 * fractal_noise(rng, ink.shape, max(2.0, reach_px / 3)), 0, 1)
    return np.maximum(ink, np.where(veil > _ALPHA_FLOOR, veil, 0)).astype(np.float32)


def _relief(line: Plane, ink: Plane, width_px: float, rng: Rng) -> tuple[Plane, Plane]:
    """Opacity and grey of characters pressed into metal: one wall in light, the other in shadow."""
    depth = blur(line, 0.3 * width_px)
    angle = float(rng.uniform(0, 2 * np.pi))
    down, along = cv2.Sobel(depth, cv2.CV_32F, 0, 1), cv2.Sobel(depth, cv2.CV_32F, 1, 0)
    slope = (along * np.float32(np.cos(angle)) + down * np.float32(np.sin(angle))) * np.float32(0.25 * width_px)
    alpha = np.clip(np.abs(slope) + 0.25 * depth, 0, 1) * np.float32(ink.max(initial=0))
    grey = np.where(slope > 0, 0.85, 0.12).astype(np.float32)
    return np.where(alpha > _ALPHA_FLOOR, alpha, 0).astype(np.float32), grey


def _stroke_cover(paths: Sequence[Plane], width_px: float, canvas: Canvas) -> Plane:
    """Cover of the pen's line before ink runs out, (H, W) 0..1."""
    sheet = np.zeros((canvas.height * _FINE, canvas.width * _FINE), np.uint8)
    for path in paths:
        points = np.int32(np.round(path * _FINE)).reshape(-1, 1, 2)
        cv2.polylines(sheet, [points], False, 255, max(1, round(width_px * _FINE)), cv2.LINE_8)
    return np.asarray(cv2.resize(sheet, canvas.shape[::-1], interpolation=cv2.INTER_AREA), np.float32) / 255


def _ink_alpha(line: Plane, tool: Tool, width_px: float, rng: Rng) -> Plane:
    """Opacity of the ink on the line, (H, W): frayed at the edge, broken by dryness, denser where it pooled."""
    grain = fractal_noise(rng, line.shape, 2.5, 0.8) + 0.6 * streaks(rng, line.shape, 12.0, 6 * width_px, 1.2)
    fray = smoothstep(blur(line, 0.25 * width_px) + 0.10 * tool.dryness * grain, 0.25, 0.75)
    broken = 1 - tool.dryness * 0.75 * smoothstep(grain, 0.6, 2.2)
    tired = 1 - 0.22 * tool.dryness * (1 + fractal_noise(rng, line.shape, 8 * width_px))
    opacity = np.float32(rng.uniform(*tool.opacity))
    alpha = opacity * fray * np.clip(broken, 0, 1) * np.clip(tired, 0.3, 1)
    return np.where((line > 0) & (alpha > _ALPHA_FLOOR), np.clip(alpha, 0, 1), 0).astype(np.float32)
