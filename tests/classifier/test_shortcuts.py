"""The shortcut guard: planted shortcuts are found, where there are none nothing is claimed."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from weldgen.classifier.evaluate import EvaluateConfig, evaluate
from weldgen.classifier.evidence import evidence_ratio, map_on_photo, open_looker, share_on
from weldgen.classifier.factors import Asked, adjust, follow_factor, levels_of, taken_on
from weldgen.classifier.predictions import Prediction
from weldgen.classifier.shortcut_notes import notes_on
from weldgen.classifier.shortcuts import ShortcutSettings, worth_showing
from weldgen.classifier.train import train
from weldgen.data.dataset import METADATA_NAME, Dataset, Sample
from weldgen.errors import ConfigError
from weldgen.stages import run_stage

CPU = EvaluateConfig(device="cpu")
# The corner that says the class, in pixels of a photo of 96 x 64.
CORNER = [[0, 0], [32, 0], [32, 32], [0, 32]]


def write_marked(root, count: int, first: int = 0, groups: int = 0) -> Dataset:
    """Noise of the same kind in both classes; the upper left corner is bright in one and dark in the other."""
    samples = []
    for label, grey in (("bad", 30), ("good", 220)):
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            pixels = np.random.default_rng(number).normal(125, 30, (64, 96, 3))
            pixels[:32, :32] = grey
            name = f"{label}/{number}.png"
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(root / name)
            group = f"{label}{number % groups}" if groups else ""
            extra = {"regions": [{"polygon": CORNER, "score": 1.0, "source": "hand"}], "masked_share": 0.0}
            samples.append(Sample(name, name, label, group=group, width=96, height=64, extra=extra))
    return Dataset(root, tuple(samples), ("bad", "good"))


def note_metadata(dataset: Dataset) -> None:
    text = "".join(json.dumps(sample.record()) + "\n" for sample in dataset.samples)
    (dataset.root / METADATA_NAME).write_text(text)


@pytest.fixture(scope="session")
def by_corner(tmp_path_factory, tiny_config):
    """A model of photos whose class is in a corner alone, and photos that it has not seen, with the corner recorded."""
    root = tmp_path_factory.mktemp("corner")
    write_marked(root / "photos", 16)
    still = dict.fromkeys(("hflip", "vflip", "rotate_deg", "shift", "scale"), 0)
    # without gates that carry what a corner holds to all other cells
    model = {"backbone": "test_resnet"}
    config = tiny_config(training={"epochs": 8}, augmentation=still, data={"image_size": 96}, model=model)
    train(root / "photos", root / "model", config)
    note_metadata(write_marked(root / "fresh", 8, first=300, groups=4))
    return root


def test_the_evidence_lies_in_the_corner_that_says_the_class(by_corner):
    looker = open_looker(by_corner / "model", "cpu")
    pairs = []
    for path in sorted((by_corner / "fresh").glob("*/*.png")):
        shape = (64, 96)
        shares = looker.look(np.asarray(Image.open(path)), path.parent.name)
        pairs.append(share_on(shares, [np.array(CORNER)], shape, looker.frame))
    assert np.mean([share for share, _ in pairs]) > 0.5
    assert pairs[0][1] == pytest.approx(1 / 6, abs=0.02)


def test_an_evaluation_says_that_the_model_looks_at_the_writing_and_shows_it(by_corner, tmp_path):
    inputs = {"model": by_corner / "model", "dataset": by_corner / "fresh"}
    summary = run_stage("evaluate", inputs, tmp_path, CPU)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    writing = metrics["shortcuts"]["writing"]
    assert (writing["photos"], writing["groups"], writing["removed"]) == (16, 8, 0)
    assert writing["low"] > 1.5
    assert writing["value"] == pytest.approx(writing["share"] / writing["area"])
    assert any(note.startswith("the model looks at writing: ") for note in summary.notes)
    page = (tmp_path / "report.html").read_text()
    assert "The model looks at writing: " in page
    lines = [json.loads(line) for line in (tmp_path / "evidence.jsonl").read_text().splitlines()]
    assert len(lines) == 6
    assert all(f"{line['file']}: called {line['predicted']} with" in page for line in lines)
    assert len(re.findall("data:image/jpeg", page)) == 6
    brightest = np.unravel_index(np.argmax(lines[0]["map"]), np.shape(lines[0]["map"]))
    assert np.all(np.array(brightest) < np.array(np.shape(lines[0]["map"])) * (0.6, 0.45))


def test_what_cannot_be_looked_at_is_said(trained, make_photos, tmp_path):
    fresh = make_photos(tmp_path / "fresh", {"bad": 4, "good": 4}, first=2000)
    summary = evaluate(trained[0], fresh, tmp_path / "out", CPU)
    assert any("the dataset does not say where writing is" in note for note in summary.notes)
    searching = CPU.model_copy(update={"shortcuts": ShortcutSettings(writing="search")})
    with pytest.raises(ConfigError, match="no find_regions"):
        evaluate(trained[0], fresh, tmp_path / "none", searching)
    corner = [np.array(CORNER)]
    found = evaluate(trained[0], fresh, tmp_path / "found", searching, lambda device: lambda image: corner)
    assert found.details["shortcuts"]["writing"]["searched_photos"] == 8
    assert any(note.startswith("too few") or "the evidence lies on" in note for note in found.notes)
    off = CPU.model_copy(update={"shortcuts": ShortcutSettings(enabled=False)})
    plain = evaluate(trained[0], fresh, tmp_path / "off", off)
    assert "shortcuts" not in plain.details
    assert (tmp_path / "off" / "evidence.jsonl").read_text() == ""


def test_the_share_on_regions_of_a_letterboxed_photo():
    shares = np.zeros((4, 4), np.float32)  # a frame of 64 x 64, in whose middle two rows lies the photo
    shares[1, 0], shares[1, 1], shares[0, 3] = 0.5, 0.3, 0.2  # the last lies on the padding
    left_eighth = [np.array([[0, 0], [50, 0], [50, 200], [0, 200]])]
    share, area = share_on(shares, left_eighth, (200, 400), (64, 64))
    assert area == pytest.approx(1 / 8, abs=1e-6)
    assert share == pytest.approx(0.25 / 0.8, abs=1e-6)
    even = np.full((4, 4), 1 / 16, np.float32)
    share, area = share_on(even, [np.array([[100, 20], [333, 60], [150, 190]])], (200, 400), (64, 64))
    assert share == pytest.approx(area)
    assert area == pytest.approx(0.5 * abs(233 * 170 - 50 * 40) / 80000, rel=0.05)
    assert share_on(np.zeros((4, 4), np.float32), left_eighth, (200, 400), (64, 64)) is None


def test_a_map_in_the_photos_own_coordinates():
    shares = np.zeros((4, 4), np.float32)
    shares[2, 3] = 1  # lower right quarter of the photo, at its right end
    found = map_on_photo(shares, (200, 400, 3), (64, 64))
    assert found.shape == (16, 32)
    assert found.max() == 1
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert row >= 8
    assert column >= 24


def test_the_interval_of_a_ratio_covers():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        groups, pairs = [], []
        for group in range(8):
            lean = rng.gamma(4, 0.5)  # mean 2; the photos of a group lean alike
            for _ in range(3):
                area = rng.uniform(0.02, 0.08)
                pairs.append((area * lean * rng.gamma(8, 1 / 8), area))
                groups.append(str(group))
        ratio = evidence_ratio(pairs, groups)
        hits += ratio.low <= 2 <= ratio.high
    assert hits / 400 == pytest.approx(0.95, abs=0.035)
    assert evidence_ratio([(0.5, 0.1)] * 9, ["a", "b", "c"] * 3).low is None


@pytest.mark.parametrize(
    ("value", "low", "said"),
    [
        (4.0, 1.5, "the model looks at writing: 8.0% of the evidence lies on writing, which takes 2.0% of the area"),
        (2.3, 1.6, "no clear sign that the model looks at writing: "),
        (4.0, 0.8, "no sign that the model looks at writing: "),
        (4.0, None, "too few independent photos with writing to say whether the model looks at it: "),
    ],
)
def test_what_is_said_of_writing(value, low, said):
    writing = {
        "searched_photos": 9, "photos": 8, "groups": 7, "removed": 0, "share": 0.08, "area": 0.02, "value": value,
        "low": low, "high": 9.0,
    }  # fmt: skip
    notes = notes_on({"writing": writing, "factors": (), "origin": None})
    assert len(notes) == 1
    assert notes[0].startswith(said)


def asked(wrong, labels=None, groups=None) -> Asked:
    count = len(wrong)
    return Asked(
        labels or ["bad"] * count, np.array(wrong, float), groups or [str(number) for number in range(count)], 0
    )


def test_errors_that_follow_a_factor_are_found_and_named():
    levels = ["dark"] * 12 + ["bright"] * 12
    labels = ["bad", "good"] * 12
    wrong = [label == "bad" for label in labels[:12]] + [0] * 11 + [1]
    finding = follow_factor("brightness", levels, asked(wrong, labels))
    assert finding.p < 0.01
    assert finding.worst == {
        "class": "bad", "level": "dark", "wrong": 6, "of": 6, "wrong_others": 0, "of_others": 6
    }  # fmt: skip


def test_where_errors_follow_nothing_p_is_even():
    rng = np.random.default_rng(5)
    found = []
    for trial in range(150):
        levels = [("dark", "bright")[k] for k in rng.integers(0, 2, 30)]
        errors = Asked(["a", "b"] * 15, (rng.random(30) < 0.3).astype(float), [str(k) for k in range(30)], trial)
        p = follow_factor("brightness", levels, errors).p
        found.append(1.0 if p is None else p)
    assert np.mean(np.array(found) <= 0.05) < 0.1


def test_classes_that_differ_are_no_dependence():
    labels = ["bad"] * 20 + ["good"] * 20
    levels = (["dark"] * 18 + ["bright"] * 2) + (["dark"] * 2 + ["bright"] * 18)
    wrong = [number % 2 for number in range(20)] + [0] * 20  # bad ones are harder, and darker
    assert follow_factor("brightness", levels, asked(wrong, labels)).p > 0.2


def test_views_of_one_part_count_once():
    wrong, levels = [1] * 10 + [0] * 10, ["dark"] * 10 + ["bright"] * 10
    by_photo = follow_factor("brightness", levels, asked(wrong))
    two_parts = follow_factor("brightness", levels, asked(wrong, groups=["one"] * 10 + ["other"] * 10))
    assert by_photo.p < 0.01
    assert (two_parts.n, two_parts.p) == (2, None)
    assert two_parts.reason.startswith("too few: 2 independent groups")


def test_holm():
    found = [replace(follow_factor("x", [], asked([])), p=p) for p in (0.01, None, 0.04, 0.03)]
    assert [finding.adjusted for finding in adjust(found)] == pytest.approx([0.03, None, 0.06, 0.06], nan_ok=True)
    assert [finding.shown for finding in adjust(found)] == [True, False, False, False]


def test_levels():
    names = ("low", "middle", "high")
    assert levels_of([5, 5, 9], names) == ["low", "low", "high"]
    assert levels_of([5.0] * 3, names) == ["low"] * 3
    assert levels_of([6, 1, 2, 3, 4, 5], names) == ["high", "low", "low", "middle", "middle", "high"]
    assert levels_of([], names) == []


def test_the_day_of_a_photo(tmp_path, make_metal):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[36867] = "2024:03:05 10:00:00"
    Image.fromarray(make_metal(0)).save(tmp_path / "a_20221225_1.jpg", exif=exif)
    Image.fromarray(make_metal(0)).save(tmp_path / "b_20221225_135226.png")
    Image.fromarray(make_metal(0)).save(tmp_path / "c_123456789.png")
    days = [taken_on(path) for path in sorted(tmp_path.iterdir())]
    assert days == ["2024-03-05", "2022-12-25", ""]


def test_the_surest_errors_come_first():
    def said(file: str, label: str, predicted: str, score: float) -> Prediction:
        return Prediction(file, label, predicted, {"bad": score, "good": score}, predicted)

    mild, sure = said("a", "bad", "good", 0.6), said("b", "good", "bad", 0.9)
    right = [said(f"r{k}", "bad", "bad", 0.99 - k / 100) for k in range(9)] + [said("g", "good", "good", 0.5)]
    shown = worth_showing([mild, *right, sure])
    assert [p.file for p in shown] == ["b", "a", "r0", "g", "r1", "r2", "r3", "r4"]
