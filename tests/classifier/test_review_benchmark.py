"""The benchmark of the review: it flips what it says, ranks as the command does, and counts what is at the head."""

from __future__ import annotations

import json
import shutil

import pytest

from benchmarks import review as benchmark
from weldgen.classifier.review import ReviewConfig, review
from weldgen.data.dataset import Dataset

WORDS = ["device=cpu", "model.backbone=test_efficientnet", "model.weights=none", "image_size=64", "jobs=1", "repeats=1"]
WORDS += ["duplicate_bits=-1"]
CONFIG = ReviewConfig.model_validate(
    {"device": "cpu", "model": {"backbone": "test_efficientnet", "weights": "none"}, "image_size": 64, "jobs": 1}
    | {"repeats": 1, "duplicate_bits": -1}
)


@pytest.fixture
def data(make_photos, tmp_path):
    return make_photos(tmp_path / "data", {"bad": 15, "good": 15, "spare": 2})


def test_a_share_of_the_labels_is_flipped_and_no_other(data):
    photos = Dataset.open(data)
    flipped, wrong = benchmark.flip(photos, 0.25, seed=3)
    changed = {a.file_name for a, b in zip(photos.samples, flipped.samples, strict=True) if a.label != b.label}
    assert changed == wrong
    assert len(wrong) == 8
    assert [sample.id for sample in flipped.samples] == [sample.id for sample in photos.samples]
    assert benchmark.flip(photos, 0.25, seed=3)[1] == wrong != benchmark.flip(photos, 0.25, seed=4)[1]


def test_few_photos_are_chosen_of_all_classes_alike(data):
    chosen = benchmark.choose(Dataset.open(data), 12, seed=0)
    assert [len(chosen.select(label=label)) for label in ("bad", "good", "spare")] == [5, 5, 2]
    assert len(benchmark.choose(Dataset.open(data), 300, seed=0).samples) == 32


def test_what_counts_is_the_head_of_the_list():
    draw = benchmark.Draw(flipped=4, listed=20, ranks=(0, 1, 2))  # the fourth could not be judged
    assert (draw.found(0.15), draw.found(0.1), draw.found(0.05)) == (3, 2, 1)
    first, second = benchmark.report([draw, benchmark.Draw(4, 20, (0, 1, 2, 19))])
    assert first.startswith("first 15%: mean 75%, worst 75%; together 6 of 8 (95 % interval 41% to 93%)")
    assert second.startswith("first 10%: mean 50%")


def test_it_ranks_as_the_command_does_and_finds_the_flips(data, tmp_path, capsys):
    shutil.rmtree(data / "spare")
    found = benchmark.run(data, 0.1, [5], 300, CONFIG.model_copy(update={"seed": 5}))[0]
    flipped, wrong = benchmark.flip(Dataset.open(data), 0.1, 5)
    for sample in flipped.samples:
        target = tmp_path / "flipped" / sample.label / f"{sample.file_name.replace('/', '-')}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(data / sample.file_name, target)
    review(tmp_path / "flipped", tmp_path / "out", CONFIG.model_copy(update={"seed": 5}))
    files = [json.loads(line)["file"] for line in (tmp_path / "out" / "review.jsonl").read_text().splitlines()]
    names = {file.replace("/", "-") for file in wrong}
    head = [file.partition("/")[2] in names for file in files[:5]]
    assert sum(head) == found.found(5 / 30) == 3

    capsys.readouterr()
    benchmark.main(["--data", str(data), "--seeds", "2", *WORDS])
    said = capsys.readouterr().out
    assert said.count("of 3 flipped labels") == 2
    assert "together 6 of 6 (95 % interval" in said


def test_what_cannot_work_is_one_sentence(data, capsys):
    with pytest.raises(SystemExit, match="no setting 'image_sizes'"):
        benchmark.main(["--data", str(data), "image_sizes=64"])
    with pytest.raises(SystemExit, match="flips no label"):
        benchmark.main(["--data", str(data), "--share", "0.001", "--seeds", "1", *WORDS])
    with pytest.raises(SystemExit):
        benchmark.main(["--share", "2"])
    assert "a share between 0 and 1" in capsys.readouterr().err
