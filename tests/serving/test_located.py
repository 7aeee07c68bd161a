"""With a locator the answer is about the weld that it cuts out, and without a weld it is for a person to look."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from weldgen import WeldClassifierInference
from weldgen.cli import app
from weldgen.errors import BackendError
from weldgen.locating.locator import Locator
from weldgen.serving.api import create_app
from weldgen.serving.shared import SharedClassifier
from weldgen.serving.ui import _show_one


@pytest.fixture
def photos(tmp_path, photograph):
    """One with a weld, one without."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(photograph(60)[0]).save(folder / "weld.png")
    Image.fromarray(photograph(61, weld=False)[0]).save(folder / "bare.png")
    return folder


@pytest.fixture(scope="session")
def cut_model(tiny_model, taught):
    """The same classifier as if it had been trained on what the locator cut out."""
    import onnx

    network = onnx.load(str(tiny_model))
    next(entry for entry in network.metadata_props if entry.key == "locator").value = Locator(
        taught[0] / "locator.onnx", threads=1
    ).id
    onnx.save(network, str(tiny_model.with_name("cut.onnx")))
    return tiny_model.with_name("cut.onnx")


def test_the_answer_is_about_the_weld_alone(tiny_model, taught, photograph):
    image, own = photograph(60)
    cut, found = Locator(taught[0] / "locator.onnx", threads=1).cut_out(image)
    plain = WeldClassifierInference(tiny_model)
    answer = WeldClassifierInference(tiny_model, locator=taught[0]).predict(image)
    assert answer["probabilities"] == pytest.approx(plain.predict(cut)["probabilities"], abs=1e-6)
    assert answer["probabilities"] != pytest.approx(plain.predict(image)["probabilities"], abs=1e-3)
    assert answer["located"] == found.record()
    (left, top), *_, (bottom_left, bottom) = answer["located"]["corners"]
    assert ((left + bottom_left) / 2, (top + bottom) / 2) == pytest.approx(
        (own.grown(0.05).corners()[[0, 3]].mean(axis=0)).tolist(), abs=12
    )


def test_views_vote_on_the_weld_too(tiny_model, taught, photograph):
    image, _ = photograph(60)
    cut, _ = Locator(taught[0] / "locator.onnx", threads=1).cut_out(image)
    answer = WeldClassifierInference(tiny_model, tta=4, locator=taught[0]).predict(image)
    alone = WeldClassifierInference(tiny_model, tta=4).predict(cut)
    assert answer["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-6)


def test_without_a_weld_a_person_looks(cut_model, taught, photos):
    run = CliRunner().invoke(app, ["predict", str(cut_model), str(photos), "--locator", str(taught[0])])
    assert run.exit_code == 0, run.output
    bare, weld = (json.loads(line) for line in run.stdout.splitlines())
    assert (bare["located"], bare["abstained"]) == (None, True)
    assert weld["abstained"] is False
    assert len(weld["located"]["corners"]) == 4


@pytest.mark.parametrize(
    ("model", "with_locator", "said"),
    [
        ("tiny_model", True, "was trained on whole photos"),
        ("cut_model", False, "or whole photos with --locator"),
        ("cut_model", True, ""),
        ("tiny_model", False, ""),
    ],
)
def test_photos_unlike_those_of_the_training_are_warned_of(request, caplog, taught, model, with_locator, said):
    WeldClassifierInference(request.getfixturevalue(model), locator=taught[0] if with_locator else None)
    assert (said in caplog.text) if said else (caplog.text == "")


def test_another_locator_is_warned_of(cut_model, taught, tmp_path, caplog):
    other = tmp_path / "other.onnx"
    import onnx

    network = onnx.load(str(taught[0] / "locator.onnx"))
    network.doc_string = "another"
    onnx.save(network, str(other))
    WeldClassifierInference(cut_model, locator=other)
    assert "another locator" in caplog.text


def test_a_missing_locator_is_refused(tiny_model, tmp_path):
    with pytest.raises(BackendError, match=r"none\.onnx: there is no such file"):
        WeldClassifierInference(tiny_model, locator=tmp_path / "none.onnx")


def test_the_page_says_that_there_is_no_weld(cut_model, taught, photos):
    classifier = SharedClassifier(cut_model, "cpu", locator=taught[0])
    _, bare, _ = _show_one(classifier, str(photos / "bare.png"))
    _, weld, _ = _show_one(classifier, str(photos / "weld.png"))
    assert bare.startswith("### No weld was found")
    assert "No weld" not in weld


def test_the_service_says_where_the_weld_is(cut_model, taught, photos):
    from fastapi.testclient import TestClient

    client = TestClient(create_app(cut_model, device="cpu", locator=taught[0]))
    with (photos / "weld.png").open("rb") as stream:
        (record,) = client.post("/predict", files={"files": ("weld.png", stream)}).json()
    assert len(record["located"]["corners"]) == 4
