"""The `render` generator: needs no weights, no GPU and no photo, and makes use of photos where there are some."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from weldgen.data.images import RGB, read_rgb
from weldgen.synthesis.recipes import draw_defects
from weldgen.synthesis.render.noise import stream
from weldgen.synthesis.render.palette import match_photo
from weldgen.synthesis.render.scene import Render, render_scene
from weldgen.synthesis.render.style import SYNTHETIC, SceneStyle, sample_scene
from weldgen.synthesis.render.transplant import transplant
from weldgen.synthesis.requests import TRANSPLANT, Generated, Request

# Photos are kept at this many times the size of what is made of them.
_KEPT_SCALE = 1.5
_KEPT_PHOTOS = 24


class RenderGenerator:
    """Renders a new scene for each request, or puts rendered defects into the request's photo.

    Args:
        palette: How far a rendering takes over the colours of its request's photo, 0 to 1.
        style: Ranges from which scenes are drawn.
    """

    def __init__(self, palette: float = 0.0, style: SceneStyle = SYNTHETIC) -> None:
        self._palette = palette
        self._style = style

    def generate(self, requests: Sequence[Request]) -> list[Generated]:
        """One image for each request, in order.

        Raises:
            DataError: A request's photo cannot be read.
        """
        return [self._make(request) for request in requests]

    def _make(self, request: Request) -> Generated:
        photo = _small_photo(request.photo, max(request.width, request.height)) if request.photo else None
        if photo is not None and request.use == TRANSPLANT:
            wanted = draw_defects(request.recipe, stream(request.seed, "recipe"))
            return _generated(transplant(photo, request.seed, wanted, (request.width, request.height), self._style))
        made = _generated(self._render(request))
        if photo is None or not self._palette:
            return made
        return Generated(match_photo(made.image, photo, self._palette), made.defects, made.defect_masks)

    def _render(self, request: Request) -> Render:
        wanted = draw_defects(request.recipe, stream(request.seed, "recipe"))
        sides = sorted((request.width, request.height))
        scene = sample_scene(request.seed, wanted, sides[1] / sides[0], self._style)
        return render_scene(scene, request.width, request.height)


def _generated(made: Render) -> Generated:
    return Generated(made.image, made.boxes, made.defect_masks)


@lru_cache(_KEPT_PHOTOS)
def _small_photo(path: Path, long_px: int) -> RGB:
    """A photo at little more than the size that is needed, (H, W, 3) uint8 RGB."""
    photo = read_rgb(path)
    scale = _KEPT_SCALE * long_px / max(photo.shape[:2])
    if scale >= 1:
        return photo
    size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)
