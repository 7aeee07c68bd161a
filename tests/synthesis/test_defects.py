"""Each pattern of each defect: where it is, what its mask says, what it does not touch."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from weldgen.synthesis.recipes import DEFECT_KINDS, DEFECT_PATTERNS
from weldgen.synthesis.render.defects import DEFECTS, IRREGULAR, sample_defect
from weldgen.synthesis.render.noise import stream
from weldgen.synthesis.render.scene import Render, render_scene
from weldgen.synthesis.render.style import sample_scene

SIZE = (192, 128)
PATTERNS = [(kind, pattern) for kind in DEFECTS for pattern in DEFECT_PATTERNS[kind]]


def pair(name: str, severity: float, seed: int, size: tuple[int, int] = SIZE) -> tuple[Render, Render]:
    """The same weld with and without a defect."""
    scene = sample_scene(seed, [(name, severity)], max(size) / min(size))
    return render_scene(scene, *size), render_scene(replace(scene, defects=()), *size)


def change(flawed: Render, sound: Render) -> np.ndarray:
    return np.abs(flawed.image.astype(int) - sound.image).mean(axis=2)


@pytest.mark.parametrize(("kind", "pattern"), PATTERNS)
def test_a_mask_is_what_changed(kind: str, pattern: str) -> None:
    seen, stray, strong = [], 0, 0
    for seed in (1, 2):
        flawed, sound = pair(f"{kind}/{pattern}", 0.8, seed)
        moved, mask = change(flawed, sound), flawed.defect_masks[kind]
        near = cv2.dilate(mask, np.ones((7, 7), np.uint8))
        seen.append((moved[mask > 0] > 4).mean())
        strong += np.count_nonzero(moved > 25)
        stray += np.count_nonzero((moved > 25) & (near == 0))
    assert np.mean(seen) > 0.7
    assert stray < 0.25 * strong


@pytest.mark.parametrize(("kind", "pattern"), [*PATTERNS, (IRREGULAR, "uneven")])
def test_a_pattern_that_is_asked_for_is_drawn(kind: str, pattern: str) -> None:
    for seed in range(5):
        assert sample_defect(f"{kind}/{pattern}", 0.5, stream(seed, "defects")).pattern == pattern


@pytest.mark.parametrize("kind", list(DEFECTS))
def test_without_a_wish_every_pattern_comes_up(kind: str) -> None:
    drawn = {sample_defect(kind, 0.8, stream(seed, "defects")).pattern for seed in range(60)}
    assert drawn == set(DEFECT_PATTERNS[kind])


@pytest.mark.parametrize("kind", list(DEFECTS))
def test_size_in_pixels_does_not_matter(kind: str) -> None:
    """The same share of the picture is changed at 96 and at 240 pixels, and in a portrait picture."""
    shares = []
    for size in ((96, 64), (240, 160), (160, 240)):
        masks = [render_scene(sample_scene(seed, [(kind, 1.0)], 1.5), *size).defect_masks[kind] for seed in (1, 4, 6)]
        shares.append(np.mean([(mask > 0).mean() for mask in masks]))
    assert min(shares) > 0.25 * max(shares) > 0


def test_all_kinds_at_once() -> None:
    scene = sample_scene(12, [(kind, 0.5) for kind in DEFECT_KINDS])
    render = render_scene(scene, *SIZE)
    assert set(render.defect_masks) == set(DEFECT_KINDS) == {box.kind for box in render.boxes}
    assert all(mask.any() for mask in render.defect_masks.values())
    assert render.image.std() > 8


@pytest.mark.parametrize("name", ["burn_through/hole", "lack_of_fusion/centre", "porosity/wormhole", "slag/patches"])
def test_openings_and_slag_are_dark(name: str) -> None:
    for seed in (1, 2, 3):
        flawed, sound = pair(name, 1.0, seed)
        inside = flawed.defect_masks[name.partition("/")[0]] > 0
        assert flawed.image[inside].mean() < 0.85 * sound.image[inside].mean()


def test_powder_is_pale_and_soot_is_dark() -> None:
    for name, darker in (("contamination/powder", False), ("contamination/soot", True)):
        levels = []
        for seed in (2, 3, 5):
            flawed, sound = pair(name, 1.0, seed)
            inside = flawed.defect_masks["contamination"] > 0
            levels.append(flawed.image[inside].mean() - sound.image[inside].mean())
        assert (np.mean(levels) < -8) if darker else (np.mean(levels) > 8)


def test_overlap_lies_beside_the_bead_and_excess_on_it() -> None:
    for kind, beside in (("overlap", True), ("excess", False)):
        flawed, _ = pair(kind, 0.8, 3)
        off = (flawed.cover == 0) & (flawed.defect_masks[kind] > 0)
        share = np.count_nonzero(off) / np.count_nonzero(flawed.defect_masks[kind])
        assert (share > 0.25) if beside else (share < 0.2)
