"""Classes with too few photos: synthetic validation is balanced, marked, and shares nothing with training."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from PIL import Image

from weldgen.config import load_config
from weldgen.data.dataset import Dataset, Sample
from weldgen.data.images import encode_rgb
from weldgen.data.mix import MixConfig, mix
from weldgen.data.sample import is_synthetic_validation
from weldgen.data.scarce import hold_out, synthetic_validation_warning
from weldgen.data.split import SplitConfig, decide_split
from weldgen.data.writer import DatasetWriter
from weldgen.errors import ConfigError


@pytest.fixture
def write_real(tmp_path, make_metal):
    def write(**counts):
        for label, count in counts.items():
            (tmp_path / "real" / label).mkdir(parents=True)
            for index in range(count):
                Image.fromarray(make_metal(1000 * len(label) + index)).save(tmp_path / "real" / label / f"{index}.png")
        return tmp_path / "real"

    return write


@pytest.fixture
def write_made(tmp_path, make_metal):
    """Synthetic images; `parents` and `uses` take turns."""

    def write(count, parents=((),), uses=("render",), seed_of=None, labels=("good", "bad")):
        with DatasetWriter(tmp_path / "made", lambda record: True) as writer:
            for number, label in enumerate(labels):
                for index in range(count):
                    picture = make_metal(50_000 + 1000 * number + index, 48, 32)
                    seed = seed_of(index) if seed_of else 10_000 * number + index
                    own = tuple(parents[index % len(parents)])
                    extra = {"use": uses[(index // len(parents) + number) % len(uses)]}
                    name = f"{label}/s{index}.png"
                    one = Sample(name, "", label, "train", "synthetic", own, seed=seed, extra=extra)
                    writer.add(one, encode_rgb(picture), "k")
            writer.finish()
        return tmp_path / "made"

    return write


def mixed(tmp_path, real, made, **settings):
    summary = mix(real, made, tmp_path / "mixed", MixConfig(**settings))
    return Dataset.open(tmp_path / "mixed"), summary


def drawn_share(dataset, label):
    train = dataset.select(split="train", label=label)
    return sum(s.extra["weight"] for s in train if s.origin == "real") / sum(s.extra["weight"] for s in train)


def test_three_photos_all_train_and_both_classes_are_validated_on_synthetic_images(tmp_path, write_real, write_made):
    dataset, summary = mixed(tmp_path, write_real(good=1, bad=2), write_made(60))
    judges = dataset.select(split="val")
    assert Counter(s.label for s in judges) == {"good": 15, "bad": 15}
    assert all(is_synthetic_validation(s) for s in judges)
    assert {s.split for s in dataset.select(origin="real")} == {"train"}
    assert len(dataset.select(split="train", origin="synthetic")) == 90
    assert [drawn_share(dataset, label) for label in ("good", "bad")] == pytest.approx([0.25, 0.25], abs=1e-3)
    assert summary.notes[0].startswith("validation of classes bad (2 real photos) and good (1 real photo) is synthetic")
    assert "25% of what is drawn are real photos (2 bad, 1 good)" in summary.notes[-1]


def test_a_cold_start_keeps_the_photos_of_the_other_class_where_they_are(tmp_path, write_real, write_made):
    real = write_real(good=5, bad=0)
    dataset, summary = mixed(tmp_path, real, write_made(60))
    assert Counter(s.split for s in dataset.select(origin="real")) == {"train": 3, "val": 1, "test": 1}
    assert Counter(s.label for s in dataset.select(split="val", origin="synthetic")) == {"good": 15, "bad": 15}
    assert {s.extra["weight"] for s in dataset.samples} == {1.0}  # "real" would tell the class
    assert "validation of class bad (no real photos) is synthetic" in summary.notes[0]
    assert "without a real training photo of bad" in summary.notes[-1]
    assert synthetic_validation_warning(dataset.samples) in summary.notes[0]


def test_many_real_photos_of_one_class_alone_get_no_more_than_the_share_asked_for(tmp_path, write_real, write_made):
    dataset, _ = mixed(tmp_path, write_real(good=20, bad=0), write_made(8))
    assert drawn_share(dataset, "good") == pytest.approx(0.25, abs=1e-3)


def test_with_enough_photos_nothing_is_synthetic_but_training(tmp_path, class_folder, write_made):
    dataset, _ = mixed(tmp_path, class_folder, write_made(20))
    assert {s.split for s in dataset.select(origin="synthetic")} == {"train"}
    assert not synthetic_validation_warning(dataset.samples)


def test_more_photos_end_the_exception(tmp_path, write_real, write_made, make_metal):
    real, made = write_real(good=3, bad=2), write_made(20)
    assert mixed(tmp_path, real, made)[0].select(split="val", origin="synthetic")
    Image.fromarray(make_metal(9)).save(real / "bad" / "new.png")
    assert {s.origin for s in mixed(tmp_path, real, made)[0].select(split="val")} == {"real"}


def test_a_photo_is_kept_apart_where_there_are_several(tmp_path, write_real, write_made):
    real = write_real(good=5, bad=0)
    photos = decide_split(Dataset.open(real), SplitConfig(), 0).select(split="train")
    dataset, summary = mixed(tmp_path, real, write_made(60, [(photo.id,) for photo in photos]))
    parents = {
        split: {parent for s in dataset.select(split=split, origin="synthetic") for parent in s.parents}
        for split in ("train", "val")
    }
    assert len(parents["val"]) == 1
    assert not parents["val"] & parents["train"]
    assert len(dataset.select(split="train", origin="synthetic")) == 80
    assert any("share their photo" in note and note.endswith("10") for note in summary.notes)


def test_one_photo_is_shared_and_that_is_said(tmp_path, write_real, write_made):
    real = write_real(good=1, bad=2)
    photo = Dataset.open(real).select(label="good")[0]
    dataset, summary = mixed(tmp_path, real, write_made(60, [(photo.id,)]))
    assert len(dataset.select(split="val")) == 30
    assert any("come from the same photos" in note for note in summary.notes)


def test_kinds_that_only_one_photo_has_are_not_left_out_of_validation(tmp_path, write_real, write_made):
    real = write_real(good=3, bad=0)
    first, second, third = (photo.id for photo in Dataset.open(real).samples)
    uses = ("transplant", "render", "render")
    made = Dataset.open(write_made(90, [(first,), (second,), (third,)]))
    kinds = {(first,): uses[0], (second,): uses[1], (third,): uses[2]}
    samples = tuple(replace(s, extra={**s.extra, "use": kinds[s.parents]}) for s in made.samples)
    held = hold_out(Dataset.open(real).where(lambda s: False), replace(made, samples=samples), 0, -1)
    assert {s.extra["use"] for s in held.validation} == {"transplant", "render"}


def test_each_class_has_the_same_kinds(tmp_path, write_real, write_made):
    dataset, _ = mixed(tmp_path, write_real(good=1, bad=1), write_made(80, uses=("transplant", "render", "render")))
    kinds = {
        label: Counter(s.extra["use"] for s in dataset.select(split="val", label=label)) for label in dataset.labels
    }
    assert kinds["good"] == kinds["bad"]
    assert sum(kinds["good"].values()) == 20


def test_seeds_and_looks_are_not_shared(tmp_path, write_real, write_made):
    real = write_real(good=1, bad=1)
    made = write_made(40, seed_of=lambda index: index // 2)  # each seed makes two images a class, four in all
    dataset, _ = mixed(tmp_path, real, made)
    seeds = {split: {s.seed for s in dataset.select(split=split, origin="synthetic")} for split in ("train", "val")}
    assert not seeds["train"] & seeds["val"]

    photos, images = Dataset.open(real), Dataset.open(made)
    judges = hold_out(photos, images, 0, 4).validation
    copied = images.path(judges[0])
    copy = Image.open(copied).convert("RGB")
    copy.putpixel((0, 0), (0, 0, 0))
    copy.save(made / "good" / "copy.png")
    twin = replace(judges[0], file_name="good/copy.png", id="copy", label="good", split="train", seed=None, extra={})
    more = replace(images, samples=(*images.samples, twin))
    assert "copy" in {s.id for s in hold_out(photos, more, 0, -1).training.samples}
    assert "copy" not in {s.id for s in hold_out(photos, more, 0, 4).training.samples}


def test_too_few_synthetic_images_are_said_and_none_is_taken(tmp_path, write_real, write_made):
    dataset, summary = mixed(tmp_path, write_real(good=1, bad=2), write_made(3))
    assert not dataset.select(split="val")
    assert "only 3 synthetic images" in summary.notes[0]


def test_real_photos_alone_get_no_synthetic_validation(tmp_path, write_real, write_made):
    dataset, _ = mixed(tmp_path, write_real(good=1, bad=2), write_made(20), real_ratio=1.0)
    assert len(dataset.samples) == 3


def test_the_draw_is_the_same_each_time(tmp_path, write_real, write_made):
    real, made = write_real(good=1, bad=2), write_made(40)
    draws = [[s.id for s in hold_out(Dataset.open(real), Dataset.open(made), seed, 4).validation] for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_a_wrong_use_all_is_refused(tmp_path):
    assert load_config("mix", MixConfig, project=tmp_path).use_all == "auto"
    assert load_config("mix", MixConfig, project=tmp_path, overrides=["use_all=true"]).use_all is True
    with pytest.raises(ConfigError, match="use_all"):
        load_config("mix", MixConfig, project=tmp_path, overrides=["use_all=sometimes"])
