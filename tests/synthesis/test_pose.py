"""Where the weld lies in a photo: the bead network, its outline, and the canvas that follows it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from weldgen.errors import BackendError
from weldgen.synthesis.render import pose
from weldgen.synthesis.render.noise import stream
from weldgen.synthesis.render.photos import render_photo_with_masks
from weldgen.synthesis.render.pose import find_bead, weld_probability
from weldgen.synthesis.render.scene import render_scene
from weldgen.synthesis.render.shot import measure
from weldgen.synthesis.render.style import PHOTO, sample_scene
from weldgen.synthesis.render.view import see

SIZE = (288, 192)


def overlap(found: np.ndarray, true: np.ndarray) -> float:
    found, true = found > 127, true > 127
    return float(np.count_nonzero(found & true) / np.count_nonzero(found | true))


def in_photo(cover: np.ndarray, size: tuple[int, int], *, upright: bool = False) -> np.ndarray:
    level = cv2.resize(cover, size[::-1] if upright else size, interpolation=cv2.INTER_LINEAR)
    return level.T if upright else level


@cache
def tinted(seed: int):
    """A weld whose heat tint is as clear as its outline, with writing beside it; none of the network's training."""
    scene = sample_scene(seed, [("porosity", 0.6)] * (seed % 2), SIZE[0] / SIZE[1], PHOTO, marked=True)
    heat = replace(scene.bead.heat, kind="stainless", strength=0.95, width=1.0)
    surface = replace(scene.surface, kind="stainless", plate=None)
    return render_scene(replace(scene, surface=surface, bead=replace(scene.bead, heat=heat)), *SIZE)


def test_tint_and_writing_are_not_taken_for_the_weld():
    overlaps = []
    for seed in range(400, 409):
        made = tinted(seed)
        found = find_bead(made.image)
        overlaps.append(overlap(in_photo(found.cover, SIZE, upright=found.upright), made.cover))
    assert np.median(overlaps) > 0.88 and np.min(overlaps) > 0.6


def test_a_certain_outline_is_right():
    certain = []
    for seed in range(500, 512):
        made = render_photo_with_masks(seed, ("good", "bad")[seed % 2], *SIZE, marked=False)
        found = find_bead(made.image)
        if found.outline:
            certain.append(overlap(in_photo(found.cover, SIZE, upright=found.upright), made.cover))
    assert len(certain) >= 9 and np.min(certain) > 0.6


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (40, 8), (900, 1200)])
def test_photos_of_any_size_are_looked_at(shape):
    likely = weld_probability(np.full((*shape, 3), 120, np.uint8))
    assert max(likely.shape) == 256 and likely.dtype == np.float32 and 0 <= likely.min() <= likely.max() <= 1
    assert find_bead(np.full((*shape, 3), 120, np.uint8)).cover.ndim == 2


def test_a_network_of_two_minds_is_not_certain(monkeypatch):
    image = tinted(400).image
    assert find_bead(image).outline
    looks = iter([weld_probability(image), np.zeros_like(weld_probability(image))])
    monkeypatch.setattr(pose, "weld_probability", lambda photo: next(looks))
    assert not find_bead(image).outline


def test_a_missing_network_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("weldgen.weights.resource_dir", lambda name: tmp_path)
    pose._network.cache_clear()
    with pytest.raises(BackendError, match="bead"):
        find_bead(np.zeros((40, 60, 3), np.uint8))


def bent_weld():
    """A weld that wanders by most of its width."""
    scene = sample_scene(3, (), SIZE[0] / SIZE[1], PHOTO)
    camera = replace(scene.camera, roll_deg=0.0, tilt=(0.0, 0.0))
    bead = replace(scene.bead, offset=0.0, width=0.2, start=-0.65, end=0.65, wander=0.25)
    return render_scene(replace(scene, bead=bead, camera=camera), *SIZE)


def test_the_canvas_follows_a_weld_that_wanders():
    shot = measure(bent_weld().image, 288)
    assert shot.pose.outline
    followed, straight = [], []
    for seed in range(6):
        view = see(shot, SIZE, stream(seed, "view"))
        seen = weld_probability((view.picture * 255).astype(np.uint8))
        cover = cv2.resize(np.where(seen > 0.5, 255, 0).astype(np.uint8), SIZE)
        followed.append(overlap(view.cover(), cover))
        level = replace(view, middles=0 * view.middles, swells=0 * view.swells + 1)
        straight.append(overlap(level.cover(), cover))
    assert np.min(followed) > 0.8 and np.mean(followed) > np.mean(straight) + 0.1


def test_what_is_drawn_on_a_toe_comes_to_lie_on_the_photos_toe():
    view = see(measure(bent_weld().image, 288), SIZE, stream(1, "view"))
    lines = np.zeros(view.canvas.shape, np.uint8)
    for side in (-1, 1):
        row = round(view.canvas.height / 2 + side * 0.5 * view.width_px)
        lines[row, max(0, round(view.reach[0] + view.width_px)) : round(view.reach[1] - view.width_px)] = 255
    seen = weld_probability((view.picture * 255).astype(np.uint8))
    edge = cv2.resize(seen, SIZE)
    on_line = view.mask_onto(lines) > 0
    assert on_line.sum() > 100
    inside, beside = cv2.erode(edge, np.ones((13, 13))), cv2.dilate(edge, np.ones((13, 13)))
    assert (inside[on_line] < 0.5).mean() > 0.9 and (beside[on_line] > 0.5).mean() > 0.9


def test_a_weld_laid_over_another_is_straight():
    view = see(measure(bent_weld().image, 288), SIZE, stream(1, "view"))
    wide, usual = view.place(covering=True), view.place()
    assert wide.width_px > 1.3 * usual.width_px, "it has to cover the bends"
    assert not view.covered(view.picture, wide).middles.any()
