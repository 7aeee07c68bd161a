"""Flipped labels come first, what cannot be judged is said, decisions become a corrected copy."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from weldgen.classifier.findings import group_photos
from weldgen.classifier.noise import deal_folds, judge
from weldgen.classifier.relabel import relabel
from weldgen.classifier.review import ReviewConfig, review
from weldgen.cli import app
from weldgen.config import StageConfig
from weldgen.data.dataset import Dataset, read_metadata
from weldgen.errors import ConfigError, DataError, OutputError
from weldgen.report.page import picture
from weldgen.report.review import Card, Choice, Part, ReviewPage, write_review_page
from weldgen.report.review_pages import write_label_page

TINY = {"device": "cpu", "model": {"backbone": "test_efficientnet", "weights": "none"}, "image_size": 64, "jobs": 1}


def config(**more):
    return ReviewConfig.model_validate(TINY | {"duplicate_bits": -1} | more)


@pytest.fixture
def flipped(tmp_path, make_photos):
    """30 photos; one of each class lies in the other's folder."""
    root = make_photos(tmp_path / "data", {"bad": 15, "good": 15})
    shutil.move(root / "bad" / "3.png", root / "good" / "wrong_bad.png")
    shutil.move(root / "good" / "4.png", root / "bad" / "wrong_good.png")
    return root


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- the method ----------------------------------------------------------------------------------------------------


def test_flipped_labels_come_first():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 40)
    features = rng.normal(0, 1, (120, 64)).astype(np.float32)
    features[np.arange(120), truth] += 8
    targets = truth.copy()
    wrong = rng.choice(120, 12, replace=False)
    targets[wrong] = (targets[wrong] + 1) % 3
    judged = judge(features, targets, [str(k) for k in range(120)], folds=5, repeats=2, seed=0)
    first = judged.rows[np.argsort(judged.scores)][:18]
    assert len(set(first) & set(wrong)) >= 11
    assert judged.issues[np.isin(judged.rows, wrong)].mean() > 0.8
    assert judged.probabilities.sum(axis=1) == pytest.approx(1)


def test_groups_are_held_out_whole_and_classes_are_spread():
    targets = np.array([0] * 20 + [1] * 4 + [2] * 2)
    groups = [f"a{k // 2}" for k in range(20)] + ["b0", "b0", "b1", "b1", "c0", "c1"]
    for seed in range(20):
        fold_of = deal_folds(targets, groups, 5, seed)
        assert all(len({fold_of[k] for k in range(26) if groups[k] == name}) == 1 for name in set(groups))
        assert all(len(set(fold_of[targets == target])) > 1 for target in (0, 1, 2))


def test_no_label_is_judged_by_its_own_group():
    """A view of the same plate would vouch for the wrong label."""
    rng = np.random.default_rng(1)
    plates = rng.normal(0, 1, (12, 32))
    plates[:6, :8] += 2
    features = np.repeat(plates, 5, axis=0).astype(np.float32)  # five equal views
    targets = np.repeat([0] * 5 + [1] * 7, 5)  # plate 5 is labelled wrongly as a whole
    alone = judge(features, targets, [str(k) for k in range(60)], folds=5, repeats=2, seed=0)
    grouped = judge(features, targets, [str(k // 5) for k in range(60)], folds=5, repeats=2, seed=0)
    wrong = slice(25, 30)
    assert grouped.scores[wrong].mean() < 0.9 * alone.scores[wrong].mean()
    assert grouped.probabilities[wrong, 0].min() > 0.5 > alone.probabilities[wrong, 0].max()


def test_a_class_of_one_group_is_not_judged():
    targets = np.array([0] * 6 + [1] * 6 + [2])
    features = np.random.default_rng(0).normal(0, 1, (13, 8)).astype(np.float32)
    judged = judge(features, targets, [str(k) for k in range(13)], folds=3, repeats=1, seed=0)
    assert 12 not in judged.rows and list(judged.classes) == [0, 1]
    assert judge(features[:7], targets[:7] * 0, [str(k) for k in range(7)], folds=3, repeats=1, seed=0) is None


# --- the stage -----------------------------------------------------------------------------------------------------


def test_review_ranks_all_photos_and_writes_nothing_to_the_dataset(flipped, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in flipped.rglob("*")}
    out = tmp_path / "review"
    (flipped / "good" / "broken.png").write_text("no image")
    summary = review(flipped, out, config())
    ranking = lines(out / "review.jsonl")
    assert [line["rank"] for line in ranking] == list(range(1, 31))
    assert {line["file"] for line in ranking[:2]} == {"good/wrong_bad.png", "bad/wrong_good.png"}
    assert all(line["suggested"] != line["label"] and line["issue"] for line in ranking[:2])
    assert [line["score"] for line in ranking] == sorted(line["score"] for line in ranking)
    assert summary.failures == 1 and lines(out / "failures.jsonl")[0]["file"] == "good/broken.png"
    assert review(flipped, out, config()).skipped
    assert {path: path.stat().st_mtime_ns for path in flipped.rglob("*") if path.name != "broken.png"}.items() >= {
        path: time for path, time in before.items() if path.is_file()
    }.items()


def test_near_duplicates_with_different_labels_are_listed_and_held_out_together(tmp_path, make_metal):
    root = tmp_path / "data"
    for label, first in (("bad", 0), ("good", 50)):
        (root / label).mkdir(parents=True)
        for seed in range(first, first + 5):
            Image.fromarray(make_metal(seed)).save(root / label / f"{seed}.png")
    shutil.copy(root / "bad" / "2.png", root / "good" / "copy.png")
    groups, mixed = group_photos(Dataset.open(root), 2, "")
    assert [[sample.file_name for sample in rows] for rows in mixed] == [["bad/2.png", "good/copy.png"]]
    assert len(set(groups)) == len(groups) - 1
    named, _ = group_photos(Dataset.open(root), 2, r"^(\d)")
    assert len(set(named)) == 6  # the digits 0 to 4 are shared with 50 to 54 only in their first digit; and the copy
    review(root, tmp_path / "review", config(duplicate_bits=2))
    assert lines(tmp_path / "review" / "duplicates.jsonl")[0]["identical"]
    page = write_label_page(tmp_path / "review").read_text()
    assert "Near-duplicates with different labels" in page


def test_too_few_photos_are_said_and_not_a_crash(tmp_path, make_photos):
    root = make_photos(tmp_path / "data", {"bad": 8, "good": 8, "rare": 1})
    summary = review(root, tmp_path / "review", config())
    assert any("class 'rare': 1 of its photos cannot be judged" in note for note in summary.notes)
    assert summary.counts["photos"] == 16
    with pytest.raises(DataError, match="at least two") as raised:
        review(make_photos(tmp_path / "few", {"bad": 8, "good": 1}), tmp_path / "none", config())
    assert "bad 8, good 1" in raised.value.message
    with pytest.raises(DataError, match="at least two"):
        review(root, tmp_path / "plates", config(group_pattern=r"^(.)\.png$|^(.)", duplicate_bits=32))


def test_a_trained_model_that_knows_the_labels_is_named(trained, tmp_path):
    model, dataset = trained
    summary = review(dataset, tmp_path / "review", config(model={"trained": str(model)}))
    assert any("learned by heart" in note for note in summary.notes)
    assert json.loads((tmp_path / "review" / "review.json").read_text())["frame"] == [64, 64]


def test_a_users_files_are_left_alone(flipped, tmp_path):
    out = tmp_path / "review"
    out.mkdir()
    (out / "review.jsonl").write_text("mine")
    with pytest.raises(OutputError, match="not made by weldgen review"):
        review(flipped, out, config())
    (out / "review.html").write_text("mine")
    page = ReviewPage("t", "s", "labels", "k", "d", "f", "c", [], [])
    with pytest.raises(OutputError, match="not made by weldgen"):
        write_review_page(out / "review.html", page)


# --- the page ------------------------------------------------------------------------------------------------------


def test_the_page_is_self_contained_and_escapes_what_it_is_given(tmp_path, make_metal):
    name = "good/</script><b>'q\".png"
    card = Card({"file": name}, name, ["a & b"], picture(make_metal(0)), [0])
    keep = Choice("keep", "k", {"decision": "keep"})
    page = ReviewPage("T", "S", "labels", "key", "d'</script>", "f.json", "cmd", [keep], [Part("P", "text", [card])])
    text = write_review_page(tmp_path / "review.html", page).read_text()
    assert text.count("</script>") == 2 and "<b>" not in text
    records = [json.loads(found) for found in re.findall(r"data-record='([^']+)'", text)]
    assert records == [{"file": name}]
    assert all(src.startswith("data:") for src in re.findall(r'(?:src|href)="([^"]+)"', text))
    assert "http" not in text.replace("http-equiv", "")
    settings = json.loads(re.search(r'id="page">(.*?)</script>', text).group(1))
    assert settings["dataset"] == "d'</script>" and settings["choices"] == [
        {"key": "k", "record": {"decision": "keep"}}
    ]
    write_review_page(tmp_path / "review.html", page)  # its own page may be written again


# --- the copy ------------------------------------------------------------------------------------------------------


def decisions(path, dataset, *made):
    """A file like the page's; each decision is (file, decision, to)."""
    samples = {sample.file_name: sample for sample in Dataset.open(dataset).samples}
    entries = [
        {"file": file, "id": samples[file].id, "label": samples[file].label, "decision": what, "to": to}
        for file, what, to in made
    ]
    path.write_text(json.dumps({"weldgen": "0", "page": "labels", "dataset": str(dataset), "by": "Ada", "saved": "now",
                                "decisions": entries}))  # fmt: skip
    return path


def write_metadata(root):
    """Splits for all photos, and a synthetic image of the first bad one."""
    samples = Dataset.open(root).samples
    records = [sample.record() | {"split": "train", "source_id": "s"} for sample in samples]
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(root / "bad" / "made.png")
    made = records[0] | {"file_name": "bad/made.png", "id": "m", "origin": "synthetic", "parents": [records[0]["id"]]}
    (root / "metadata.jsonl").write_text("".join(json.dumps(record) + "\n" for record in [*records, made]))


def test_decisions_become_a_corrected_copy(tmp_path, make_photos):
    root = make_photos(tmp_path / "data", {"bad": 4, "good": 4})
    write_metadata(root)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    file = decisions(
        tmp_path / "decisions.json", root,
        ("bad/0.png", "change", "good"), ("bad/1.png", "keep", ""), ("good/2.png", "leave_out", ""),
    )  # fmt: skip
    out = tmp_path / "reviewed"
    summary = relabel(file, None, out, StageConfig())
    assert summary.counts == {"images": 7, "kept": 1, "changed": 1, "left out": 1}
    assert "1 from bad to good" in summary.notes and any("synthetic" in note for note in summary.notes)
    copy = {line["file_name"]: line for line in read_metadata(out)}
    changed = next(line for line in copy.values() if line["reviewed"]["decision"] == "change")
    assert changed["file_name"] != "good/0.png" and changed["file_name"].startswith("good/")  # that name was taken
    assert changed["label"] == "good" and changed["split"] == "train" and changed["source_id"] == "s"
    assert changed["reviewed"] == {"decision": "change", "from": "bad", "by": "Ada", "at": "now"}
    assert (out / changed["file_name"]).read_bytes() == before[root / "bad" / "0.png"]
    assert not {"bad/0.png", "bad/made.png", "good/2.png"} & set(copy)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    assert relabel(file, None, out, StageConfig()).skipped
    assert len(Dataset.open(out).samples) == 7


def test_wrong_decisions_are_named(tmp_path, make_photos):
    root, out = make_photos(tmp_path / "data", {"bad": 3, "good": 3}), tmp_path / "out"
    file = decisions(tmp_path / "d.json", root, ("bad/0.png", "change", "ugly"))
    with pytest.raises(DataError, match=r"to 'ugly'.*bad, good"):
        relabel(file, None, out, StageConfig())
    decisions(file, root, ("bad/0.png", "keep", "good"))
    with pytest.raises(DataError, match="not one decision"):
        relabel(file, None, out, StageConfig())
    decisions(file, root, ("bad/0.png", "keep", ""))
    with pytest.raises(ConfigError, match="lies in the dataset"):
        relabel(file, None, root / "copy", StageConfig())
    shutil.copy(root / "good" / "0.png", root / "bad" / "0.png")
    with pytest.raises(DataError, match="not what it was"):
        relabel(file, None, out, StageConfig())
    (root / "bad" / "0.png").unlink()
    with pytest.raises(DataError, match="is not in"):
        relabel(file, None, out, StageConfig())
    for content, message in (('{"page": "clean"}', "clean again"), ("[]", "cannot|can read"), ("{", "can read")):
        file.write_text(content)
        with pytest.raises(DataError, match=message):
            relabel(file, None, out, StageConfig())
    assert not out.exists()


def test_the_commands(flipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = ["model.backbone=test_efficientnet", "model.weights=none", "image_size=64", "repeats=1"]
    found = CliRunner().invoke(app, ["review", "data", "--out", "found", "--device", "cpu", *settings])
    assert found.exit_code == 0, found.output
    assert "page: found/review.html" in found.output
    page = (tmp_path / "found" / "review.html").read_text()
    assert len(re.findall("data-record=", page)) >= 30
    decisions(tmp_path / "decisions.json", flipped, ("good/wrong_bad.png", "change", "bad"))
    done = CliRunner().invoke(app, ["review", "--apply", "decisions.json", "--out", "reviewed"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "reviewed" / "bad" / "wrong_bad.png").is_file()
    assert CliRunner().invoke(app, ["review", "--apply", "decisions.json", "folds=3"]).exit_code == 2
