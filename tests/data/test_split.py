"""Splits are stratified, deterministic, and keep near-duplicates together."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from weldgen.data.dataset import Dataset, Sample
from weldgen.data.split import SplitConfig, decide_split, find_groups
from weldgen.errors import DataError


def by_split(dataset):
    return {split: sorted(s.file_name for s in dataset.select(split=split)) for split in ("train", "val", "test")}


def test_every_class_gets_its_shares_and_the_result_repeats(class_folder):
    dataset = Dataset.open(class_folder)
    config = SplitConfig(val=0.25, test=0.25)
    once, again = decide_split(dataset, config, 3), decide_split(dataset, config, 3)
    assert once == again
    for label in ("good", "bad"):
        assert [len(once.select(split=s, label=label)) for s in ("train", "val", "test")] == [4, 2, 2]
    assert by_split(decide_split(dataset, config, 4)) != by_split(once)


def test_near_duplicates_and_name_patterns_stay_together(class_folder, make_metal):
    for index in range(6):  # six exposures of one plate
        brighter = np.clip(make_metal(900).astype(int) + 3 * index, 0, 255).astype(np.uint8)
        Image.fromarray(brighter).save(class_folder / "good" / f"plate_{index}.png")
    for index in range(4):
        Image.fromarray(make_metal(950 + index)).save(class_folder / "bad" / f"p7__{index}.png")
    split = decide_split(Dataset.open(class_folder), SplitConfig(val=0.3, test=0.3, group_pattern="^(.+?)__"), 0)
    assert len({s.split for s in split.samples if "plate_" in s.file_name}) == 1
    assert len({s.group for s in split.samples if "plate_" in s.file_name}) == 1
    assert len({s.split for s in split.samples if "p7__" in s.file_name}) == 1


def test_views_of_a_part_are_one_group_in_whatever_order_their_ids_come(tmp_path):
    for seed in range(20):
        ids = np.random.default_rng(seed).permutation(8)
        samples = tuple(Sample(f"bad/part__{k}.png", f"{identity}", "bad") for k, identity in enumerate(ids))
        dataset = Dataset(tmp_path, samples, ("bad",))
        groups = find_groups(dataset, SplitConfig(duplicate_bits=-1, group_pattern="^(.+?)__"))
        assert len(set(groups.values())) == 1


def test_a_class_of_two_trains_whole(class_folder):
    for index in range(2, 8):
        (class_folder / "bad" / f"{index}.png").unlink()
    split = decide_split(Dataset.open(class_folder), SplitConfig(), 0)
    assert {s.split for s in split.select(label="bad")} == {"train"}
    assert {s.split for s in split.select(label="good")} == {"train", "val", "test"}


def test_what_was_decided_before_stays(class_folder, make_metal):
    first = decide_split(Dataset.open(class_folder), SplitConfig(), 0)
    fixed = {s.id: (s.split, s.group) for s in first.samples}
    for index in range(8):
        Image.fromarray(make_metal(500 + index)).save(class_folder / "good" / f"new{index}.png")
    grown = decide_split(Dataset.open(class_folder), SplitConfig(), 99, fixed)
    assert all(fixed[s.id][0] == s.split for s in grown.samples if s.id in fixed)
    assert len(grown.select(split="test", label="good")) == 2


def test_groups_that_were_found_before_stay(class_folder, make_metal):
    for index in (0, 1):
        Image.fromarray(make_metal(900) + np.uint8(index)).save(class_folder / "good" / f"twin{index}.png")
    first = decide_split(Dataset.open(class_folder), SplitConfig(), 0)
    again = decide_split(
        Dataset.open(class_folder), SplitConfig(), 0, {s.id: (s.split, s.group) for s in first.samples}
    )
    assert again.samples == first.samples
    assert any(sample.group for sample in again.samples)


def test_duplicates_that_lie_in_two_splits_already_are_refused(class_folder, make_metal):
    for index in (0, 1):
        Image.fromarray(make_metal(900) + np.uint8(index)).save(class_folder / "good" / f"twin{index}.png")
    dataset = Dataset.open(class_folder)
    twins = [s.id for s in dataset.samples if "twin" in s.file_name]
    with pytest.raises(DataError, match="near-duplicates"):
        decide_split(dataset, SplitConfig(), 0, {twins[0]: ("train", ""), twins[1]: ("test", "")})


def test_groups_of_several_classes_are_told_in_one_line(tmp_path, caplog):
    samples = [
        Sample(f"{label}/p{k}__{label}.png", f"{k}{label}", label) for k in range(5) for label in ("bad", "good")
    ]
    samples += [Sample("good/p9__a.png", "9a", "good"), Sample("good/p9__b.png", "9b", "good")]
    dataset = Dataset(tmp_path, tuple(samples), ("bad", "good"))
    config = SplitConfig(duplicate_bits=-1, group_pattern="^(.+?)__")
    decide_split(dataset, config, 0)
    (told,) = [line for line in caplog.messages if "different classes" in line]
    assert "bad/p0__bad.png, good/p0__good.png; " in told
    assert told.endswith("; and 2 more")
    assert "p9__" not in told
    caplog.clear()
    decide_split(Dataset(tmp_path, tuple(samples[-2:]), ("good",)), config, 0)
    assert not caplog.messages, "nothing to tell"
