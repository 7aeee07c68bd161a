"""Parts of a run on several machines are together what one machine makes; annotations say what the masks say."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from tests.synthesis.test_generate import _config, _content
from weldgen.config import load_config
from weldgen.data.dataset import Dataset
from weldgen.data.ingest import IngestConfig, ingest
from weldgen.errors import ConfigError, DataError
from weldgen.synthesis import gates, shards
from weldgen.synthesis.annotations import COCO, YOLO, instances_of
from weldgen.synthesis.generate import SynthConfig, synth
from weldgen.synthesis.making import MASK_VALUES


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (gates, shards):
        monkeypatch.setattr(module, "BLOCK", 2)


def test_the_parts_together_are_the_whole(weld_dataset: Path, tmp_path: Path, small_blocks: None) -> None:
    whole, joined = tmp_path / "whole", tmp_path / "joined"
    synth(weld_dataset, whole, _config(n=10, annotations="masks"))
    parts = [tmp_path / f"part{number}" for number in (1, 2, 3)]
    for number, part in enumerate(parts, start=1):
        synth(weld_dataset, part, _config(n=10, annotations="masks", shard=f"{number}/3"))
    names = [{sample.file_name for sample in Dataset.open(part).samples} for part in parts]
    assert [len(own) for own in names] == [4, 4, 2] and len(set.union(*names)) == 10
    summary = synth(weld_dataset, joined, _config(n=10, annotations="masks", join=list(map(str, parts))))
    assert summary.counts["made"] == 0
    assert _content(joined) == _content(whole)


def test_what_is_missing_from_the_parts_is_made(weld_dataset: Path, tmp_path: Path, small_blocks: None) -> None:
    synth(weld_dataset, tmp_path / "part", _config(n=6, shard="2/2"))
    summary = synth(weld_dataset, tmp_path / "joined", _config(n=6, join=[str(tmp_path / "part")]))
    assert (summary.counts["made"], summary.counts["images"]) == (4, 6)


def test_a_part_of_another_run_is_refused(weld_dataset: Path, tmp_path: Path, small_blocks: None) -> None:
    synth(weld_dataset, tmp_path / "part", _config(n=4, shard="1/2", seed=5))
    with pytest.raises(DataError, match="no images of this run"):
        synth(weld_dataset, tmp_path / "joined", _config(n=4, join=[str(tmp_path / "part")]))
    with pytest.raises(DataError, match="no images of this run"):
        synth(weld_dataset, tmp_path / "joined", _config(n=4, join=[str(tmp_path / "nowhere")]))


def test_an_empty_part_and_a_part_that_cannot_be(weld_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty"):
        synth(weld_dataset, tmp_path / "part", _config(n=4, shard="2/2"))
    for wrong in ("3/2", "0/2", "half"):
        with pytest.raises(ConfigError, match="shard"):
            load_config("synth", SynthConfig, flags={"shard": wrong})


def test_copies_are_looked_for_within_a_block() -> None:
    known = gates.KnownHashes(2 * gates.BLOCK)
    bits = bytes(gates.HASH_BYTES)
    known.add(gates.BLOCK - 1, bits)
    assert known.nearest(gates.BLOCK, bits) == 256
    known.add(gates.BLOCK, bits)
    assert known.nearest(gates.BLOCK + 1, bits) == 0


def test_pieces_of_a_mask() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[5:9, 10:20] = MASK_VALUES["crack"]
    mask[20:30, 30:33] = MASK_VALUES["porosity"]
    mask[20:30, 40:43] = MASK_VALUES["porosity"]
    mask[35, 50] = MASK_VALUES["porosity"]  # too small to be an object
    found = sorted((piece.kind, piece.box, piece.area_px) for piece in instances_of(mask))
    assert found == [
        ("crack", (10, 5, 20, 9), 40),
        ("porosity", (30, 20, 33, 30), 30),
        ("porosity", (40, 20, 43, 30), 30),
    ]
    assert set(zip(*[iter(instances_of(mask)[0].outline)] * 2, strict=True)) == {(30, 20), (32, 20), (32, 29), (30, 29)}


def test_yolo_is_read_back_by_ingest(weld_dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = synth(weld_dataset, out, _config(n=9, annotations="yolo", size_px=160))
    made = Dataset.open(out).samples
    names = yaml.safe_load((out / YOLO / "data.yaml").read_text())["names"]
    total = 0
    for sample in made:
        stem = sample.file_name.replace("/", "__")
        assert (out / YOLO / "images/train" / stem).read_bytes() == (out / sample.file_name).read_bytes()
        lines = (out / YOLO / "labels/train" / Path(stem).with_suffix(".txt")).read_text().splitlines()
        kinds = {names[int(line.split()[0])] for line in lines}
        assert kinds <= {defect["kind"] for defect in sample.extra["defects"]}
        assert bool(lines) == (sample.label != "good_welds")
        total += len(lines)
    assert total == summary.counts["annotated objects"] > 6
    read = ingest(out / YOLO, tmp_path / "raw", IngestConfig(format="yolo", mode="presence"))
    assert read.counts["written"] == 9


def test_yolo_keeps_no_image_that_a_later_run_does_not_have(weld_dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    synth(weld_dataset, out, _config(n=9, annotations="yolo", size_px=160))
    own = out / YOLO / "images/train/by_hand.png"
    own.write_bytes(b"not ours")
    synth(weld_dataset, out, _config(n=3, annotations="yolo", size_px=160))
    kept = {sample.file_name.replace("/", "__") for sample in Dataset.open(out).samples}
    assert len(kept) == 3
    assert {path.name for path in (out / YOLO / "images/train").iterdir()} == kept | {"by_hand.png"}
    assert {path.stem for path in (out / YOLO / "labels/train").iterdir()} == {Path(name).stem for name in kept}


def test_coco_boxes_enclose_the_masks(weld_dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    synth(weld_dataset, out, _config(n=6, annotations="coco"))
    content = json.loads((out / COCO).read_text())
    kinds = {category["id"]: category["name"] for category in content["categories"]}
    assert len(content["images"]) == 6
    for image in content["images"]:
        mask = np.asarray(Image.open((out / "masks" / image["file_name"]).with_suffix(".png")))
        assert mask.shape == (image["height"], image["width"])
        left = mask.copy()
        for piece in (p for p in content["annotations"] if p["image_id"] == image["id"]):
            x, y, width, height = piece["bbox"]
            window = (slice(y, y + height), slice(x, x + width))
            own = mask[window] == MASK_VALUES[kinds[piece["category_id"]]]
            assert own.sum() >= piece["area"] > 3
            left[window][own] = 0
        for value in set(np.unique(left)) - {0}:  # only crumbs have no box
            _, _, figures, _ = cv2.connectedComponentsWithStats((left == value).astype(np.uint8), connectivity=8)
            assert figures[1:, cv2.CC_STAT_AREA].max() < 4
