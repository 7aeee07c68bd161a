"""The exported file says what the trained model says, on both runtimes and at any size of photo."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from weldgen import WeldClassifierInference
from weldgen.classifier.evaluate import EvaluateConfig, evaluate
from weldgen.classifier.export import ExportConfig, _trust_notes, check_parity, export, parity_images
from weldgen.classifier.exported import metadata_of
from weldgen.classifier.model_file import load_card
from weldgen.classifier.operating import OperatingSettings
from weldgen.classifier.operating_point import load_point
from weldgen.classifier.scoring import open_scorer
from weldgen.decision import read_decision
from weldgen.errors import BackendError, DataError, OutputError
from weldgen.inference import Network, read_metadata
from weldgen.report.stage import write_stage_report
from weldgen.serving.predict import predict_paths

ASKED = EvaluateConfig(device="cpu", tta=2, operating=OperatingSettings(min_recall=0.9, abstain=0.5))
WARNING = "validation of class bad (no real photos) is synthetic"


@pytest.fixture(scope="module")
def doubted(trained, tmp_path_factory):
    """The trained model with a warning on its card and an operating point that evaluation chose."""
    folder = tmp_path_factory.mktemp("doubted") / "model"
    shutil.copytree(trained[0], folder)
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**card, "warnings": [WARNING]}))
    evaluate(folder, trained[1], folder.parent / "measured", ASKED)
    return folder


@pytest.fixture(scope="module")
def exported(doubted, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "classifier.onnx"
    return out, export(doubted, out, ExportConfig(threshold=0.8))


def test_parity_is_measured_on_real_training_photos(exported):
    out, summary = exported
    parity = json.loads((out.parent / "stage.json").read_text())["details"]["parity"]
    assert parity["source"] == "real training photos"
    assert parity["photos"] == summary.counts["parity photos"] == 8
    assert parity["max_difference"]["onnxruntime"] < 1e-3
    assert parity["max_difference"]["openvino"] < 5e-3


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("shape", [(1, 56, 80), (3, 300, 200), (1, 16, 900), (2, 1000, 1500), (1, 64, 64)])
def test_any_size_and_batch(exported, trained, runtime, shape):
    images = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = Network(exported[0], runtime=runtime, threads=1)(images)[0]
    scorer = open_scorer(trained[0], "cpu", 1)
    expected = np.stack([scorer.probabilities(image) for image in images])
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 5e-3


def test_the_file_says_what_it_is(exported):
    metadata = read_metadata(exported[0])
    assert json.loads(metadata["classes"]) == ["bad", "good"]
    assert (json.loads(metadata["frame"]), metadata["threshold"]) == ([64, 64], "0.8")
    labels = json.loads((exported[0].parent / "labels.json").read_text())
    assert labels.pop("operating")["positive"] == "bad"
    assert labels == {"classes": ["bad", "good"], "threshold": 0.8, "frame": [64, 64], "warnings": [WARNING]}


def test_a_warning_of_the_card_travels_with_the_file(exported):
    out, summary = exported
    assert json.loads(read_metadata(out)["warnings"]) == [WARNING]
    assert summary.notes[0] == WARNING
    assert "not calibrated" in summary.notes[1]
    assert f'<p class="warning">V{WARNING[1:]}.</p>' in write_stage_report("export", out).read_text()


def test_evaluating_the_file_gives_the_same_numbers(exported, trained, make_photos, tmp_path):
    fresh = make_photos(tmp_path / "fresh", {"bad": 3, "good": 3}, first=900)
    config = EvaluateConfig(device="cpu")
    one, two = (evaluate(m, fresh, tmp_path / m.name, config) for m in (exported[0], trained[0]))
    assert one.details["confusion"] == two.details["confusion"]
    with pytest.raises(DataError, match="no real photo in split 'val'"):
        evaluate(exported[0], fresh, tmp_path / "val", EvaluateConfig(device="cpu", split="val"))
    assert evaluate(exported[0], trained[1], tmp_path / "left", config).counts["photos"] == 4


def test_the_file_decides_as_evaluation_chose(exported, doubted, make_photos, tmp_path):
    """On torch, on the exported file, from Python and from the command line: the same label and the same doubt."""
    fresh = make_photos(tmp_path / "fresh", {"bad": 4, "good": 4}, first=930)
    for number, path in enumerate(sorted(fresh.rglob("*.png"))):  # between dark and bright
        pixels = np.random.default_rng(number).normal(60 + 18 * number, 20, (56, 80, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path)
    point, classifier = load_point(doubted), WeldClassifierInference(exported[0])
    assert point.decision == replace(classifier.decision, confidence=0.0)
    assert (point.tta, classifier.tta, classifier.threshold) == (2, 2, 0.8)
    found = {}
    for model in (doubted, exported[0]):
        evaluate(model, fresh, tmp_path / model.name, EvaluateConfig(device="cpu"))
        lines = (tmp_path / model.name / "predictions.jsonl").read_text().splitlines()
        found[model] = {str(fresh / line["file"]): line for line in map(json.loads, lines)}
    for record in predict_paths(exported[0], [fresh], device="cpu"):
        by_torch, by_file = (found[model][record["file"]] for model in (doubted, exported[0]))
        assert record["label"] == by_torch["decided"] == by_file["decided"]
        assert record["abstained"] == by_file["abstained"]
        assert record["abstained"] == (by_torch["abstained"] or record["score"] < 0.8)
        assert record["decided_by"] == {"class": "bad", "threshold": point.decision.threshold}


def test_the_file_may_be_made_without_it(exported, doubted, trained):
    card = load_card(doubted)
    assert "operating" in read_metadata(exported[0])
    assert "operating" not in metadata_of(card, 0.8, "fp32", None)
    assert any(note.startswith("as evaluate chose: bad from a probability of") for note in exported[1].notes)
    guessed = _trust_notes(card, read_decision(metadata_of(card, 0.8, "fp32", None)), None)
    assert "so the threshold of 0.8 is a guess" in guessed[1]


def test_half_precision_as_an_openvino_network(trained, tmp_path):
    summary = export(trained[0], tmp_path / "half.onnx", ExportConfig(format="openvino", precision="fp16"))
    assert max(summary.details["parity"]["max_difference"].values()) < 5e-2
    assert summary.out == tmp_path / "half.xml"
    assert json.loads(read_metadata(summary.out)["classes"]) == ["bad", "good"]
    assert json.loads(read_metadata(summary.out)["warnings"]) == []
    assert "warnings" not in json.loads((tmp_path / "labels.json").read_text())
    image = np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    scores = [open_scorer(model, "cpu", 1).probabilities(image) for model in (trained[0], summary.out)]
    assert np.abs(scores[0] - scores[1]).max() < 5e-2


def test_done_once_and_a_users_file_is_kept(exported, doubted, trained, tmp_path):
    assert export(doubted, exported[0], ExportConfig(threshold=0.8)).skipped
    (tmp_path / "mine.onnx").write_text("mine")
    with pytest.raises(OutputError):
        export(trained[0], tmp_path / "mine.onnx", ExportConfig())


def test_a_file_that_differs_is_refused(exported):
    image = np.full((64, 64, 3), 90, np.uint8)
    with pytest.raises(BackendError, match="differs from the trained one"):
        check_parity(exported[0].read_bytes(), [image], [np.array([0.5, 0.5], np.float32) * 3], "fp32")


def test_without_the_photos_parity_is_measured_on_textures(trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "model")
    receipt = json.loads((tmp_path / "model" / "stage.json").read_text())
    receipt["inputs"]["dataset"] = str(tmp_path / "gone")
    (tmp_path / "model" / "stage.json").write_text(json.dumps(receipt))
    card = load_card(tmp_path / "model")
    images, source = parity_images(tmp_path / "model", card, 0)
    assert "random textures" in source
    assert len({image.shape for image in images}) == len(images)


def test_tensorrt_missing_is_one_sentence(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(BackendError, match="TensorRT is not installed"):
        export(trained[0], tmp_path / "c.onnx", ExportConfig(format="tensorrt"))
