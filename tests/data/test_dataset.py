"""Opening a dataset: plain folders, metadata and the rules of lineage."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

from weldgen.data.dataset import Dataset, Sample
from weldgen.data.sample import scarce_classes
from weldgen.errors import DataError


def write_metadata(root, samples):
    root.mkdir(parents=True, exist_ok=True)
    for sample in samples:
        path = root / sample.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample.id.encode())
    (root / "metadata.jsonl").write_text("".join(json.dumps(s.record()) + "\n" for s in samples))
    return root


def sample(name, split="train", **more):
    return Sample(f"{split}/good/{name}.png", more.pop("id", name), "good", split, **{"width": 8, "height": 6, **more})


def test_a_plain_folder_is_a_dataset(class_folder):
    (class_folder / "crack").mkdir()
    dataset = Dataset.open(class_folder)
    assert dataset.labels == ("bad", "crack", "good")
    assert dataset.counts() == {"bad": 8, "crack": 0, "good": 8}
    assert {(s.width, s.height) for s in dataset.samples} == {(96, 64)}
    assert len({s.id for s in dataset.samples}) == 16


def test_split_folders_of_other_tools_are_understood(class_folder, tmp_path):
    root = tmp_path / "elsewhere"
    for name in ("train", "valid", "test"):
        shutil.copytree(class_folder, root / name)
    dataset = Dataset.open(root)
    assert dataset.labels == ("bad", "good")
    assert {s.split for s in dataset.samples} == {"train", "val", "test"}


def test_photos_in_the_root_have_no_class(class_folder, make_metal):
    Image.fromarray(make_metal(77)).save(class_folder / "loose.png")
    assert [s.file_name for s in Dataset.open(class_folder).select(label="")] == ["loose.png"]


def test_copies_of_a_photo_keep_ids_of_their_own(class_folder):
    shutil.copy(class_folder / "good" / "0.png", class_folder / "bad" / "copy.png")
    ids = [s.id for s in Dataset.open(class_folder).samples]
    assert len(ids) == len(set(ids)) == 17


def test_bad_files_are_listed_and_the_rest_is_used(class_folder):
    (class_folder / "good" / "note.jpg").write_text("not an image")
    dataset = Dataset.open(class_folder)
    assert [f.file for f in dataset.failures] == ["good/note.jpg"]
    assert len(dataset.samples) == 16


def test_metadata_round_trip_keeps_everything(tmp_path):
    one = sample("a", parents=("p",), group="g", seed=7, width=3, height=2, extra={"defects": [{"kind": "crack"}]})
    root = write_metadata(tmp_path / "set", [one])
    assert Dataset.open(root).samples == (one,)


def test_a_line_cut_short_by_an_interruption_is_left_out(tmp_path):
    root = write_metadata(tmp_path / "set", [sample("a"), sample("b")])
    with (root / "metadata.jsonl").open("a") as stream:
        stream.write('{"file_name": "train/good/c')
    assert len(Dataset.open(root).samples) == 2


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([sample("a"), sample("b", id="a")], "same id"),
        ([sample("a", split="val", origin="synthetic")], "only real images"),
        ([sample("a", split="test", origin="synthetic")], "only real images"),
        ([sample("p", split="test"), sample("a", origin="synthetic", parents=("p",))], "made from a photo of 'test'"),
        ([sample("a", group="g"), sample("b", split="val", group="g")], "two splits"),
        ([sample("a", split="holdout")], "split 'holdout'"),
    ],
)
def test_every_way_to_cheat_is_refused(tmp_path, samples, message):
    root = write_metadata(tmp_path / "set", samples)
    with pytest.raises(DataError, match=message):
        Dataset.open(root)


MARKED = {"origin": "synthetic", "extra": {"synthetic_validation": True}}


def of(label, name, split="train", **more):
    return Sample(f"{split}/{label}/{name}.png", f"{label}-{name}", label, split, width=8, height=6, **more)


@pytest.mark.parametrize("parents", [(), ("bad-0",)])
def test_a_class_with_too_few_photos_may_have_marked_synthetic_validation(tmp_path, parents):
    photos = [of("bad", number) for number in range(2)] + [of("good", number) for number in range(9)]
    judges = [of("bad", "s", "val", parents=parents, **MARKED), of("good", "s", "val", **MARKED)]
    root = write_metadata(tmp_path / "set", photos + judges)
    assert scarce_classes(Dataset.open(root).samples) == {"bad": 2}


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([of("bad", "s", "test", **MARKED)], "lies in 'test'; only real images may"),
        ([of("bad", "s", "val", origin="synthetic")], "lies in 'val'; only real images may"),
        ([of("bad", "s", "val", origin="synthetic", extra={"synthetic_validation": "yes"})], "only real images may"),
        ([of("bad", "s", "val", **MARKED), of("bad", 8), of("bad", 9)], "fewer than 3 real photos"),
        ([of("bad", "s", "val", **MARKED), of("bad", 8, "val")], "none in validation; real photos: bad 2, good 1"),
        ([of("bad", 8, "test"), of("bad", "s", "val", parents=("bad-8",), **MARKED)], "made from a photo of 'test'"),
        ([of("good", 8, "val"), of("bad", "s", parents=("good-8",), **MARKED)], "made from a photo of 'val'"),
    ],
)
def test_the_exception_is_no_way_to_cheat(tmp_path, samples, message):
    good = of("good", 0, "val") if "'val'" not in message else of("good", 0)
    root = write_metadata(tmp_path / "set", [good, of("bad", 0), *samples])
    with pytest.raises(DataError, match=message):
        Dataset.open(root)


def test_copies_of_one_photo_are_one_photo_and_test_photos_cannot_be_spared():
    copies = [of("bad", number, group="one") for number in range(5)]
    assert scarce_classes([*copies, of("bad", 9, "test"), of("good", 0, "val")]) == {"bad": 5}


def test_a_missing_file_is_named(tmp_path):
    root = write_metadata(tmp_path / "set", [sample("a")])
    (root / "train/good/a.png").unlink()
    with pytest.raises(DataError, match=r"train/good/a\.png"):
        Dataset.open(root)


def test_lines_without_a_size_get_that_of_the_file(tmp_path):
    root = write_metadata(tmp_path / "set", [sample("a")])
    for name in ("b", "c"):
        line = {"file_name": f"train/good/{name}.png", "id": name, "label": "good", "split": "train"}
        with (root / "metadata.jsonl").open("a") as stream:
            stream.write(json.dumps(line) + "\n")
    Image.new("RGB", (30, 20)).save(root / "train/good/b.png")
    (root / "train/good/c.png").write_bytes(b"no image")
    opened = Dataset.open(root)
    assert [(s.width, s.height) for s in opened.samples] == [(8, 6), (30, 20)]
    assert [failure.file for failure in opened.failures] == ["train/good/c.png"]


def test_an_empty_folder_says_what_is_expected(tmp_path):
    with pytest.raises(DataError, match="<class>"):
        Dataset.open(tmp_path)
