"""Masks and boxes that a person gives."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from weldgen.cleaning.by_hand import boxes_mask, grown
from weldgen.cleaning.clean import CleanConfig, clean
from weldgen.cleaning.mask import TextMask
from weldgen.cli import app
from weldgen.data.dataset import read_metadata
from weldgen.data.images import read_mask, read_rgb
from weldgen.errors import ConfigError, DataError

FAST = {"detect": {"backend": "rapidocr", "rapidocr_canvas_px": 256, "mag_ratio": 1}, "split": {"duplicate_bits": -1}}


def config(**mask):
    return CleanConfig.model_validate(FAST | {"mask": mask})


@pytest.fixture
def photos(tmp_path, make_plate, write_on):
    for index, name in enumerate(("a.png", "b.png")):
        marked, _ = write_on(make_plate(index), "AS 58", (110, 90))
        (tmp_path / "raw" / "good").mkdir(parents=True, exist_ok=True)
        Image.fromarray(marked).save(tmp_path / "raw" / "good" / name)
    return tmp_path / "raw"


def lines(out):
    return {record["file_name"]: record for record in read_metadata(out)}


def test_a_given_mask_is_filled_and_nothing_else(photos, tmp_path):
    before = read_rgb(photos / "good/a.png")
    mask = np.zeros(before.shape[:2], np.uint8)
    mask[200:240, 20:90] = 255
    (tmp_path / "masks" / "good").mkdir(parents=True)
    Image.fromarray(mask).save(tmp_path / "masks" / "good" / "a.png")
    out = tmp_path / "out"
    clean(photos, out, config(given=str(tmp_path / "masks")))
    changed = (read_rgb(out / "good/a.png") != before).any(axis=2)
    assert changed.any() and not changed[mask == 0].any()
    made = lines(out)
    assert made["good/a.png"]["regions"] == [] and made["good/a.png"]["residual"] > 0, "the writing is still there"
    assert made["good/b.png"]["regions"] and made["good/b.png"]["residual"] == 0
    # another mask: this photo is done again, the other is not
    stamp = (out / "good/b.png").stat().st_mtime_ns
    Image.fromarray(np.roll(mask, 30, axis=1)).save(tmp_path / "masks" / "good" / "a.png")
    assert not clean(photos, out, config(given=str(tmp_path / "masks"))).skipped
    assert (out / "good/b.png").stat().st_mtime_ns == stamp
    assert lines(out)["good/a.png"]["id"] != made["good/a.png"]["id"]


def test_a_mask_of_another_size_is_that_photos_failure(photos, tmp_path):
    (tmp_path / "masks" / "good").mkdir(parents=True)
    Image.fromarray(np.full((50, 50), 255, np.uint8)).save(tmp_path / "masks" / "good" / "a.png")
    summary = clean(photos, tmp_path / "out", config(given=str(tmp_path / "masks")))
    assert summary.failures == 1 and set(lines(tmp_path / "out")) == {"good/b.png"}
    assert "is 50 x 50 pixels, its photo" in (tmp_path / "out" / "failures.jsonl").read_text()


def test_a_folder_without_any_mask_is_refused(photos, tmp_path):
    with pytest.raises(ConfigError, match=r"holds no mask of a photo; expected files such as .*good/a\.png"):
        clean(photos, tmp_path / "out", config(given=str(tmp_path / "none")))


def test_what_is_found_again_never_grows_into_an_excluded_box(photos, tmp_path, monkeypatch):
    before = read_rgb(photos / "good/a.png")
    shape = before.shape[:2]
    seen, nothing = boxes_mask([(0.56, 0.3, 0.8, 0.6)], shape), np.zeros(shape, bool)
    monkeypatch.setattr(
        "weldgen.cleaning.cleaner.text_mask", lambda *job: TextMask(seen, seen, nothing, nothing, [])
    )  # it is seen again after each filling, and widened
    monkeypatch.setattr("weldgen.cleaning.cleaner._WIDEN_PX", 120)
    box = (0.0, 0.0, 0.55, 1.0)
    clean(photos, tmp_path / "out", config(exclude=[box]))
    changed = (read_rgb(tmp_path / "out" / "good/a.png") != before).any(axis=2)
    assert changed[~seen].any() and not changed[boxes_mask([box], shape)].any()


def test_the_command_takes_a_folder_of_masks(photos, tmp_path):
    done = CliRunner().invoke(app, ["clean", str(photos), "--out", str(tmp_path / "o"), "--mask-dir", "nowhere"])
    assert done.exit_code == 2 and "mask.given=nowhere holds no mask of a photo" in done.output


def test_masks_grow_and_shrink(tmp_path):
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 20:40] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    areas = [grown(read_mask(tmp_path / "m.png", (40, 60, 3)) > 0, grow).sum() for grow in (-3, 0, 3)]
    assert areas[1] == 400 and areas[0] == 14 * 14 and areas[2] > 400 + 4 * 60
    with pytest.raises(DataError, match="is 60 x 40 pixels, its photo 60 x 41"):
        read_mask(tmp_path / "m.png", (41, 60, 3))


def test_boxes_are_kept_out_or_always_replaced(photos, tmp_path):
    before = read_rgb(photos / "good/a.png")
    whole = [[0.0, 0.0, 1.0, 1.0]]
    clean(photos, tmp_path / "none", config(exclude=whole))
    assert np.array_equal(read_rgb(tmp_path / "none" / "good/a.png"), before)
    box = [[0.9, 0.9, 1.0, 1.0]]
    clean(photos, tmp_path / "box", config(exclude=whole, include=box))
    changed = (read_rgb(tmp_path / "box" / "good/a.png") != before).any(axis=2)
    assert changed.any() and not changed[~boxes_mask([(0.9, 0.9, 1.0, 1.0)], before.shape)].any()
    with pytest.raises(ValueError, match="left, top, right, bottom"):
        config(include=[[0.5, 0, 0.2, 1]])
