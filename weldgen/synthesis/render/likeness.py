"""Give a rendering the colours and the texture of a shop's photos, plate and weld each by itself."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.synthesis.render.light import LightSpec
from weldgen.synthesis.render.noise import Plane, Rng
from weldgen.synthesis.render.shot import Look, Shot, inner, look_of, octaves_of, to_lab
from weldgen.synthesis.render.style import WeldScene

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]

# A rendering's contrast is changed by at most these factors: of what is coarse, of colour, of each octave of detail.
_CONTRAST = (0.55, 1.7)
_COLOUR = (0.4, 2.0)
_DETAIL = (0.35, 2.5)
# A weld is laid so much wider or narrower, and so far from where the photo's lies.
_WIDTH_DEVIATION, _OFFSET_DEVIATION, _END_DEVIATION = 0.15, 0.03, 0.10
# Deviations between one piece of metal and another: of the mean in Lab, and of the logarithms of spread and detail.
_MEAN_VARIES = (6.0, 2.0, 3.5)
_SPREAD_VARIES, _DETAIL_VARIES, _OCTAVE_VARIES = 0.20, 0.28, 0.15
# Flanks that differ by less say nothing of where the light is.
_LIGHT = 0.04


def pose_like(scene: WeldScene, shot: Shot, share: float, rng: Rng, *, portrait: bool) -> WeldScene:
    """A scene with its weld and its light about where those of a photo are.

    Args:
        scene: As it was drawn.
        shot: The photo, of the shape that the picture is to have.
        share: Probability of each.
        rng: Source of randomness.
        portrait: Whether the picture is higher than wide; it then shows the weld upright.
    """
    turned = np.cos(np.deg2rad(scene.camera.roll_deg)) < 0
    pose, bead = shot.pose, scene.bead
    take_pose, take_light = rng.random() < share, rng.random() < share
    widths, offsets, ends = rng.normal(0, 1), rng.normal(0, 1), rng.normal(0, 1, 2)
    if take_pose and pose.outline and pose.upright == portrait:
        width = pose.width * float(np.exp(_WIDTH_DEVIATION * widths))
        reach = [pose.start + 0.5 * width, pose.end - 0.5 * width]
        first, last = (float(end + _END_DEVIATION * jitter * width) for end, jitter in zip(reach, ends, strict=True))
        if turned:
            first, last = -last, -first
        offset = (pose.offset + _OFFSET_DEVIATION * offsets) * (-1 if turned != portrait else 1)
        bead = replace(bead, width=width, offset=offset, start=first, end=max(last, first + width))
    light = scene.light
    if take_light and abs(shot.light) > _LIGHT:
        light = light_from(light, shot.light * (-1 if turned != portrait else 1), rng)
    return replace(scene, bead=bead, light=light)


def light_from(light: LightSpec, above: float, rng: Rng) -> LightSpec:
    """The light with its first lamp on the side of the brighter flank: above the axis where `above` is positive."""
    side = -90.0 if above > 0 else 90.0
    first = replace(light.lamps[0], azimuth_deg=side + float(rng.uniform(-60, 60)))
    return replace(light, lamps=(first, *light.lamps[1:]))


def varied(shot: Shot, rng: Rng) -> Shot:
    """A photo of other metal: its plate and its weld lighter or darker, other in colour, rougher or smoother.

    How rough a weld looks differs more between sound welds than a small defect changes it; images of every class vary
    in it alike, so that a classifier cannot go by it.
    """
    return replace(shot, plate=_varied(shot.plate, rng), bead=_varied(shot.bead, rng))


def _varied(look: Look, rng: Rng) -> Look:
    spread = np.exp(rng.normal(0, _SPREAD_VARIES, 3)) * look.spread
    octaves = np.exp(rng.normal(0, _DETAIL_VARIES) + rng.normal(0, _OCTAVE_VARIES, len(look.octaves))) * look.octaves
    mean = look.mean + rng.normal(0, 1, 3) * _MEAN_VARIES
    return Look(mean.astype(np.float32), spread.astype(np.float32), octaves.astype(np.float32))


def match_photo(image: RGB, cover: Mask, flawed: Mask, shot: Shot, share: float) -> RGB:
    """A rendering with the colours of a photo and its amount of detail in each octave.

    Plate and weld are matched each to its own counterpart (mean and spread in Lab: Reinhard et al., "Color transfer
    between images", 2001; the octaves of L: as Heeger and Bergen do in "Pyramid-based texture analysis", 1995, with
    their spread alone).

    Args:
        image: (H, W, 3) uint8 RGB.
        cover: (H, W) uint8, 255 on the weld.
        flawed: (H, W) uint8, 255 on defects, which say nothing of how sound metal looks.
        shot: The photo.
        share: 0 leaves the rendering as it is, 1 takes over all.
    """
    lab = to_lab(image)
    octaves = octaves_of(lab[:, :, 0])
    sound = flawed == 0
    on_bead = cover > 127
    pairs = (
        (look_of(lab, octaves, inner(on_bead) & sound), shot.bead),
        (look_of(lab, octaves, inner(~on_bead) & sound), shot.plate),
    )
    weight = cv2.GaussianBlur(cover.astype(np.float32) / 255, (0, 0), 1.5)

    def blend(values: list[float]) -> Plane:
        return np.asarray(np.float32(values[1]) + weight * np.float32(values[0] - values[1]))

    result = np.empty_like(lab)
    details, rest = octaves
    light = (rest - blend([own.mean[0] for own, _ in pairs])) * blend([_gain(o, w, 0) for o, w in pairs])
    for index, detail in enumerate(details):
        light += detail * blend([_detail_gain(own, wanted, index) for own, wanted in pairs])
    result[:, :, 0] = light + blend([wanted.mean[0] for _, wanted in pairs])
    for channel in (1, 2):
        moved = lab[:, :, channel] - blend([own.mean[channel] for own, _ in pairs])
        gained = moved * blend([_gain(own, wanted, channel) for own, wanted in pairs])
        result[:, :, channel] = gained + blend([wanted.mean[channel] for _, wanted in pairs])
    mixed = lab + np.float32(share) * (result - lab)
    mixed[:, :, 0] = np.clip(mixed[:, :, 0], 0, 100)
    rgb = cv2.cvtColor(mixed, cv2.COLOR_LAB2RGB)
    return np.asarray(np.clip(rgb * 255 + 0.5, 0, 255), np.uint8)


def _gain(own: Look, wanted: Look, channel: int) -> float:
    return float(np.clip(wanted.spread[channel] / (own.spread[channel] + 0.3), *(_COLOUR if channel else _CONTRAST)))


def _detail_gain(own: Look, wanted: Look, octave: int) -> float:
    return float(np.clip(wanted.octaves[octave] / (own.octaves[octave] + 0.05), *_DETAIL))
