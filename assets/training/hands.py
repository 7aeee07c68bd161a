"""Lines of other hands than the renderer's letter forms: handwriting fonts, and what is drawn without letters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from assets.training.pictures import CROP_PX, Floats, Rng
from weldgen.cleaning.morphology import stroke_width
from weldgen.synthesis.render.noise import fractal_noise

# Fonts are drawn so many times finer than the crop, and bent by so much of a letter's height.
_FINE = 2
_BENT_SHARE = 0.05
# Outlines are thickened by at most so much of a letter's height.
_BOLDER = 0.05
_NOTHING = 0.5
_LEAST_WIDTH_PX = 1.1


class Fonts:
    """Words in fonts, turned, stretched and bent.

    Args:
        files: Fonts that hold digits and letters.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = [str(file) for file in files]

    def __bool__(self) -> bool:
        return bool(self._files)

    def draw(self, text: str, letter_px: float, angle_deg: float, rng: Rng) -> Floats:
        """Cover of a word somewhere on a crop, (256, 256) float32 0..1; its border may cut it."""
        size = max(6, round(1.3 * letter_px * _FINE))
        font = ImageFont.truetype(self._files[int(rng.integers(len(self._files)))], size)
        bold = int(rng.integers(0, 1 + round(_BOLDER * size))) if rng.random() < 0.4 else 0
        left, top, right, bottom = font.getbbox(text, stroke_width=bold)
        sheet = Image.new("L", (max(1, round(right - left)), max(1, round(bottom - top))))
        ImageDraw.Draw(sheet).text((-left, -top), text, fill=255, font=font, stroke_width=bold)
        stretch = np.exp(rng.normal(0, 0.12, 2)) / _FINE
        angle = np.deg2rad(angle_deg)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) * stretch
        middle = np.array([sheet.width, sheet.height]) / 2
        place = rng.uniform(-0.05, 1.05, 2) * CROP_PX
        move = np.hstack([turn, (place - turn @ middle)[:, None]])
        crop = (CROP_PX, CROP_PX)
        placed = cv2.warpAffine(np.asarray(sheet), move, crop, flags=cv2.INTER_AREA).astype(np.float32) / 255
        return _bent(placed, letter_px, rng)


def scrawl(letter_px: float, width_px: float, rng: Rng) -> Floats:
    """Cover of what a hand draws without letters, (256, 256) float32 0..1.

    Scribbles, hatching, loops around something, underlines and long arrows. Dabs of paint are left out: a network that
    had seen them took smooth parts of a bead for paint.
    """
    sheet = np.zeros((CROP_PX * _FINE, CROP_PX * _FINE), np.uint8)
    middle = rng.uniform(0, 1, 2) * CROP_PX
    thick = max(1, round(width_px * _FINE))
    kind = int(rng.integers(5))
    if kind == 0:  # a scribble
        points = middle + np.cumsum(rng.normal(0, 0.6 * letter_px, (int(rng.integers(4, 14)), 2)), axis=0)
        _line(sheet, points, thick, smooth=rng.random() < 0.7)
    elif kind == 1:  # hatching
        count = int(rng.integers(4, 12))
        along = np.linspace(-1, 1, count) * letter_px * rng.uniform(0.5, 2)
        across = np.where(np.arange(count) % 2, 0.5, -0.5) * letter_px
        points = np.stack([along, across], axis=1) * np.exp(rng.normal(0, 0.12, (count, 1)))
        _line(sheet, middle + points @ _turn(rng), thick, smooth=rng.random() < 0.5)
    elif kind == 2:  # a loop around something
        at = np.linspace(0, 2 * np.pi * rng.uniform(0.85, 1.15), 24)[:, None]
        axes = letter_px * rng.uniform(0.5, 2.0, 2)
        wobble = 1 + 0.08 * np.cumsum(rng.normal(0, 0.3, at.shape), axis=0)
        points = np.hstack([np.cos(at), np.sin(at)]) * axes * wobble
        _line(sheet, middle + points @ _turn(rng), thick, smooth=True)
    else:  # a long line, now and then an arrow
        reach = letter_px * np.exp(rng.uniform(0, 1.5))
        at = np.linspace(-1, 1, 6)[:, None]
        turn = _turn(rng)
        points = np.hstack([reach * at, rng.normal(0, 0.03 * reach, at.shape)])
        _line(sheet, middle + points @ turn, thick, smooth=True)
        if kind == 4:
            head = min(0.5 * reach, letter_px * rng.uniform(0.3, 0.8))
            wings = points[-1] + head * np.array([[-1, -rng.uniform(0.4, 0.9)], [0, 0], [-1, rng.uniform(0.4, 0.9)]])
            if rng.random() < 0.5:
                cv2.fillPoly(sheet, [np.int32((middle + wings @ turn) * _FINE)], 255)
            else:
                _line(sheet, middle + wings @ turn, thick, smooth=False)
    small = cv2.resize(sheet, (CROP_PX, CROP_PX), interpolation=cv2.INTER_AREA)
    return _bent(small.astype(np.float32) / 255, letter_px, rng)


def usual_width_px(line: Floats) -> float:
    """How wide a line is on average, at least as wide as a pen's."""
    solid = line > _NOTHING
    return max(_LEAST_WIDTH_PX, stroke_width(solid)) if solid.any() else _LEAST_WIDTH_PX


def _turn(rng: Rng) -> npt.NDArray[np.float64]:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _line(sheet: npt.NDArray[np.uint8], points: npt.NDArray[np.float64], thick: int, *, smooth: bool) -> None:
    for _ in range(3 if smooth else 0):  # Chaikin's corner cutting
        inner = np.stack([0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]], axis=1)
        points = np.concatenate([points[:1], inner.reshape(-1, 2), points[-1:]])
    cv2.polylines(sheet, [np.int32(np.round(points * _FINE))], False, 255, thick, cv2.LINE_8)


def _bent(line: Floats, letter_px: float, rng: Rng) -> Floats:
    """A hand is not steady: the line, bent smoothly."""
    reach = _BENT_SHARE * letter_px * float(rng.uniform(0, 1))
    rows, columns = np.mgrid[:CROP_PX, :CROP_PX].astype(np.float32)
    coarse = max(6.0, 0.8 * letter_px)
    down, right = (reach * fractal_noise(rng, line.shape, coarse, 0.5) for _ in range(2))
    return np.asarray(cv2.remap(line, columns + right, rows + down, cv2.INTER_LINEAR), np.float32)
