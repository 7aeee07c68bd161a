"""How a pen looks on a photo: the colour, width and contrast of strokes that were found.

All lengths are pixels of the image given, which should have a long side of at most 1500 px.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.cleaning.morphology import dilate, edge_distance, stroke_width

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

MAX_KERNEL_PX = 71
_COLOURED = 14.0
# Colour separates ink from metal better than lightness does, so it weighs more.
_COLOUR_WEIGHT = 1.6
_MIN_PEN_PX = 40
_AROUND_PX = 14
# A stroke is told from the metal by a black-hat with a kernel so many times its width.
_KERNEL_WIDTHS = 3.5


@dataclass(frozen=True)
class Pen:
    """How the strokes of one pen look in one place.

    Attributes:
        lab: Median colour of its strokes, CIE L*a*b* (L 0 to 100).
        metal: Median colour of the metal around them.
        width_px: Mean width of the strokes.
        contrast: Mean contrast of the strokes to the metal.
        separation: Contrast of the strokes over the spread of the metal's own contrast.
        dark: Whether the ink is darker than the metal.
    """

    lab: Floats
    metal: Floats
    width_px: float
    contrast: float
    separation: float
    dark: bool

    @property
    def coloured(self) -> bool:
        """Whether the hue alone tells the ink from the metal."""
        return float(np.hypot(*(self.lab[1:] - self.metal[1:]))) > _COLOURED

    @property
    def telling(self) -> bool:
        """Whether the look of the ink is enough to know it elsewhere.

        A crack is as dark as the line of a fine black pen; broad or coloured strokes are told from it.
        """
        return self.separation >= 3.5 and self.contrast >= 25 and (self.coloured or self.width_px >= 7)

    def same_pen(self, other: Pen) -> bool:
        """Whether two regions were written with one pen: the same colour, width and polarity."""
        return (
            self.dark == other.dark
            and float(np.linalg.norm(self.lab - other.lab)) < 10
            and 0.6 < self.width_px / other.width_px < 1.6
        )


def to_lab(image: RGB) -> Floats:
    """CIE L*a*b* of an image, (H, W, 3) float32, L 0 to 100, lightly smoothed against sensor noise."""
    smooth = cv2.GaussianBlur(image, (0, 0), 0.8)
    return np.asarray(cv2.cvtColor(smooth.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), dtype=np.float32)


def contrast_map(lab: Floats, kernel_px: int, *, dark: bool) -> Floats:
    """Contrast of thin structures to what surrounds them, (H, W) float32, about 0 to 100.

    Black-hat (or white top-hat) of the lightness, plus the distance in colour from the surroundings.

    Args:
        lab: (H, W, 3) float32.
        kernel_px: Structures wider than this have no contrast.
        dark: Look for ink darker than the metal, else lighter.
    """
    kernel = np.ones((kernel_px, kernel_px), np.uint8)  # OpenCV is ten times slower with a disc
    operation = cv2.MORPH_BLACKHAT if dark else cv2.MORPH_TOPHAT
    lightness = cv2.morphologyEx(np.ascontiguousarray(lab[:, :, 0]), operation, kernel)
    around = cv2.blur(lab[:, :, 1:], (3 * kernel_px, 3 * kernel_px))
    colour = np.hypot(lab[:, :, 1] - around[:, :, 0], lab[:, :, 2] - around[:, :, 1])
    return np.asarray(np.hypot(lightness, _COLOUR_WEIGHT * np.maximum(0, colour - 4)), dtype=np.float32)


def pen_of(lab: Floats, strokes: Mask) -> Pen | None:
    """How the strokes of a group look, or None where there are too few to tell.

    Args:
        lab: Cut-out around the group, (H, W, 3) float32 of `to_lab`.
        strokes: (H, W) bool, of this group alone.
    """
    near = dilate(strokes, _AROUND_PX)
    metal = near & ~dilate(strokes, 3)
    if strokes.sum() < _MIN_PEN_PX or metal.sum() < _MIN_PEN_PX:
        return None
    width = stroke_width(strokes)
    core = strokes & (edge_distance(strokes) > width / 4)
    core = core if core.sum() >= 6 else strokes
    ink, around = np.median(lab[core], axis=0), np.median(lab[metal], axis=0)
    dark = bool(ink[0] < around[0])
    contrast = contrast_map(lab, kernel_for(width), dark=dark)
    mean = float(contrast[strokes].mean())
    return Pen(
        lab=ink.astype(np.float32),
        metal=around.astype(np.float32),
        width_px=width,
        contrast=mean,
        separation=mean / max(2.0, float(np.percentile(contrast[metal], 84))),
        dark=dark,
    )


def kernel_for(width_px: float) -> int:
    """Odd size of the kernel that takes out strokes of a width."""
    return int(np.clip(_KERNEL_WIDTHS * width_px, 15, MAX_KERNEL_PX)) // 2 * 2 + 1
