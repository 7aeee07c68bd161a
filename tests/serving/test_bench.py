"""Times of a real exported model; what is measured, not how fast it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weldgen.errors import BackendError, ConfigError, DataError
from weldgen.serving.bench import TARGETS, BenchConfig, bench

QUICK = {"runs": 3, "warm_up": 1, "threads": 1, "device": "cpu"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(random.integers(0, 256, (48, 64, 3), np.uint8)).save(folder / f"{index}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def report(tiny_model, photos):
    return bench(tiny_model, BenchConfig(batch_sizes=(1, 2), photos=photos, **QUICK))


def test_each_runtime_has_its_rows_or_a_reason(report, tiny_model):
    rows = {(row.runtime, row.batch) for row in report.rows}
    assert {(name, batch) for name in ("openvino fp32", "onnxruntime CPU") for batch in (1, 2)} <= rows
    for target in TARGETS:
        if target.device == "cpu":
            assert (target.name, 1) in rows or any(note.startswith(target.name) for note in report.notes)
    for row in report.rows:
        assert 0 < row.median_ms <= row.p95_ms
        assert row.images_per_s == pytest.approx(1000 * row.batch / row.median_ms)
        assert row.load_s > 0
    assert report.file_bytes == tiny_model.stat().st_size
    assert report.size_px == (64, 64)  # the model's own
    assert report.threads == 1


def test_photos_are_timed_from_file_to_answer(report):
    assert report.photos.photos == 3
    assert 0 < report.photos.median_ms <= report.photos.p95_ms
    assert report.photos.decode_ms > 0
    assert any("1 of 4 photos cannot be read" in note and "broken.png" in note for note in report.notes)


def test_table_and_json(report):
    lines = report.lines()
    assert report.cpu in lines[1]
    assert sum(line.startswith("onnxruntime CPU ") for line in lines) == 2
    assert any("from file to answer, 3 photos" in line for line in lines)
    assert json.loads(json.dumps(report.as_dict()))["rows"][0]["runtime"] == "openvino fp32"


def test_openvino_format_and_a_size(tiny_model, tmp_path):
    import openvino

    from weldgen.inference import METADATA_KEY, read_metadata

    network = openvino.convert_model(str(tiny_model))
    for name, text in read_metadata(tiny_model).items():
        network.set_rt_info(text, [METADATA_KEY, name])
    openvino.save_model(network, str(tmp_path / "classifier.xml"))
    report = bench(tmp_path / "classifier.xml", BenchConfig(batch_sizes=(1,), size_px=(96, 40), **QUICK))
    assert report.size_px == (96, 40)
    assert report.file_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert {row.runtime.split()[0] for row in report.rows} == {"openvino"}
    assert any("onnxruntime CPU left out: it does not read OpenVINO's format" in note for note in report.notes)


def test_a_gpu_that_is_not_there_is_named(tiny_model, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(BackendError, match="onnxruntime CUDA left out: this ONNX Runtime has only"):
        bench(tiny_model, BenchConfig(**QUICK | {"device": "cuda"}))


def test_wrong_inputs_are_named(tiny_model, tmp_path):
    with pytest.raises(BackendError, match="no such file"):
        bench(tmp_path / "none.onnx", BenchConfig())
    with pytest.raises(BackendError, match="no such file"):
        bench(tmp_path / "none.onnx", BenchConfig(size_px=(64, 64)))
    (tmp_path / "classifier.engine").write_bytes(b"engine")
    with pytest.raises(DataError, match=r"'\.engine'; accepted: \.onnx, \.xml"):
        bench(tmp_path / "classifier.engine", BenchConfig())
    with pytest.raises(DataError, match="no such file or folder"):
        bench(tiny_model, BenchConfig(photos=tmp_path / "none", **QUICK))
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"no photo of .* can be read"):
        bench(tiny_model, BenchConfig(batch_sizes=(1,), photos=tmp_path, **QUICK))


@pytest.mark.parametrize(
    "setting", [{"runs": 0}, {"batch_sizes": ()}, {"batch_sizes": (0,)}, {"size_px": (0, 4)}, {"warm_up": 0},
                {"threads": -1}, {"device": "tpu"}],
)  # fmt: skip
def test_settings_out_of_range(setting):
    with pytest.raises(ConfigError):
        BenchConfig(**setting)
