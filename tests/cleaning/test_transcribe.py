from __future__ import annotations

import cv2
import numpy as np
import pytest

from weldgen.cleaning.clean import CleanConfig, clean
from weldgen.cleaning.detectors import TextRegion
from weldgen.cleaning.transcribe import Transcriber
from weldgen.data.dataset import read_metadata
from weldgen.data.images import write_rgb


@pytest.fixture(scope="module")
def transcriber():
    return Transcriber()


def region_of(strokes: np.ndarray) -> TextRegion:
    rows, columns = np.nonzero(strokes)
    left, top, right, bottom = columns.min() - 6, rows.min() - 6, columns.max() + 6, rows.max() + 6
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
    return TextRegion(corners, 1.0, "test")


@pytest.mark.parametrize("turns", [0, 1])
def test_print_is_read_level_and_on_its_side(transcriber, make_plate, write_on, turns):
    marked, strokes = write_on(make_plate(3), "WELD 58", (40, 90))
    marked, strokes = np.rot90(marked, turns).copy(), np.rot90(strokes, turns).copy()
    (reading,) = transcriber.read(marked, [region_of(strokes)])
    assert reading.text.replace(" ", "").upper() == "WELD58"
    assert reading.score > 0.3


def test_what_means_nothing_upright_is_read_on_its_head(transcriber, make_plate, write_on):
    marked, strokes = write_on(make_plate(3), "FRAME", (60, 90))
    (reading,) = transcriber.read(np.rot90(marked, 2).copy(), [region_of(np.rot90(strokes, 2))])
    assert reading.text.upper() == "FRAME"


def test_a_tilted_region_is_read_level(transcriber, make_plate, write_on):
    marked, strokes = write_on(make_plate(3), "WELD 58", (40, 90))
    turn = cv2.getRotationMatrix2D((marked.shape[1] / 2, marked.shape[0] / 2), 17, 0.8)
    size = marked.shape[1::-1]
    tilted = cv2.warpAffine(marked, turn, size, borderMode=cv2.BORDER_REPLICATE)
    ink = cv2.warpAffine(strokes.astype(np.uint8), turn, size)
    points = np.argwhere(ink > 0)[:, ::-1].astype(np.float32)
    polygon = cv2.boxPoints(cv2.minAreaRect(points)).astype(np.float32)
    (reading,) = transcriber.read(tilted, [TextRegion(polygon, 1.0, "test")])
    assert "58" in reading.text


def test_what_was_read_is_kept_in_the_metadata(tmp_path, make_plate, write_on):
    write_rgb(tmp_path / "raw/good/a.png", write_on(make_plate(3), "WELD 58", (40, 90))[0])
    small = {"backend": "rapidocr", "rapidocr_canvas_px": 512}
    for asked in (True, False):
        clean(
            tmp_path / "raw",
            tmp_path / f"out{asked}",
            CleanConfig.model_validate({"detect": small, "transcribe": asked}),
        )
    (read,), (unread,) = (read_metadata(tmp_path / f"out{asked}") for asked in (True, False))
    assert any("58" in region["text"] for region in read["regions"])
    assert all("text" not in region for region in unread["regions"])
