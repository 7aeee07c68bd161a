"""Render a scene: material, light and camera put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.synthesis.render.bead import Bead, lay_bead
from weldgen.synthesis.render.defect import DefectSpec, Mask
from weldgen.synthesis.render.defects import DEFECTS, IRREGULAR, misshape
from weldgen.synthesis.render.lens import compress, develop, expose_sensor, focus, soften
from weldgen.synthesis.render.light import CameraSpec, shade
from weldgen.synthesis.render.markings import apply_overlay, draw_markings, warp_overlay
from weldgen.synthesis.render.material import Canvas, Material
from weldgen.synthesis.render.noise import Plane, stream
from weldgen.synthesis.render.style import WeldScene
from weldgen.synthesis.render.surface import base_metal, lay_on_bench
from weldgen.synthesis.render.weld import weld
from weldgen.synthesis.requests import DefectBox


@dataclass(frozen=True)
class Render:
    """A finished picture.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        defect_masks: Kind -> (H, W) uint8, 255 on the defect.
        marking_mask: (H, W) uint8, 255 where there is ink; the picture is the same outside it with and without ink.
        boxes: One for each defect of the scene, in its order.
        cover: (H, W) uint8, 255 on the weld.
    """

    image: npt.NDArray[np.uint8]
    defect_masks: Mapping[str, Mask]
    marking_mask: Mask
    boxes: tuple[DefectBox, ...]
    cover: Mask


def render_scene(scene: WeldScene, width: int, height: int) -> Render:
    """Render a scene at a size in pixels; a portrait picture shows the weld upright."""
    matrix, canvas = _view(scene.camera, width, height)
    radiance, masks, on_bead = radiance_of(scene, canvas, plate_of(scene, canvas))
    developed = develop(radiance, scene.camera, np.diag([1 / width, 1 / height, 1.0]) @ matrix)
    picture = cv2.warpPerspective(developed, matrix, (width, height), flags=cv2.INTER_CUBIC)
    picture = soften(focus(np.clip(picture, 0, 1), scene.camera, max(width, height)), scene.camera, max(width, height))
    image = _take(picture, scene)
    marking_mask: Mask = np.zeros((height, width), np.uint8)
    if scene.markings:
        drawn = draw_markings(scene.markings, canvas, stream(scene.seed, "ink"))
        blur_px = scene.camera.blur_px * max(width, height) / 512
        overlay = warp_overlay(drawn, matrix, width, height, blur_px)
        marking_mask = overlay.mask
        # JPEG spreads ink over its blocks; the clean picture outside the mask keeps the mask exact.
        image = np.where(marking_mask[:, :, None] > 0, _take(apply_overlay(picture, overlay), scene), image)
    seen = [cv2.warpPerspective(mask, matrix, (width, height), flags=cv2.INTER_NEAREST) for mask in masks]
    cover = cv2.warpPerspective(on_bead, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return Render(image, union_by_kind(scene.defects, seen), marking_mask, boxes_of(scene.defects, seen), cover)


def plate_of(scene: WeldScene, canvas: Canvas) -> Material:
    """A scene's plate before welding."""
    return base_metal(scene.surface, canvas, stream(scene.seed, "surface"))


def radiance_of(scene: WeldScene, canvas: Canvas, plate: Material) -> tuple[Plane, list[Mask], Mask]:
    """Light that leaves a plate with a scene's weld on it.

    Returns:
        (H, W, 3) float32 linear, a mask for each defect, and the weld's mask.
    """
    material, masks, cover = _build(scene, canvas, plate)
    return shade(material, scene.light, canvas, stream(scene.seed, "light")), masks, cover


def union_by_kind(defects: Sequence[DefectSpec], masks: Sequence[Mask]) -> dict[str, Mask]:
    """Kind -> (H, W) uint8, 255 on any defect of it."""
    union: dict[str, Mask] = {}
    for spec, mask in zip(defects, masks, strict=True):
        union[spec.kind] = np.maximum(union.get(spec.kind, np.zeros_like(mask)), mask)
    return union


def boxes_of(defects: Sequence[DefectSpec], masks: Sequence[Mask]) -> tuple[DefectBox, ...]:
    """One box for each defect."""
    return tuple(
        DefectBox(spec.kind, spec.severity, _box(mask), int(np.count_nonzero(mask)))
        for spec, mask in zip(defects, masks, strict=True)
    )


def _take(picture: Plane, scene: WeldScene) -> npt.NDArray[np.uint8]:
    """What the camera stores of a developed picture."""
    return compress(expose_sensor(picture, scene.camera, stream(scene.seed, "sensor")), scene.camera)


def _build(scene: WeldScene, canvas: Canvas, plate: Material) -> tuple[Material, list[Mask], Mask]:
    """The welded plate with its defects, a mask for each defect, and the weld's mask."""
    spec = scene.bead
    for defect in scene.defects:
        if defect.kind == IRREGULAR:
            spec = misshape(spec, defect)
    bead = lay_bead(spec, canvas, stream(scene.seed, "outline"))
    material = weld(plate, spec, bead, stream(scene.seed, "bead"))
    masks, cover = [], _cover_mask(bead)
    for index, defect in enumerate(scene.defects):
        if defect.kind == IRREGULAR:
            masks.append(cover)
            continue
        rng = stream(scene.seed, f"defect {index}")
        material, mask = DEFECTS[defect.kind].apply(defect, material, bead, canvas, rng)
        masks.append(mask)
    return lay_on_bench(material, scene.surface, canvas, stream(scene.seed, "bench")), masks, cover


def _cover_mask(bead: Bead) -> Mask:
    return np.where(bead.cover > 0.5, 255, 0).astype(np.uint8)


def _view(camera: CameraSpec, width: int, height: int) -> tuple[Plane, Canvas]:
    """The (3, 3) matrix from canvas to picture, and a canvas that covers the whole picture."""
    portrait = height > width
    roll = np.deg2rad(camera.roll_deg + (90.0 if portrait else 0.0))
    to_middle = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    turn = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, 1, 0], [camera.tilt[0] / width, camera.tilt[1] / height, 1]])
    back = turn @ tilt @ to_middle  # picture to canvas, about the canvas's middle
    corners = back @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
    half_x, half_y = np.abs(corners[:2] / corners[2]).max(axis=1) + 2
    canvas_width, canvas_height = 2 * int(np.ceil(half_x)), 2 * int(np.ceil(half_y))
    matrix = np.linalg.inv(np.array([[1, 0, canvas_width / 2], [0, 1, canvas_height / 2], [0, 0, 1]]) @ back)
    reach = 0.5 * max(width, height) * (0.94 - 0.5 * max(map(abs, camera.tilt)))
    visible = (canvas_width / 2 - reach, canvas_width / 2 + reach)
    middle = np.array([[canvas_width / 2], [canvas_height / 2]])
    around = (corners[:2] / corners[2] + middle)[:, [0, 1, 3, 2]]
    shown = tuple((float(x), float(y)) for x, y in around.T)
    return matrix, Canvas(canvas_width, canvas_height, float(min(width, height)), visible, shown)


def _box(mask: Mask) -> tuple[int, int, int, int] | None:
    if not mask.any():
        return None
    x, y, width, height = cv2.boundingRect(mask)
    return x, y, x + width, y + height
