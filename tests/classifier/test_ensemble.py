"""Ensembles: the mean of calibrated probabilities, on torch and in one exported file; nothing is lost."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from weldgen import WeldClassifierInference
from weldgen.classifier.embeddings import open_trained
from weldgen.classifier.ensemble import ensemble, unite
from weldgen.classifier.evaluate import EvaluateConfig, evaluate
from weldgen.classifier.export import ExportConfig, export
from weldgen.classifier.model_file import load_card, load_model, save_card
from weldgen.classifier.operating import OperatingSettings
from weldgen.classifier.scoring import open_scorer
from weldgen.classifier.train import train
from weldgen.cli import app
from weldgen.config import StageConfig
from weldgen.data.images import read_rgb
from weldgen.errors import ConfigError, DataError, OutputError
from weldgen.inference import Network, read_metadata
from weldgen.project import training_data
from weldgen.report.evidence import evidence_pictures
from weldgen.serving.bench import BenchConfig, bench

CPU = EvaluateConfig(device="cpu")
PLAIN = StageConfig()


@pytest.fixture(scope="module")
def members(trained, tmp_path_factory, tiny_config):
    """Two models of the same photos that differ in frame, backbone and temperature."""
    other = tmp_path_factory.mktemp("other") / "model"
    config = tiny_config(data={"image_size": 96}, model={"backbone": "test_resnet.r160_in1k"})
    train(trained[1], other, config)
    save_card(other, replace(load_card(other), temperature=2.5, warnings=("doubtful",), licences={"x": "MIT"}))
    return trained[0], other


@pytest.fixture(scope="module")
def together(members, tmp_path_factory):
    out = tmp_path_factory.mktemp("together") / "ensemble"
    return out, ensemble(members, out, PLAIN)


@pytest.fixture(scope="module")
def exported(together, make_photos, tmp_path_factory):
    """The file of the ensemble, which evaluation gave a threshold; and what export said."""
    root = tmp_path_factory.mktemp("export")
    fresh = make_photos(root / "fresh", {"bad": 4, "good": 4}, first=900)
    asked = EvaluateConfig(device="cpu", tta=2, operating=OperatingSettings(min_recall=0.9))
    assert evaluate(together[0], fresh, root / "new", asked).counts["photos"] == 8
    out = root / "classifier.onnx"
    return out, export(together[0], out, ExportConfig())


def test_errors_and_answers_are_shown_without_maps(together, make_photos, tmp_path):
    fresh = make_photos(tmp_path / "fresh", {"bad": 2, "good": 2}, first=950)
    evaluate(together[0], fresh, tmp_path / "out", CPU)
    lines = [json.loads(line) for line in (tmp_path / "out" / "evidence.jsonl").read_text().splitlines()]
    assert len(lines) == 4 and all(line["map"] is None for line in lines)
    wrong = [line["label"] != line["predicted"] for line in lines]
    assert wrong == sorted(wrong, reverse=True), "errors first"
    pictures = evidence_pictures(tmp_path / "out", fresh)
    assert [picture.caption.split(":")[0] for picture in pictures] == [line["file"] for line in lines]


def random_images(*shapes):
    return [np.random.default_rng(k).integers(0, 256, (*shape, 3), dtype=np.uint8) for k, shape in enumerate(shapes)]


def test_the_probabilities_are_the_mean_of_the_members(together, members):
    whole, parts = (open_scorer(together[0], "cpu", 1), [open_scorer(m, "cpu", 1) for m in members])
    assert load_card(members[1]).frame != load_card(members[0]).frame
    for image in random_images((56, 80), (300, 200), (64, 64)):
        expected = np.mean([part.probabilities(image) for part in parts], axis=0)
        assert np.abs(whole.probabilities(image) - expected).max() < 1e-6


@pytest.mark.parametrize(("runtime", "most"), [("onnxruntime", 1e-5), ("openvino", 1e-3)])
def test_the_exported_file_is_the_mean_too(exported, members, runtime, most):
    parts = [open_scorer(member, "cpu", 1) for member in members]
    network = Network(exported[0], runtime=runtime, threads=1)
    for image in random_images((56, 80), (300, 200), (96, 96)):
        expected = np.mean([part.probabilities(image) for part in parts], axis=0)
        assert np.abs(network(image[None])[0][0] - expected).max() < most


def test_the_file_carries_what_is_known_of_all_members(exported, together, members):
    metadata = read_metadata(exported[0])
    assert json.loads(metadata["warnings"]) == ["doubtful"]
    assert json.loads(metadata["licences"])["x"] == "MIT"
    seen = json.loads(metadata["seen"])
    for member in members:
        own = load_card(member).seen
        assert {*own["train"], *own["val"]} <= {*seen["train"], *seen["val"]}
    assert not {*seen["train"]} & {*seen["val"]}
    assert exported[1].details["parity"]["source"] == "real training photos"
    assert "doubtful" in together[1].notes


def test_predict_and_bench_take_it(exported, trained):
    classifier = WeldClassifierInference(exported[0])
    assert (classifier.tta, classifier.decision.positive) == (2, "bad")
    found = classifier.predict(next((trained[1] / "good").glob("*.png")))
    assert found["decided_by"]["class"] == "bad"
    report = bench(exported[0], BenchConfig(batch_sizes=(1,), size_px=(80, 56), runs=1, threads=1, device="cpu"))
    assert report.as_dict()["rows"]


def test_it_is_not_measured_on_photos_that_a_member_saw(together, trained, tmp_path):
    shutil.copytree(trained[1], tmp_path / "data" / "test")
    with pytest.raises(DataError, match="the model saw it in"):
        evaluate(together[0], tmp_path / "data", tmp_path / "seen", CPU)


def test_it_stays_what_it_is_when_a_member_goes(members, tmp_path):
    own = tmp_path / "member"
    shutil.copytree(members[1], own)
    out = tmp_path / "ensemble"
    ensemble([members[0], own], out, PLAIN)
    image = random_images((70, 90))[0]
    before = open_scorer(out, "cpu", 1).probabilities(image)
    shutil.rmtree(own)
    assert np.array_equal(open_scorer(out, "cpu", 1).probabilities(image), before)
    assert training_data(out) == training_data(members[0])  # which drift compares with


def test_done_once_and_made_anew_when_a_member_changes(members, tmp_path):
    own, out = tmp_path / "member", tmp_path / "ensemble"
    shutil.copytree(members[1], own)
    ensemble([members[0], own], out, PLAIN)
    (own / "operating.json").write_text("{}")
    assert ensemble([members[0], own], out, PLAIN).skipped
    save_card(own, replace(load_card(own), temperature=1.5))
    again = ensemble([members[0], own], out, PLAIN)
    assert not again.skipped
    assert any("was moved to" in note for note in again.notes)
    assert load_card(out / "member-2").temperature == 1.5


def test_an_ensemble_joins_member_by_member(together, members, tmp_path):
    own = tmp_path / "third"
    shutil.copytree(members[0], own)
    with pytest.raises(ConfigError, match="is given twice"):
        ensemble([together[0], own], tmp_path / "out", PLAIN)
    save_card(own, replace(load_card(own), temperature=1.5))
    summary = ensemble([together[0], own], tmp_path / "out", PLAIN)
    assert summary.counts["models"] == 3
    assert list(load_card(tmp_path / "out").members) == ["member-1", "member-2", "member-3"]


def test_members_whose_classes_differ_are_refused(members, tmp_path):
    own = tmp_path / "member"
    shutil.copytree(members[1], own)
    save_card(own, replace(load_card(own), classes=("bad", "good", "pore")))
    with pytest.raises(DataError, match=r"knows bad, good, but .* knows bad, good, pore"):
        ensemble([members[0], own], tmp_path / "out", PLAIN)
    assert not (tmp_path / "out").exists()


def test_what_is_no_ensemble_is_refused(members, tmp_path):
    with pytest.raises(ConfigError, match="two models or more"):
        ensemble(members[:1], tmp_path / "out", PLAIN)
    with pytest.raises(ConfigError, match="given twice"):
        ensemble([members[0], members[0]], tmp_path / "out", PLAIN)
    with pytest.raises(DataError, match="no trained model"):
        ensemble([members[0], tmp_path], tmp_path / "out", PLAIN)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.json").write_text("{}")
    with pytest.raises(OutputError, match="not made by weldgen ensemble"):
        ensemble(members, tmp_path / "mine", PLAIN)


def test_what_takes_a_single_model_says_so(together):
    for take in (load_model, lambda folder: open_trained(folder, "cpu")):
        with pytest.raises(DataError, match="is an ensemble of 2 models") as raised:
            take(together[0])
        assert "member-1" in raised.value.hint


def test_licences_of_synthetic_images_stand_in_one_line(members):
    cards = [
        replace(load_card(members[0]), licences={"a": "MIT", "synthetic images": "MIT, OpenRAIL++"}),
        replace(load_card(members[1]), licences={"b": "BSD", "synthetic images": "MIT"}, warnings=("doubtful",)),
    ]
    card = unite(cards, ["one", "two"], ["one", "two"])
    assert card.licences == {"a": "MIT", "b": "BSD", "synthetic images": "MIT, OpenRAIL++"}
    assert card.temperature_fitted_on == 0


def test_the_command(members, tmp_path, trained):
    out = str(tmp_path / "out")
    result = CliRunner().invoke(app, ["ensemble", *map(str, members), "--out", out])
    assert result.exit_code == 0, result.output
    assert "the mean of 2 models" in result.output
    wrong = CliRunner().invoke(app, ["ensemble", str(members[0]), "epochs=3"])
    assert wrong.exit_code == 2
    assert "takes no settings" in wrong.output
    image = next((trained[1] / "good").glob("*.png"))
    assert open_scorer(tmp_path / "out", "cpu", 1).probabilities(read_rgb(image)).shape == (2,)
