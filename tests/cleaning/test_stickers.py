"""Labels: the print on them goes, the label stays or goes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from weldgen.cleaning.colour import to_lab
from weldgen.cleaning.detectors import TextRegion
from weldgen.cleaning.ink import InkMap
from weldgen.cleaning.mask import text_mask
from weldgen.cleaning.morphology import dilate
from weldgen.cleaning.photos import load_cleaner
from weldgen.cleaning.settings import EASYOCR, CleanConfig, MaskConfig
from weldgen.cleaning.stickers import find_sticker
from weldgen.cleaning.texture import fill


@pytest.fixture
def labelled(make_plate, write_on):
    """A dark plate with a white label on it, the label, and the strokes printed on it."""
    plate = (make_plate(5, 900, 600) * 0.5).astype(np.uint8)
    label = np.zeros((600, 900), bool)
    label[220:340, 250:620] = True
    plate[label] = (228, 230, 236)
    noise = np.random.default_rng(0).normal(0, 1.0, plate.shape)
    plate = np.clip(plate + noise, 0, 255).astype(np.uint8)
    marked, strokes = write_on(plate, "0021-07", (290, 245), size=60)
    return marked, label, strokes


def box_of(strokes, margin=8):
    rows, columns = np.nonzero(strokes)
    left, top, right, bottom = columns.min(), rows.min(), columns.max(), rows.max()
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    outward = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * margin
    return TextRegion((np.array(corners) + outward).astype(np.float32), 0.9, EASYOCR)


def inside_of(region, shape):
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [region.polygon.astype(np.int32)], 1)
    return mask > 0


def test_a_label_and_its_print_are_found(labelled):
    marked, label, strokes = labelled
    found = find_sticker(to_lab(marked), inside_of(box_of(strokes), label.shape))
    assert found is not None
    assert (found.area & label).sum() > 0.97 * label.sum() and (found.area & ~label).sum() < 0.03 * label.sum()
    assert found.print[strokes].mean() > 0.98
    assert (found.print & ~cv2.dilate(strokes.astype(np.uint8), np.ones((7, 7))).astype(bool)).sum() == 0


def test_a_blank_label_with_metal_around_it_is_no_print(labelled):
    marked, label, _ = labelled
    blank = np.where(label[:, :, None], (228, 230, 236), marked).astype(np.uint8)
    region = inside_of(box_of(label, margin=25), label.shape)
    assert find_sticker(to_lab(blank), region) is None


def test_solids_are_print_too_and_the_edge_is_not(labelled):
    marked, label, strokes = labelled
    cv2.rectangle(marked, (540, 240), (600, 300), (30, 30, 30), -1)
    found = find_sticker(to_lab(marked), inside_of(box_of(strokes), label.shape))
    assert found.print[245:295, 545:595].all()
    rim = label & ~cv2.erode(label.astype(np.uint8), np.ones((5, 5))).astype(bool)
    assert not found.print[rim].any()


def test_writing_on_metal_lies_on_no_label(make_plate, write_on):
    marked, strokes = write_on(make_plate(5, 900, 600), "0021-07", (290, 245), size=60)
    assert find_sticker(to_lab(marked), inside_of(box_of(strokes), strokes.shape)) is None


def test_the_print_goes_though_the_network_sees_no_ink(labelled):
    marked, label, strokes = labelled
    nothing = np.zeros(label.shape, np.float32)
    found = text_mask(marked, [box_of(strokes)], InkMap(nothing, nothing), MaskConfig())
    assert found.holes[strokes].mean() > 0.98 and not found.holes[~label].any()
    assert [region.source for region in found.regions] == [EASYOCR]
    filled = fill(marked, found.holes)
    assert np.abs(filled[label].astype(int) - (228, 230, 236)).max() < 25


def test_the_whole_label_goes_on_request(labelled):
    marked, label, strokes = labelled
    nothing = np.zeros(label.shape, np.float32)
    found = text_mask(marked, [box_of(strokes)], InkMap(nothing, nothing), MaskConfig(objects="remove"))
    assert found.holes[label].mean() > 0.99
    filled = fill(marked, found.holes)
    assert np.median(filled[label]) == pytest.approx(np.median(marked[~label]), abs=15)


def test_print_that_glare_has_faded_is_found(labelled):
    marked, label, strokes = labelled
    faded = marked.copy()
    # 12 to 14 units of L* darker than the paper
    faded[label] = np.clip(230 - 0.18 * (230.0 - marked[label]), 0, 255).astype(np.uint8)
    found = find_sticker(to_lab(faded), inside_of(box_of(strokes), label.shape))
    assert found is not None and found.print[strokes].mean() > 0.9


def test_paper_that_was_photographed_sharply_is_no_metal(labelled):
    marked, label, strokes = labelled
    grain = np.random.default_rng(1).normal(0, 2.2, marked.shape[:2])[:, :, None]
    sharp = np.clip(marked + grain, 0, 255).astype(np.uint8)
    found = find_sticker(to_lab(sharp), inside_of(box_of(strokes), label.shape))
    assert found is not None and found.print[strokes].mean() > 0.9


def test_no_outline_of_the_print_is_left_on_the_label(labelled):
    marked, label, strokes = labelled
    soft = cv2.GaussianBlur(marked.astype(np.float32), (0, 0), 1.0)
    sharpened = np.clip(soft + 0.6 * (soft - cv2.GaussianBlur(soft, (0, 0), 2.0)), 0, 255).astype(np.uint8)
    config = {"detect": {"backend": "rapidocr", "rapidocr_canvas_px": 640}, "inpaint": {"backend": "texture"}}
    cleaned = load_cleaner(CleanConfig.model_validate(config)).clean(sharpened)
    assert cleaned.holes[strokes].all()
    around = dilate(strokes, 12) & cv2.erode(label.astype(np.uint8), np.ones((25, 25))).astype(bool)
    assert np.abs(cleaned.pixels[around].astype(int) - sharpened[label & ~dilate(strokes, 20)].mean(axis=0)).max() < 7
