"""YOLO, COCO and CSV are read as the same records, and every fault names its file and line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from weldgen.data.formats import read_annotations
from weldgen.data.formats.coco import read_coco
from weldgen.data.formats.detect import detect_format
from weldgen.data.formats.table import read_csv
from weldgen.data.formats.yolo import parse_yolo_line, read_yolo
from weldgen.data.ingest_plan import check_class_names
from weldgen.errors import DataError

CLASSES = {0: "pore", 1: "crack"}


@pytest.fixture
def photo(make_metal):
    """Write a small photo, 96 x 64 pixels, its pixels given by its path."""

    def write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_metal(sum(path.as_posix().encode()))).save(path)
        return path

    return write


@pytest.fixture
def yolo(tmp_path, photo):
    root = tmp_path / "yolo"
    for name, line in {"train/a": "0 0.5 0.5 0.25 0.5", "valid/a": "1 0.1 0.1 0.2 0.2 0.3 0.1", "c": ""}.items():
        photo(root / "images" / f"{name}.png")
        label = root / "labels" / f"{name}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(line + "\n")
    (root / "data.yaml").write_text("train: images/train\nnames: {0: pore, 1: crack}\n")
    return root


def coco(images, annotations, names=("pore", "crack")):
    return {
        "images": [{"id": i, "file_name": name} | extra for i, (name, extra) in enumerate(images.items())],
        "annotations": [{"id": 7 + i} | one for i, one in enumerate(annotations)],
        "categories": [{"id": 10 + i, "name": name} for i, name in enumerate(names)],
    }


def box(image, bbox=(10, 5, 30, 20), category=10):
    return {"image_id": image, "category_id": category, "bbox": list(bbox)}


def reasons(found):
    return {failure.file: failure.reason for failure in found.failures}


# --- YOLO ----------------------------------------------------------------------------------------------------------


def test_yolo_keeps_splits_and_names_of_photos_in_different_folders(yolo):
    found = read_yolo(yolo)
    assert found.boxed
    assert found.classes == ("pore", "crack")
    assert [(i.name, i.split, len(i.boxes)) for i in found.images] == [
        ("c.png", "", 0), ("train/a.png", "train", 1), ("valid/a.png", "val", 1),
    ]  # fmt: skip
    assert found.images[1].boxes[0].pixels((96, 64)) == (36, 16, 60, 48)
    assert found.images[2].boxes[0].corners == (0.1, 0.1, 0.3, 0.2)
    assert found.images[2].boxes[0].outline == ((0.1, 0.1), (0.2, 0.2), (0.3, 0.1))
    np.testing.assert_allclose(found.images[2].boxes[0].outline_px((100, 50)), [(10, 5), (20, 10), (30, 5)])
    assert found.images[2].boxes[0].where == "labels/valid/a.txt, line 1"
    assert not found.failures


@pytest.mark.parametrize("place", ["images/{}.png labels/{}.txt", "{}.png {}.txt", "{}.png labels/{}.txt"])
def test_yolo_labels_lie_in_labels_or_beside_the_photos(tmp_path, photo, place):
    image, label = place.format("x", "x").split()
    photo(tmp_path / image)
    (tmp_path / label).parent.mkdir(exist_ok=True)
    (tmp_path / label).write_text("1 0.5 0.5 0.5 0.5\n")
    (tmp_path / label).with_name("classes.txt").write_text("pore\ncrack\n")
    found = read_yolo(tmp_path)
    assert [b.label for b in found.images[0].boxes] == ["crack"]
    assert not found.failures
    assert detect_format(tmp_path)[0] == "yolo"


def test_a_photo_without_a_label_file_has_no_boxes_and_is_counted(yolo, photo):
    photo(yolo / "images" / "bare.png")
    found = read_yolo(yolo)
    assert found.images[0].boxes == ()
    assert found.notes == ("1 photos have no label file and count as photos without boxes",)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2 0.5 0.5 0.1 0.1", "class 2 is out of range; there are the classes 0 to 1"),
        ("0.5 0.5 0.5 0.1 0.1", "class 0.5 is out of range"),
        ("pore 0.5 0.5 0.1 0.1", "'pore' is no number"),
        ("0 0.5 0.5", "3 numbers"),
        ("0 0.5 0.5 0.1 0.1 0.9", "5 numbers follow the class"),
        ("0 0.5 0.5 nan 0.1", "no finite number"),
        ("0 320 240 64 64", "320 is no share of the image"),
        ("0 0.5 0.5 0 0.1", "has no area"),
    ],
)
def test_a_wrong_line_leaves_its_photo_out_and_is_named(yolo, line, reason):
    (yolo / "labels" / "c.txt").write_text(f"0 0.5 0.5 0.1 0.1\n\n{line}\n")
    found = read_yolo(yolo)
    assert [image.name for image in found.images] == ["train/a.png", "valid/a.png"]
    assert list(reasons(found)) == ["images/c.png"]
    assert reasons(found)["images/c.png"].startswith("labels/c.txt, line 3: ")
    assert reason in reasons(found)["images/c.png"]


def test_labels_without_a_photo_and_labels_that_are_no_text(yolo):
    (yolo / "labels" / "lost.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (yolo / "labels" / "c.txt").write_bytes(b"\xff\xfe\x00")
    found = reasons(read_yolo(yolo))
    assert "no photo called lost" in found["labels/lost.txt"]
    assert "UTF-8" in found["images/c.png"]


def test_key_points_behind_a_box_are_not_taken_for_a_polygon():
    line = "0 0.5 0.5 0.2 0.2 0.9 0.9 0.8 0.8"
    assert parse_yolo_line(line, CLASSES, pose=True)[1] == pytest.approx((0.4, 0.4, 0.6, 0.6))
    assert parse_yolo_line(line, CLASSES)[1] == (0.2, 0.2, 0.9, 0.9)


def test_class_names_must_be_there_and_agree(yolo):
    (yolo / "other.yaml").write_text("names: [crack, pore]\n")
    with pytest.raises(DataError, match=r"data\.yaml, other\.yaml name different classes"):
        read_yolo(yolo)
    (yolo / "other.yaml").write_text("names: [\n")
    with pytest.raises(DataError, match="is no YAML"):
        read_yolo(yolo)
    (yolo / "other.yaml").unlink()
    (yolo / "data.yaml").write_text("names: [yes, no]\n")
    with pytest.raises(DataError, match="names has True"):
        read_yolo(yolo)
    (yolo / "data.yaml").write_text("names: {a: pore}\n")
    with pytest.raises(DataError, match="has the key 'a'"):
        read_yolo(yolo)
    (yolo / "data.yaml").unlink()
    with pytest.raises(DataError, match="no names of classes"):
        read_yolo(yolo)


def test_a_folder_without_any_label_file_is_no_yolo_set(class_folder):
    (class_folder / "classes.txt").write_text("pore\n")
    with pytest.raises(DataError, match="no photo has a label file"):
        read_yolo(class_folder)


# --- COCO ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "image", "split"),
    [
        ("a.json", "x.png", ""),
        ("a.json", "images/x.png", ""),
        ("annotations/instances_train2017.json", "train2017/x.png", "train"),
        ("annotations/instances_val.json", "images/val/x.png", "val"),
        ("test/_annotations.coco.json", "test/x.png", "test"),
    ],
)
def test_coco_finds_photos_and_splits(tmp_path, photo, file, image, split):
    photo(tmp_path / image)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(
        json.dumps(coco({"x.png": {"width": 96, "height": 64}}, [box(0), box(0, category=11)]))
    )
    found = read_annotations(tmp_path, "coco")
    assert found.classes == ("pore", "crack")
    assert [(b.label, b.corners) for b in found.images[0].boxes] == [
        ("pore", (10, 5, 40, 25)), ("crack", (10, 5, 40, 25)),
    ]  # fmt: skip
    assert (found.images[0].split, found.images[0].size_px) == (split, (96, 64))
    assert detect_format(tmp_path)[0] == "coco"


@pytest.mark.parametrize(
    ("segmentation", "outline"),
    [
        ([[10, 5, 40, 5, 40, 25]], ((10, 5), (40, 5), (40, 25))),
        ([[10, 5, 40, 5, 40, 25], [1, 2, 3, 4, 5, 6]], ((10, 5), (40, 5), (40, 25), (1, 2), (3, 4), (5, 6))),
        ({"counts": "abc", "size": [64, 96]}, ()),  # a mask; the box says where the object lies
        ([[10, 5]], ()),
        ([], ()),
    ],
)
def test_coco_polygons_are_outlines(tmp_path, photo, segmentation, outline):
    photo(tmp_path / "a.png")
    (tmp_path / "x.json").write_text(json.dumps(coco({"a.png": {}}, [box(0) | {"segmentation": segmentation}])))
    (one,) = read_coco(tmp_path).images[0].boxes
    assert one.corners == (10, 5, 40, 25)
    assert one.outline == outline


def test_several_coco_files_join_and_contradictions_are_failures(tmp_path, photo):
    for name in ("x.png", "y.png", "left.png"):
        photo(tmp_path / "images" / name)
    (tmp_path / "train.json").write_text(json.dumps(coco({"x.png": {}, "y.png": {}}, [box(0), box(1)])))
    (tmp_path / "train_more.json").write_text(json.dumps(coco({"images\\x.png": {}}, [box(0)], ["rust"])))
    (tmp_path / "val.json").write_text(json.dumps(coco({"y.png": {}}, [])))
    found = read_annotations(tmp_path, "coco")
    assert [[b.label for b in image.boxes] for image in found.images] == [["pore", "rust"]]
    assert reasons(found) == {"images/y.png": "split is 'train' in train.json, but 'val' in val.json"}
    assert found.classes == ("pore", "crack", "rust")
    assert found.notes == ("1 photos are not listed in the COCO file and were left out",)


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (box(0, category=5), "annotation 8: category 5 is not listed; there are: 10, 11"),
        (box(0, (1, 2, 3)), "annotation 8: bbox is [1, 2, 3]"),
        (box(0, (1, 2, "a", 3)), "annotation 8: 'a' is no number"),
        (box(0, (1, 2, 0, 3)), "annotation 8: the box from (1, 2) to (1, 5) has no area"),
        (box(99), "1 annotations belong to image 99"),
    ],
)
def test_a_wrong_coco_annotation_is_named(tmp_path, photo, annotation, reason):
    photo(tmp_path / "x.png")
    file = tmp_path / "a.json"
    file.write_text(json.dumps(coco({"x.png": {}}, [box(0), annotation])))
    (found,) = reasons(read_coco(file)).values()
    assert reason in found


def test_photos_that_coco_names_wrongly(tmp_path, photo):
    photo(tmp_path / "outside.png")
    root = tmp_path / "set"
    root.mkdir()
    (root / "note.txt").write_text("")
    file = root / "a.json"
    file.write_text(json.dumps(coco({"lost.png": {}, "../outside.png": {}, "note.txt": {}, "": {}}, [])))
    found = reasons(read_coco(file))
    assert "a.json: lost.png does not exist in" in found["lost.png"]
    assert "does not exist in" in found["../outside.png"]
    assert "is no photo" in found["note.txt"]
    assert "no file is named" in found["a.json, image 3"]


def test_files_that_are_not_coco_are_refused(tmp_path):
    file = tmp_path / "a.json"
    twice = coco({"x.png": {}}, [])
    twice["images"] *= 2
    for content, reason in {
        "{": "is no JSON",
        "[]": "not a COCO file",
        '{"images": [{}], "annotations": [], "categories": []}': "KeyError\\('id'\\)",
        json.dumps(twice): "same id",
    }.items():
        file.write_text(content)
        with pytest.raises(DataError, match=reason):
            read_annotations(file, "coco")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no JSON file"):
        read_coco(tmp_path / "empty")


# --- CSV -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_csv_labels_whole_photos(tmp_path, photo, separator):
    for name in ("x.png", "images/y.png"):
        photo(tmp_path / name)
    table = tmp_path / "t.csv"
    lines = [
        "\ufeffFile,Label,Split,group,remark",
        'x.png,"good",valid,p1,fine',
        "",
        "y.png,bad,,,",
        "x.png,good,val,p1,",
    ]
    table.write_text("\n".join(lines).replace(",", separator), encoding="utf-8")
    found = read_csv(table)
    assert not found.boxed
    assert [(i.name, i.label, i.split, i.group) for i in found.images] == [
        ("x.png", "good", "val", "p1"), ("y.png", "bad", "", ""),
    ]  # fmt: skip
    assert found.classes == ("bad", "good")
    assert detect_format(tmp_path) == ("csv", "t.csv")


def test_csv_rows_are_boxes_where_there_are_columns_for_them(tmp_path, photo):
    for name in ("x.png", "y.png"):
        photo(tmp_path / name)
    table = tmp_path / "t.csv"
    table.write_text("file,label,xmin,ymin,xmax,ymax\nx.png,pore,1,2,30,40\nx.png,crack,5,5,9.5,9\ny.png,,,,,\n")
    found = read_csv(table)
    assert found.boxed
    assert [[(b.label, b.corners) for b in image.boxes] for image in found.images] == [
        [("pore", (1, 2, 30, 40)), ("crack", (5, 5, 9.5, 9))], [],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("x.png,pore,1,2,3", "line 2: 7 values, but there are 6 columns"),
        ("x.png,pore,1,2,30,b", "line 2: 'b' is no number"),
        ("x.png,pore,30,2,1,4", "has no area"),
        ("x.png,pore,,,,", "a label without a box"),
        ("x.png,,1,2,3,4", "the label is empty"),
        ("lost.png,pore,1,2,3,4", "line 2: lost.png does not exist"),
        (",pore,1,2,3,4", "no file is named"),
    ],
)
def test_a_wrong_csv_row_is_named(tmp_path, photo, row, reason):
    photo(tmp_path / "x.png")
    table = tmp_path / "t.csv"
    row = row + ",9,9" if "7 values" in reason else row
    table.write_text(f"file,label,xmin,ymin,xmax,ymax\n{row}\n")
    found = read_csv(table)
    assert not found.images
    (failure,) = found.failures
    assert reason in failure.reason


def test_a_photo_with_two_labels_or_an_unknown_split_is_left_out(tmp_path, photo):
    for name in ("x.png", "y.png", "z.png"):
        photo(tmp_path / name)
    table = tmp_path / "t.csv"
    table.write_text("file,label,split\nx.png,good,\nx.png,bad,\ny.png,good,later\nz.png,,\n")
    assert reasons(read_csv(table)) == {
        "x.png": "label is 'good' in t.csv, line 2, but 'bad' in t.csv, line 3",
        "y.png": "t.csv, line 4: split is 'later'; accepted: train, val, valid, validation, test, or nothing",
        "z.png": "t.csv, line 5: the label is empty",
    }


@pytest.mark.parametrize("second", ["test", ""])
def test_a_group_in_two_splits_is_refused(tmp_path, photo, second):
    for name in ("x.png", "y.png"):
        photo(tmp_path / name)
    table = tmp_path / "t.csv"
    table.write_text(f"file,label,split,group\nx.png,good,train,p\ny.png,good,{second},p\n")
    with pytest.raises(DataError, match=f"group 'p' lies in split 'train' .* and in '{second}'"):
        read_csv(table)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("filename,label", "no column file; columns that weldgen does not know: filename"),
        ("file;klass", "no column label; columns that weldgen does not know: klass"),
        ("file,label,xmin,ymin", "no column xmax, ymax; columns that weldgen does not know: none"),
        ("file,label,label", "column label is there twice"),
        ("", "no column file, label"),
    ],
)
def test_a_missing_column_is_named(tmp_path, header, reason):
    table = tmp_path / "t.csv"
    table.write_text(f"{header}\n")
    with pytest.raises(DataError, match=reason):
        read_annotations(tmp_path, "csv")


def test_csv_needs_one_table_of_text(tmp_path):
    with pytest.raises(DataError, match="0 tables"):
        read_annotations(tmp_path, "csv")
    (tmp_path / "a.csv").write_text("file,label\n")
    (tmp_path / "b.csv").write_text("file,label\n")
    with pytest.raises(DataError, match=r"2 tables.*a\.csv, b\.csv"):
        read_annotations(tmp_path, "csv")
    (tmp_path / "a.csv").write_bytes("file,label\nä.png,good".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        read_csv(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text('file,label\n"' + "x" * 200_000)
    with pytest.raises(DataError, match="field larger"):
        read_csv(tmp_path / "a.csv")


# --- which of them -------------------------------------------------------------------------------------------------


def test_class_folders_stay_class_folders_beside_captions_and_other_tables(class_folder):
    (class_folder / "good" / "0.txt").write_text("a sound weld, brushed steel, front view\n")
    (class_folder / "results.csv").write_text("epoch,loss\n1,0.3\n")
    (class_folder / "settings.json").write_text("{}")
    assert detect_format(class_folder) == ("folder", "class folders bad, good")


def test_two_readings_are_refused_with_what_was_seen(yolo, class_folder):
    (yolo / "a.json").write_text(json.dumps(coco({}, [])))
    with pytest.raises(DataError, match=r"as yolo \(3 label files\) and as coco \(a\.json\)") as raised:
        detect_format(yolo)
    assert "--format: yolo, coco" in raised.value.hint
    (class_folder / "t.csv").write_text("file,label\n")
    with pytest.raises(DataError, match=r"as csv \(t\.csv\) and as folder \(class folders bad, good\)"):
        detect_format(class_folder)


def test_photos_without_a_readable_annotation_are_no_class_called_images(tmp_path, photo):
    photo(tmp_path / "images" / "x.png")
    (tmp_path / "a.json").write_text('{"images": [')
    with pytest.raises(DataError, match=r"no annotation that can be read; there are: a\.json, images"):
        detect_format(tmp_path)


def test_a_file_is_told_by_its_suffix_and_a_missing_source_is_said(tmp_path):
    for name, form in {"a.csv": "csv", "a.TSV": "csv", "a.json": "coco"}.items():
        (tmp_path / name).write_text("")
        assert detect_format(tmp_path / name) == (form, name)
    (tmp_path / "a.zip").write_text("")
    with pytest.raises(DataError, match=r"a\.zip is no source"):
        detect_format(tmp_path / "a.zip")
    with pytest.raises(DataError, match="no such folder"):
        detect_format(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no such folder"):
        read_annotations(tmp_path / "nowhere", "yolo")


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "masks", "train", "Test", " pore", "a:b", "a\\b"])
def test_classes_that_cannot_be_folders_are_refused(name):
    check_class_names(["pore", "lack of fusion", "Riß"])
    with pytest.raises(DataError, match="cannot be a folder's name"):
        check_class_names(["pore", name])
