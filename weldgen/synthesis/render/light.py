"""From material to light: normals, lamps (Lambert and GGX), surroundings, occlusion, shadow.

The specular lobe is GGX with Smith masking in the height-correlated approximation (Walter et al. 2007, Heitz 2014;
Schlick's Fresnel 1994). Surroundings are one random room, mirrored by the normals through tables blurred by
roughness.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from weldgen.synthesis.render.material import Canvas, Material, RGBColour
from weldgen.synthesis.render.noise import Plane, Rng, blur, coloured, row_bands, smoothstep, value_noise

_ROOM_PX = 96
# Blur of the mirrored room, in pixels, and the roughness each stands for; tables between them.
_ROOM_BLURS = ((2.0, 0.15), (6.0, 0.40), (15.0, 0.75))
_ROOM_TABLES = 25
_SHADOW_STEPS = 8
# From this distance on, shadows are soft.
_LONG_SHADOW_PX = 8.0


@dataclass(frozen=True)
class Lamp:
    """A lamp.

    Attributes:
        azimuth_deg: Where it stands; 0 is along the weld.
        elevation_deg: Above the plate.
        power: Radiance on a surface that faces it.
        colour: Linear RGB.
        size: 0 a point, 0.3 a window; widens the highlight and softens the shadow.
    """

    azimuth_deg: float
    elevation_deg: float
    power: float
    colour: RGBColour
    size: float

    @property
    def direction(self) -> tuple[float, float, float]:
        """Unit vector towards the lamp: x along the weld, y down the picture, z up."""
        azimuth, elevation = np.deg2rad(self.azimuth_deg), np.deg2rad(self.elevation_deg)
        flat = float(np.cos(elevation))
        return flat * float(np.cos(azimuth)), flat * float(np.sin(azimuth)), float(np.sin(elevation))


@dataclass(frozen=True)
class LightSpec:
    """The light of a scene.

    Attributes:
        lamps: One to three.
        ambient: Light from everywhere.
        room_contrast: How lively the mirrored surroundings are.
        falloff: How much the light fades across the picture.
    """

    lamps: tuple[Lamp, ...]
    ambient: float
    room_contrast: float
    falloff: float


@dataclass(frozen=True)
class CameraSpec:
    """The camera.

    Attributes:
        roll_deg: Turn of the weld in the picture.
        tilt: Foreshortening across and along the weld, shares of the picture.
        exposure: Mean brightness of the developed picture, 0..1.
        contrast: 1 neutral.
        white_balance: Gains of red and blue.
        saturation: 1 neutral.
        blur_px: Gaussian sigma at 512 pixels.
        sharpen: Amount of the camera's own sharpening.
        noise: Deviation of the sensor's noise at mid grey, in 1/255.
        vignette: Darkening of the corners.
        depth_blur_px: Gaussian sigma at 512 pixels of what is a tenth nearer or farther than what is in focus.
        focus: What is in focus in a tilted view: -1 the nearest corner, 1 the farthest.
        jpeg_quality: 1 to 100, as the camera stores the picture.
    """

    roll_deg: float
    tilt: tuple[float, float]
    exposure: float
    contrast: float
    white_balance: tuple[float, float]
    saturation: float
    blur_px: float
    sharpen: float
    noise: float
    vignette: float
    depth_blur_px: float
    focus: float
    jpeg_quality: int


def normals(height: Plane) -> tuple[Plane, Plane, Plane]:
    """Unit normals of a height field in pixels: x, y, z components, (H, W) each."""
    return _normals(*_slopes(height))


def _slopes(height: Plane) -> tuple[Plane, Plane]:
    """Rise of a height field to the right and downwards, (H, W) each."""
    return (
        np.asarray(cv2.Scharr(height, cv2.CV_32F, 1, 0, scale=1 / 32)),
        np.asarray(cv2.Scharr(height, cv2.CV_32F, 0, 1, scale=1 / 32)),
    )


def _normals(slope_x: Plane, slope_y: Plane) -> tuple[Plane, Plane, Plane]:
    z = 1 / np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)
    return -slope_x * z, -slope_y * z, z


def shade(material: Material, light: LightSpec, canvas: Canvas, rng: Rng) -> Plane:
    """Light a material; (H, W, 3) float32, linear radiance with no upper bound, 0 where the picture does not reach."""
    slopes = _slopes(material.height)
    open_sky = occlusion(material.height, canvas.unit_px)
    shadows = [shadow(material.height, lamp) for lamp in light.lamps]
    room, falloff = _room(light, rng), _falloff(light, canvas, rng)
    radiance = np.zeros_like(material.albedo)
    for band in row_bands(canvas.shape):
        part = band, canvas.columns(band.start, band.stop)
        if part[1].start < part[1].stop:
            arriving = _Arriving(open_sky[part], [lit[part] for lit in shadows], falloff[part])
            facing = _normals(slopes[0][part], slopes[1][part])
            radiance[part] = _shade_part(material.part(part), facing, arriving, light, room)
    return radiance


@dataclass(frozen=True)
class _Arriving:
    """What reaches a surface: share of the sky, share of each lamp, and the slow change over the picture, (h, w)."""

    open_sky: Plane
    lit: list[Plane]
    falloff: Plane


def _shade_part(
    material: Material, facing: tuple[Plane, Plane, Plane], arriving: _Arriving, light: LightSpec, room: Plane
) -> Plane:
    """Radiance of a part, (h, w, 3); the channels one by one, as NumPy is slow over an inner axis of three."""
    nx, ny, nz = facing
    grazing = np.clip(1 - nz, 0, 1)
    edge = np.float32(0.5) * grazing * grazing * grazing
    dull = 1 - np.float32(0.85) * material.metallic
    sky, falloff = arriving.open_sky * arriving.falloff, arriving.falloff
    up = (np.float32(0.55 * light.ambient) + np.float32(0.45 * light.ambient) * nz) * sky
    around = cv2.split(_reflection(room, nx, ny, material.roughness))
    lamps = []
    for lamp, lit in zip(light.lamps, arriving.lit, strict=True):
        cosine, lobe = _lamp_terms(lamp, nx, ny, nz, material.roughness)
        power = lit * falloff * np.float32(lamp.power)
        shine = power * lobe * (np.float32(0.4) + np.float32(0.6) * arriving.open_sky)
        lamps.append((lamp.colour, power * cosine, shine))
    channels = []
    for index, albedo in enumerate(cv2.split(material.albedo)):
        mirror = np.float32(0.04) + (albedo - np.float32(0.04)) * material.metallic
        mirror += (np.float32(0.85) - mirror) * edge
        spread, mirrored = up.copy(), around[index] * sky
        for colour, cosine, shine in lamps:
            spread += cosine * np.float32(colour[index])
            mirrored += shine * np.float32(colour[index])
        channels.append(albedo * dull * spread + mirror * mirrored)
    return np.asarray(cv2.merge(channels))


def _lamp_terms(lamp: Lamp, nx: Plane, ny: Plane, nz: Plane, roughness: Plane) -> tuple[Plane, Plane]:
    """Cosine to a lamp and its GGX highlight seen from above, (H, W) each."""
    lx, ly, lz = lamp.direction
    facing = np.clip(nx * np.float32(lx) + ny * np.float32(ly) + nz * np.float32(lz), 0, 1)
    both = facing + nz  # the half vector is the sum of the directions to the lamp and to the camera
    alpha = np.clip(roughness * roughness + np.float32(0.5 * lamp.size), 0.03, 1)
    squared = alpha * alpha
    spread = both * both * ((squared - 1) * np.float32(1 / (2 + 2 * lz))) + 1
    # the two halves of Smith's term are facing * (nz (1 - a) + a) and nz * (facing (1 - a) + a)
    masking = np.maximum(facing * nz * (4 - 4 * alpha) + (alpha + alpha) * both, np.float32(1e-3))
    return facing, squared * facing / (np.float32(np.pi) * spread * spread * masking)


def _room(light: LightSpec, rng: Rng) -> Plane:
    """The surroundings as normals mirror them: (96, 96, 3) tables from polished to dull, one below the other."""
    axis = np.linspace(-1, 1, _ROOM_PX, dtype=np.float32)
    heading = float(rng.uniform(0, 2 * np.pi))  # one side of the room is brighter
    lean = axis[None] * np.float32(np.cos(heading)) + axis[:, None] * np.float32(np.sin(heading))
    clutter = value_noise(rng, (_ROOM_PX, _ROOM_PX), _ROOM_PX / 5)
    # Most of a hall's light comes from above; how much of it, and how wide that patch is, differs.
    slope = axis[None] ** 2 + axis[:, None] ** 2
    above = float(rng.uniform(0.3, 2.6)) * np.exp(-slope / np.float32(rng.uniform(0.03, 0.16)))
    room = light.ambient * np.exp(light.room_contrast * (clutter + 1.9 * lean + above))
    # A slope of more than 45 degrees mirrors the plate, not the room.
    room *= 1 - 0.75 * smoothstep(slope, 0.22, 0.62)
    colour = np.ones((_ROOM_PX, _ROOM_PX, 3), np.float32) * room[:, :, None]
    for lamp in light.lamps:
        lx, ly, lz = lamp.direction
        length = np.sqrt(2 + 2 * lz)  # the normal that mirrors the lamp into the camera
        distance = (axis[None] - lx / length) ** 2 + (axis[:, None] - ly / length) ** 2
        glow = np.exp(-distance / np.float32(0.03 + 0.3 * lamp.size)) * np.float32(0.7 * lamp.power * lamp.size)
        colour += coloured(glow.astype(np.float32), lamp.colour)
    blurred = [np.asarray(cv2.GaussianBlur(colour, (0, 0), sigma_px)) for sigma_px, _ in _ROOM_BLURS]
    tables = []
    for roughness in np.linspace(_ROOM_BLURS[0][1], _ROOM_BLURS[-1][1], _ROOM_TABLES):
        between = float(np.interp(roughness, [at for _, at in _ROOM_BLURS], range(len(_ROOM_BLURS))))
        low = min(int(between), len(_ROOM_BLURS) - 2)
        tables.append(cv2.addWeighted(blurred[low], low + 1 - between, blurred[low + 1], between - low, 0))
    return np.concatenate(tables)


def _reflection(room: Plane, nx: Plane, ny: Plane, roughness: Plane) -> Plane:
    """What a surface mirrors of its surroundings, (H, W, 3)."""
    low, high = _ROOM_BLURS[0][1], _ROOM_BLURS[-1][1]
    table = np.rint((np.clip(roughness, low, high) - np.float32(low)) * np.float32((_ROOM_TABLES - 1) / (high - low)))
    where_x = (nx + 1) * np.float32(0.5 * (_ROOM_PX - 1))
    where_y = (ny + 1) * np.float32(0.5 * (_ROOM_PX - 1)) + table * np.float32(_ROOM_PX)
    return np.asarray(cv2.remap(room, where_x, where_y, cv2.INTER_LINEAR))


def occlusion(height: Plane, unit_px: float) -> Plane:
    """How much of the sky a point sees, 0..1, (H, W), from its depth below the surface around it at three scales."""
    open_sky = np.ones_like(height)
    for sigma_px, strength in ((1.6, 0.55), (0.02 * unit_px, 0.9), (0.07 * unit_px, 0.85)):
        depth = np.maximum(blur(height, sigma_px) - height, 0)
        open_sky /= 1 + np.float32(strength / sigma_px) * depth
    return open_sky


def shadow(height: Plane, lamp: Lamp) -> Plane:
    """Share of a lamp's light that arrives, 0..1, (H, W): a march through the height field towards the lamp."""
    lx, ly, lz = lamp.direction
    rise = lz / max(float(np.hypot(lx, ly)), 1e-3)
    reach_px = min(float(np.ptp(height)) / max(rise, 0.15), 60.0)
    if reach_px < 1:
        return np.ones_like(height)
    near_px, blocked = np.linspace(1.0, reach_px, _SHADOW_STEPS), np.zeros_like(height)
    if reach_px > _LONG_SHADOW_PX:  # half the resolution is enough for far shadows
        near_px = np.linspace(1.0, _LONG_SHADOW_PX, _SHADOW_STEPS // 2, endpoint=False)
        small = np.asarray(cv2.resize(height, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
        far = np.zeros_like(small)
        _march(small, far, np.linspace(_LONG_SHADOW_PX, reach_px, _SHADOW_STEPS // 2), lamp, 0.5)
        blocked = np.asarray(cv2.resize(far, height.shape[::-1], interpolation=cv2.INTER_LINEAR))
    _march(height, blocked, near_px, lamp, 1.0)
    return blur(1 - np.minimum(blocked, np.float32(1)), 0.8)


def _march(height: Plane, blocked: Plane, steps_px: Plane, lamp: Lamp, scale: float) -> None:
    """Raise `blocked`, (H, W), where the surface some steps towards the lamp rises above its light.

    Args:
        height: (H, W), in pixels of the full size.
        blocked: Share of the light that does not arrive, 0 and more, changed in place.
        steps_px: Distances in pixels of the full size.
        lamp: The lamp.
        scale: Size of `height` relative to the full one.
    """
    lx, ly, lz = lamp.direction
    flat = max(float(np.hypot(lx, ly)), 1e-3)
    rows, columns = height.shape
    margin = int(np.ceil(float(np.max(steps_px)) * scale)) + 1
    padded = cv2.copyMakeBorder(height, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    rising = np.empty_like(height)
    for step in steps_px:
        # the nearest whole pixel; how far away that is counts below
        right, down = round(lx / flat * step * scale), round(ly / flat * step * scale)
        away = float(np.hypot(right, down)) / scale
        towards = padded[margin + down : margin + down + rows, margin + right : margin + right + columns]
        sharpness = 1 / (0.6 + (0.1 + lamp.size) * away)
        cv2.addWeighted(towards, sharpness, height, -sharpness, -sharpness * away * lz / flat, dst=rising)
        cv2.max(blocked, rising, dst=blocked)


def _falloff(light: LightSpec, canvas: Canvas, rng: Rng) -> Plane:
    """Slow change of the light across the picture, about 1, (H, W)."""
    wave = value_noise(rng, canvas.shape, 0.8 * canvas.unit_px)
    angle = float(rng.uniform(0, 2 * np.pi))
    x = np.linspace(-1, 1, canvas.width, dtype=np.float32)[None] * np.float32(np.cos(angle))
    y = np.linspace(-1, 1, canvas.height, dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    return np.exp(np.float32(light.falloff) * (0.7 * (x + y) + 0.35 * wave))
