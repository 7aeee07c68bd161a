"""A page to tick on, and `only`: the listed photos are done again, all others stay as they are."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from typer.testing import CliRunner

from weldgen.cleaning.clean import CleanConfig, clean
from weldgen.cleaning.redo import read_list
from weldgen.cli import app
from weldgen.data.dataset import read_metadata
from weldgen.errors import DataError
from weldgen.receipts import read_receipt
from weldgen.report.review_pages import write_clean_page

WIDE = {"mask": {"dilate_px": 40}, "inpaint": {"keep_margin": False}}
FAST = {"detect": {"backend": "rapidocr", "rapidocr_canvas_px": 256, "mag_ratio": 1}, "split": {"duplicate_bits": -1}}
WRONG_LISTS = [
    ("good/marked.png\ngood/nowhere.png", "names good/nowhere.png, which is not in"),
    ("good/new.png", "names good/new.png, which .* does not have yet"),
    ("\n \n", "names no photo"),
    ('{"page": "labels", "decisions": []}', "decisions about labels"),
    ('{"decisions": []}', "no list that weldgen knows"),
    ("{", "no list that weldgen knows"),
]


def config(**more):
    return CleanConfig.model_validate(FAST | more)


def plate(seed: int, text: str = "") -> Image.Image:
    """Brushed metal of 300 x 200 pixels, with writing perhaps."""
    rng = np.random.default_rng(seed)
    grey = 150 + rng.normal(0, 7, (1, 300)) + rng.normal(0, 3, (200, 300))
    image = Image.fromarray(np.repeat(np.clip(grey, 0, 255)[:, :, None], 3, axis=2).astype(np.uint8))
    ImageDraw.Draw(image).text((60, 60), text, fill=(25, 25, 32), font=ImageFont.load_default(70), stroke_width=2)
    return image


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """`raw` and `clean` of it, made once."""
    folder = tmp_path_factory.mktemp("once")
    root = folder / "raw"
    for index, label in enumerate(("good", "bad")):
        (root / label).mkdir(parents=True)
        plate(index, "AS 5").save(root / label / "marked.png")
    plate(9).save(root / "good" / "bare.png")
    clean(root, folder / "clean", config())
    return folder


@pytest.fixture
def cleaned(once, tmp_path, monkeypatch):
    """The two folders in the working folder."""
    shutil.copytree(once / "raw", tmp_path / "raw")
    shutil.copytree(once / "clean", tmp_path / "clean")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "raw", tmp_path / "clean"


def state(out):
    return {line["file_name"]: (line, (out / line["file_name"]).stat().st_mtime_ns) for line in read_metadata(out)}


def test_listed_photos_are_done_again_and_keep_their_result(cleaned, tmp_path):
    source, out = cleaned
    listed = tmp_path / "again.txt"
    listed.write_text("good/marked.png\n\ngood/marked.png\n")
    before, receipt = state(out), read_receipt(out)
    summary = clean(source, out, config(only=str(listed), **WIDE))
    assert summary.counts["done again"] == 1 and summary.counts["photos"] == 3
    after = state(out)
    for name in ("bad/marked.png", "good/bare.png"):
        assert after[name] == before[name]
    line, old = after["good/marked.png"][0], before["good/marked.png"][0]
    assert line["redone"] and line["id"] != old["id"] and line["masked_share"] > old["masked_share"]
    assert (line["split"], line["group"]) == (old["split"], old["group"])
    assert read_receipt(out)["key"] == receipt["key"]
    assert clean(source, out, config()).skipped
    # the same settings: done again all the same
    stamp = after["good/marked.png"][1]
    clean(source, out, config(only=str(listed), **WIDE))
    again = state(out)["good/marked.png"]
    assert again[1] > stamp
    # a whole run with other settings leaves what a person asked for
    whole = clean(source, out, config(mask={"dilate_px": 30}, inpaint={"keep_margin": False}))
    last = state(out)
    assert last["good/marked.png"] == again
    assert last["bad/marked.png"][0]["id"] != before["bad/marked.png"][0]["id"]
    assert any("--only" in note for note in whole.notes)


def test_an_incomplete_folder_gets_no_receipt(cleaned, tmp_path):
    source, out = cleaned
    (out / "stage.json").unlink()
    (tmp_path / "again.txt").write_text("good/marked.png")
    summary = clean(source, out, config(only=str(tmp_path / "again.txt")))
    assert "not complete" in summary.notes[0]
    assert read_receipt(out) is None
    assert clean(source, out, config()).counts["photos"] == 3


def test_a_wrong_list_changes_nothing(cleaned, tmp_path):
    source, out = cleaned
    plate(20).save(source / "good" / "new.png")
    before = state(out)
    for content, message in WRONG_LISTS:
        (tmp_path / "again").write_text(content)
        with pytest.raises(DataError, match=message):
            clean(source, out, config(only=str(tmp_path / "again")))
    with pytest.raises(DataError, match="cannot be read"):
        clean(source, out, config(only=str(tmp_path / "nowhere")))
    assert state(out) == before
    assert read_receipt(out) is not None


def test_only_needs_a_cleaned_folder(cleaned, tmp_path):
    (tmp_path / "again").write_text("good/marked.png")
    with pytest.raises(DataError, match="no cleaned photos yet"):
        clean(cleaned[0], tmp_path / "elsewhere", config(only=str(tmp_path / "again")))


def test_the_page_shows_all_photos_marked_ones_first(cleaned):
    page = write_clean_page(cleaned[1]).read_text()
    files = [json.loads(text)["file"] for text in re.findall(r"data-record='([^']+)'", page)]
    assert set(files[:2]) == {"bad/marked.png", "good/marked.png"} and files[2:] == ["good/bare.png"]
    assert all(src.startswith("data:") for src in re.findall(r'(?:src|href)="([^"]+)"', page))
    assert "weldgen clean --only again.json" in page


def test_the_commands_take_the_list_that_the_page_saves(cleaned, tmp_path):
    out = cleaned[1]
    saved = {"page": "clean", "decisions": [{"file": "good/marked.png", "decision": "again"}]}
    (tmp_path / "again.json").write_text(json.dumps(saved))
    assert read_list(tmp_path / "again.json") == ["good/marked.png"]
    words = ["clean", "--only", "again.json", "--out", "clean", "--review"]
    settings = ["detect.backend=rapidocr", "detect.rapidocr_canvas_px=256", "detect.mag_ratio=1", "mask.dilate_px=40"]
    result = CliRunner().invoke(app, [*words, *settings])
    assert result.exit_code == 0, result.output
    assert "1 done again" in result.output and "page: clean/review.html" in result.output
    assert state(out)["good/marked.png"][0]["redone"]
    wrong = CliRunner().invoke(app, ["clean", "--only", "nowhere.txt", "--out", "clean"])
    assert wrong.exit_code == 1


def test_masks_that_were_saved_are_written_again(cleaned, tmp_path):
    source, out = cleaned
    clean(source, out, config(save_masks=True))
    (tmp_path / "again").write_text("bad/marked.png")
    clean(source, out, config(only=str(tmp_path / "again"), mask={"dilate_px": 40}))
    share = state(out)["bad/marked.png"][0]["masked_share"]
    assert (np.asarray(Image.open(out / "masks/bad/marked.png")) > 0).mean() == pytest.approx(share, abs=1e-4)
