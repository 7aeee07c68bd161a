"""Put rendered defects into a real photo of a sound weld.

The same scene is rendered with and without its defects, with its bead where the photo's bead is; the quotient of the
two is what the defects do to the light, and the photo is multiplied by it in linear light. So the pore is rendered,
and everything else is the shop's own metal. (Quotient images: Shashua and Riklin-Raviv, PAMI 2001.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.synthesis.render.defect import DefectSpec, Mask
from weldgen.synthesis.render.defects import IRREGULAR
from weldgen.synthesis.render.material import Canvas
from weldgen.synthesis.render.noise import Plane, Rng, line_noise, stream
from weldgen.synthesis.render.pose import BeadPose, find_bead
from weldgen.synthesis.render.scene import Render, boxes_of, radiance_of, union_by_kind
from weldgen.synthesis.render.style import SYNTHETIC, SceneStyle, WeldScene, sample_scene

RGB = npt.NDArray[np.uint8]

_GAMMA = 2.2
# Light in a pore is no less, and on a drop no more, than this times that of the sound weld.
_QUOTIENT = (0.06, 3.5)
# Reach of a defect's shadow and shine beyond its mask, as a share of the bead's width.
_REACH = 0.12
_MOST_ZOOM = 1.35
_MOST_TURN_DEG = 4.0


def transplant(
    photo: RGB, seed: int, defects: Sequence[tuple[str, float]], size: tuple[int, int], style: SceneStyle = SYNTHETIC
) -> Render:
    """A photo with defects, seen anew: mirrored, cut, turned a little, in other light.

    Args:
        photo: (H, W, 3) uint8 RGB of a sound weld.
        seed: Another seed, another view and other defects.
        defects: Kind and severity of each; empty for a sound weld.
        size: Width and height of the result in pixels; the photo is cut to its shape.
        style: Ranges from which the light is drawn.
    """
    rng = stream(seed, "transplant")
    pose = find_bead(photo)
    width, height = size[::-1] if pose.upright else size
    level = np.swapaxes(photo, 0, 1) if pose.upright else photo
    picture, pose = _view(np.ascontiguousarray(level), pose, (width, height), rng)
    scene = _scene(seed, defects, pose, (width, height), style)
    picture, masks = _with_defects(picture, scene, pose)
    image = _photograph(picture, rng)
    if pose.upright:
        image, masks = np.swapaxes(image, 0, 1), [np.ascontiguousarray(mask.T) for mask in masks]
    none: Mask = np.zeros(image.shape[:2], np.uint8)
    return Render(
        np.ascontiguousarray(image), union_by_kind(scene.defects, masks), none, boxes_of(scene.defects, masks)
    )


def _view(photo: RGB, pose: BeadPose, size: tuple[int, int], rng: Rng) -> tuple[Plane, BeadPose]:
    """A new view of a photo with a level weld, (H, W, 3) float32 0..1, and where the weld is in it."""
    width, height = size
    tall, long = photo.shape[:2]
    cover = max(width / long, height / tall)
    zoom = cover * float(np.exp(rng.uniform(0, np.log(_MOST_ZOOM))))
    turn_deg = float(rng.uniform(-_MOST_TURN_DEG, _MOST_TURN_DEG))
    flip_x, flip_y = rng.random() < 0.5, rng.random() < 0.5
    slack_x, slack_y = long * zoom - width, tall * zoom - height
    shift_x, shift_y = (float(rng.uniform(-0.5, 0.5)) * slack for slack in (slack_x, slack_y))
    matrix = cv2.getRotationMatrix2D((long / 2, tall / 2), turn_deg, zoom)
    matrix[:, 2] += [width / 2 - long / 2 + shift_x, height / 2 - tall / 2 + shift_y]
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    source = photo if zoom >= 0.5 else cv2.GaussianBlur(photo, (0, 0), 0.35 / zoom)
    seen = cv2.warpAffine(source, matrix, size, flags=method, borderMode=cv2.BORDER_REFLECT_101)
    seen = seen[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    unit = min(width, height)
    offset = (pose.offset * min(tall, long) * zoom + shift_y) / unit * (-1 if flip_y else 1)
    moved = replace(pose, offset=offset, width=pose.width * min(tall, long) * zoom / unit)
    return np.ascontiguousarray(seen).astype(np.float32) / 255, moved


def _scene(
    seed: int, defects: Sequence[tuple[str, float]], pose: BeadPose, size: tuple[int, int], style: SceneStyle
) -> WeldScene:
    """A scene whose bead lies where the photo's does."""
    aspect = size[0] / size[1]
    scene = sample_scene(seed, defects, max(aspect, 1 / aspect), style)
    reach = 0.5 * size[0] / min(size)
    bead = replace(
        scene.bead, start=-0.9 * reach, end=0.9 * reach, offset=pose.offset, width=pose.width, wander=0.01, crater=0.1
    )
    return replace(scene, bead=bead, surface=replace(scene.surface, plate=None))


def _with_defects(picture: Plane, scene: WeldScene, pose: BeadPose) -> tuple[Plane, list[Mask]]:
    """The picture times what the defects do to the light, and a mask for each defect."""
    height, width = picture.shape[:2]
    canvas = Canvas(width, height, float(min(width, height)), (0.03 * width, 0.97 * width))
    drawn = tuple(defect for defect in scene.defects if defect.kind != IRREGULAR)
    masks: dict[DefectSpec, Mask] = {}
    for defect in scene.defects:
        if defect.kind == IRREGULAR:
            picture, masks[defect] = _bent(picture, pose, canvas, defect.severity, stream(scene.seed, "bend"))
    if drawn:
        sound, _ = radiance_of(replace(scene, defects=()), canvas)
        flawed, found = radiance_of(replace(scene, defects=drawn), canvas)
        masks |= dict(zip(drawn, found, strict=True))
        floor = np.float32(0.05 * float(sound.mean()))
        quotient = np.clip((flawed + floor) / (sound + floor), *_QUOTIENT)
        reach_px = max(2.0, _REACH * pose.width * canvas.unit_px)
        away_px = cv2.distanceTransform((np.maximum.reduce(found) == 0).astype(np.uint8), cv2.DIST_L2, 5)
        weight = np.clip(2 - away_px / np.float32(reach_px), 0, 1)[:, :, None]
        linear = np.power(picture, _GAMMA) * (1 + weight * (quotient - 1))
        picture = np.power(np.clip(linear, 0, 1), 1 / _GAMMA)
    return picture, [masks[defect] for defect in scene.defects]


def _bent(picture: Plane, pose: BeadPose, canvas: Canvas, severity: float, rng: Rng) -> tuple[Plane, Mask]:
    """The weld laid by an unsteady hand: it wanders and swells; the metal beside it stays where it is."""
    height, width = canvas.shape
    half_px = 0.5 * pose.width * canvas.unit_px
    much = 0.35 + 0.65 * severity
    wander = 0.30 * much * half_px * line_noise(rng, width, 2.2 * half_px)
    swell = np.clip(1 + 0.30 * much * line_noise(rng, width, 1.6 * half_px), 0.5, 1.8)
    down = np.arange(height, dtype=np.float32)[:, None] - np.float32(canvas.y_px(pose.offset))
    fade = np.exp(-((np.abs(down) / (2.0 * half_px)) ** 4))
    rows = down + fade * (down / swell[None] - down - wander[None]) + np.float32(canvas.y_px(pose.offset))
    columns = np.broadcast_to(np.arange(width, dtype=np.float32)[None], canvas.shape)
    bent = cv2.remap(
        picture, np.ascontiguousarray(columns, np.float32), rows.astype(np.float32), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )  # fmt: skip
    mask = np.where(np.abs(down - wander[None]) < half_px * swell[None], 255, 0).astype(np.uint8)
    return np.asarray(bent), mask


def _photograph(picture: Plane, rng: Rng) -> RGB:
    """Other exposure, white balance and noise."""
    gain = np.exp(rng.normal(0, 0.10) + rng.normal(0, 0.025, 3)).astype(np.float32)
    gamma = np.float32(np.exp(rng.normal(0, 0.10)))
    noise = rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(rng.uniform(0.002, 0.010))
    return np.asarray(np.clip((np.power(picture, gamma) * gain + noise) * 255 + 0.5, 0, 255), np.uint8)
