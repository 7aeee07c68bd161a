"""Rendered plates with writing whose every pixel is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont


def brushed(seed: int, width: int = 420, height: int = 280) -> np.ndarray:
    """Bright brushed metal with vertical lines, (H, W, 3) uint8 RGB."""
    rng = np.random.default_rng(seed)
    grey = 150 + rng.normal(0, 7, (1, width)) + rng.normal(0, 3, (height, width))
    return np.repeat(np.clip(grey, 0, 255)[:, :, None], 3, axis=2).astype(np.uint8)


def write(image: np.ndarray, text: str, at: tuple[int, int], size: int = 70, ink=(25, 25, 32)):
    """The image with text on it, and its strokes, (H, W) bool."""
    canvas = Image.new("L", (image.shape[1], image.shape[0]))
    ImageDraw.Draw(canvas).text(at, text, fill=255, font=ImageFont.load_default(size), stroke_width=2, stroke_fill=255)
    share = np.asarray(canvas, dtype=np.float32)[:, :, None] / 255
    marked = np.round(image * (1 - share) + np.array(ink) * share).astype(np.uint8)
    return marked, share[:, :, 0] > 0.5


@pytest.fixture
def make_plate() -> Callable[..., np.ndarray]:
    return brushed


@pytest.fixture
def marked_plate() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bare metal, the same with `AS 58` on it, and the strokes."""
    bare = brushed(3)
    marked, strokes = write(bare, "AS 58", (110, 90))
    return bare, marked, strokes


@pytest.fixture
def write_on() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    return write
