"""The leak benchmark: writing is exchanged and nothing else, and the study runs through on rendered plates."""

from __future__ import annotations

import argparse
import re

import cv2
import numpy as np
import pytest

from benchmarks import leak
from benchmarks.parts.leak_photos import (
    Photo,
    find_stickers,
    halves_of,
    move_sticker,
    partners,
    plate_of,
    render_plates,
    swap_stickers,
    written,
)
from weldgen.data.images import read_rgb, write_rgb

SETTINGS = """
clean:
  detect: {backend: rapidocr, rapidocr_canvas_px: 320}
train:
  model: {backbone: test_convnext.r160_in1k, weights: none}
  data: {image_size: 64}
"""
PHOTOS = [Photo(f"{label}/{plate}{view}.png", plate) for label, plate in
          (("good", "a"), ("good", "b"), ("bad", "c"), ("bad", "d")) for view in "12"]  # fmt: skip


def labelled(make_metal, seed, text, corners):
    """Metal with a printed sticker, 900 x 600."""
    image = np.clip(make_metal(seed, 900, 600) * 0.6, 0, 255).astype(np.uint8)
    paper = np.full((80, 360, 3), 225, np.uint8)
    cv2.putText(paper, text, (14, 54), cv2.FONT_HERSHEY_SIMPLEX, 1.3, (25, 25, 25), 4, cv2.LINE_AA)
    edges = np.array([(0, 0), (360, 0), (360, 80), (0, 80)], np.float32)
    matrix = cv2.getPerspectiveTransform(edges, np.array(corners, np.float32))
    moved = cv2.warpPerspective(paper, matrix, (900, 600), flags=cv2.INTER_AREA)
    cover = cv2.warpPerspective(np.ones((80, 360), np.uint8), matrix, (900, 600), flags=cv2.INTER_NEAREST)
    return np.where(cover[:, :, None] > 0, moved, image)


def test_the_partner_is_another_plate_of_the_wanted_class():
    plates = {photo.name: photo for photo in PHOTOS}
    for same in (False, True):
        found = partners(PHOTOS, same_class=same)
        assert set(found) == set(plates)
        assert all(plates[n].plate != p.plate and (plates[n].label == p.label) == same for n, p in found.items())


def test_the_plate_is_read_from_the_name():
    assert plate_of("09-00__view2.jpg", "^(.*)__") == "09-00"
    assert plate_of("view2.jpg", "^(.*)__") == plate_of("view2.jpg", "") == "view2.jpg"


def test_only_writing_differs_between_the_codes_of_a_plate(make_metal):
    picture = make_metal(3, 320, 224)
    good, bad = (written(picture, label, "007") for label in ("good", "bad"))
    for inked in (good, bad):
        changed = (inked != picture).any(axis=2)
        assert 0.002 < changed.mean() < 0.12
    # the number is of the plate, and stands where it stood; the codes have colours of their own
    redness = [float((i[..., 0].astype(int) - i[..., 2]).max() - (picture[..., 0].astype(int) - picture[..., 2]).max())
               for i in (good, bad)]  # fmt: skip
    assert redness[1] > redness[0] + 40


def test_a_sticker_is_moved_whole_and_nothing_else_changes(make_metal):
    there, here = [(100, 80), (460, 120), (450, 200), (90, 160)], [(300, 300), (660, 300), (660, 380), (300, 380)]
    source, target = labelled(make_metal, 1, "88-88-88", there), labelled(make_metal, 2, "11-11-11", here)
    swapped = move_sticker(target, np.array(here, np.float32), source, np.array(there, np.float32))
    wanted = labelled(make_metal, 2, "88-88-88", here)
    inside = np.zeros((600, 900), bool)
    inside[304:376, 304:656] = True
    before, after = (float(np.abs(i[inside].astype(int) - wanted[inside]).mean()) for i in (target, swapped))
    assert after < before / 2
    outside = np.ones((600, 900), bool)
    outside[294:386, 294:666] = False
    assert (swapped[outside] == target[outside]).all()


def test_stickers_are_found_where_clean_saw_a_line_of_print(make_metal, tmp_path):
    places = {"good/a1.png": [(300, 300), (660, 300), (660, 380), (300, 380)],
              "bad/c1.png": [(100, 80), (460, 120), (450, 200), (90, 160)]}  # fmt: skip
    photos = [Photo("good/a1.png", "a"), Photo("bad/c1.png", "c")]
    for seed, (name, corners) in enumerate(places.items()):
        write_rgb(tmp_path / "raw" / name, labelled(make_metal, seed, "12-34-07", corners))
    (tmp_path / "clean").mkdir()
    polygons = [[[312, 318], [610, 318], [610, 362], [312, 362]], [[113, 98], [412, 131], [406, 177], [107, 144]]]
    lines = [f'{{"source": "{name}", "regions": [{{"polygon": {polygon}, "source": "easyocr"}}]}}\n'
             for name, polygon in zip(places, polygons, strict=True)]  # fmt: skip
    (tmp_path / "clean" / "metadata.jsonl").write_text("".join(lines))
    found = find_stickers(tmp_path / "raw", photos, tmp_path / "clean")
    for name, corners in places.items():
        assert found[name] == pytest.approx(np.array(corners), abs=14)
    swap_stickers(tmp_path / "raw", photos, found, tmp_path / "other", same_class=False)
    assert all((read_rgb(tmp_path / "other" / n) != read_rgb(tmp_path / "raw" / n)).any() for n in places)
    swap_stickers(tmp_path / "raw", photos, found, tmp_path / "same", same_class=True)
    assert not (tmp_path / "same").exists()


def test_a_plate_s_weld_is_cut_out_by_what_other_plates_taught(marked, tmp_path):
    names = sorted(path.name for path in marked.glob("*.png"))
    photos = [Photo(f"{'good' if int(name[:2]) % 3 else 'bad'}/{name}", name) for name in names]
    for photo in photos:
        (tmp_path / "raw" / photo.label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / photo.name).symlink_to(marked / photo.plate)
    given = argparse.Namespace(photos=tmp_path / "raw", marks=marked, groups="")
    found = leak.cut_out(tmp_path, photos, {"clean": tmp_path / "raw"}, given)
    assert {
        path.relative_to(tmp_path / "cut-clean").as_posix() for path in (tmp_path / "cut-clean").glob("*/*")
    } == found
    assert len(found) >= 9
    halves = halves_of(photos)
    assert sorted(len(half) for half in halves) == [6, 6]
    for number, half in enumerate(halves):
        taught = {path.name for path in (tmp_path / f"marked-{number}").glob("*.png")}
        assert taught == {photo.plate for photo in photos} - {photo.plate for photo in half}


def test_the_study_runs_through_and_draws_its_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weldgen.yaml").write_text(SETTINGS)
    monkeypatch.setattr(leak, "FOLDS", 2)
    given = argparse.Namespace(
        objects="keep", photos=None, marks=None, groups="", plates=6, width=240, pictures=tmp_path / "pictures"
    )
    leak.study(tmp_path / "work", given, ["data.image_size=64", "data.shape=square"])
    said = capsys.readouterr().out
    assert "6 photos of 6 plates" in said
    for name in ("as they are", "cleaned"):
        assert re.search(rf"{name}: balanced accuracy on left-out plates \d+%", said)
        assert re.search(rf"{name}: answers that change with the writing of the other class \d of 6, \d+%", said)
    assert re.search(r"as they are: answers that change with other writing of the same class \d of 6", said)
    pictures = list((tmp_path / "pictures").iterdir())
    assert len(pictures) == leak.SHOWN
    assert all(path.suffix == ".jpg" and path.stat().st_size < 200_000 for path in pictures)
    assert (
        render_plates(tmp_path / "again", 1, 240, {k: tmp_path / "x" / k for k in ("other", "same")})[0].plate == "000"
    )
