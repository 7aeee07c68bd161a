"""The camera: exposure, tone curve, lens blur, depth of field, vignette, sensor noise, JPEG."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.synthesis.render.light import CameraSpec
from weldgen.synthesis.render.noise import Plane, Rng, blur, f32, gaussian, row_bands, triple

_WHITE, _TONES = 3.0, 4096
# Cells in a row of the exposure meter, and about how many pixels one takes the mean of.
_CELLS, _CELL_PX = 64, 6
_LUMA = f32([[0.2126, 0.7152, 0.0722]])
# Sigmas between which depth of field is blended, as shares of the largest.
_FOCUS_LEVELS = (0.0, 0.35, 1.0)
_LEAST_BLUR_PX = 0.25
# Mean of the radiance of a typical scene, and how much of a scene's deviation from it the camera keeps.
_TYPICAL_KEY = 0.75
_KEPT_KEY = 0.3


def develop(radiance: Plane, camera: CameraSpec, seen: Plane | None = None) -> Plane:
    """Expose, balance, tone-map and encode: linear radiance to display values 0..1, (H, W, 3) float32.

    Args:
        radiance: (H, W, 3) float32.
        camera: The camera.
        seen: (3, 3) matrix from its pixels to the unit square that the camera sees and meters; None for all of it.
    """
    red, blue = camera.white_balance
    gains = f32([red, 1.0, blue])
    metered = _metered(cv2.transform(radiance, _LUMA * gains), seen)
    # Between the geometric mean and the mean: a bright bead on a black plate does not burn out.
    key = float(np.exp(np.mean(np.log(metered + 1e-3)))) ** 0.6 * float(metered.mean()) ** 0.4
    # Automatic exposure goes most of the way only: bright metal stays bright, black scale dark.
    gain = float(camera.exposure**2.2 / key * (key / _TYPICAL_KEY) ** _KEPT_KEY)
    # Saturation is a mixture with grey, which is a mixture of the channels: one matrix.
    mixing = camera.saturation * np.eye(3) + (1 - camera.saturation) * _LUMA
    scale = (_TONES - 1) ** 2 / _WHITE
    matrix, curve = (scale * gain * mixing * gains).astype(np.float32), _tone_curve(camera.contrast)
    picture = np.empty_like(radiance)
    for band in row_bands(radiance.shape):
        mixed = cv2.transform(radiance[band], matrix)
        steps = np.sqrt(np.clip(mixed, 0, np.float32((_TONES - 1) ** 2))).astype(np.uint16)
        picture[band] = np.take(curve, steps)
    return picture


def _metered(luminance: Plane, seen: Plane | None) -> Plane:
    """Mean luminance of the cells that the camera meters, (64, 64)."""
    if seen is None:
        return np.asarray(cv2.resize(luminance, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA))
    height, width = (max(1, round(side / _CELL_PX)) for side in luminance.shape)
    small = cv2.resize(luminance, (width, height), interpolation=cv2.INTER_AREA)
    shrink = np.diag([luminance.shape[1] / width, luminance.shape[0] / height, 1.0])
    return np.asarray(cv2.warpPerspective(small, np.diag([_CELLS, _CELLS, 1.0]) @ seen @ shrink, (_CELLS, _CELLS)))


def _tone_curve(contrast: float) -> Plane:
    """Display values, (4096,) float32, of radiance from 0 to white by the square of the index."""
    radiance = _WHITE * np.linspace(0, 1, _TONES) ** 2
    toned = radiance * (1 + radiance / 6) / (1 + 0.75 * radiance)  # Reinhard's curve, white at about 2.4
    encoded = np.clip(toned, 0, 1) ** (1 / 2.2)
    bent = encoded + (contrast - 1) * (encoded - 0.45) * (1 - np.abs(2 * encoded - 1))
    return np.asarray(np.clip(bent, 0, 1), np.float32)


def soften(picture: Plane, camera: CameraSpec, size_px: int) -> Plane:
    """Lens blur, then the camera's sharpening; display values 0..1."""
    scale = size_px / 512
    soft = blur(picture, camera.blur_px * scale)
    if camera.sharpen > 0:
        soft = soft + np.float32(camera.sharpen) * (soft - blur(soft, 1.2 * scale))
    return np.asarray(np.clip(soft, 0, 1))


def focus(picture: Plane, camera: CameraSpec, size_px: int) -> Plane:
    """Depth of field of a tilted view: the blur grows with the distance from the plane that is in focus.

    The lens's circle of confusion grows in proportion to the relative distance, as it does near the focus.
    """
    sigma_px = defocus(camera, picture.shape[1], picture.shape[0]) * np.float32(size_px / 512)  # (H, W)
    most_px = float(sigma_px.max())
    if most_px < _LEAST_BLUR_PX:
        return picture
    share = sigma_px / np.float32(most_px)
    soft = picture
    for low, high in pairwise(_FOCUS_LEVELS):
        weight = triple(np.clip((share - np.float32(low)) / np.float32(high - low), 0, 1))
        soft = soft + weight * (blur(picture, high * most_px) - soft)
    return np.asarray(soft)


def defocus(camera: CameraSpec, width: int, height: int) -> Plane:
    """Sigma of the blur by depth in each pixel of a picture, (H, W) float32, in pixels at 512."""
    tilt_x, tilt_y = camera.tilt
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None] * np.float32(tilt_x)
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None] * np.float32(tilt_y)
    sharp = 1 - camera.focus * 0.5 * (abs(tilt_x) + abs(tilt_y))  # magnification where the lens is focused
    return np.asarray(np.abs(1 + x + y - np.float32(sharp)) * np.float32(camera.depth_blur_px / 0.1), np.float32)


def compress(image: npt.NDArray[np.uint8], camera: CameraSpec) -> npt.NDArray[np.uint8]:
    """What is left of an (H, W, 3) uint8 RGB picture after the camera has stored it as JPEG."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, stored = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, camera.jpeg_quality])
    return np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR_RGB), np.uint8)


def expose_sensor(picture: Plane, camera: CameraSpec, rng: Rng) -> npt.NDArray[np.uint8]:
    """Vignette and sensor noise, each pixel by itself; display values 0..1 to (H, W, 3) uint8."""
    height, width = picture.shape[:2]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None] ** 2
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
    grain = gaussian(rng, (height, width))
    # the sum of two uniform numbers of a byte each: next to Gaussian at this strength, at a fraction of the time
    halves = np.frombuffer(rng.bytes(2 * picture.size), np.uint8).reshape(2, *picture.shape)
    image = np.empty(picture.shape, np.uint8)
    for band in row_bands(picture.shape):
        shaded = picture[band] * triple(1 - np.float32(0.5 * camera.vignette) * (x + y[band]))
        colour_grain = cv2.add(halves[0][band], halves[1][band], dtype=cv2.CV_32F) - np.float32(255)
        strength = np.float32(camera.noise) * (np.float32(0.6) + np.float32(0.8) * np.sqrt(shaded))
        noise = strength * (triple(np.float32(0.85) * grain[band]) + np.float32(0.5 / 104.5) * colour_grain)
        image[band] = np.clip(shaded * np.float32(255) + noise + np.float32(0.5), 0, 255)
    return image
