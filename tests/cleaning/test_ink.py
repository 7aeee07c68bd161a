"""The shipped ink network on images that it was not trained on."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from weldgen.cleaning.ink import InkMap, InkSegmenter
from weldgen.cleaning.morphology import hysteresis
from weldgen.cleaning.regions import LIKELY_INK, SURE_IN_REGION
from weldgen.cleaning.settings import InkConfig
from weldgen.synthesis.render.markings import Marking
from weldgen.synthesis.render.scene import render_scene
from weldgen.synthesis.render.style import PHOTO, sample_scene

FIRST_SEED = 900_000  # its training welds have seeds from 50,000 on


@pytest.fixture(scope="module")
def segmenter():
    return InkSegmenter(InkConfig(precision="fp32"))


def test_in_int8_it_sees_nearly_the_same(segmenter):
    """Its weights are kept in fp16, and some of its convolutions are grouped."""
    coarse = InkSegmenter(InkConfig(precision="int8"))
    for seed in range(FIRST_SEED, FIRST_SEED + 2):
        image = render_scene(sample_scene(seed, style=PHOTO), 480, 320).image
        off = np.abs(segmenter.segment(image).ink - coarse.segment(image).ink)
        assert 0 < off.mean() < 0.005


def ink_of(segmenter, image):
    return segmenter.segment(image).resized(image.shape[:2]).ink > 0.5


@pytest.mark.parametrize("ink", [(25, 25, 32), (35, 45, 150), (170, 30, 25), (240, 240, 235)])
def test_writing_in_a_font_it_never_saw_is_marked(segmenter, make_plate, write_on, ink):
    marked, strokes = write_on(make_plate(1), "AS 58-7", (60, 90), ink=ink)
    found = ink_of(segmenter, marked)
    near = cv2.dilate(strokes.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert found[strokes].mean() > 0.8
    assert (found & ~near).mean() < 0.002


@pytest.mark.parametrize("kind", ["porosity", "crack", "undercut", "spatter"])
def test_defects_of_a_weld_are_no_ink(segmenter, kind):
    wrong = total = 0
    for seed in range(FIRST_SEED, FIRST_SEED + 4):
        render = render_scene(sample_scene(seed, [(kind, 0.8)], 1.5, PHOTO), 480, 320)
        found = ink_of(segmenter, render.image)
        wrong += int(found[render.defect_masks[kind] > 0].sum())
        total += int((render.defect_masks[kind] > 0).sum())
    assert wrong / total < 0.03


def test_writing_on_a_rendered_weld_is_marked(segmenter):
    hit = truth = 0
    for seed in range(FIRST_SEED, FIRST_SEED + 4):
        clean = sample_scene(seed, style=PHOTO)
        writing = (Marking("H557", -0.55, 0.25, 0.15, 0.0, "marker", "black"),)
        render = render_scene(replace(clean, markings=writing), 480, 320)
        seen = segmenter.segment(render.image).resized(render.image.shape[:2])
        found = hysteresis(seen.ink, LIKELY_INK, SURE_IN_REGION)  # as masks take it
        hit += int(found[render.marking_mask > 0].sum())
        truth += int((render.marking_mask > 0).sum())
    assert hit / truth > 0.7


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (33, 31), (2000, 700)])
def test_any_size(segmenter, size):
    seen = segmenter.segment(np.full((size[1], size[0], 3), 140, np.uint8))
    assert seen.ink.shape == seen.stamped.shape and seen.ink.dtype == np.float32
    assert seen.ink.min() >= 0 and seen.ink.max() <= 1
    assert max(seen.ink.shape) <= 1024
    whole = seen.resized((size[1], size[0]))
    assert whole.ink.shape == (size[1], size[0])


def test_a_photo_of_one_colour_holds_no_ink(segmenter):
    for grey in (20, 128, 240):
        assert not ink_of(segmenter, np.full((200, 300, 3), grey, np.uint8)).any()


def broad_seven(size, stroke_px):
    """Brushed grey metal of a width and height with a seven in broad dark strokes, and where these are."""
    brushed = np.random.default_rng(1).normal(0, 25, (240, 600)).astype(np.float32)
    metal = 110 + 3 * cv2.GaussianBlur(brushed, (0, 0), sigmaX=6, sigmaY=0.8)
    strokes = np.zeros((240, 600), np.uint8)
    cv2.polylines(strokes, [np.array([[240, 60], [360, 60], [300, 190]])], False, 255, stroke_px, cv2.LINE_AA)
    cover = 0.8 * strokes[..., None] / 255.0
    image = np.clip(metal, 0, 255)[..., None] * (1, 0.95, 0.9) * (1 - cover) + 20 * cover
    return cv2.resize(image.astype(np.uint8), size), cv2.resize(strokes, size) > 128


@pytest.mark.parametrize("stroke_px", [14, 20, 26])
def test_broad_strokes_on_a_small_photo_are_seen_at_a_second_look(segmenter, stroke_px):
    image, strokes = broad_seven((600, 240), stroke_px)
    once = segmenter.segment(image)
    twice = segmenter.look_again(image, once)
    assert (once.resized(strokes.shape).ink[strokes] > 0.5).mean() < 0.5
    found = twice.resized(strokes.shape).ink > 0.5
    assert found[strokes].mean() > 0.9 and found[~strokes].mean() < 0.02


def test_a_photo_that_is_not_enlarged_is_looked_at_once(segmenter):
    image, _ = broad_seven((1500, 600), 20)
    once = segmenter.segment(image)
    assert segmenter.look_again(image, once) is once


@pytest.mark.parametrize(("near", "far", "added"), [(0.02, 0.6, False), (0.3, 0.6, True), (0.02, 0.9, True)])
def test_the_second_look_adds_what_the_first_saw_too_or_what_is_very_clear(segmenter, monkeypatch, near, far, added):
    """Pores and glare look like broad strokes from afar."""

    def seen(image, scale):
        ink = np.full((120, 300) if scale < 1 else (240, 600), 0.01, np.float32)
        height, width = ink.shape
        ink[height // 4 : height // 2, width // 4 : width // 2] = far if scale < 1 else near
        return InkMap(ink, np.zeros_like(ink))

    monkeypatch.setattr(segmenter, "segment_at", seen)
    image = np.zeros((240, 600, 3), np.uint8)
    twice = segmenter.look_again(image, seen(image, 1.5)).ink
    assert twice[90, 225] == pytest.approx(far if added else near, abs=0.01)
    assert twice[10, 10] == pytest.approx(0.01)


def test_a_clear_stroke_does_not_vouch_for_the_pores_that_the_second_look_joins_to_it(segmenter, monkeypatch):
    def seen(image, scale):
        ink = np.full((120, 300) if scale < 1 else (240, 600), 0.01, np.float32)
        height, width = ink.shape
        ink[height // 4 : height // 2, width // 4 : width // 3] = 0.95
        if scale < 1:
            ink[height // 4 : height // 2, width // 3 : width // 2] = 0.6
        return InkMap(ink, np.zeros_like(ink))

    monkeypatch.setattr(segmenter, "segment_at", seen)
    image = np.zeros((240, 600, 3), np.uint8)
    twice = segmenter.look_again(image, seen(image, 1.5)).ink
    assert twice[90, 180] == pytest.approx(0.95)
    assert twice[90, 250] == pytest.approx(0.01)


@pytest.fixture(scope="module")
def written(segmenter):
    """A large photo with writing in one corner of it, the writing taken out, and what the network saw before."""
    image = render_scene(sample_scene(FIRST_SEED, style=PHOTO), 1536, 1024).image
    marked = image.copy()
    cv2.putText(marked, "AS 58-7", (200, 330), cv2.FONT_HERSHEY_SIMPLEX, 2.0, (30, 30, 40), 7, cv2.LINE_AA)
    return image, segmenter.segment(marked), np.any(image != marked, axis=2)


def test_only_what_was_changed_is_seen_again(segmenter, written, monkeypatch):
    image, before, changed = written
    whole = segmenter.segment(image)
    pixels = []
    see = InkSegmenter._see
    monkeypatch.setattr(InkSegmenter, "_see", lambda self, canvas: pixels.append(canvas.size / 3) or see(self, canvas))
    found = segmenter.segment_changed(image, before, changed)
    assert len(pixels) == 1 and pixels[0] < 0.3 * whole.ink.size
    assert before.ink.max() > 0.95 and np.abs(found.ink - whole.ink).max() < 0.05
    assert np.abs(found.stamped - whole.stamped).max() < 0.05
    far = np.ones_like(found.ink, bool)
    far[:450, :800] = False
    assert np.array_equal(found.ink[far], before.ink[far])


def test_where_much_was_changed_all_is_seen_again(segmenter, written):
    image, before, changed = written
    everywhere = changed.copy()
    everywhere[[5, -5], [5, -5]] = True
    assert np.array_equal(segmenter.segment_changed(image, before, everywhere).ink, segmenter.segment(image).ink)
    assert segmenter.segment_changed(image, before, np.zeros_like(changed)) is before
