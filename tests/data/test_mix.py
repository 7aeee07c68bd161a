"""Mixing keeps the ratio, the lineage and validation and test real."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

from weldgen.data.dataset import Dataset, Sample
from weldgen.data.ingest import IngestConfig, ingest
from weldgen.data.mix import MixConfig, mix
from weldgen.data.writer import DatasetWriter
from weldgen.errors import DataError

BY_RATIO = MixConfig(use_all=False)


def make_synthetic(root, make_metal, count, parents=(), labels=("good", "bad")):
    from weldgen.data.images import encode_rgb

    with DatasetWriter(root, lambda record: True) as writer:
        for label in labels:
            for index in range(count):
                seed = 10_000 + 1000 * len(label) + index
                one = Sample(f"{label}/s{index}.png", "", label, "train", "synthetic", tuple(parents), seed=seed)
                writer.add(one, encode_rgb(make_metal(seed)), "k")
        writer.finish()
    return root


def test_a_quarter_is_real_in_every_class_and_the_rest_of_the_splits_is_real(class_folder, tmp_path, make_metal):
    synthetic = make_synthetic(tmp_path / "synthetic", make_metal, 30)
    summary = mix(class_folder, synthetic, tmp_path / "mixed", BY_RATIO)
    mixed = Dataset.open(tmp_path / "mixed")
    for label in ("good", "bad"):
        real = len(mixed.select(split="train", origin="real", label=label))
        assert real / len(mixed.select(split="train", label=label)) == pytest.approx(0.25)
    assert {s.origin for s in mixed.samples if s.split != "train"} == {"real"}
    assert (tmp_path / "mixed" / "val" / "good").is_dir()
    assert any("left out" in note for note in summary.notes)
    assert mix(class_folder, synthetic, tmp_path / "mixed", BY_RATIO).skipped


def test_too_few_synthetic_images_keep_the_share_equal_and_are_said(class_folder, tmp_path, make_metal):
    synthetic = make_synthetic(tmp_path / "synthetic", make_metal, 12)
    for index in range(4, 12):
        (synthetic / "bad" / f"s{index}.png").unlink()
    lines = (synthetic / "metadata.jsonl").read_text().splitlines()
    kept = [line for line in lines if (synthetic / json.loads(line)["file_name"]).exists()]
    (synthetic / "metadata.jsonl").write_text("\n".join(kept) + "\n")
    summary = mix(class_folder, synthetic, tmp_path / "mixed", BY_RATIO)
    mixed = Dataset.open(tmp_path / "mixed")
    counts = [len(mixed.select(origin="synthetic", label=label)) for label in ("good", "bad")]
    assert counts == [4, 4]
    assert "class 'bad' has only 4" in summary.notes[0]


def test_a_cap_holds_for_each_class(class_folder, tmp_path, make_metal):
    synthetic = make_synthetic(tmp_path / "synthetic", make_metal, 12)
    for use_all in (True, False):
        mix(class_folder, synthetic, tmp_path / str(use_all), MixConfig(use_all=use_all, most_synthetic=5))
        mixed = Dataset.open(tmp_path / str(use_all))
        assert [len(mixed.select(origin="synthetic", label=label)) for label in ("good", "bad")] == [5, 5]


def test_use_all_keeps_everything_and_weighs_the_real_photos(class_folder, tmp_path, make_metal):
    synthetic = make_synthetic(tmp_path / "synthetic", make_metal, 30)
    mix(class_folder, synthetic, tmp_path / "mixed", MixConfig(use_all=True))
    train = Dataset.open(tmp_path / "mixed").select(split="train")
    real = sum(s.extra["weight"] for s in train if s.origin == "real")
    assert real / sum(s.extra["weight"] for s in train) == pytest.approx(0.25, abs=1e-3)
    assert len([s for s in train if s.origin == "synthetic"]) == 60


def test_a_child_of_a_test_photo_is_refused(class_folder, tmp_path, make_metal):
    from weldgen.data.split import SplitConfig, decide_split

    split = decide_split(Dataset.open(class_folder), SplitConfig(), 0)
    parent = split.select(split="test")[0].id
    synthetic = make_synthetic(tmp_path / "synthetic", make_metal, 4, [parent])
    with pytest.raises(DataError, match="made from a test photo"):
        mix(class_folder, synthetic, tmp_path / "mixed", MixConfig())


def test_an_unknown_class_is_refused(class_folder, tmp_path, make_metal):
    synthetic = make_synthetic(tmp_path / "synthetic", make_metal, 2, labels=("goood",))
    with pytest.raises(DataError, match="'goood'"):
        mix(class_folder, synthetic, tmp_path / "mixed", MixConfig())


def test_mixing_again_with_another_ratio_replaces_its_own_files_only(class_folder, tmp_path, make_metal):
    synthetic = make_synthetic(tmp_path / "synthetic", make_metal, 30)
    mix(class_folder, synthetic, tmp_path / "mixed", MixConfig())
    mix(class_folder, synthetic, tmp_path / "mixed", MixConfig(real_ratio=0.5, use_all=False))
    train = Dataset.open(tmp_path / "mixed").select(split="train")
    assert sum(s.origin == "real" for s in train) == len(train) / 2
    assert len(list(synthetic.rglob("*.png"))) == 60
    assert len(list(class_folder.rglob("*.png"))) == 16


def test_masks_of_defects_come_along_and_lost_ones_are_said(class_folder, tmp_path, make_metal):
    from weldgen.data.images import write_rgb

    synthetic, out = make_synthetic(tmp_path / "synthetic", make_metal, 4), tmp_path / "mixed"
    records = [json.loads(line) for line in (synthetic / "metadata.jsonl").read_text().splitlines()]
    mix(class_folder, synthetic, out, MixConfig(use_all=True))  # a mix of before there were masks
    for number, record in enumerate(records):
        record["defect_mask"] = f"masks/{record['file_name']}"
        write_rgb(synthetic / record["defect_mask"], make_metal(number))
    (synthetic / records[0]["defect_mask"]).unlink()
    (synthetic / "metadata.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    summary = mix(class_folder, synthetic, out, MixConfig(use_all=True))
    made = {s.id: s for s in Dataset.open(out).select(origin="synthetic")}
    assert "defect_mask" not in made[records[0]["id"]].extra
    assert any("masks of the defects of 1 synthetic images are gone" in note for note in summary.notes)
    for record in records[1:]:
        mask = out / made[record["id"]].extra["defect_mask"]
        assert mask.read_bytes() == (synthetic / record["defect_mask"]).read_bytes()
    assert len(Dataset.open(out).select(origin="synthetic")) == len(records)  # masks are no images


def test_real_only_needs_no_synthetic_folder(class_folder, tmp_path):
    mix(class_folder, tmp_path / "nowhere", tmp_path / "mixed", MixConfig(real_ratio=1.0))
    assert len(Dataset.open(tmp_path / "mixed").samples) == 16


def test_ingest_copies_what_is_readable_and_never_overwrites(class_folder, tmp_path, make_metal):
    (class_folder / "good" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    out = tmp_path / "project"
    summary = ingest(class_folder, out, IngestConfig())
    assert summary.counts == {"copied": 16, "present": 0}
    assert summary.failures == 1
    assert ingest(class_folder, out, IngestConfig()).counts == {"copied": 0, "present": 16}
    shutil.copy(class_folder / "good" / "1.png", class_folder / "good" / "0.png")
    before = (out / "good" / "0.png").read_bytes()
    assert ingest(class_folder, out, IngestConfig()).failures == 2
    assert (out / "good" / "0.png").read_bytes() == before
    Image.open(out / "bad" / "7.png").verify()
