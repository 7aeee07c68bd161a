"""The `render` generator: needs no weights, no GPU and no photo, and makes use of photos where there are some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from weldgen.data.images import read_mask, read_rgb, shrink
from weldgen.synthesis.recipes import draw_defects
from weldgen.synthesis.render.likeness import match_photo, pose_like, varied
from weldgen.synthesis.render.noise import stream
from weldgen.synthesis.render.scene import Render, render_scene
from weldgen.synthesis.render.shot import Shot, measure
from weldgen.synthesis.render.style import SYNTHETIC, SceneStyle, sample_scene
from weldgen.synthesis.render.transplant import Others, transplant
from weldgen.synthesis.requests import PATTERN, TRANSPLANT, UNKNOWN, Generated, Request

# Photos are kept at this many times the size of what is made of them.
_KEPT_SCALE = 1.5
_KEPT_PHOTOS = 24


class RenderGenerator:
    """Renders a new scene for each request, or puts defects into the request's photo.

    Args:
        fit: How far a rendering takes after its request's photo, 0 to 1.
        style: Ranges from which scenes are drawn.
    """

    def __init__(self, fit: float = 0.0, style: SceneStyle = SYNTHETIC) -> None:
        self._fit = fit
        self._style = style

    def generate(self, requests: Sequence[Request]) -> list[Generated]:
        """One image for each request, in order.

        Raises:
            DataError: A request's photo cannot be read.
        """
        return [self._make(request) for request in requests]

    def _make(self, request: Request) -> Generated:
        size = (request.width, request.height)
        wanted = draw_defects(request.recipe, stream(request.seed, "recipe"))
        shot = _shot(request.photo, max(size)) if request.photo else None
        if shot is None or request.use != TRANSPLANT:
            return self._render(request, wanted, shot)
        weld = _shot(request.weld, max(size)) if request.weld else None
        made = self._transplant(request, shot, weld, wanted)
        if made is None and weld is not None:  # the two welds do not fit: the sound one stays on its own plate
            shot, made = weld, self._transplant(request, weld, None, wanted)
        if made is None:  # where its weld lies is not certain
            return replace(self._render(request, wanted, shot), use=PATTERN)
        return self._liken(made, shot, request.seed)

    def _transplant(
        self, request: Request, shot: Shot, weld: Shot | None, wanted: Sequence[tuple[str, float]]
    ) -> Render | None:
        size = (request.width, request.height)
        kinds = list(request.recipe.defects)
        donor = _shot(request.donor, max(size), request.donor_mask) if request.donor else None
        others = Others(weld, donor, kinds[0] if len(kinds) == 1 else UNKNOWN)
        return transplant(shot, request.seed, wanted, size, others, self._style)

    def _render(self, request: Request, wanted: Sequence[tuple[str, float]], shot: Shot | None) -> Generated:
        sides = sorted((request.width, request.height))
        scene = sample_scene(request.seed, wanted, sides[1] / sides[0], self._style)
        if shot is None or not self._fit:
            return _generated(render_scene(scene, request.width, request.height))
        portrait = request.height > request.width
        scene = pose_like(scene, shot, self._fit, stream(request.seed, "pose"), portrait=portrait)
        return self._liken(render_scene(scene, request.width, request.height), shot, request.seed)

    def _liken(self, made: Render, shot: Shot, seed: int) -> Generated:
        """The picture with the looks of a photo of metal like the photo's."""
        flawed = np.maximum.reduce([np.zeros_like(made.cover), *made.defect_masks.values()])
        image = match_photo(made.image, made.cover, flawed, varied(shot, stream(seed, "metal")), self._fit)
        return Generated(image, made.boxes, made.defect_masks)


def _generated(made: Render) -> Generated:
    return Generated(made.image, made.boxes, made.defect_masks)


@lru_cache(_KEPT_PHOTOS)
def _shot(path: Path, long_px: int, mask: Path | None = None) -> Shot:
    """A photo at little more than the size that is needed, and its measures."""
    photo = read_rgb(path)
    flaws = read_mask(mask, photo.shape) if mask else None
    photo = shrink(photo, round(_KEPT_SCALE * long_px))
    if flaws is not None:
        flaws = np.asarray(cv2.resize(flaws, photo.shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8)
    return measure(photo, long_px, flaws)
