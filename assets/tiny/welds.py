"""Rendered welds with a prompt each: what the tiny SDXL learns from.

Everything follows from a picture's seed: its class, its scene, its size and its prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from weldgen.synthesis.book import shipped_book
from weldgen.synthesis.prompts import prompts_of
from weldgen.synthesis.recipes import draw_defects
from weldgen.synthesis.render.noise import stream
from weldgen.synthesis.render.scene import render_scene
from weldgen.synthesis.render.style import PHOTO, SYNTHETIC, WeldScene, sample_scene

RGB = npt.NDArray[np.uint8]

LONG_PX = 256
SHORT_PX = (256, 192, 176, 144, 128)
# What a surface is called in a prompt; the others are any steel.
_METALS = {
    "stainless": ("stainless steel",),
    "aluminium": ("aluminium",),
    "galvanised": ("galvanised steel",),
}
_STEELS = ("carbon steel", "mild steel plate")
_SOUND_SHARE = 0.3


@dataclass(frozen=True)
class Weld:
    """What a seed stands for."""

    scene: WeldScene
    short_px: int
    prompt: str


def weld_of(seed: int) -> Weld:
    """The weld of a seed."""
    rng = stream(seed, "tiny")
    recipes = shipped_book().recipes
    label = "good" if rng.random() < _SOUND_SHARE else str(rng.choice(sorted(recipes)))
    recipe = recipes[label]
    short_px = int(rng.choice(SHORT_PX))
    style = PHOTO if rng.random() < 0.4 else SYNTHETIC
    scene = sample_scene(seed, draw_defects(recipe, stream(seed, "recipe")), LONG_PX / short_px, style)
    texts = prompts_of(recipe)
    metal = str(rng.choice(_METALS.get(scene.surface.kind, _STEELS)))
    lighting = str(rng.choice(shipped_book().lighting))
    text = texts[int(rng.integers(len(texts)))]
    return Weld(scene, short_px, text.replace("{metal}", metal).replace("{lighting}", lighting))


def render_welds(folder: Path, seeds: Sequence[int], jobs: int) -> None:
    """Render the welds of seeds into a folder, as JPEG; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [seed for seed in seeds if not (folder / f"{seed}.jpg").exists()]
    with ProcessPoolExecutor(jobs, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        for _ in pool.map(_render, [folder] * len(wanted), wanted, chunksize=8):
            pass


def _render(folder: Path, seed: int) -> None:
    weld = weld_of(seed)
    image = render_scene(weld.scene, LONG_PX, weld.short_px).image
    temporary = folder / f"{seed}.part.jpg"
    cv2.imwrite(str(temporary), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 97])
    temporary.replace(folder / f"{seed}.jpg")


def read_weld(folder: Path, seed: int) -> RGB:
    """A rendered weld, (H, W, 3) uint8 RGB."""
    return np.asarray(cv2.cvtColor(cv2.imread(str(folder / f"{seed}.jpg")), cv2.COLOR_BGR2RGB), np.uint8)
