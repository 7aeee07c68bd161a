"""Ingest makes photos of one class each or crops of boxes, resumes, and overwrites nothing."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from weldgen.data.dataset import Dataset
from weldgen.data.images import read_rgb
from weldgen.data.ingest import IngestConfig, ingest
from weldgen.data.ingest_plan import INGESTED
from weldgen.data.split import SplitConfig, decide_split
from weldgen.data.upright import Rectangle, upright
from weldgen.errors import ConfigError, DataError, OutputError
from weldgen.receipts import read_receipt

CROPS = IngestConfig(mode="crops")
LABELS = {
    "train/a": "0 0.5 0.5 0.3 0.5\n1 0.2 0.2 0.2 0.3\n0 0.9 0.9 0.02 0.02",
    "train/b": "1 0.5 0.5 0.5 0.5",
    "val/a": "0 0.9 0.5 0.4 0.5",
    "val/c": "",
}


@pytest.fixture
def yolo(tmp_path, make_metal):
    """Four photos of 96 x 64 pixels; one box is too small, one sticks out."""
    root = tmp_path / "yolo"
    for seed, (name, lines) in enumerate(LABELS.items()):
        for folder in ("images", "labels"):
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_metal(seed)).save(root / "images" / f"{name}.png")
        (root / "labels" / f"{name}.txt").write_text(lines)
    (root / "data.yaml").write_text("names: [pore, crack]\n")
    return root


def table(tmp_path, make_metal, text, count=4):
    for seed in range(count):
        Image.fromarray(make_metal(50 + seed)).save(tmp_path / f"{seed}.png")
    (tmp_path / "t.csv").write_text(text)
    return tmp_path / "t.csv"


def labels_of(out):
    return {sample.file_name: sample.label for sample in Dataset.open(out).samples}


def failures_of(out):
    lines = (out / "failures.jsonl").read_text().splitlines()
    return {line["file"]: line["reason"] for line in map(json.loads, lines)}


def presence(**settings):
    return IngestConfig(presence=settings)


def test_a_photo_with_a_box_is_a_defect(yolo, tmp_path):
    out = tmp_path / "out"
    summary = ingest(yolo, out, IngestConfig())
    assert labels_of(out) == {
        "defect/train/a.png": "defect", "defect/train/b.png": "defect",
        "defect/val/a.png": "defect", "no_defect/val/c.png": "no_defect",
    }  # fmt: skip
    dataset = Dataset.open(out)
    assert [s.split for s in dataset.samples] == ["train", "train", "val", "val"]
    assert (out / "defect/train/a.png").read_bytes() == (yolo / "images/train/a.png").read_bytes()
    assert dataset.samples[0].extra[INGESTED]["file"] == "images/train/a.png"
    assert summary.notes[0] == "read as yolo (4 label files)"
    assert any("no test photos" in note for note in summary.notes)
    assert read_receipt(out)["counts"] == {"written": 4, "present": 0}
    assert decide_split(dataset, SplitConfig(), 0).samples == dataset.samples


@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        ({"positive": ["crack"]}, ["defect", "defect", "no_defect", "no_defect"]),
        ({"present": "rust", "absent": "no_rust"}, ["rust", "rust", "rust", "no_rust"]),
        ({"by_class": True}, ["pore", "crack", "pore", "no_defect"]),
        ({"by_class": True, "positive": ["crack"]}, ["crack", "crack", "no_defect", "no_defect"]),
    ],
)
def test_which_boxes_count_and_what_they_are_called(yolo, tmp_path, settings, labels):
    ingest(yolo, tmp_path / "out", presence(**settings))
    made = {name.partition("/")[2]: label for name, label in labels_of(tmp_path / "out").items()}
    assert [made[f"{name}.png"] for name in LABELS] == labels


def test_each_box_is_a_crop_in_the_group_of_its_photo(yolo, tmp_path):
    out = tmp_path / "out"
    summary = ingest(yolo, out, CROPS)
    samples = {s.file_name: s for s in Dataset.open(out).samples}
    assert sorted(samples) == ["crack/train/a_1.png", "crack/train/b_0.png", "pore/train/a_0.png", "pore/val/a_0.png"]
    first, second, other = (samples[n] for n in ("pore/train/a_0.png", "crack/train/a_1.png", "pore/val/a_0.png"))
    assert first.group == second.group == first.extra[INGESTED]["photo"] != other.group
    assert (first.split, first.origin, first.parents) == ("train", "real", ())
    about = first.extra[INGESTED]
    assert about["box"] == pytest.approx([33.6, 16, 62.4, 48], abs=0.01)
    assert about["window"] == [29, 11, 67, 53]
    assert (first.width, first.height) == (38, 42)
    np.testing.assert_array_equal(read_rgb(out / first.file_name), read_rgb(yolo / "images/train/a.png")[11:53, 29:67])
    assert other.extra[INGESTED]["box"][2] == 96  # clipped
    assert "1 crops with a side below 16 pixels were skipped (crops.min_px)" in summary.notes
    assert summary.counts == {"written": 4, "present": 0}
    assert summary.failures == 0


def test_turned_boxes_are_cut_upright_where_it_is_asked_for(yolo, tmp_path):
    own = Rectangle(48, 32, 40, 16, -60)
    points = " ".join(f"{value:.6f}" for value in (own.corners() / [96, 64]).ravel())
    (yolo / "labels/train/a.txt").write_text(f"0 {points}\n1 0.2 0.2 0.2 0.3\n")
    plain = ingest(yolo, tmp_path / "plain", CROPS)
    assert any("crops.upright=true" in note for note in plain.notes)
    upright_too = IngestConfig(mode="crops", crops={"upright": True, "margin": 0.1})
    summary = ingest(yolo, tmp_path / "out", upright_too)
    assert not any("crops.upright" in note for note in summary.notes)
    samples = {s.file_name: s for s in Dataset.open(tmp_path / "out").samples}
    turned, box = samples["pore/train/a_0.png"], samples["crack/train/a_1.png"]
    assert (turned.width, turned.height) == (48, 24)
    assert turned.group == box.group
    np.testing.assert_allclose(turned.extra["ingested"]["turned"], own.grown(0.1).corners(), atol=0.02)
    assert "turned" not in box.extra["ingested"]
    np.testing.assert_array_equal(
        read_rgb(tmp_path / "out" / turned.file_name), upright(read_rgb(yolo / "images/train/a.png"), own.grown(0.1))
    )
    assert ingest(yolo, tmp_path / "out", upright_too).counts["written"] == 0
    (yolo / "labels/train/a.txt").write_text("0 0.1 0.1 0.3 0.3 0.5 0.5\n")
    flat = ingest(yolo, tmp_path / "flat", upright_too)
    assert flat.failures == 1
    assert "line 1: the points lie on a line" in (tmp_path / "flat/failures.jsonl").read_text()


def test_crops_of_one_photo_never_straddle_a_split(yolo, tmp_path, make_metal):
    for name in LABELS:
        (yolo / "images" / name).with_suffix(".png").unlink()
        (yolo / "labels" / name).with_suffix(".txt").unlink()
    for seed in range(9):
        Image.fromarray(make_metal(30 + seed)).save(yolo / "images" / f"{seed}.png")
        (yolo / "labels" / f"{seed}.txt").write_text("0 0.25 0.5 0.3 0.5\n0 0.75 0.5 0.3 0.5\n1 0.5 0.5 0.5 0.5")
    ingest(yolo, tmp_path / "out", CROPS)
    split = decide_split(Dataset.open(tmp_path / "out"), SplitConfig(val=0.3, test=0.3), 0)
    assert {s.split for s in split.samples} == {"train", "val", "test"}
    photos = {s.extra[INGESTED]["photo"] for s in split.samples}
    for photo in photos:
        assert len({s.split for s in split.samples if s.extra[INGESTED]["photo"] == photo}) == 1


def test_csv_keeps_labels_groups_and_splits(tmp_path, make_metal):
    rows = "file,label,group,split\n0.png,good,p,train\n1.png,good,p,train\n2.png,bad,,val\n3.png,bad,,\n"
    ingest(table(tmp_path, make_metal, rows), tmp_path / "out", IngestConfig())
    samples = Dataset.open(tmp_path / "out").samples
    assert [(s.file_name, s.group, s.split) for s in samples] == [
        ("bad/2.png", "", "val"), ("bad/3.png", "", ""), ("good/0.png", "p", "train"), ("good/1.png", "p", "train"),
    ]  # fmt: skip


def test_coco_photos_of_another_size_than_annotated_are_failures(tmp_path, make_metal):
    table(tmp_path, make_metal, "")
    sizes = [{"width": 96, "height": 64}, {"width": 64, "height": 96}]
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", **size} for i, size in enumerate(sizes)],
        "annotations": [{"id": i, "image_id": i, "category_id": 0, "bbox": [8, 8, 40, 30]} for i in range(2)],
        "categories": [{"id": 0, "name": "pore"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert ingest(tmp_path / "a.json", tmp_path / "out", CROPS).failures == 1
    assert failures_of(tmp_path / "out") == {"1.png": "a.json: annotated at 64 x 96 pixels, but the photo has 96 x 64"}


def test_every_fault_is_listed_and_the_rest_is_brought_in(yolo, tmp_path, make_metal):
    data = (yolo / "images/train/a.png").read_bytes()
    (yolo / "images/train/cut.png").write_bytes(data[: len(data) // 2])
    (yolo / "images/train/text.png").write_text("no image")
    (yolo / "images/train/twin.png").write_bytes((yolo / "images/val/c.png").read_bytes())
    Image.fromarray(make_metal(80)).save(yolo / "images/train/out.png")
    for name, line in {"cut": "0 .5 .5 .5 .5", "text": "0 .5 .5 .5 .5", "twin": "", "out": "0 1.05 .5 .02 .5"}.items():
        (yolo / f"labels/train/{name}.txt").write_text(line)
    (yolo / "labels/train/b.txt").write_text("1 0.5 0.5 0.5 0.5\n7 0.5 0.5 0.5 0.5")
    (yolo / "labels/val/lost.txt").write_text("0 0.5 0.5 0.5 0.5")
    out = tmp_path / "out"
    summary = ingest(yolo, out, IngestConfig())
    found = failures_of(out)
    expected = {
        "images/train/cut.png": "damaged image",
        "images/train/text.png": "not an image",
        "images/train/out.png": "labels/train/out.txt, line 1: the box lies outside the image of 96 x 64 pixels",
        "images/train/b.png": "labels/train/b.txt, line 2: class 7 is out of range",
        "labels/val/lost.txt": "no photo called lost",
        "images/val/c.png": "the same photo as train/twin.png, which lies in split 'train'",
    }
    assert set(found) == set(expected)
    assert all(expected[file] in reason for file, reason in found.items())
    assert summary.failures == len(expected)
    assert sorted(labels_of(out)) == ["defect/train/a.png", "defect/val/a.png", "no_defect/train/twin.png"]


def test_mended_photos_join_and_the_list_of_failures_goes(yolo, tmp_path):
    whole = (yolo / "images/train/b.png").read_bytes()
    (yolo / "images/train/b.png").write_bytes(whole[:300])
    out = tmp_path / "out"
    assert ingest(yolo, out, CROPS).failures == 1
    (yolo / "images/train/b.png").write_bytes(whole)
    summary = ingest(yolo, out, CROPS)
    assert summary.counts == {"written": 1, "present": 3}
    assert not (out / "failures.jsonl").exists()


def test_an_interrupted_run_goes_on_and_gives_the_same(yolo, tmp_path, monkeypatch):
    from weldgen.data import ingest as module

    ingest(yolo, tmp_path / "whole", CROPS)
    cut, calls = module.cut, []

    def stops(photo, window):
        calls.append(window)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return cut(photo, window)

    monkeypatch.setattr(module, "cut", stops)
    with pytest.raises(KeyboardInterrupt):
        ingest(yolo, tmp_path / "out", CROPS)
    monkeypatch.undo()
    assert not (tmp_path / "out" / "stage.json").exists()
    assert ingest(yolo, tmp_path / "out", CROPS).counts == {"written": 2, "present": 2}
    for file in (tmp_path / "whole").rglob("*.*"):
        if file.is_file() and file.name != "stage.json":
            assert (tmp_path / "out" / file.relative_to(tmp_path / "whole")).read_bytes() == file.read_bytes()


def test_other_settings_replace_only_what_ingest_made(yolo, tmp_path):
    out = tmp_path / "out"
    ingest(yolo, out, CROPS)
    wide = IngestConfig(mode="crops", crops={"margin": 0.4, "min_px": 33})
    assert ingest(yolo, out, wide).counts["written"] == 3
    assert sorted(path.name for path in out.rglob("*.png")) == ["a_0.png", "a_0.png", "b_0.png"]
    (out / "crack/train/b_0.png").write_bytes(b"retouched")
    with pytest.raises(OutputError, match="by hand"):
        ingest(yolo, out, CROPS)
    assert (out / "crack/train/b_0.png").read_bytes() == b"retouched"


def test_equal_photos_and_equal_boxes_have_ids_of_their_own(yolo, tmp_path):
    shutil.copy(yolo / "images/train/b.png", yolo / "images/train/b2.png")
    (yolo / "labels/train/b2.txt").write_text("1 0.5 0.5 0.5 0.5\n1 0.5 0.5 0.5 0.5")
    out = tmp_path / "out"
    ingest(yolo, out, CROPS)
    same = [s for s in Dataset.open(out).samples if "/b" in s.file_name]
    assert [s.id.partition("-")[2] for s in same] == ["2", "3", ""]
    assert len({s.group for s in same}) == 1
    assert ingest(yolo, out, CROPS).counts == {"written": 0, "present": 6}
    ingest(yolo, tmp_path / "presence", IngestConfig())
    assert len(Dataset.open(tmp_path / "presence").samples) == 5


def test_two_sources_share_a_target_and_neither_overwrites_the_other(yolo, tmp_path, make_metal):
    out, second = tmp_path / "out", tmp_path / "second"
    ingest(yolo, out, IngestConfig())
    shutil.copytree(yolo, second)
    Image.fromarray(make_metal(70)).save(second / "images/train/b.png")
    Image.fromarray(make_metal(71)).save(second / "images/train/new.png")
    (second / "labels/train/new.txt").write_text("0 0.5 0.5 0.5 0.5")
    before = (out / "defect/train/b.png").read_bytes()
    summary = ingest(second, out, IngestConfig())
    assert summary.counts == {"written": 1, "present": 3}
    assert "exists and comes from another source, yolo-" in failures_of(out)["images/train/b.png"]
    assert (out / "defect/train/b.png").read_bytes() == before
    assert len(Dataset.open(out).samples) == 5
    assert ingest(yolo, out, IngestConfig()).counts == {"written": 0, "present": 4}


def test_a_photo_that_another_source_put_into_another_split_is_refused(yolo, tmp_path):
    ingest(yolo, tmp_path / "out", IngestConfig())
    second = tmp_path / "second"
    for folder in ("images", "labels"):
        shutil.copytree(yolo / folder / "train", second / folder / "val")
    shutil.copy(yolo / "data.yaml", second)
    with pytest.raises(DataError, match="is in split 'val', but its group or the same photo is in 'train'"):
        ingest(second, tmp_path / "out", IngestConfig())


def test_folders_that_hold_something_else_are_refused(yolo, tmp_path, class_folder, make_metal):
    with pytest.raises(OutputError, match="16 photos"):
        ingest(yolo, class_folder, IngestConfig())
    ingest(yolo, tmp_path / "out", IngestConfig())
    with pytest.raises(OutputError, match="would not count"):
        ingest(class_folder, tmp_path / "out", IngestConfig())
    receipt = tmp_path / "out" / "stage.json"
    receipt.write_text(receipt.read_text().replace('"stage": "ingest"', '"stage": "clean"'))
    with pytest.raises(OutputError, match="was not made by weldgen ingest"):
        ingest(yolo, tmp_path / "out", IngestConfig())
    receipt.unlink()
    lines = (tmp_path / "out" / "metadata.jsonl").read_text().replace(f'"{INGESTED}"', '"other"')
    (tmp_path / "out" / "metadata.jsonl").write_text(lines)
    with pytest.raises(OutputError, match="was not made by weldgen ingest"):
        ingest(yolo, tmp_path / "out", IngestConfig())
    with pytest.raises(ConfigError, match="lies in the folder of the photos"):
        ingest(yolo, yolo / "out", IngestConfig())


def test_settings_that_do_not_fit_the_source(yolo, tmp_path, class_folder, make_metal):
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="mode=crops needs boxes"):
        ingest(class_folder, out, CROPS)
    with pytest.raises(ConfigError, match="mode=crops needs boxes"):
        ingest(table(tmp_path, make_metal, "file,label\n0.png,good\n"), out, CROPS)
    with pytest.raises(ConfigError, match="'rust', which") as raised:
        ingest(yolo, out, presence(positive=["rust"]))
    assert "pore, crack" in raised.value.hint
    with pytest.raises(ValueError, match="both 'x'"):
        presence(present="x", absent="x")
    with pytest.raises(DataError, match="class 'a/b' cannot be a folder"):
        ingest(yolo, out, presence(present="a/b"))
    (tmp_path / "t.csv").write_text("file,label\n")
    with pytest.raises(DataError, match="lists no photo"):
        ingest(tmp_path / "t.csv", out, IngestConfig())
    assert not out.exists()


def test_a_named_format_is_not_guessed(class_folder, tmp_path):
    with pytest.raises(DataError, match="no names of classes"):
        ingest(class_folder, tmp_path / "out", IngestConfig(format="yolo"))
    summary = ingest(class_folder, tmp_path / "out", IngestConfig(format="folder"))
    assert summary.counts == {"copied": 16, "present": 0}
    assert summary.notes == ()


def test_failures_of_class_folders_are_listed_until_they_are_mended(class_folder, tmp_path):
    (class_folder / "good" / "broken.png").write_text("no image")
    out = tmp_path / "out"
    assert ingest(class_folder, out, IngestConfig()).failures == 1
    assert list(failures_of(out)) == ["good/broken.png"]
    (class_folder / "good" / "broken.png").unlink()
    assert ingest(class_folder, out, IngestConfig()).failures == 0
    assert not (out / "failures.jsonl").exists()


def test_empty_class_folders_are_said_and_splits_do_not_become_classes(yolo, class_folder, tmp_path):
    out = tmp_path / "data" / "raw"
    for name in ("good", "bad"):
        (out / name).mkdir(parents=True)
    summary = ingest(yolo, out, IngestConfig())
    assert f"{out} has empty class folders, which count as classes: bad, good" in summary.notes
    split = tmp_path / "split"
    shutil.copytree(class_folder, split / "train")
    shutil.rmtree(out)
    (out / "good").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"folders of splits \(train\) beside folders of classes \(good\)"):
        ingest(split, out, IngestConfig())
    (out / "good").rmdir()
    ingest(split, out, IngestConfig())
    assert {s.split for s in Dataset.open(out).samples} == {"train"}
