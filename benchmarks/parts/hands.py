"""Writing by other hands than the renderer's, whose letters the ink network learned from: fonts, arrows, loops.

On purpose nothing here is shared with what draws training examples (`assets/training`): it would measure itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from weldgen.cleaning.morphology import dilate

RGB = np.ndarray
INKS = (
    (25, 25, 28), (25, 25, 28), (25, 25, 28), (238, 238, 232), (240, 205, 50), (35, 55, 140), (185, 35, 35),
    (25, 110, 60), (200, 200, 205),
)  # fmt: skip
WORDS = ("OK", "NG", "(1PH)", "weld 4", "WPS-12", "#31", "7", "23", "14/5", "B417", "920-36", "T8", "REV2")
_MOST_ITEMS, _TRIES, _APART_PX = 4, 8, 3
_DRAWING_SHARE, _FADED_SHARE, _UPRIGHT_SHARE = 0.2, 0.25, 0.1


def write_by_hand(picture: RGB, seed: int, fonts: Sequence[Path]) -> tuple[RGB, np.ndarray]:
    """One to four things on a picture, with one pen.

    Args:
        picture: (H, W, 3) uint8 RGB.
        seed: Another seed, other writing.
        fonts: Each word takes one of them.

    Returns:
        The picture with the writing, and (H, W) bool: where ink lies.
    """
    rng = np.random.default_rng((77, seed))
    shape = picture.shape[:2]
    letter = min(shape) * rng.uniform(0.08, 0.22)
    ink = np.array(INKS[int(rng.integers(len(INKS)))]) * rng.uniform(0.85, 1.1)
    opacity = rng.uniform(0.4, 0.7) if rng.random() < _FADED_SHARE else rng.uniform(0.75, 1.0)
    light = 0.7 + 0.3 * picture.mean(axis=2, keepdims=True) / max(1.0, picture.mean())
    result, inked = picture.astype(np.float32), np.zeros(shape, bool)
    for _ in range(int(rng.integers(1, _MOST_ITEMS + 1))):
        for _ in range(_TRIES):
            cover = _drawing(shape, letter, rng) if rng.random() < _DRAWING_SHARE else _word(shape, letter, fonts, rng)
            if (cover > 0.5).any() and not (dilate(inked, _APART_PX) & (cover > 0.1)).any():
                break
        else:
            continue
        cover = cv2.GaussianBlur(cover, (0, 0), rng.uniform(0.4, 0.9))
        mottle = cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), 2)
        alpha = np.clip(cover * (opacity + 0.08 * mottle / mottle.std() * cover), 0, 1)[:, :, None]
        result = result + alpha * (ink * np.clip(light, 0.5, 1.2) - result)
        inked |= cover > 0.1
    return np.clip(result, 0, 255).round().astype(np.uint8), inked


def _word(shape: tuple[int, int], letter_px: float, fonts: Sequence[Path], rng: np.random.Generator) -> np.ndarray:
    height, width = shape
    font = ImageFont.truetype(str(fonts[int(rng.integers(len(fonts)))]), max(8, round(1.25 * letter_px)))
    word = str(rng.choice(WORDS))
    left, top, right, bottom = font.getbbox(word)
    sheet = Image.new("L", (width, height))
    x, y = rng.uniform(2, max(3, width - right + left)), rng.uniform(2, max(3, height - bottom + top))
    ImageDraw.Draw(sheet).text((x - left, y - top), word, font=font, fill=255)
    middle = (x + (right - left) / 2, y + (bottom - top) / 2)
    angle = rng.normal(0, 6) + 90 * (rng.random() < _UPRIGHT_SHARE)
    turned = cv2.warpAffine(np.asarray(sheet), cv2.getRotationMatrix2D(middle, angle, 1.0), (width, height))
    return turned.astype(np.float32) / 255


def _drawing(shape: tuple[int, int], letter_px: float, rng: np.random.Generator) -> np.ndarray:
    """An arrow, a loop or a bent line."""
    height, width = shape
    sheet = np.zeros(shape, np.uint8)
    thick = max(1, round(letter_px * rng.uniform(0.06, 0.16)))
    middle = rng.uniform((0, 0), (width, height))
    kind = int(rng.integers(3))
    if kind == 0:
        axes = np.int32(letter_px * rng.uniform(0.5, 1.2, 2)).tolist()
        around = int(rng.integers(300, 380))
        cv2.ellipse(sheet, np.int32(middle).tolist(), axes, rng.uniform(0, 180), 0, around, 255, thick, cv2.LINE_AA)
    elif kind == 1:
        angle = rng.uniform(0, 2 * np.pi)
        tip = middle + 2 * letter_px * np.array([np.cos(angle), np.sin(angle)])
        cv2.arrowedLine(sheet, np.int32(middle).tolist(), np.int32(tip).tolist(), 255, thick, cv2.LINE_AA)
    else:
        points = middle + rng.normal(0, 1.3 * letter_px, (int(rng.integers(2, 5)), 2))
        cv2.polylines(sheet, [np.int32(points)], False, 255, thick, cv2.LINE_AA)
    return sheet.astype(np.float32) / 255
