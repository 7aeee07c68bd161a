"""A locator learns from marked photos, finds welds on others, and cuts them out upright; nothing is lost on the way."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from typer.testing import CliRunner

from weldgen.classifier.exported import metadata_of
from weldgen.classifier.model_file import load_card
from weldgen.classifier.train import TrainConfig, train
from weldgen.cli import app
from weldgen.data.dataset import Dataset
from weldgen.data.images import read_rgb
from weldgen.data.upright import Rectangle
from weldgen.errors import BackendError, ConfigError, DataError, OutputError
from weldgen.locating.learn import LocatorConfig, locator
from weldgen.locating.locate import LocateConfig, locate
from weldgen.locating.locator import Found, Locator
from weldgen.locating.teach import overlap
from weldgen.report.stage import write_stage_report
from weldgen.runtime import file_hash

SIDE_PX = 320
MARGIN = LocatorConfig().margin


@pytest.fixture
def photos(tmp_path, photograph):
    """New photos in class folders, one of them without a weld."""
    root = tmp_path / "photos"
    for seed in range(20, 24):
        folder = root / ("good" if seed % 2 else "bad")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(seed, weld=seed != 23)[0]).save(folder / f"{seed}.png")
    return root


def test_welds_of_photos_that_were_left_out_are_found(taught):
    out, summary = taught
    assert summary.counts == {"photos": 12, "marks": 11}
    record = json.loads((out / "locator.json").read_text())
    assert record["marked_photos"] == 11
    assert record["cut_out"] >= 10
    assert record["overlap"] > 0.7
    assert record["groups"] == 11
    assert record["low"] < record["cut_out"] / 11 <= record["high"]
    assert f"{record['cut_out']} of 11" in summary.notes[0]
    lines = [json.loads(line) for line in (out / "trials.jsonl").read_text().splitlines()]
    assert [bool(line["marks"]) for line in lines] == [True] * 11 + [False]
    assert locator_again(out, taught) == summary.details


def locator_again(out, taught):
    marked = json.loads((out / "stage.json").read_text())["inputs"]["marked"]
    again = locator(type(out)(marked), out, LocatorConfig(side_px=SIDE_PX))
    assert again.skipped
    return again.details


def test_a_new_photo_s_weld_is_found_and_one_without_is_not(taught, photograph):
    finder = Locator(taught[0] / "locator.onnx", threads=1)
    for seed in range(30, 34):
        image, own = photograph(seed)
        (found,) = finder.locate(image)
        assert overlap(found.rectangle, own.grown(MARGIN)) > 0.7
        assert found.evidence > 0.6
    bare = photograph(35, weld=False)[0]
    assert finder.locate(bare) == []
    whole, nowhere = finder.cut_out(bare)
    assert nowhere is None
    assert whole is bare


def test_a_large_photo_is_measured_in_its_own_pixels(taught, photograph):
    image, own = photograph(40)
    large = cv2.resize(image, None, fx=3, fy=3)
    (found,) = Locator(taught[0] / "locator.onnx", threads=1).locate(large)
    as_seen = Rectangle(own.x_px * 3, own.y_px * 3, own.length_px * 3, own.breadth_px * 3, own.turn_deg)
    assert overlap(found.rectangle, as_seen.grown(MARGIN)) > 0.7


def test_welds_are_cut_out_upright_with_their_classes(taught, photos, tmp_path):
    summary = locate(photos, taught[0], tmp_path / "located", LocateConfig())
    assert (summary.counts, summary.failures) == ({"photos": 3, "welds": 3}, 1)
    failure = json.loads((tmp_path / "located" / "failures.jsonl").read_text())
    assert failure["file"] == "good/23.png"
    assert "no weld was found" in failure["reason"]
    dataset = Dataset.open(tmp_path / "located")
    assert dataset.counts() == {"bad": 2, "good": 1}
    for sample in dataset.samples:
        cut = read_rgb(dataset.path(sample))
        assert cut.shape[:2] == (sample.height, sample.width)
        assert sample.width > 3 * sample.height
        middle = cut[sample.height // 2].astype(float)
        # ripples all along the middle, plate above: the weld lies level
        assert middle[20:-20].std() > 25
        assert cut[:3, 30:-30].mean() < 100
        assert sample.extra["located"]["file"] == sample.file_name


def test_a_second_run_skips_and_a_new_photo_joins(taught, photos, tmp_path, photograph):
    out = tmp_path / "located"
    locate(photos, taught[0], out, LocateConfig())
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*.png")}
    assert locate(photos, taught[0], out, LocateConfig()).skipped
    Image.fromarray(photograph(50)[0]).save(photos / "good" / "50.png")
    again = locate(photos, taught[0], out, LocateConfig())
    assert (again.counts["photos"], again.skipped) == (4, False)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    several = locate(photos, taught[0], out, LocateConfig(most=2))
    assert several.counts["photos"] == 4
    assert not any(path.exists() for path in before)  # with numbers now


def test_a_photo_that_moves_to_another_class_moves_with_its_weld(taught, photos, tmp_path):
    out = tmp_path / "located"
    locate(photos, taught[0], out, LocateConfig())
    (photos / "good" / "21.png").rename(photos / "bad" / "21.png")
    assert locate(photos, taught[0], out, LocateConfig()).counts["welds"] == 3
    assert Dataset.open(out).counts() == {"bad": 3, "good": 0}
    assert not (out / "good" / "21.png").exists()


def test_splits_and_groups_stay_and_welds_of_one_photo_stay_together(taught, photos, tmp_path):
    lines = []
    for path in sorted(photos.glob("*/2[01].png")):
        name = path.relative_to(photos).as_posix()
        lines.append({"file_name": name, "id": path.stem, "label": path.parent.name, "split": "test", "origin": "real"})
    (photos / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    locate(photos, taught[0], tmp_path / "located", LocateConfig(most=3))
    samples = Dataset.open(tmp_path / "located").samples
    assert {sample.split for sample in samples} == {"test"}
    assert {sample.group for sample in samples} == {"20", "21"}
    assert {sample.file_name for sample in samples} >= {"bad/20_0.png", "good/21_0.png"}


def test_copies_stay_two_synthetic_images_are_left_out_and_writing_stays_known(taught, photos, tmp_path, photograph):
    own = photograph(21)[1]
    shutil.copy(photos / "good" / "21.png", photos / "good" / "again.png")
    x, y = own.x_px, own.y_px
    writing = [{"polygon": [[x - 5, y - 3], [x + 5, y - 3], [x + 5, y + 3], [x - 5, y + 3]], "source": "ink"},
               {"polygon": [[0, 0], [9, 0], [9, 9], [0, 9]], "source": "ink"}]  # fmt: skip
    digest = file_hash(photos / "good" / "21.png")
    lines = [
        {"file_name": "good/21.png", "id": digest, "label": "good", "origin": "real", "regions": writing},
        {"file_name": "good/again.png", "id": f"{digest}-2", "label": "good", "origin": "real", "regions": []},
        {"file_name": "bad/20.png", "id": "made", "label": "bad", "origin": "synthetic"},
    ]
    (photos / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = locate(photos, taught[0], tmp_path / "located", LocateConfig())
    assert summary.counts == {"photos": 2, "welds": 2}
    assert "1 synthetic images were left out" in summary.notes[0]
    first, second = Dataset.open(tmp_path / "located").samples
    assert second.id == f"{first.id}-2"
    (region,) = first.extra["regions"]
    # the middle of the weld lies in the middle of the picture, give or take what the locator is off by
    assert np.mean(region["polygon"], axis=0) == pytest.approx([first.width / 2, first.height / 2], abs=12)
    assert second.extra["regions"] == []


def test_a_photo_that_was_cut_half_is_completed(taught, photos, tmp_path, monkeypatch):
    out = tmp_path / "located"
    (photos / "good" / "21.png").rename(photos / "good" / "two.png")
    for name in ("bad/20.png", "bad/22.png", "good/23.png"):
        (photos / name).unlink()
    welds = [Found(Rectangle(x, 100, 120, 20, 30), 0.9) for x in (100, 200)]
    monkeypatch.setattr(Locator, "locate", lambda self, image, most=1: welds[:most])
    whole = locate(photos, taught[0], out, LocateConfig(most=2))
    assert whole.counts == {"photos": 1, "welds": 2}
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("good/*.png")}
    (out / "good" / "two_1.png").unlink()  # as if it had been killed before the second weld
    lines = (out / "metadata.jsonl").read_text().splitlines(keepends=True)
    (out / "metadata.jsonl").write_text(lines[0])
    (out / "stage.json").unlink()
    assert locate(photos, taught[0], out, LocateConfig(most=2)).counts == {"photos": 1, "welds": 2}
    assert (out / "good" / "two_0.png").stat().st_mtime_ns == kept["two_0.png"]
    assert (out / "good" / "two_1.png").is_file()


def test_a_damaged_photo_is_listed_and_the_others_are_done(taught, photos, tmp_path):
    (photos / "bad" / "20.png").write_bytes((photos / "bad" / "20.png").read_bytes()[:3000])
    summary = locate(photos, taught[0], tmp_path / "located", LocateConfig())
    assert (summary.counts["welds"], summary.failures) == (2, 2)
    assert "bad/20.png" in (tmp_path / "located" / "failures.jsonl").read_text()


def test_plain_boxes_are_found_as_they_lie(marked, tmp_path, photograph):
    root = tmp_path / "boxes"
    shutil.copytree(marked, root)
    for seed in range(11):
        corners = photograph(seed)[1].corners() / [320, 224]
        (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
        (root / f"{seed:02d}.txt").write_text(f"0 {(x0 + x1) / 2} {(y0 + y1) / 2} {x1 - x0} {y1 - y0}\n")
    summary = locator(root, tmp_path / "out", LocatorConfig(side_px=SIDE_PX))
    assert "plain boxes" in summary.notes[-1]
    trials = [json.loads(line) for line in (tmp_path / "out" / "trials.jsonl").read_text().splitlines()]
    (left, top), (_, right_top), *_ = trials[0]["found"]
    assert top == right_top
    assert summary.details["missed"] == 0
    assert left >= 0


def test_too_few_marks_an_unknown_class_and_class_folders_are_refused(marked, photos, tmp_path):
    with pytest.raises(ConfigError, match=r"'bead'.*not have"):
        locator(marked, tmp_path / "out", LocatorConfig(classes=("bead",)))
    with pytest.raises(DataError, match="0 different welds"):
        locator(marked, tmp_path / "out", LocatorConfig(classes=("plate",)))
    with pytest.raises(DataError, match="class folders and no marks"):
        locator(photos, tmp_path / "out", LocatorConfig())
    with pytest.raises(ValidationError, match="regular expression"):
        LocatorConfig(group_pattern="(")
    assert not (tmp_path / "out").exists()


def test_photos_of_one_group_are_left_out_together(marked, tmp_path):
    summary = locator(marked, tmp_path / "out", LocatorConfig(side_px=SIDE_PX, group_pattern=r"^(\d)"))
    assert summary.details["groups"] == summary.details["folds"] == 2  # 00 to 09, and 10 and 11
    assert summary.details["low"] < 0.5  # two groups show next to nothing, however many photos there are


def test_a_missing_locator_another_network_and_a_user_s_file_are_refused(taught, photos, tmp_path, marked):
    with pytest.raises(BackendError, match=r"locator\.onnx: there is no such file"):
        locate(photos, tmp_path, tmp_path / "located", LocateConfig())
    from weldgen.features import feature_network

    (tmp_path / "other.onnx").write_bytes(feature_network())
    with pytest.raises(DataError, match=r"other\.onnx is no locator"):
        locate(photos, tmp_path / "other.onnx", tmp_path / "located", LocateConfig())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "locator.onnx").write_text("mine")
    with pytest.raises(OutputError, match=r"locator\.onnx"):
        locator(marked, tmp_path / "mine", LocatorConfig(side_px=SIDE_PX))
    assert (tmp_path / "mine" / "locator.onnx").read_text() == "mine"


def test_the_reports_show_what_was_found_and_cut_out(taught, photos, tmp_path):
    located = tmp_path / "located"
    locate(photos, taught[0], located, LocateConfig())
    assert write_stage_report("locate", located) == located / "report.html"
    page = (located / "report.html").read_text()
    assert "3 welds of 3 photos" in page
    assert "no weld was found" in page
    assert page.count("data:image/jpeg") == 1
    shutil.copytree(taught[0], tmp_path / "locator")
    page = write_stage_report("locator", tmp_path / "locator").read_text()
    assert "Marked photos" in page
    assert page.count("data:image/jpeg") == 1


def test_a_classifier_of_cut_out_welds_says_by_which_locator(taught, tmp_path, photograph):
    root = tmp_path / "photos"
    for seed in range(70, 78):
        (root / ("good" if seed % 2 else "bad")).mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(seed)[0]).save(root / ("good" if seed % 2 else "bad") / f"{seed}.png")
    locate(root, taught[0], tmp_path / "located", LocateConfig())
    settings = {"data": {"image_size": 64}, "training": {"method": "linear"}, "split": {"test": 0}}
    train(tmp_path / "located", tmp_path / "model", TrainConfig.model_validate(settings))
    locator_id = Locator(taught[0] / "locator.onnx", threads=1).id
    assert load_card(tmp_path / "model").locator == locator_id
    assert metadata_of(load_card(tmp_path / "model"), 0, "fp32", None)["locator"] == locator_id
    train(root, tmp_path / "whole", TrainConfig.model_validate(settings))
    assert load_card(tmp_path / "whole").locator == ""


def test_both_as_commands(marked, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(app, ["locator", str(marked), f"side_px={SIDE_PX}"])
    assert run.exit_code == 0, run.output
    assert "marked welds would be cut out" in " ".join(run.output.split())
    run = CliRunner().invoke(app, ["locate", str(photos)])
    assert run.exit_code == 3, run.output  # a photo has no weld
    assert len(list((tmp_path / "data" / "located").glob("*/*.png"))) == 3
    run = CliRunner().invoke(app, ["locator"])
    assert run.exit_code == 2
    assert "weldgen locator MARKED" in run.output
