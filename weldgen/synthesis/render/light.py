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
from weldgen.synthesis.render.noise import Plane, Rng, blur, coloured, f32, smoothstep, triple, value_noise

_ROOM_PX = 96
# Blur of the room's tables, in pixels, and the roughness each stands for.
_ROOM_LEVELS = ((2.0, 0.15), (6.0, 0.40), (15.0, 0.75))
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
    slope_x = cv2.Scharr(height, cv2.CV_32F, 1, 0, scale=1 / 32)
    slope_y = cv2.Scharr(height, cv2.CV_32F, 0, 1, scale=1 / 32)
    z = 1 / np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)
    return -slope_x * z, -slope_y * z, z


def shade(material: Material, light: LightSpec, canvas: Canvas, rng: Rng) -> Plane:
    """Light a material; (H, W, 3) float32, linear radiance with no upper bound."""
    nx, ny, nz = normals(material.height)
    open_sky = occlusion(material.height, canvas.unit_px)
    metallic = triple(material.metallic)
    diffuse_colour = material.albedo * (1 - np.float32(0.85) * metallic)
    mirror_colour = np.float32(0.04) + (material.albedo - np.float32(0.04)) * metallic
    grazing = np.clip(1 - nz, 0, 1)
    edge = triple(np.float32(0.5) * grazing * grazing * grazing)
    mirror_colour += (np.float32(0.85) - mirror_colour) * edge
    room = _room_reflection(light, nx, ny, material.roughness, rng)
    up = triple(np.float32(light.ambient) * (np.float32(0.55) + np.float32(0.45) * nz))
    radiance = (diffuse_colour * up + mirror_colour * room) * triple(open_sky)
    for lamp in light.lamps:
        facing, lobe = _lamp_terms(lamp, nx, ny, nz, material.roughness)
        lit = shadow(material.height, lamp) * np.float32(lamp.power)
        shine = lit * lobe * (np.float32(0.4) + np.float32(0.6) * open_sky)
        radiance += coloured(lit * facing, lamp.colour) * diffuse_colour
        radiance += coloured(shine, lamp.colour) * mirror_colour
    return np.asarray(radiance * triple(_falloff(light, canvas, rng)))


def _lamp_terms(lamp: Lamp, nx: Plane, ny: Plane, nz: Plane, roughness: Plane) -> tuple[Plane, Plane]:
    """Cosine to a lamp and its GGX highlight seen from above, (H, W) each."""
    lx, ly, lz = lamp.direction
    length = float(np.sqrt(lx * lx + ly * ly + (lz + 1) ** 2))
    hx, hy, hz = lx / length, ly / length, (lz + 1) / length
    facing = np.clip(nx * np.float32(lx) + ny * np.float32(ly) + nz * np.float32(lz), 0, 1)
    half = np.clip(nx * np.float32(hx) + ny * np.float32(hy) + nz * np.float32(hz), 0, 1)
    alpha = np.clip(roughness * roughness + np.float32(0.5 * lamp.size), 0.03, 1)
    squared = alpha * alpha
    spread = half * half * (squared - 1) + 1
    distribution = squared / (np.float32(np.pi) * spread * spread)
    masking = 2 * (facing * (nz * (1 - alpha) + alpha) * 0.5 + nz * (facing * (1 - alpha) + alpha) * 0.5)
    return facing, distribution * facing / np.maximum(2 * masking, 1e-3)


def _room_reflection(light: LightSpec, nx: Plane, ny: Plane, roughness: Plane, rng: Rng) -> Plane:
    """What a surface mirrors of its surroundings, (H, W, 3)."""
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
    where_x = ((nx + 1) * np.float32(0.5 * (_ROOM_PX - 1))).astype(np.float32)
    where_y = ((ny + 1) * np.float32(0.5 * (_ROOM_PX - 1))).astype(np.float32)
    result = np.zeros((*nx.shape, 3), np.float32)
    for index, (sigma_px, level) in enumerate(_ROOM_LEVELS):
        table = cv2.GaussianBlur(colour, (0, 0), sigma_px)
        weight = _level_weight(roughness, index, level)
        result += triple(weight) * cv2.remap(table, where_x, where_y, cv2.INTER_LINEAR)
    return result


def _level_weight(roughness: Plane, index: int, level: float) -> Plane:
    """Share of one table at a roughness; the shares sum to 1."""
    below = _ROOM_LEVELS[index - 1][1] if index else -np.inf
    above = _ROOM_LEVELS[index + 1][1] if index + 1 < len(_ROOM_LEVELS) else np.inf
    rising = np.clip((roughness - below) / (level - below), 0, 1) if index else np.ones_like(roughness)
    falling = np.clip((above - roughness) / (above - level), 0, 1) if np.isfinite(above) else np.ones_like(roughness)
    return np.asarray(np.minimum(rising, falling))


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
    lit = np.ones_like(height)
    if reach_px < 1:
        return lit
    near_px = np.linspace(1.0, reach_px, _SHADOW_STEPS)
    if reach_px > _LONG_SHADOW_PX:  # half the resolution is enough for far shadows
        near_px = np.linspace(1.0, _LONG_SHADOW_PX, _SHADOW_STEPS // 2, endpoint=False)
        small = cv2.resize(height, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        far = np.ones_like(small)
        _march(small, far, np.linspace(_LONG_SHADOW_PX, reach_px, _SHADOW_STEPS // 2), lamp, 0.5)
        lit = np.asarray(cv2.resize(far, height.shape[::-1], interpolation=cv2.INTER_LINEAR))
    _march(height, lit, near_px, lamp, 1.0)
    return blur(lit, 0.8)


def _march(height: Plane, lit: Plane, steps_px: Plane, lamp: Lamp, scale: float) -> None:
    """Darken `lit`, (H, W), where the surface some steps towards the lamp rises above its light.

    Args:
        height: (H, W), in pixels of the full size.
        lit: Share of the light, changed in place.
        steps_px: Distances in pixels of the full size.
        lamp: The lamp.
        scale: Size of `height` relative to the full one.
    """
    lx, ly, lz = lamp.direction
    flat = max(float(np.hypot(lx, ly)), 1e-3)
    for step in steps_px:
        move = f32([[1, 0, -lx / flat * step * scale], [0, 1, -ly / flat * step * scale]])
        towards = cv2.warpAffine(
            height, move, height.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        softness = 0.6 + (0.1 + lamp.size) * step
        blocked = (towards - height - np.float32(step * lz / flat)) * np.float32(1 / softness)
        np.minimum(lit, np.clip(1 - blocked, 0, 1), out=lit)


def _falloff(light: LightSpec, canvas: Canvas, rng: Rng) -> Plane:
    """Slow change of the light across the picture, about 1, (H, W)."""
    wave = value_noise(rng, canvas.shape, 0.8 * canvas.unit_px)
    angle = float(rng.uniform(0, 2 * np.pi))
    x = np.linspace(-1, 1, canvas.width, dtype=np.float32)[None] * np.float32(np.cos(angle))
    y = np.linspace(-1, 1, canvas.height, dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    return np.exp(np.float32(light.falloff) * (0.7 * (x + y) + 0.35 * wave))
