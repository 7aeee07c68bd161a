"""Prediction from the exported file alone, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weldgen import WeldClassifierInference
from weldgen.data.images import read_rgb
from weldgen.errors import BackendError, ConfigError, DataError
from weldgen.serving.predict import predict_paths


def write_photos(root: Path, first: int, counts: dict[str, int]) -> Path:
    """Dark photos in `bad`, bright ones in `good`."""
    rng = np.random.default_rng(first)
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for index in range(first, first + count):
            pixels = rng.normal(190 if label == "good" else 70, 25, (56, 80, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / label / f"{index}.png")
    return root


@pytest.fixture
def model(tiny_model) -> Path:
    return tiny_model


@pytest.fixture
def fresh(tmp_path) -> Path:
    return write_photos(tmp_path / "fresh", 300, {"bad": 5, "good": 6})


def test_one_photo(model, fresh):
    found = WeldClassifierInference(model).predict(fresh / "good" / "300.png")
    assert found["class"] == "good"
    assert found["confidence"] == pytest.approx(max(found["probabilities"].values()))
    assert found["abstained"] is False


def test_what_the_card_warns_of_is_said_once_and_changes_no_answer(doubtful_model, tiny_model, fresh):
    call = [sys.executable, "-m", "weldgen.cli", "predict"]
    runs = [
        subprocess.run([*call, str(model), str(fresh)], capture_output=True, text=True, check=True)
        for model in (tiny_model, doubtful_model)
    ]
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout.splitlines()) == 11
    assert runs[0].stderr == ""
    assert runs[1].stderr == "doubtful.onnx: validation was synthetic\n"


def test_a_batch_says_what_each_photo_says(model, fresh):
    paths = sorted(fresh.rglob("*.png"))
    Image.open(paths[3]).resize((120, 70)).save(paths[3])
    classifier = WeldClassifierInference(model)
    together = classifier.predict_batch(paths)
    for path, record in zip(paths, together, strict=True):
        alone = classifier.predict(read_rgb(path))
        assert alone["class"] == record["class"]
        assert alone["confidence"] == pytest.approx(record["confidence"], abs=1e-4)


def test_folders_files_and_failures(model, fresh):
    (fresh / "bad" / "broken.png").write_bytes(b"no image")
    records = list(predict_paths(model, [fresh, fresh / "good" / "300.png"], device="cpu"))
    assert len(records) == 13
    errors = [record for record in records if "error" in record]
    assert [Path(record["file"]).name for record in errors] == ["broken.png"]
    good = [record for record in records if "error" not in record]
    assert all(Path(record["file"]).parent.name == record["label"] for record in good)
    assert set(good[0]) == {"file", "label", "score", "probabilities", "abstained"}
    json.dumps(records)


def test_below_the_threshold_it_abstains(model, fresh, tmp_path):
    import onnx

    network = onnx.load(str(model))
    next(entry for entry in network.metadata_props if entry.key == "threshold").value = "1.1"
    onnx.save(network, str(tmp_path / "strict.onnx"))
    assert WeldClassifierInference(tmp_path / "strict.onnx").predict(fresh / "bad" / "300.png")["abstained"]


def test_a_threshold_for_one_class_decides_and_says_so(model, fresh, tmp_path):
    import onnx

    network = onnx.load(str(model))
    record = {"positive": "bad", "threshold": 1e-30, "band": [0.5, 1.0], "confidence": 0.0, "tta": 2}
    network.metadata_props.add(key="operating", value=json.dumps(record))
    onnx.save(network, str(tmp_path / "wary.onnx"))
    records = list(predict_paths(tmp_path / "wary.onnx", [fresh], device="cpu"))
    assert {record["label"] for record in records} == {"bad"}  # even where it is next to improbable
    assert all(record["score"] == record["probabilities"]["bad"] for record in records)
    assert [record["abstained"] for record in records] == [record["score"] >= 0.5 for record in records]
    assert records[0]["decided_by"] == {"class": "bad", "threshold": 1e-30}
    assert WeldClassifierInference(tmp_path / "wary.onnx").tta == 2


def test_views_of_a_photo_vote(model):
    image = np.random.default_rng(5).integers(0, 255, (56, 80, 3), dtype=np.uint8)
    alone, voting = WeldClassifierInference(model), WeldClassifierInference(model, tta=4)
    mirrored = [image, image[:, ::-1], image[::-1], image[::-1, ::-1]]
    each = [alone.predict(np.ascontiguousarray(view))["probabilities"]["bad"] for view in mirrored]
    assert voting.predict(image)["probabilities"]["bad"] == pytest.approx(np.mean(each), abs=1e-6)
    with pytest.raises(ConfigError, match="1 to 12"):
        WeldClassifierInference(model, tta=13)


def test_wrong_inputs_are_named(model, tmp_path):
    classifier = WeldClassifierInference(model)
    with pytest.raises(DataError, match="no such file"):
        classifier.predict(tmp_path / "none.png")
    with pytest.raises(DataError, match="uint8 RGB"):
        classifier.predict(np.zeros((50, 50), np.uint8))
    with pytest.raises(DataError, match="no such file or folder"):
        list(predict_paths(model, [tmp_path / "none"]))
    with pytest.raises(BackendError, match="no such file"):
        WeldClassifierInference(tmp_path / "none.onnx")


def test_predicting_loads_no_torch(model, fresh):
    code = (
        "import sys; from pathlib import Path; from weldgen.serving.predict import predict_paths\n"
        "records = list(predict_paths(Path(sys.argv[1]), [Path(sys.argv[2])]))\n"
        "assert len(records) == 11 and not {'torch', 'timm', 'lightning'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code, model, fresh], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
