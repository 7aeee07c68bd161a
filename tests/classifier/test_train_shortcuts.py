"""What `weldgen train` says of shortcuts by itself: origin in the embedding, errors by origin, day and size."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from weldgen.classifier import train_shortcuts
from weldgen.classifier.factors import explain_errors, photo_levels
from weldgen.classifier.loader import Images, load_images
from weldgen.classifier.shortcut_notes import training_notes
from weldgen.classifier.train import train
from weldgen.classifier.train_shortcuts import look_back
from weldgen.data.dataset import METADATA_NAME, Dataset

FRAME = (64, 64)


def mixed_dataset(root, make_photos, *, rendered: bool) -> Dataset:
    """30 images a class: 12 synthetic ones, darkened by half where they are `rendered`; the last 6 validate."""
    make_photos(root, {"bad": 30, "good": 30}, first=3000)
    samples = []
    for sample in Dataset.open(root).samples:
        number = int(sample.file_name.split("/")[1].split(".")[0]) - 3000
        if number < 12 and rendered:
            path = root / sample.file_name
            Image.open(path).point(lambda value: value // 2).save(path)
        kind = "synthetic" if number < 12 else "real"
        samples.append(replace(sample, origin=kind, split="val" if number >= 24 else "train"))
    (root / METADATA_NAME).write_text("".join(json.dumps(s.record()) + "\n" for s in samples))
    return Dataset.open(root)


def images_of(dataset: Dataset) -> tuple[Images, Images]:
    scratch = (dataset.root, 1.0)
    images, _ = load_images(dataset, list(dataset.samples), dataset.labels, frame=FRAME, jobs=1, scratch=scratch)
    return images.subset("train"), images.subset("val")


@pytest.mark.parametrize("rendered", [True, False])
def test_it_says_how_well_origin_can_be_read(trained, make_photos, tiny_config, tmp_path, rendered):
    dataset = mixed_dataset(tmp_path / "data", make_photos, rendered=rendered)
    found = look_back(dataset, *images_of(dataset), trained[0], tiny_config(), device="cpu")
    told = found.record["origin"]["told_apart"]["bad"]
    assert (told["real"], told["synthetic"]) == (12, 12)
    assert (told["balanced_accuracy"] > 0.9) is rendered
    assert found.record["validation_photos"] == 12
    percent = f"bad {told['balanced_accuracy']:.0%} of 12 real and 12 synthetic ones right"
    assert percent in found.notes[0]
    assert ("no sure sign" in found.notes[0]) is not rendered


def test_what_is_looked_at_is_bounded(trained, make_photos, tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr(train_shortcuts, "_MOST_EACH", 10)
    monkeypatch.setattr(train_shortcuts, "_MOST_JUDGED", 7)
    dataset = mixed_dataset(tmp_path / "data", make_photos, rendered=True)
    found = look_back(dataset, *images_of(dataset), trained[0], tiny_config(), device="cpu")
    assert found.record["origin"]["images"] == 20
    assert found.record["validation_photos"] == 7


def test_errors_follow_the_day(trained, make_photos, tiny_config, tmp_path):
    """The photos of one day are mirrored in brightness, so that all of them are taken for the other class."""
    root = tmp_path / "data"
    make_photos(root, {"bad": 20, "good": 20}, first=4000)
    for path in sorted(root.glob("*/*.png")):
        number = int(path.stem) - 4000
        if number % 2:
            Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
        path.rename(path.with_name(f"{'2024-03-01' if number % 2 else '2024-03-02'}_{path.name}"))
    samples = [replace(sample, split="val") for sample in Dataset.open(root).samples]
    dataset = replace(Dataset.open(root), samples=tuple(samples))
    found = look_back(dataset, *images_of(dataset), trained[0], tiny_config(), device="cpu")
    assert found.record["origin"] is None
    finding = next(finding for finding in found.record["factors"] if finding["factor"] == "day")
    assert finding["shown"]
    assert finding["worst"]["level"] == "2024-03-01"
    assert any("on the validation photos, errors follow the day: " in note for note in found.notes)


def test_a_plain_set_is_not_looked_at(trained, tiny_config):
    dataset = Dataset.open(trained[1])
    dataset = replace(dataset, samples=tuple(replace(s, split="val") for s in dataset.samples))
    found = look_back(dataset, *images_of(dataset), trained[0], tiny_config(), device="cpu")
    assert (dict(found.record), found.notes) == ({}, ())


def test_the_summary_of_a_training_holds_it(make_photos, tiny_config, tmp_path):
    mixed_dataset(tmp_path / "data", make_photos, rendered=True)
    summary = train(tmp_path / "data", tmp_path / "model", tiny_config(training={"epochs": 1}))
    receipt = json.loads((tmp_path / "model" / "stage.json").read_text())
    assert receipt["details"]["shortcuts"]["origin"]["synthetic_share"] == {"bad": 0.5, "good": 0.5}
    assert any("training images from real ones" in note for note in summary.notes)


def test_origin_is_a_factor_where_images_of_several_are_judged(make_photos, tmp_path):
    make_photos(tmp_path, {"bad": 40, "good": 1}, first=3000)
    opened = Dataset.open(tmp_path)
    bad = opened.select(label="bad")
    samples = [replace(sample, origin="synthetic" if k % 2 else "real") for k, sample in enumerate(bad)]
    measured = replace(opened, samples=tuple(samples))
    names = {sample.file_name: sample.id for sample in samples}
    wrong = {sample.file_name: sample.origin == "synthetic" for sample in samples}
    finding = explain_errors(measured, wrong, names, {}, 0)[0]
    assert (finding.factor, finding.shown, finding.worst["level"]) == ("origin", True, "synthetic")
    real = replace(measured, samples=tuple(samples[::2]))
    assert "origin" not in photo_levels(real, names, {})


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (0.4, ["no sign that errors on the 30 validation photos follow the day (permutation tests)"]),
        (None, []),  # too few to test
    ],
)
def test_a_sentence_says_so_where_nothing_was_found(p, said):
    factor = {"factor": "day", "p": p, "shown": False, "reason": "too few: 3", "worst": None}
    assert training_notes({"origin": None, "factors": [factor], "validation_photos": 30}) == said
    assert training_notes({"origin": None, "factors": [], "validation_photos": 30}) == []
