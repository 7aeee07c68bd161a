"""The `render` generator: needs no weights, no GPU and no photo."""

from __future__ import annotations

from collections.abc import Sequence

from weldgen.synthesis.recipes import draw_defects
from weldgen.synthesis.render.noise import stream
from weldgen.synthesis.render.scene import render_scene
from weldgen.synthesis.render.style import SYNTHETIC, SceneStyle, sample_scene
from weldgen.synthesis.requests import Generated, Request


class RenderGenerator:
    """Renders a new scene for each request.

    Args:
        style: Ranges from which scenes are drawn.
    """

    def __init__(self, style: SceneStyle = SYNTHETIC) -> None:
        self._style = style

    def generate(self, requests: Sequence[Request]) -> list[Generated]:
        """One rendering for each request, in order."""
        return [self._render(request) for request in requests]

    def _render(self, request: Request) -> Generated:
        wanted = draw_defects(request.recipe, stream(request.seed, "recipe"))
        sides = sorted((request.width, request.height))
        scene = sample_scene(request.seed, wanted, sides[1] / sides[0], self._style)
        made = render_scene(scene, request.width, request.height)
        return Generated(made.image, made.boxes, made.defect_masks)
