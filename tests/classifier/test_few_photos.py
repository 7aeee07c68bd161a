"""The chain where a class has hardly any photo: it runs through, and says loudly what it does not know."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from weldgen.classifier import judges
from weldgen.classifier.compare import CompareConfig, compare
from weldgen.classifier.evaluate import EvaluateConfig, evaluate
from weldgen.classifier.loader import Images
from weldgen.classifier.model_file import load_card
from weldgen.classifier.train import train
from weldgen.data.dataset import METADATA_NAME, Dataset, Sample
from weldgen.data.mix import MixConfig, mix
from weldgen.errors import DataError
from weldgen.report.stage import write_stage_report

CPU = EvaluateConfig(device="cpu")


def build(root, make_photos, real, synthetic=24):
    """A mix of few real and some synthetic photos."""
    made = make_photos(root / "made", {"bad": synthetic, "good": synthetic}, first=100)
    lines = [json.dumps(replace(s, split="train", origin="synthetic").record()) for s in Dataset.open(made).samples]
    (made / METADATA_NAME).write_text("\n".join(lines) + "\n")
    mix(make_photos(root / "real", real), made, root / "mixed", MixConfig())
    return root / "mixed"


@pytest.fixture(scope="module")
def three(tmp_path_factory, make_photos, tiny_config):
    """A model of 1 good and 2 bad photos."""
    root = tmp_path_factory.mktemp("three")
    mixed = build(root, make_photos, {"bad": 2, "good": 1}, 88)
    return root, train(mixed, root / "model", tiny_config(training={"epochs": 2}))


def test_the_best_epoch_is_chosen_on_synthetic_images_and_that_is_said(three):
    root, summary = three
    card = load_card(root / "model")
    assert card.trained_on == {"bad": {"real": 2, "synthetic": 66}, "good": {"real": 1, "synthetic": 66}}
    assert card.validated_on == {label: {"real": 0, "synthetic": 22} for label in ("bad", "good")}
    (warning,) = card.warnings
    assert warning.startswith("validation of classes bad (2 real photos) and good (1 real photo) is synthetic")
    assert warning in summary.notes
    assert any("on the synthetic validation images" in note for note in summary.notes)
    assert summary.counts["validation photos"] == 0
    assert summary.counts["synthetic validation images"] == 44
    assert {name for ids in card.seen.values() for name in ids} == {
        s.id for s in Dataset.open(root / "mixed").samples if s.origin == "real"
    }


def test_synthetic_images_calibrate_nothing(three):
    card = load_card(three[0] / "model")  # 44 of them would suffice
    assert (card.temperature, card.temperature_fitted_on) == (1.0, 0)
    assert any("20 real validation photos" in note for note in three[1].notes)


@pytest.mark.parametrize(
    ("count", "learned", "sure", "expected"),
    [
        (8, True, 9.0, "rough"),  # sure of everything, and seven of eight are right
        (8, True, 0.1, "none"),  # it may not become surer
        (8, False, 9.0, "none"),
        (24, True, 9.0, "fitted"),
        (24, False, 9.0, "fitted"),
        (0, True, 9.0, "none"),
    ],
)
def test_few_real_photos_make_a_network_less_sure_and_no_surer(monkeypatch, count, learned, sure, expected):
    rows = np.arange(count)
    samples = tuple(Sample(f"good/{k}.png", f"{k}", "good", "val") for k in rows)
    images = Images(samples, np.zeros((count, 3, 1, 1), np.uint8), rows % 2)
    signs = np.where(rows % 8 == 7, -1.0, 1.0)  # one in eight is wrong
    logits = torch.tensor(sure * signs[:, None] * np.where(np.eye(2)[rows % 2] > 0, 1.0, -1.0))
    monkeypatch.setattr(judges, "logits_of", lambda network, _: (logits, torch.from_numpy(rows % 2)))
    found, fitted_on = judges.judged_temperature(None, judges.Judges(images, images.subset("")), learned=learned)
    notes = judges.calibration_notes(found, fitted_on)
    if expected == "fitted":
        assert found > 2 and fitted_on == 24 and not notes
        return
    assert fitted_on == 0 and "20 real validation photos" in notes[0]
    assert (found > 2) == ("made it less sure" in notes[0]) == (expected == "rough")
    assert expected == "rough" or found == 1.0
    synthetic = judges.Judges(images, images, "synthetic ones judge")
    assert judges.judged_temperature(None, synthetic, learned=True) == (1.0, 0)


def test_the_backbone_stays_as_it_is_unless_asked(three, tiny_config):
    root, summary = three
    assert summary.details["method"] == "linear"
    assert any("where it usually lies" in note for note in summary.notes)  # the only sound photo cannot set it
    settings = {"epochs": 2, "method": "finetune"}
    trained = train(root / "mixed", root / "finetuned", tiny_config(training=settings))
    # not 17: three of the 135 images are a quarter of the draws
    assert trained.details["steps_per_epoch"] == 5
    page = write_stage_report("train", root / "finetuned").read_text()
    assert "synthetic validation images" in page


def test_the_reports_carry_the_warning(three):
    root, _ = three
    (warning,) = load_card(root / "model").warnings
    for stage, out in (("mix", root / "mixed"), ("train", root / "model")):
        page = write_stage_report(stage, out).read_text()
        assert f'<p class="warning">{warning[0].upper()}{warning[1:]}.' in page
    assert "Validation and test hold real photos only" not in (root / "mixed" / "report.html").read_text()


def test_without_a_test_photo_nothing_is_measured(three):
    root, _ = three
    summary = evaluate(root / "model", root / "mixed", root / "evaluation", CPU)
    assert summary.counts["photos"] == 0
    page = write_stage_report("evaluate", root / "evaluation").read_text()
    assert "Nothing was measured" in page


def test_a_cold_start_counts_the_real_photos_of_the_other_class_aside(tmp_path, make_photos, tiny_config, caplog):
    logging.getLogger("weldgen").propagate = True
    mixed = build(tmp_path, make_photos, {"bad": 0, "good": 8})
    summary = train(mixed, tmp_path / "model", tiny_config(training={"epochs": 2}))
    card = load_card(tmp_path / "model")
    assert card.validated_on == {label: {"real": 0, "synthetic": 6} for label in ("bad", "good")}
    assert any("which also set the border: right on" in n and n.endswith("of 1 good") for n in summary.notes)
    assert any("class bad (no real photos) is synthetic" in record.message for record in caplog.records)
    measured = evaluate(tmp_path / "model", mixed, tmp_path / "evaluation", CPU)
    assert measured.counts["photos"] == 1
    assert measured.details["balanced_accuracy"] is None
    page = write_stage_report("evaluate", tmp_path / "evaluation").read_text()
    assert "There is no real photo of bad: nothing is known about it." in page
    assert "Balanced accuracy" not in page


def test_one_class_is_no_comparison(tmp_path, make_photos, tiny_config):
    build(tmp_path, make_photos, {"bad": 0, "good": 8})
    config = CompareConfig(sweep="train.training.epochs=1,2", device="cpu", train=tiny_config())
    with pytest.raises(DataError, match="all real test photos are of class 'good'"):
        compare(tmp_path / "real", tmp_path / "made", tmp_path / "out", config)


def test_a_synthetic_validation_of_a_class_with_photos_is_refused(tmp_path, make_photos, tiny_config):
    mixed = build(tmp_path, make_photos, {"bad": 8, "good": 8})
    lines = [json.loads(line) for line in (mixed / METADATA_NAME).read_text().splitlines()]
    cheat = next(line for line in lines if line["origin"] == "synthetic")
    cheat |= {"split": "val", "synthetic_validation": True}
    (mixed / METADATA_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DataError, match="accepted only where a class has fewer than 3 real photos"):
        train(mixed, tmp_path / "model", tiny_config())
