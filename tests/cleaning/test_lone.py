"""Ink in no region: clear strokes, and what is of the colour of ink that is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from weldgen.cleaning.colour import to_lab
from weldgen.cleaning.lone import lone_ink

DARK, GREY = 25, 110


@pytest.fixture
def marked(make_plate):
    """A plate with a word in dark ink; what is added to it, and the mask of the word."""
    metal = make_plate(3, 900, 600)
    word, blob = np.zeros((2, 600, 900), np.uint8)
    cv2.putText(word, "W7", (120, 300), cv2.FONT_HERSHEY_SIMPLEX, 5, 1, 32)
    cv2.rectangle(blob, (600, 260), (750, 292), 1, -1)  # a bar, broader than a pen's stroke on this photo

    def look(tone, known=True, probability=0.8):
        image = np.where(word[:, :, None] > 0, DARK, metal) if known else metal
        image = np.where(blob[:, :, None] > 0, tone, image).astype(np.uint8)
        seen = cv2.GaussianBlur((blob * probability + word * 0.95 * known).astype(np.float32), (0, 0), 0.8)
        return lone_ink(seen, to_lab(image), (word > 0) & known, 0.25, 0.5)[blob > 0].mean()

    return look


def test_broad_ink_of_a_known_colour_is_writing(marked):
    assert marked(DARK) > 0.9


def test_of_another_colour_or_alone_it_is_not(marked):
    assert marked(GREY) == 0, "nearer to the metal than to the ink"
    assert marked(DARK, known=False) == 0
    assert marked(DARK, probability=0.52) == 0, "hardly seen"


def test_what_the_network_is_sure_of_may_be_broader(make_plate):
    metal = make_plate(3, 900, 600)
    word, arrow = np.zeros((2, 600, 900), np.uint8)
    cv2.putText(word, "W7", (120, 300), cv2.FONT_HERSHEY_SIMPLEX, 5, 1, 32)
    cv2.rectangle(arrow, (600, 200), (660, 380), 1, -1)
    image = np.where(((word | arrow) > 0)[:, :, None], (20, 20, 110), metal).astype(np.uint8)

    def found(probability):
        seen = cv2.GaussianBlur((arrow * probability + word * 0.95).astype(np.float32), (0, 0), 0.8)
        return lone_ink(seen, to_lab(image), word > 0, 0.25, 0.5)[arrow > 0].mean()

    assert found(0.99) > 0.9
    assert found(0.8) == 0


@pytest.mark.parametrize(("thickness", "known", "goes"), [(14, True, True), (14, False, False), (3, True, False)])
def test_a_faded_line_beside_writing_goes_if_it_is_as_wide(make_plate, thickness, known, goes):
    metal = make_plate(3, 900, 600)
    word, line = np.zeros((2, 600, 900), np.uint8)
    cv2.putText(word, "W7", (120, 200), cv2.FONT_HERSHEY_SIMPLEX, 4, 1, 14)
    cv2.polylines(line, [np.array([(500, 400), (700, 400), (600, 560)])], False, 1, thickness)
    image = np.where((word * known > 0)[:, :, None], DARK, metal)
    image = np.where((line > 0)[:, :, None], image + 6, image).astype(np.uint8)
    seen = cv2.GaussianBlur((line * 0.58 + word * 0.95 * known).astype(np.float32), (0, 0), 0.8)
    found = lone_ink(seen, to_lab(image), (word > 0) & known, 0.25, 0.5)
    assert (found[line > 0].mean() > 0.9) == goes
    assert found[line > 0].any() == goes


def test_beside_writing_a_faint_stroke_goes_and_a_pore_stays(make_plate):
    metal = make_plate(3, 900, 600)
    word, stroke, pore = np.zeros((3, 600, 900), np.uint8)
    cv2.putText(word, "W7", (120, 300), cv2.FONT_HERSHEY_SIMPLEX, 5, 1, 12)
    cv2.line(stroke, (520, 180), (520, 290), 1, 12)
    cv2.circle(pore, (250, 350), 32, 1, -1)
    image = np.where(((word | stroke | pore) > 0)[:, :, None], (20, 20, 110), metal).astype(np.uint8)
    seen = cv2.GaussianBlur((word * 0.95 + stroke * 0.4 + pore * 0.6).astype(np.float32), (0, 0), 0.8)
    seen[230:240, 516:524] = 0.6
    near = np.zeros((600, 900), bool)
    near[:, 60:560] = word[:, 60:560] > 0
    cv2.line(word, (505, 180), (505, 200), 1, 4)  # an end of the stroke that a detector's region took in
    found = lone_ink(seen, to_lab(image), (word > 0) | near, 0.25, 0.5)
    assert found[stroke > 0].mean() > 0.9
    assert not found[pore > 0].any()


def test_a_ragged_stain_is_no_line(make_plate):
    metal = make_plate(3, 900, 600)
    word, stain = np.zeros((2, 600, 900), np.uint8)
    cv2.putText(word, "W7", (120, 200), cv2.FONT_HERSHEY_SIMPLEX, 4, 1, 14)
    for column in range(600, 680, 16):  # what is left of tape, torn along its length
        stain[380:520, column : column + 12] = 1
    stain[440:446, 600:676] = 1
    image = np.where(word[:, :, None] > 0, DARK, np.where(stain[:, :, None] > 0, GREY, metal)).astype(np.uint8)
    seen = cv2.GaussianBlur((stain * 0.58 + word * 0.95).astype(np.float32), (0, 0), 0.8)
    assert not lone_ink(seen, to_lab(image), word > 0, 0.25, 0.5)[stain > 0].any()


@pytest.mark.parametrize(("faded", "goes"), [(1, False), (3, True)])
def test_of_the_colour_of_one_faded_word_among_many_it_is_not(make_plate, faded, goes):
    metal = make_plate(3, 900, 600)
    words, bar = np.zeros((2, 600, 900), np.uint8)
    image = metal.copy()
    for index in range(6):
        word = np.zeros_like(words)
        cv2.putText(word, "W", (20 + 145 * index, 180), cv2.FONT_HERSHEY_SIMPLEX, 4, 1, 20)
        image[word > 0] = 90 if index < faded else 15
        words |= word
    cv2.rectangle(bar, (600, 400), (750, 430), 1, -1)
    image[bar > 0] = 90
    seen = cv2.GaussianBlur((bar * 0.58 + words * 0.95).astype(np.float32), (0, 0), 0.8)
    found = lone_ink(seen, to_lab(image), words > 0, 0.25, 0.5)[bar > 0]
    assert (found.mean() > 0.9) == goes and found.any() == goes


@pytest.mark.parametrize(
    ("length", "clear", "goes"), [(90, 0.745, False), (300, 0.745, True), (300, 0.68, False), (450, 0.68, True)]
)
def test_alone_a_broad_stroke_that_is_not_quite_clear_must_be_long(make_plate, length, clear, goes):
    metal, stroke = make_plate(3, 900, 600), np.zeros((600, 900), np.uint8)
    cv2.rectangle(stroke, (300, 300), (300 + length, 322), 1, -1)
    seen = cv2.GaussianBlur(stroke * np.float32(clear), (0, 0), 0.5)
    assert (lone_ink(seen, to_lab(metal), stroke < 0, 0.25, 0.5)[stroke > 0].mean() > 0.9) == goes


@pytest.mark.parametrize(("corner", "goes"), [((10, 130), True), ((200, 8), False)])
def test_a_stroke_that_the_photo_cuts_goes_and_what_lies_along_its_border_stays(make_plate, corner, goes):
    metal, ink = make_plate(3, 900, 600), np.zeros((600, 900), np.uint8)
    cv2.rectangle(ink, (400, 0), (400 + corner[0], corner[1]), 1, -1)
    seen = cv2.GaussianBlur(ink * np.float32(0.95), (0, 0), 0.8)
    assert (lone_ink(seen, to_lab(metal), ink < 0, 0.25, 0.5)[ink > 0].mean() > 0.9) == goes


@pytest.mark.parametrize(
    ("length", "probability", "company", "goes"),
    [
        (30, 0.7, False, False),
        (30, 0.95, False, True),
        (120, 0.7, False, True),
        (30, 0.7, True, True),
        (120, 0.6, False, False),
        (120, 0.6, True, True),
        (120, 0.53, True, False),
    ],
)
def test_a_little_ink_must_be_clearer_where_nothing_else_is_written(make_plate, length, probability, company, goes):
    metal = make_plate(3, 900, 600)
    word, scratch = np.zeros((2, 600, 900), np.uint8)
    cv2.rectangle(scratch, (300, 300), (300 + length, 306), 1, -1)
    if company:
        cv2.putText(word, "W7", (120, 200), cv2.FONT_HERSHEY_SIMPLEX, 4, 1, 14)
    seen = cv2.GaussianBlur((scratch * probability + word * 0.95).astype(np.float32), (0, 0), 0.5)
    found = lone_ink(seen, to_lab(metal), word > 0, 0.25, 0.5)
    assert (found[scratch > 0].mean() > 0.9) == goes


def test_glare_that_touches_dark_ink_stays(make_plate):
    metal = make_plate(3, 900, 600)
    word, bar, glare = np.zeros((3, 600, 900), np.uint8)
    cv2.putText(word, "W7", (120, 300), cv2.FONT_HERSHEY_SIMPLEX, 5, 1, 32)
    cv2.rectangle(bar, (600, 260), (750, 292), 1, -1)
    cv2.rectangle(glare, (640, 293), (700, 310), 1, -1)
    image = np.where(((word | bar) > 0)[:, :, None], DARK, np.where(glare[:, :, None] > 0, 250, metal)).astype(np.uint8)
    seen = cv2.GaussianBlur(((bar | glare) * 0.65 + word * 0.95).astype(np.float32), (0, 0), 0.8)
    found = lone_ink(seen, to_lab(image), word > 0, 0.25, 0.5)
    assert found[bar > 0].mean() > 0.9 and found[glare > 0].mean() < 0.1


def test_a_ragged_stain_in_pieces_is_no_line(make_plate):
    metal = make_plate(3, 900, 600)
    word, line, dashes = np.zeros((3, 600, 900), np.uint8)
    cv2.putText(word, "W7", (120, 200), cv2.FONT_HERSHEY_SIMPLEX, 4, 1, 14)
    cv2.line(line, (450, 450), (750, 450), 1, 14)
    dashes[line > 0] = 1
    for x in range(500, 750, 60):
        dashes[:, x : x + 6] = 0
    image = np.where((word > 0)[:, :, None], DARK, metal)

    def found(strokes):
        shown = np.where((strokes > 0)[:, :, None], image + 6, image).astype(np.uint8)
        seen = cv2.GaussianBlur((strokes * 0.58 + word * 0.95).astype(np.float32), (0, 0), 0.5)
        return lone_ink(seen, to_lab(shown), word > 0, 0.25, 0.5)[strokes > 0].mean()

    assert found(line) > 0.9 and found(dashes) == 0


@pytest.mark.parametrize(("fading_px", "goes"), [(0, True), (60, False)])
def test_a_broad_band_that_fades_into_what_is_beside_it_is_a_shadow(make_plate, fading_px, goes):
    metal = make_plate(3, 900, 600)
    band = np.zeros((600, 900), np.uint8)
    cv2.line(band, (80, 300), (820, 300), 1, 22)
    image = metal.astype(np.float32)
    image[288:313, 70:830] *= 0.3
    for row in range(fading_px):  # on one side, as a shadow beside the part that casts it
        image[313 + row, 70:830] *= 0.3 + 0.7 * row / fading_px
    seen = cv2.GaussianBlur(band.astype(np.float32) * 0.9, (0, 0), 0.8)
    nothing = np.zeros(band.shape, bool)
    found = lone_ink(seen, to_lab(np.rint(image).astype(np.uint8)), nothing, 0.25, 0.5)[band > 0].mean()
    assert found > 0.9 if goes else found == 0
