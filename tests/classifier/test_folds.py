"""Cross-validation: no photo in two folds, no relative of a held-out photo in training, resumable, one ensemble."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from weldgen.classifier.evaluate import EvaluateConfig, evaluate
from weldgen.classifier.fold_stats import FoldAnswers, fold_record, group_bootstrap, overfitting_sentence
from weldgen.classifier.model_file import load_card
from weldgen.classifier.module import ClassifierModule
from weldgen.classifier.operating import OperatingSettings
from weldgen.classifier.scoring import open_scorer
from weldgen.classifier.sweep import load_sections, parse_sweep
from weldgen.classifier.train import TrainConfig, train
from weldgen.data.dataset import METADATA_NAME, Dataset, check_lineage
from weldgen.data.folds import divide, make_fold, write_fold
from weldgen.data.images import read_rgb
from weldgen.data.sample import Sample
from weldgen.data.split import SplitConfig
from weldgen.errors import ConfigError, DataError
from weldgen.report.stage import write_stage_report

PLAIN = SplitConfig(duplicate_bits=-1)


def listed(counts: dict[str, int], group_of=lambda label, k: "", root: Path = Path("photos")) -> Dataset:
    """A dataset of photos that train, without files."""
    samples = [
        Sample(f"train/{label}/{k}.png", f"{label}{k}", label, "train", group=group_of(label, k))
        for label, n in counts.items()
        for k in range(n)
    ]
    return Dataset(root, tuple(samples), tuple(sorted(counts)))


def synthetic(name: str, label: str, *parents: str) -> Sample:
    return Sample(f"train/{label}/{name}.png", name, label, "train", "synthetic", parents)


def with_more(dataset: Dataset, *samples: Sample) -> Dataset:
    return replace(dataset, samples=(*dataset.samples, *samples))


# --- dividing ------------------------------------------------------------------------------------------------------


def test_every_photo_is_held_out_once_and_every_class_evenly():
    division = divide(listed({"bad": 23, "good": 41}), 5, PLAIN, seed=3)
    assert division.count == 5
    assert not division.notes
    assert len(division.fold_of) == 64
    for label, n in (("bad", 23), ("good", 41)):
        sizes = Counter(fold for photo, fold in division.fold_of.items() if photo.startswith(label))
        assert set(sizes.values()) <= {n // 5, n // 5 + 1}
    assert max(Counter(division.fold_of.values()).values()) - min(Counter(division.fold_of.values()).values()) <= 1
    again = divide(listed({"bad": 23, "good": 41}), 5, PLAIN, seed=3)
    assert again.fold_of == division.fold_of
    assert divide(listed({"bad": 23, "good": 41}), 5, PLAIN, seed=4).fold_of != division.fold_of


def test_groups_do_not_straddle_folds_nor_the_validation_of_one():
    dataset = listed({"bad": 30, "good": 30}, lambda label, k: f"{label}-part{k // 4}")
    division = divide(dataset, 3, PLAIN, seed=0)
    for number in (1, 2, 3):
        fold = make_fold(division, number, SplitConfig(val=0.2), seed=0)
        splits: dict[str, set[str]] = {}
        for sample in fold.dataset.samples:
            splits.setdefault(sample.group, set()).add(sample.split)
        assert all(len(found) == 1 for found in splits.values())
        assert {s.split for s in fold.dataset.samples} == {"train", "val", "test"}
        held = {s.id for s in fold.dataset.select(split="test")}
        assert held == {photo for photo, own in division.fold_of.items() if own == number}


def test_copies_of_one_file_stay_together_without_looking_at_the_pictures():
    content = "0123456789abcdef0123"
    dataset = listed({"bad": 9, "good": 9})
    copies = [Sample(f"train/bad/copy{k}.png", f"{content}{end}", "bad", "train") for k, end in enumerate(("", "-2"))]
    division = divide(with_more(dataset, *copies), 3, PLAIN, seed=1)
    assert division.fold_of[content] == division.fold_of[f"{content}-2"]


def test_test_photos_are_left_aside():
    dataset = listed({"bad": 8, "good": 8})
    tested = replace(
        dataset, samples=tuple(replace(s, split="test" if s.id[-1] == "0" else "val") for s in dataset.samples)
    )
    division = divide(tested, 2, PLAIN, seed=0)
    assert not {"bad0", "good0"} & {*division.fold_of, *(s.id for s in division.dataset.samples)}
    assert len(division.fold_of) == 14


def test_a_class_of_few_groups_has_one_left_out_at_a_time():
    division = divide(listed({"bad": 3, "good": 12}), 5, PLAIN, seed=0)
    held = [fold for photo, fold in division.fold_of.items() if photo.startswith("bad")]
    assert len(set(held)) == 3
    assert "class 'bad' has 3 groups of photos, fewer than 5 folds: each is left out once" in division.notes[0]
    assert "2 of the 5 folds measure no photo of it" in division.notes[0]


def test_a_class_of_one_group_is_never_held_out_and_folds_are_no_more_than_groups():
    division = divide(
        listed({"bad": 4, "good": 3}, lambda label, k: "plate" if label == "bad" else ""), 5, PLAIN, seed=0
    )
    assert division.count == 3
    assert not [photo for photo in division.fold_of if photo.startswith("bad")]
    said = " | ".join(division.notes)
    assert "3 folds instead of 5" in said
    assert "class 'bad' has one group of photos: it trains in every fold" in said
    with pytest.raises(DataError, match="nothing can be held out") as raised:
        divide(listed({"bad": 1, "good": 1}), 2, PLAIN, seed=0)
    assert "folds=0" in raised.value.hint


# --- lineage -------------------------------------------------------------------------------------------------------


def test_synthetic_images_train_only_where_no_parent_is_held_out_or_validates():
    dataset = with_more(
        listed({"bad": 9, "good": 9}, lambda label, k: "twins" if (label, k) in (("bad", 1), ("bad", 2)) else ""),
        *(synthetic(f"of{label}{k}", label, f"{label}{k}") for label in ("bad", "good") for k in range(9)),
        synthetic("both", "bad", "bad0", "good0"),
        synthetic("free", "good"),
    )
    division = divide(dataset, 3, PLAIN, seed=2)
    trained: Counter[str] = Counter()
    for number in (1, 2, 3):
        fold = make_fold(division, number, SplitConfig(val=0.2), seed=0).dataset
        split_of = {s.id: s.split for s in fold.samples if s.origin == "real"}
        made = {s.id: s for s in fold.select(origin="synthetic")}
        assert all(split_of[parent] == "train" for s in made.values() for parent in s.parents)
        expected = {f"of{i}" for i, split in split_of.items() if split == "train"} | {"free"}
        if split_of["bad0"] == split_of["good0"] == "train":
            expected.add("both")
        assert set(made) == expected
        trained.update(list(made))
    assert trained["free"] == 3
    assert all(trained[f"ofbad{k}"] < 3 for k in range(9))


def test_photos_that_move_into_training_are_drawn_as_often_as_the_mix_says():
    dataset = listed({"bad": 6, "good": 6})
    split = {"0": "val", "1": "val"}
    weighted = [
        replace(s, split=split.get(s.id[-1], "train"), extra={"weight": 1.0 if s.id[-1] in split else 7.5})
        for s in dataset.samples
    ]
    fold = make_fold(divide(replace(dataset, samples=tuple(weighted)), 2, PLAIN, seed=0), 1, SplitConfig(), seed=0)
    assert {s.extra["weight"] for s in fold.dataset.select(split="train")} == {7.5}


def test_a_fold_in_which_a_held_out_photo_leaked_is_refused(photos, tmp_path, tiny_config):
    """Whoever changes a fold's dataset by hand so that an image of a held-out photo trains, is caught."""
    opened = train_split(photos)
    division = divide(opened, 2, PLAIN, seed=0)
    fold = make_fold(division, 1, SplitConfig(), seed=0)
    write_fold(fold, tmp_path / "fold")
    held = Dataset.open(tmp_path / "fold").select(split="test")[0]
    image = Dataset.open(tmp_path / "fold").select(split="train", label=held.label)[0]
    lines = (tmp_path / "fold" / METADATA_NAME).read_text().splitlines()
    forged = [json.loads(line) for line in lines]
    for record in forged:
        if record["file_name"] == image.file_name:
            record |= {"origin": "synthetic", "parents": [held.id]}
    (tmp_path / "fold" / METADATA_NAME).write_text("".join(json.dumps(record) + "\n" for record in forged))
    with pytest.raises(DataError, match="was made from a photo of 'test'"):
        train(tmp_path / "fold", tmp_path / "model", tiny_config())


def test_images_of_photos_that_are_not_there_are_named():
    dataset = with_more(listed({"bad": 4, "good": 4}), synthetic("stray", "bad", "gone"))
    assert (
        "1 synthetic images were made from photos that are not in the dataset" in divide(dataset, 2, PLAIN, 0).notes[0]
    )


def train_split(root: Path) -> Dataset:
    opened = Dataset.open(root)
    return replace(opened, samples=tuple(replace(s, split="train") for s in opened.samples))


# --- figures -------------------------------------------------------------------------------------------------------


def answers(held, training=((0, 0), (1, 1))):
    return FoldAnswers(np.array(held).reshape(-1, 2), np.array(training).reshape(-1, 2), {"model": "fold"})


def test_figures_over_all_photos_and_over_the_folds():
    folds = [answers([(0, 0), (1, 1), (1, 0)]), answers([(0, 0), (1, 1), (1, 1)])]
    record = fold_record(folds, [f"p{k}" for k in range(6)], ("bad", "good"), 0)
    assert (record["accuracy"]["count"], record["accuracy"]["n"]) == (5, 6)
    assert record["balanced_accuracy"] == pytest.approx((1 + 3 / 4) / 2)
    assert record["classes"]["good"]["recall"]["count"] == 3
    assert record["bootstrap"] is None
    spread = record["spread"]["accuracy"]
    assert (spread["mean"], spread["least"], spread["most"]) == (pytest.approx(5 / 6), pytest.approx(2 / 3), 1)
    assert spread["deviation"] == pytest.approx(np.std([2 / 3, 1], ddof=1))
    assert [row["held_out"] for row in record["by_fold"]] == [{"bad": 1, "good": 2}] * 2


def test_intervals_over_all_folds_count_groups_where_photos_share_one():
    folds = [answers([(0, 0)] * 20 + [(1, 1)] * 16 + [(1, 0)] * 4)]
    alone = fold_record(folds, [str(k) for k in range(40)], ("bad", "good"), 0)
    parts = fold_record(folds, [f"part{k // 4}" for k in range(40)], ("bad", "good"), 0)
    assert parts["accuracy"]["groups"] == 10 and "groups" not in alone["accuracy"]
    assert parts["accuracy"]["low"] < alone["accuracy"]["low"]
    wide, narrow = (record["balanced_accuracy_interval"] for record in (parts, alone))
    assert wide[0] < narrow[0] and wide[1] >= narrow[1]


def test_drawing_groups_together_widens_the_intervals():
    pairs = np.array([(0, int(k // 10 == 0)) for k in range(40)] + [(1, 1)] * 40)
    grouped = group_bootstrap(pairs, [f"part{k // 10}" for k in range(80)], ("bad", "good"), 0)
    alone = group_bootstrap(pairs, [f"photo{k}" for k in range(80)], ("bad", "good"), 0)
    width = [found["recall"]["bad"][1] - found["recall"]["bad"][0] for found in (grouped, alone)]
    assert width[0] > 2 * width[1]
    assert grouped["recall"]["good"] == [pytest.approx(0.51, abs=0.01), 1]  # four groups without an error
    assert grouped["balanced_accuracy"] is None
    mixed = np.array([(k // 40, int(k % 3 == 0)) for k in range(80)])
    low, high = group_bootstrap(mixed, [f"part{k // 4}" for k in range(80)], ("bad", "good"), 0)["balanced_accuracy"]
    assert low < (mixed[:, 0] == mixed[:, 1]).mean() < high
    one = group_bootstrap(pairs, ["plate"] * 40 + [f"p{k}" for k in range(40)], ("bad", "good"), 0)
    assert one["recall"]["bad"] is None
    assert one["balanced_accuracy"] is None


def test_overfitting_is_said_where_it_is_large_and_no_chance():
    known = [(k % 2, k % 2) for k in range(40)]
    guessed = [(k % 2, k // 2 % 2) for k in range(40)]
    labels = ("bad", "good")
    bad = fold_record([answers(guessed, known)], [str(k) for k in range(40)], labels, 0)["overfitting"]
    assert bad["large"]
    assert overfitting_sentence(bad).startswith("overfitting: the models are right on 100.0%")
    fine = fold_record([answers(known, known)], [str(k) for k in range(40)], labels, 0)["overfitting"]
    assert (fine["gap"], fine["large"]) == (0, False)
    few = fold_record([answers(guessed[:4], known)], list("abcd"), labels, 0)["overfitting"]
    assert few["gap"] == 0.5
    assert "chance can explain" in overfitting_sentence(few)


# --- training ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folded(tmp_path_factory, make_photos, tiny_config):
    """Three folds of a plain folder without a test split, one of whose photos is damaged."""
    root = tmp_path_factory.mktemp("folded")
    photos = make_photos(root / "photos", {"bad": 9, "good": 9})
    (photos / "good" / "8.png").write_bytes((photos / "good" / "8.png").read_bytes()[:3000])
    config = tiny_config(folds=3, split={"test": 0, "val": 0.2, "duplicate_bits": -1}, training={"epochs": 6})
    return root / "model", photos, config, train(photos, root / "model", config)


def lines_of(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]


def test_every_photo_is_judged_by_the_fold_that_did_not_see_it(folded):
    out, photos, _, summary = folded
    id_of = {sample.file_name: sample.id for sample in Dataset.open(photos).samples}
    lines = lines_of(out)
    assert sorted(line["file"] for line in lines) == sorted(set(id_of) - {"good/8.png"})
    cards = {name: load_card(out / name) for name in ("fold-1", "fold-2", "fold-3")}
    for line in lines:
        seen = cards[line["fold"]].seen
        assert id_of[line["file"]] not in {*seen["train"], *seen["val"]}
        assert sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert summary.counts == {"photos": 17, "folds": 3, "classes": 2}
    assert summary.failures == 1
    assert json.loads((out / "failures.jsonl").read_text())["file"] == "good/8.png"


def test_folds_are_ordinary_models_and_their_datasets_keep_the_rules(folded, tmp_path):
    out, photos, _, _ = folded
    for name in ("fold-1", "fold-2", "fold-3"):
        dataset = Dataset.open(out / ".folds" / name)
        check_lineage(dataset)
        assert load_card(out / name).seen["val"]
        assert evaluate(out / name, out / ".folds" / name, tmp_path / name, EvaluateConfig(device="cpu")).counts[
            "photos"
        ]
    one = open_scorer(out / "fold-1", "cpu", 1)
    held = [line for line in lines_of(out) if line["fold"] == "fold-1"]
    found = one.probabilities(read_rgb(photos / held[0]["file"]))
    assert list(held[0]["probabilities"].values()) == pytest.approx(found.tolist(), abs=1e-5)


def test_the_figures_and_the_page(folded):
    out, _, _, summary = folded
    record = json.loads((out / "folds.json").read_text())
    lines = lines_of(out)
    right = sum(line["label"] == line["predicted"] for line in lines)
    assert (record["accuracy"]["count"], record["n"]) == (right, 17)
    assert sum(sum(row["held_out"].values()) for row in record["by_fold"]) == 17
    assert all(row["training_accuracy"]["n"] == row["real"] for row in record["by_fold"])
    said = " | ".join(summary.notes)
    for part in (
        "out-of-fold accuracy: ",
        "recall of bad: ",
        "accuracy over 3 folds: mean ",
        "the models are right on",
    ):
        assert part in said
    page = write_stage_report("train", out).read_text()
    assert "Cross-validation" in page
    assert "<td>fold-3</td>" in page
    assert "data:image/png" in page


def test_the_ensemble_saw_all_photos_and_is_not_measured_on_them(folded, make_photos, tmp_path):
    out, photos, _, _ = folded
    with pytest.raises(DataError, match="no real photo in split 'test'"):
        evaluate(out, photos, tmp_path / "own", EvaluateConfig(device="cpu"))
    shutil.copytree(photos, tmp_path / "data" / "test")
    with pytest.raises(DataError, match="the model saw it in 'train'"):
        evaluate(out, tmp_path / "data", tmp_path / "test", EvaluateConfig(device="cpu"))
    fresh = make_photos(tmp_path / "fresh", {"bad": 4, "good": 4}, first=500)
    assert evaluate(out, fresh, tmp_path / "new", EvaluateConfig(device="cpu", tta=2)).counts["photos"] == 8


def test_a_threshold_is_chosen_on_photos_that_were_held_out(folded, make_photos, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(folded[0], model)
    fresh = make_photos(tmp_path / "fresh", {"bad": 4, "good": 4}, first=500)
    config = EvaluateConfig(device="cpu", operating=OperatingSettings(min_recall=0.9))
    summary = evaluate(model, fresh, tmp_path / "new", config)
    assert json.loads((model / "operating.json").read_text())["chosen_on"] == {"bad": 9, "good": 8}
    assert any("each judged by the one that had not seen it" in note for note in summary.notes)


def test_done_once_and_the_same_again_elsewhere(folded, tmp_path):
    out, photos, config, _ = folded
    assert train(photos, out, config).skipped
    train(photos, tmp_path / "again", config)
    assert lines_of(tmp_path / "again") == lines_of(out)


def test_an_interrupted_run_keeps_finished_folds_and_ends_the_same(folded, tmp_path, monkeypatch):
    out, photos, config, _ = folded
    original = ClassifierModule.training_step
    target = tmp_path / "model"

    class Killed(BaseException):
        pass

    def killed(self, batch, batch_idx):
        if "fold-2" in str(self.trainer.default_root_dir) and self.current_epoch == 2:
            raise Killed
        return original(self, batch, batch_idx)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ClassifierModule, "training_step", killed)
        train(photos, target, config)
    assert not (target / "model.json").exists()
    finished = (target / "fold-1" / "model.safetensors").stat().st_mtime_ns
    places = []
    monkeypatch.setattr(
        ClassifierModule,
        "training_step",
        lambda s, b, i: (places.append(Path(s.trainer.default_root_dir).name), original(s, b, i))[1],
    )
    train(photos, target, config)
    assert set(places) == {"fold-2", "fold-3"}
    assert (target / "fold-1" / "model.safetensors").stat().st_mtime_ns == finished
    assert lines_of(target) == lines_of(out)


def test_one_model_takes_the_place_of_folds_and_nothing_is_lost(folded, tmp_path, tiny_config):
    out, photos, config, _ = folded
    target = tmp_path / "model"
    shutil.copytree(out, target)
    summary = train(photos, target, tiny_config(training={"epochs": 1}, split=config.split.model_dump()))
    assert any("was moved to" in note for note in summary.notes)
    (earlier,) = (target / "previous").iterdir()
    assert {"fold-1", "fold-3", ".folds", "folds.json"} <= {path.name for path in earlier.iterdir()}
    assert not (target / "fold-1").exists()
    assert not load_card(target).members


def test_wrong_settings_are_refused():
    with pytest.raises(ValidationError, match="one fold holds nothing back"):
        TrainConfig(folds=1)
    with pytest.raises(ConfigError, match="cannot be compared"):
        parse_sweep("train.folds=2,3")
    with pytest.raises(ConfigError, match=r"train\.folds=3: a comparison measures one model"):
        load_sections(overrides=["train.folds=3"])


def test_weights_that_were_made_from_the_photos_are_refused(photos, tmp_path, tiny_config):
    from weldgen.runtime import file_hash

    folder = tmp_path / "pretrained"
    folder.mkdir()
    (folder / "backbone.safetensors").write_bytes(b"weights")
    record = {
        "identity": file_hash(folder / "backbone.safetensors"), "backbone": "test_efficientnet", "weights": [],
        "seen": [Dataset.open(photos).samples[0].id],
    }  # fmt: skip
    (folder / "backbone.json").write_text(json.dumps(record))
    config = tiny_config(folds=2, model={"weights": str(folder)}, split={"test": 0, "val": 0, "duplicate_bits": -1})
    with pytest.raises(DataError, match="folds hold every photo out once"):
        train(photos, tmp_path / "model", config)
