"""Drift: photos like those of the training show none, others do; near-duplicates do not count twice."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from PIL import Image, ImageFilter

from weldgen.classifier.drift import DriftConfig, drift
from weldgen.classifier.shift import auc, border_of, brightness, distances_to, own_distances, sharpness, told_apart
from weldgen.config import load_config
from weldgen.errors import DataError, OutputError
from weldgen.stages import run_stage


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_an_auc_is_the_share_of_pairs():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 6, 13).astype(float), rng.integers(1, 8, 9).astype(float)
    pairs = [1.0 if b > a else 0.5 if b == a else 0.0 for a, b in itertools.product(first, second)]
    assert auc(first, second)[0] == pytest.approx(np.mean(pairs))
    value, low, high = auc(np.zeros(5), np.ones(5))
    assert (value, high) == (1.0, 1.0)
    assert 0.5 < low < 1
    assert auc(np.ones(5), np.zeros(5)) == pytest.approx((0, 0, 1 - low))


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_the_interval_of_an_auc_covers(shift):
    from scipy.stats import norm

    rng = np.random.default_rng(1)
    truth = norm.cdf(shift / np.sqrt(2))
    ends = [auc(rng.normal(0, 1, 25), rng.normal(shift, 1, 15))[1:] for _ in range(400)]
    assert np.mean([low <= truth <= high for low, high in ends]) == pytest.approx(0.95, abs=0.035)


def test_the_border_holds_what_it_says():
    rng = np.random.default_rng(4)
    over = [rng.random() > border_of(rng.random(30), 0.9) for _ in range(4000)]
    assert np.mean(over) == pytest.approx(0.1, abs=0.02)
    assert border_of(np.array([3.0, 1.0, 2.0]), 0.95) == 3


def test_distances_leave_out_the_own_group():
    rows = unit(np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [0.6, 0.8]]))
    alone = own_distances(rows, ["a", "b", "c", "d"])
    grouped = own_distances(rows, ["a", "a", "c", "d"])
    assert alone[0] == pytest.approx(1 - rows[0] @ rows[1])
    assert grouped[0] == pytest.approx(1 - 0.6)
    assert distances_to(rows[:1], rows[2:]).tolist() == pytest.approx([0.4])


def test_a_classifier_tells_apart_what_differs_and_nothing_else():
    rng = np.random.default_rng(2)
    old, alike, other = rng.normal(0, 1, (40, 30)), rng.normal(0, 1, (30, 30)), rng.normal(0.8, 1, (30, 30))
    names = [[str(k) for k in range(n)] for n in (40, 30)]
    _, low, high = told_apart((old, names[0]), (alike, names[1]), 0)
    assert low <= 0.5 <= high
    assert told_apart((old, names[0]), (other, names[1]), 0)[1] > 0.9
    assert told_apart((old, names[0]), (alike, ["one"] * 30), 0) is None


def test_a_copy_of_one_photo_is_not_told_apart_by_heart():
    rng = np.random.default_rng(3)
    centres = rng.normal(0, 1, (6, 30))
    copies, groups = np.repeat(centres, 8, axis=0), [str(k) for k in range(6) for _ in range(8)]
    old = (rng.normal(0, 1, (40, 30)), [str(k) for k in range(40)])
    by_heart = told_apart(old, (copies, [str(k) for k in range(48)]), 0)
    held_together = told_apart(old, (copies, groups), 0)
    assert by_heart[0] > 0.9
    assert held_together[0] < by_heart[0] - 0.2


def test_brightness_and_sharpness(make_metal):
    image = make_metal(0, 300, 200)
    blurred = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(3)))
    assert brightness(np.full((900, 700, 3), 77, np.uint8)) == 77
    assert sharpness(blurred) < 0.5 * sharpness(image)
    assert brightness(blurred) == pytest.approx(brightness(image), abs=2)


@pytest.fixture
def shop(tmp_path, make_metal):
    """Training photos, new ones of the same kind, and new ones that are dark and blurred."""
    for name, count, first in (("old", 24, 0), ("same", 14, 500), ("dark", 14, 900)):
        folder = tmp_path / name / ("good" if name == "old" else "")
        folder.mkdir(parents=True)
        for number in range(count):
            image = Image.fromarray(make_metal(first + number))
            if name == "dark":
                image = image.point(lambda value: value // 3).filter(ImageFilter.GaussianBlur(2))
            image.save(folder / f"{number}.png")
    return tmp_path


def test_a_new_lamp_shows_and_the_same_kind_of_photo_does_not(shop):
    config = load_config("drift", DriftConfig, project=shop)
    (shop / "dark" / "broken.png").write_bytes(b"no image")
    same = drift(shop / "same", shop / "old", shop / "out-same", config)
    assert same.notes[0].startswith("no difference that these photos could show: ")
    dark = run_stage("drift", {"photos": shop / "dark", "dataset": shop / "old"}, shop / "out", config)
    assert dark.notes[0].startswith("the new photos differ from the training photos: ")
    assert (dark.failures, dark.counts["new photos"]) == (1, 14)
    record = json.loads((shop / "out" / "drift.json").read_text())
    assert record["far"]["count"] == dark.counts["far"] > 7
    assert record["told_apart"]["low"] > 0.8
    assert record["brightness"]["more_often"] == 0
    assert any(note.startswith("they are darker: median ") for note in dark.notes)
    assert any(note.startswith("they are less sharp: ") for note in dark.notes)
    rows = [json.loads(line) for line in (shop / "out" / "drift.jsonl").read_text().splitlines()]
    assert [row["distance"] for row in rows] == sorted((row["distance"] for row in rows), reverse=True)
    assert [row["far"] for row in rows] == [row["distance"] > record["border"] for row in rows]
    report = (shop / "out" / "report.html").read_text()
    assert "<td>Brightness</td>" in report
    assert "Furthest from the training photos" in report
    assert drift(shop / "dark", shop / "old", shop / "out", config).skipped


def test_too_few_photos_and_a_users_files(shop):
    (shop / "one").mkdir()
    (shop / "same" / "0.png").rename(shop / "one" / "0.png")
    with pytest.raises(DataError, match="at least two different real photos"):
        drift(shop / "one", shop / "old", shop / "out", DriftConfig())
    (shop / "mine").mkdir()
    (shop / "mine" / "drift.json").write_text("{}")
    with pytest.raises(OutputError, match="was not made by weldgen drift"):
        drift(shop / "same", shop / "old", shop / "mine", DriftConfig())
