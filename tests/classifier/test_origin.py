"""Whether "synthetic" can be read in an embedding, and whether it says anything of the class."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from PIL import Image

from weldgen.classifier.evaluate import EvaluateConfig, evaluate
from weldgen.classifier.origin import open_embedder, read_origin, synthetic_share
from weldgen.classifier.shortcut_notes import notes_on
from weldgen.classifier.train import train
from weldgen.data.dataset import METADATA_NAME, Dataset, Sample

CPU = EvaluateConfig(device="cpu")


def dataset_of(root, make_photos, *, rendered: bool, even: bool) -> Dataset:
    """Real photos and synthetic images of two classes; rendered ones are darkened by half."""
    make_photos(root, {"bad": 30, "good": 30}, first=3000)
    samples = []
    for sample in Dataset.open(root).samples:
        number = int(sample.file_name.split("/")[1].split(".")[0]) - 3000
        most = 15 if even or sample.label == "bad" else 8
        made = number < most
        if made and rendered:
            path = root / sample.file_name
            Image.open(path).point(lambda value: value // 2).save(path)
        kind = "synthetic" if made else "real"
        test = not made and number >= 28
        samples.append(replace(sample, origin=kind, split="test" if test else "train"))
    (root / METADATA_NAME).write_text("".join(json.dumps(s.record()) + "\n" for s in samples))
    return Dataset.open(root)


@pytest.mark.parametrize(
    ("rendered", "even", "said"),
    [
        (True, False, "'synthetic' is a shortcut to the class: "),
        (True, True, "the model tells synthetic training images from real ones "),
        (False, False, "no sure sign that the model tells synthetic training images from real ones "),
    ],
)
def test_synthetic_is_a_shortcut_where_it_can_be_read_and_shares_differ(
    trained, make_photos, tmp_path, rendered, even, said
):
    dataset = dataset_of(tmp_path / "data", make_photos, rendered=rendered, even=even)
    origin = read_origin(dataset, open_embedder(trained[0], "cpu"), jobs=1, seed=0)
    note = notes_on({"writing": None, "factors": (), "origin": origin})[-1]
    assert note.startswith(said), note
    assert origin["shortcut"] is (rendered and not even)
    assert (origin["told_apart"]["bad"]["low"] > 0.8) is rendered
    assert origin["shares_differ"] is not even


def test_photos_that_are_drawn_more_often_count_so():
    samples = [Sample(f"{k}", f"{k}", "bad", "train", extra={"weight": 3.0}) for k in range(2)]
    made = [Sample(f"m{k}", f"m{k}", "bad", "train", "synthetic", extra={"weight": 1.0}) for k in range(6)]
    assert synthetic_share([*samples, *made]) == 0.5


def test_an_evaluation_asks_the_training_images(make_photos, tiny_config, tmp_path):
    dataset_of(tmp_path / "data", make_photos, rendered=True, even=False)
    train(tmp_path / "data", tmp_path / "model", tiny_config(training={"epochs": 1}))
    summary = evaluate(tmp_path / "model", tmp_path / "data", tmp_path / "out", CPU)
    assert summary.details["shortcuts"]["origin"]["synthetic_share"] == {"bad": 0.5357, "good": 0.2857}


def test_without_synthetic_images_nothing_is_said(trained, make_photos, tmp_path):
    fresh = make_photos(tmp_path / "fresh", {"bad": 3, "good": 3}, first=3500)
    summary = evaluate(trained[0], fresh, tmp_path / "out", CPU)
    assert summary.details["shortcuts"]["origin"] is None
    assert not any("synthetic" in note for note in summary.notes)
