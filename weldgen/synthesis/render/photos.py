"""Renderings that play real shop-floor photos: the demo's stand-in for a user's data.

They are drawn from `style.PHOTO`, which differs from what the `render` generator makes (`style.SYNTHETIC`), and may
carry handwriting; so a demo has a gap between "real" and synthetic to bridge, as real projects do.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from weldgen.synthesis.recipes import draw_defects, resolve_recipe
from weldgen.synthesis.render.noise import stream
from weldgen.synthesis.render.scene import Render, render_scene
from weldgen.synthesis.render.style import PHOTO, sample_scene


def render_photo(seed: int, label: str, width: int, height: int, *, marked: bool) -> npt.NDArray[np.uint8]:
    """A weld photo, (H, W, 3) uint8 RGB.

    Args:
        seed: Another seed, another photo.
        label: Class, by a name that has a known recipe (`good`, `bad`, `porosity`, ...).
        width: Pixels.
        height: Pixels.
        marked: Whether there is handwriting on the plate. The same seed without it gives the same photo, clean.

    Raises:
        ConfigError: The label is none that weldgen knows.
    """
    return render_photo_with_masks(seed, label, width, height, marked=marked).image


def render_photo_with_masks(seed: int, label: str, width: int, height: int, *, marked: bool) -> Render:
    """`render_photo` with the exact masks of the defects and of the ink."""
    wanted = draw_defects(resolve_recipe(label, {}), stream(seed, "recipe"))
    aspect = max(width, height) / min(width, height)
    return render_scene(sample_scene(seed, wanted, aspect, PHOTO, marked), width, height)
