"""The stage: names, formats and bytes are kept, bad files are listed, an interrupted run goes on."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from weldgen.cleaning import photos as stage
from weldgen.cleaning.clean import CleanConfig, auto_detectors, auto_inpainter, clean
from weldgen.cleaning.settings import LAMA, TEXTURE
from weldgen.data.dataset import Dataset, read_metadata
from weldgen.data.images import read_photo, read_rgb
from weldgen.errors import BackendError, ConfigError, DataError

# rapidocr alone loads in a second; the union of both is tested once
FAST = {"detect": {"backend": "rapidocr", "rapidocr_canvas_px": 512}, "split": {"duplicate_bits": -1}}


def config(**more):
    return CleanConfig.model_validate(FAST | more)


@pytest.fixture
def photos(tmp_path, make_plate, write_on):
    """`raw/{good,bad}`: two marked photos, two bare ones, and an empty class."""
    root = tmp_path / "raw"
    for label in ("good", "bad", "empty"):
        (root / label).mkdir(parents=True)
    for index, label in enumerate(("good", "bad")):
        marked, _ = write_on(make_plate(index), "AS 58", (110, 90))
        Image.fromarray(marked).save(root / label / "marked.jpg", quality=95)
        Image.fromarray(make_plate(10 + index)).save(root / label / "bare.png")
    return root


def records(out: Path):
    return {record["file_name"]: record for record in read_metadata(out)}


def test_marked_photos_are_cleaned_and_bare_ones_keep_their_bytes(photos, tmp_path):
    out = tmp_path / "clean"
    summary = clean(photos, out, config(save_masks=True))
    assert summary.counts["photos"] == 4 and summary.counts["cleaned"] == 2 and summary.counts["residual"] == 0
    lines = records(out)
    for label in ("good", "bad"):
        assert (out / label / "bare.png").read_bytes() == (photos / label / "bare.png").read_bytes()
        assert not np.asarray(Image.open(out / "masks" / label / "bare.png")).any()
        line = lines[f"{label}/marked.jpg"]
        assert line["regions"] and line["residual"] == 0 and line["inpainter"] == TEXTURE
        before, after = read_rgb(photos / line["source"]), read_rgb(out / line["file_name"])
        mask = np.asarray(Image.open(out / "masks" / label / "marked.png")) > 0
        assert mask.mean() == pytest.approx(line["masked_share"], abs=1e-4)
        ink = before.max(axis=2) < 60
        assert mask[ink].all()
        assert (after.max(axis=2) < 60).sum() < 0.01 * ink.sum()
        assert np.abs(after[~mask].astype(int) - before[~mask]).mean() < 1  # the JPEG is written again
    assert (out / "empty").is_dir()
    assert Image.open(out / "good/marked.jpg").format == "JPEG"
    assert len({tuple(line) for line in lines.values()}) == 1, "every line has the same fields"
    assert set(Dataset.open(out).labels) == {"good", "bad", "empty"}
    assert any(TEXTURE in note and f"weldgen models pull {LAMA}" in note for note in summary.notes)


def test_a_second_run_does_nothing_and_a_changed_setting_does_all(photos, tmp_path):
    out = tmp_path / "clean"
    clean(photos, out, config())
    before = (out / "good/marked.jpg").read_bytes()
    assert clean(photos, out, config()).skipped
    changed = clean(photos, out, config(mask={"dilate_px": 40}))
    assert not changed.skipped
    assert (out / "good/marked.jpg").read_bytes() != before


def test_an_interrupted_run_goes_on_and_ends_the_same(photos, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    clean(photos, whole, config())
    out = tmp_path / "clean"
    write, written = stage._write, []

    def stop_after_two(writer, sample, *rest):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(sample.file_name)
        write(writer, sample, *rest)

    monkeypatch.setattr(stage, "_write", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        clean(photos, out, config(jobs=1))
    assert not (out / "stage.json").exists()
    monkeypatch.setattr(stage, "_write", lambda w, s, *rest: (written.append(s.file_name), write(w, s, *rest)))
    clean(photos, out, config())
    assert len(written) == len(set(written)) == 4
    for line in read_metadata(whole):
        assert (out / line["file_name"]).read_bytes() == (whole / line["file_name"]).read_bytes()


def test_splits_are_decided_once(tmp_path, make_plate):
    root = tmp_path / "raw" / "good"
    root.mkdir(parents=True)
    for index in range(12):
        Image.fromarray(make_plate(index, 100, 80)).save(root / f"{index:02}.png")
    out = tmp_path / "clean"
    clean(root.parent, out, config())
    first = {name: line["split"] for name, line in records(out).items()}
    assert set(first.values()) == {"train", "val", "test"}
    for index in range(12, 24):
        Image.fromarray(make_plate(index, 100, 80)).save(root / f"{index:02}.png")
    clean(root.parent, out, config(seed=5))
    second = {name: line["split"] for name, line in records(out).items()}
    assert len(second) == 24
    assert {name: second[name] for name in first} == first


def test_bad_files_are_listed_and_the_rest_goes_on(photos, tmp_path):
    data = (photos / "good/marked.jpg").read_bytes()
    (photos / "good/cut.jpg").write_bytes(data[: len(data) // 2])
    (photos / "bad/text.png").write_text("no image")
    out = tmp_path / "clean"
    summary = clean(photos, out, config())
    assert summary.failures == 2
    listed = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert {line["file"] for line in listed} == {"good/cut.jpg", "bad/text.png"}
    assert all(line["reason"] for line in listed)
    assert len(records(out)) == 4


def test_flat_folder_copies_and_twins_of_a_photo(tmp_path, make_plate, write_on):
    root = tmp_path / "photos"
    root.mkdir()
    marked = Image.fromarray(write_on(make_plate(1), "AS 58", (110, 90))[0])
    for name in ("one.png", "copy.png", "one.bmp"):
        marked.save(root / name)
    out = tmp_path / "clean"
    summary = clean(root, out, config(save_masks=True))
    assert summary.counts["cleaned"] == 3
    assert (out / "copy.png").read_bytes() == (out / "one.png").read_bytes()
    assert (out / "masks/copy.png").is_file()
    assert (out / "masks/one.png.png").is_file() and (out / "masks/one.bmp.png").is_file()
    assert len(Dataset.open(out).samples) == 3


def test_unusual_photos_keep_their_kind(tmp_path, make_plate, write_on):
    root = tmp_path / "raw" / "good"
    root.mkdir(parents=True)
    marked, strokes = write_on(make_plate(1), "AS 58", (110, 90))
    deep = marked[:, :, 0].astype(np.uint16) * 257 + 77
    Image.fromarray(deep, "I;16").save(root / "deep.png")
    Image.fromarray(marked).convert("CMYK").save(root / "print.tif")
    Image.fromarray(marked).convert("L").save(root / "grey.png")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(np.rot90(marked, 1).copy()).save(root / "turned.jpg", exif=exif, quality=95)
    out = tmp_path / "clean"
    clean(root.parent, out, config())
    cleaned = {name: read_photo(out / "good" / name) for name in ("deep.png", "print.tif", "grey.png", "turned.jpg")}
    assert {name: photo.mode for name, photo in cleaned.items()} == {
        "deep.png": "I;16", "print.tif": "CMYK", "grey.png": "L", "turned.jpg": "RGB",
    }  # fmt: skip
    for photo in cleaned.values():
        assert photo.pixels.shape == marked.shape
        assert (photo.pixels[strokes].max(axis=1) < 60).mean() < 0.02
    corner = np.s_[:40, :40]
    assert np.array_equal(cleaned["deep.png"].native[corner], deep[corner])


def test_both_detectors_together_clean_a_photo_whole(tmp_path, make_plate, write_on):
    root = tmp_path / "raw" / "good"
    root.mkdir(parents=True)
    marked, strokes = write_on(make_plate(1), "AS 58", (110, 90))
    Image.fromarray(marked).save(root / "a.png")
    out = tmp_path / "clean"
    summary = clean(
        root.parent, out, CleanConfig.model_validate({"detect": {"canvas_size_px": 512, "rapidocr_canvas_px": 512}})
    )
    assert summary.details["detectors"] == ["rapidocr", "easyocr"]
    assert {weight["id"] for weight in summary.weights} == {"craft", "ppocr", "ink", "tones"}
    after = read_rgb(out / "good/a.png")
    assert (after[strokes].max(axis=1) < 60).mean() < 0.01
    line = records(out)["good/a.png"]
    assert line["residual"] == 0 and len(line["regions"]) == 1


def test_source_is_never_written_to(photos, tmp_path):
    def state():
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in photos.rglob("*") if path.is_file()}

    before = state()
    clean(photos, tmp_path / "clean", config())
    assert state() == before
    for out in (photos, photos / "inside"):
        with pytest.raises(ConfigError, match="lies in the folder of the photos"):
            clean(photos, out, config())


def test_wrong_requests_stop_before_anything_is_written(photos, tmp_path):
    out = tmp_path / "clean"
    with pytest.raises(ConfigError, match=r"inpaint\.backend"):
        clean(photos, out, config(inpaint={"backend": "magic"}))
    with pytest.raises(BackendError, match="lama"):
        clean(photos, out, config(inpaint={"backend": LAMA}))
    with pytest.raises(DataError, match="no such folder"):
        clean(tmp_path / "nowhere", out, config())
    assert not (out / "stage.json").exists()


def test_settings_load_nothing_heavy():
    code = (
        "import sys, weldgen.cleaning.clean as c; c.CleanConfig(); c.auto_inpainter(); c.auto_detectors()\n"
        "assert not {'torch', 'cv2', 'easyocr', 'rapidocr', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert "rapidocr and easyocr" in auto_detectors()
    assert auto_inpainter().startswith(TEXTURE)
