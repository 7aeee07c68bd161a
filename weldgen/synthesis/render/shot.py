"""What the renderer learns from one real photo: where its weld lies, its colours and texture, where its light is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.synthesis.render.noise import Plane
from weldgen.synthesis.render.pose import BeadPose, find_bead

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]

# Upper ends of the octaves of detail, Gaussian sigmas in pixels of a picture of the size that is wanted.
OCTAVES_PX = (1.0, 2.0, 4.0, 8.0)
# Shares of the pixels at both ends that do not count: glints, pores, dirt.
_TRIMMED = 0.02
# Fewest pixels of a region that say anything, and how many, spread over it, say all.
_LEAST_PX, _SAMPLED_PX = 200, 16_000


@dataclass(frozen=True)
class Look:
    """How a region looks.

    Attributes:
        mean: (3,) CIE Lab.
        spread: (3,) deviation of the Lab values, of L without its octaves of detail.
        octaves: (4,) deviation of L in each octave of detail, finest first.
    """

    mean: Plane
    spread: Plane
    octaves: Plane


@dataclass(frozen=True)
class Shot:
    """A real photo and what was measured in it.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        pose: Where its weld lies.
        plate: Look of the plate at the size that is wanted.
        bead: Look of the weld.
        light: How much brighter the flank above the weld's axis is than the one below, -1 to 1, in the transposed
            photo where the weld is upright; 0 where its outline is not certain.
        flaws: (H, W) uint8, 255 on the weld's defects, where somebody marked them.
    """

    pixels: RGB
    pose: BeadPose
    plate: Look
    bead: Look
    light: float
    flaws: Mask | None = None


def measure(photo: RGB, long_px: int, flaws: Mask | None = None) -> Shot:
    """Measure a photo, (H, W, 3) uint8 RGB, as pictures of a long side of `long_px` are to resemble it.

    Args:
        photo: The photo.
        long_px: Long side of what is made.
        flaws: (H, W) uint8, 255 on its defects, where they are known.
    """
    pose = find_bead(photo)
    level = pose.level(photo)
    scale = long_px / max(level.shape[:2])
    size = (max(16, round(level.shape[1] * scale)), max(16, round(level.shape[0] * scale)))
    seen = np.asarray(
        cv2.resize(level, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), np.uint8
    )
    cover = cv2.resize(pose.cover, size, interpolation=cv2.INTER_LINEAR) > 127
    lab = to_lab(seen)
    octaves = octaves_of(lab[:, :, 0])
    bead, plate = (look_of(lab, octaves, inner(region)) for region in (cover, ~cover))
    return Shot(photo, pose, plate, bead, _light(lab[:, :, 0], pose) if pose.outline else 0.0, flaws)


def to_lab(image: RGB) -> Plane:
    """CIE Lab, L 0..100, (H, W, 3) float32."""
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def octaves_of(light: Plane) -> tuple[list[Plane], Plane]:
    """The octaves of detail of a plane, finest first, and what is left; together they are the plane."""
    details, rest = [], light
    for sigma_px in OCTAVES_PX:
        soft = np.asarray(cv2.GaussianBlur(light, (0, 0), sigma_px))
        details.append(rest - soft)
        rest = soft
    return details, rest


def look_of(lab: Plane, octaves: tuple[list[Plane], Plane], where: npt.NDArray[np.bool_]) -> Look:
    """How the pixels of a Lab picture that are `where`, (H, W), look; all pixels where that is hardly any.

    Args:
        lab: (H, W, 3), `to_lab`.
        octaves: `octaves_of` its L.
        where: (H, W).
    """
    inside = np.flatnonzero(where)
    if len(inside) < _LEAST_PX:
        inside = np.arange(where.size)
    inside = inside[:: max(1, len(inside) // _SAMPLED_PX)]
    details, rest = octaves
    sampled = lab.reshape(-1, 3)[inside]
    mean = [float(np.mean(_trim(sampled[:, channel]))) for channel in range(3)]
    spread = [float(np.std(_trim(values))) for values in (rest.ravel()[inside], sampled[:, 1], sampled[:, 2])]
    fine = [float(np.std(_trim(plane.ravel()[inside]))) for plane in details]
    return Look(np.array(mean, np.float32), np.array(spread, np.float32), np.array(fine, np.float32))


def inner(region: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """A region without its margin, whose detail is the region's outline and not its own."""
    margin_px = max(2, round(0.02 * max(region.shape)))
    kernel = np.ones((2 * margin_px + 1, 2 * margin_px + 1), np.uint8)
    return np.asarray(cv2.erode(region.astype(np.uint8), kernel, borderType=cv2.BORDER_REPLICATE) > 0)


def _trim(values: Plane) -> Plane:
    low, high = np.quantile(values, (_TRIMMED, 1 - _TRIMMED))
    return np.clip(values, low, high)


def _light(light: Plane, pose: BeadPose) -> float:
    height, width = light.shape
    unit = min(height, width)
    slope = float(np.tan(np.deg2rad(pose.angle_deg)))
    x = np.arange(width)[None] - width / 2
    down = np.arange(height)[:, None] - height / 2 - pose.offset * unit - slope * x
    across = down / max(0.5 * pose.width * unit, 1.0)
    along = (x > pose.start * unit) & (x < pose.end * unit)
    above, below = (light[(across * side > 0.25) & (across * side < 0.95) & along] for side in (-1, 1))
    if not len(above) or not len(below):
        return 0.0
    first, second = float(np.median(above)), float(np.median(below))
    return (first - second) / max(first + second, 1.0)
