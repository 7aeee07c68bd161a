"""Both real detectors find rendered writing and report it in the photo's pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from weldgen.cleaning.detectors import DETECTORS, EasyOcrDetector, TextRegion, load_detectors, rapidocr_file
from weldgen.cleaning.settings import DETECTOR_WEIGHTS, EASYOCR, RAPIDOCR, DetectConfig
from weldgen.errors import BackendError, ConfigError

SMALL = DetectConfig(canvas_size_px=512, rapidocr_canvas_px=512, mag_ratio=1.0)


@pytest.fixture(scope="module")
def detectors():
    return {name: DETECTORS[name](SMALL, "cpu") for name in DETECTORS}


def covered(regions, strokes):
    mask = np.zeros(strokes.shape, np.uint8)
    for region in regions:
        cv2.fillPoly(mask, [np.round(region.polygon).astype(np.int32)], 1)
    return (mask[strokes] > 0).mean()


@pytest.mark.parametrize("name", [EASYOCR, RAPIDOCR])
@pytest.mark.parametrize("factor", [1, 3])
def test_writing_is_found_in_pixels_of_the_photo(detectors, marked_plate, name, factor):
    _, marked, strokes = marked_plate
    marked = cv2.resize(marked, None, fx=factor, fy=factor)
    strokes = cv2.resize(strokes.astype(np.uint8), marked.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
    (regions,) = detectors[name].detect([marked])
    assert covered(regions, strokes) > 0.9
    assert all(0.4 < region.score <= 1 and region.source == name for region in regions)
    assert all(region.polygon.dtype == np.float32 and region.polygon.shape == (4, 2) for region in regions)


@pytest.mark.parametrize("name", [EASYOCR, RAPIDOCR])
def test_bare_metal_is_no_writing_and_images_keep_their_order(detectors, marked_plate, name):
    bare, marked, _ = marked_plate
    nothing, something = detectors[name].detect([bare, marked])
    assert nothing == []
    assert something


@pytest.mark.parametrize("name", [EASYOCR, RAPIDOCR])
def test_in_int8_the_same_regions_are_found_with_nearly_the_same_scores(detectors, marked_plate, name):
    _, marked, _ = marked_plate
    exact = DETECTORS[name](SMALL.model_copy(update={"precision": "fp32"}), "cpu")
    (wanted,), (found,) = exact.detect([marked]), detectors[name].detect([marked])
    assert len(wanted) == len(found) > 0
    for one, other in zip(wanted, found, strict=True):
        assert 0 < abs(one.score - other.score) < 0.03
        assert np.abs(one.polygon - other.polygon).max() <= 4


def test_a_rapidocr_without_its_network_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr("weldgen.weights.require", lambda name: tmp_path)
    with pytest.raises(BackendError, match="holds no text detector"):
        rapidocr_file()


def test_rapidocr_keeps_each_score_with_its_box(detectors, make_plate, write_on):
    faint, _ = write_on(make_plate(1, 500, 460), "8 17", (60, 40), ink=(128, 128, 130))
    both, lower = write_on(faint, "WELD 58", (60, 300))
    (regions,) = detectors[RAPIDOCR].detect([both])
    (alone,) = detectors[RAPIDOCR].detect([write_on(make_plate(1, 500, 460), "WELD 58", (60, 300))[0]])
    below = next(region for region in regions if covered([region], lower) > 0.5)
    assert below.score == pytest.approx(alone[0].score, abs=0.05)


def test_auto_is_all_of_them_and_a_wrong_name_lists_them():
    assert [type(d).__name__ for d in load_detectors(DetectConfig(backend=RAPIDOCR), "cpu")] == ["RapidOcrDetector"]
    with pytest.raises(ConfigError, match="accepted: auto, rapidocr, easyocr"):
        load_detectors(DetectConfig(backend="tesseract"), "cpu")
    assert set(DETECTORS) == set(DETECTOR_WEIGHTS)


def test_a_region_is_recorded_in_whole_pixels():
    region = TextRegion(np.array([(0.4, 1.6), (9, 1), (9, 5), (0, 5)], np.float32), 0.98765, EASYOCR)
    record = {"polygon": [[0, 2], [9, 1], [9, 5], [0, 5]], "score": 0.988, "source": EASYOCR}
    assert region.record() == record


@pytest.mark.parametrize(
    ("size", "looked_at"), [((1500, 1500), (543, 543)), ((1500, 1000), (665, 443)), ((1600, 400), (768, 192))]
)
def test_easyocr_looks_at_half_a_square_at_most(monkeypatch, size, looked_at):
    """The time of its network grows with the area; long photos keep their length."""
    detector, seen = EasyOcrDetector(DetectConfig(canvas_size_px=768)), []
    nothing = ([[]], [[]])
    monkeypatch.setattr(detector._reader, "detect", lambda canvas, **_: seen.append(canvas.shape[1::-1]) or nothing)
    assert detector.detect([np.full((size[1], size[0], 3), 128, np.uint8)]) == [[]]
    assert seen[0] == pytest.approx(looked_at, abs=1)
