"""The HTTP service: answers, limits, failures, metrics; a real exported classifier behind it."""

from __future__ import annotations

import io
import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from weldgen.errors import BackendError, ConfigError, DataError
from weldgen.serving.api import create_app, serve


def photo(level: int, size_px: tuple[int, int] = (80, 56), kind: str = "PNG") -> bytes:
    """A flat photo: dark is `bad`, bright is `good`."""
    noise = np.random.default_rng(level).normal(level, 20, (size_px[1], size_px[0], 3)).clip(0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, kind)
    return stream.getvalue()


def uploads(*files: tuple[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", file) for file in files]


@pytest.fixture(scope="module")
def client(tiny_model):
    from fastapi.testclient import TestClient

    return TestClient(create_app(tiny_model, device="cpu", max_upload_mb=1, max_batch=12))


def test_health_and_model(client, tiny_model):
    assert client.get("/health").json() == {"status": "ok", "model": tiny_model.name}
    found = client.get("/model").json()
    assert found["classes"] == ["bad", "good"]
    assert found["threshold"] == 0
    assert isinstance(found["licences"], dict)
    assert found["metadata"]["backbone"] == "test_efficientnet"
    assert "seen" not in found["metadata"]
    assert found["warnings"] == []


def test_a_warning_of_the_card_is_shown(doubtful_model):
    from fastapi.testclient import TestClient

    client = TestClient(create_app(doubtful_model, device="cpu"))
    assert client.get("/model").json()["warnings"] == ["validation was synthetic"]
    assert 'id="warnings"' in client.get("/").text


def test_photos_of_several_sizes_and_kinds(client):
    files = uploads(
        ("a.png", photo(200)), ("b.jpg", photo(60, (120, 90), "JPEG")), ("c.tif", photo(190, (64, 64), "TIFF"))
    )
    answer = client.post("/predict", files=files)
    assert answer.status_code == 200
    assert [(record["file"], record["label"]) for record in answer.json()] == [
        ("a.png", "good"),
        ("b.jpg", "bad"),
        ("c.tif", "good"),
    ]
    first = answer.json()[0]
    assert set(first) == {"file", "label", "score", "probabilities", "abstained"}
    assert first["score"] == max(first["probabilities"].values())


def test_the_answer_is_that_of_predict(client, tiny_model, tmp_path):
    from weldgen.serving.predict import predict_paths

    (tmp_path / "a.jpg").write_bytes(photo(120, kind="JPEG"))
    expected = next(predict_paths(tiny_model, [tmp_path / "a.jpg"], device="cpu"))
    found = client.post("/predict", files=uploads(("a.jpg", photo(120, kind="JPEG")))).json()[0]
    assert found == expected | {"file": "a.jpg"}


def test_a_bad_file_among_good_ones(client):
    answer = client.post("/predict", files=uploads(("a.png", photo(200)), ("b.png", b"no"), ("c.png", photo(60))))
    assert answer.status_code == 200
    records = answer.json()
    assert [record.get("label") for record in records] == ["good", None, "bad"]
    assert records[1] == {"file": "b.png", "error": "b.png: not an image, or of a kind that cannot be read"}


@pytest.mark.parametrize("data", [b"", b"no", photo(100)[:200], photo(100, (8, 8))])
def test_one_bad_file_alone_is_refused(client, data):
    answer = client.post("/predict", files=uploads(("b.png", data)))
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("b.png: ")


def test_requests_without_a_photo(client):
    for answer in (
        client.post("/predict"),
        client.post("/predict", json={"files": []}),
        client.post("/predict", files=[("photos", ("a.png", photo(100)))]),
        client.post("/predict", data={"files": "a.png"}),
    ):
        assert answer.status_code == 422
        assert "'files'" in answer.json()["detail"]
    assert client.get("/predict").status_code == 405


def test_limits(client):
    too_large = client.post("/predict", files=uploads(("a.png", bytes(2**20 + 1))))
    assert (too_large.status_code, too_large.json()["detail"]) == (413, "a.png is larger than 1 MB")
    too_many = client.post("/predict", files=uploads(*[(f"{k}.png", b"x") for k in range(13)]))
    assert (too_many.status_code, too_many.json()["detail"]) == (413, "13 photos; at most 12 a request are accepted")
    promised = client.post("/predict", content=b"x", headers={"content-length": str(2**30)})
    assert promised.status_code == 413


def test_a_body_without_a_length_is_cut_at_the_limit(client):
    def endless():
        yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        for _ in range(64):
            yield bytes(2**20)

    answer = client.post("/predict", content=endless(), headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 413


def test_requests_at_once_get_their_own_answers(client):
    levels = [200, 60, 190, 70] * 4

    def ask(level: int) -> str:
        return client.post("/predict", files=uploads(("a.png", photo(level)))).json()[0]["label"]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, levels)) == ["good", "bad", "good", "bad"] * 4


def test_more_photos_than_go_through_together(client):
    files = uploads(*[(f"{k}.png", photo(200 if k % 3 else 60, (40 + 8 * (k % 2), 40))) for k in range(12)])
    records = client.post("/predict", files=files).json()
    assert [record["label"] for record in records] == ["good" if k % 3 else "bad" for k in range(12)]


def metric(text: str, name: str) -> float:
    return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)[1])


def test_metrics_of_two_applications_in_one_process(strict_model):
    from fastapi.testclient import TestClient

    one, other = (TestClient(create_app(strict_model, device="cpu")) for _ in range(2))
    one.post("/predict", files=uploads(("a.png", photo(200)), ("b.png", b"no")))
    one.get("/no/such/page")
    text = one.get("/metrics").text
    assert metric(text, 'weldgen_requests_total{route="/predict",status="200"}') == 1
    assert metric(text, 'weldgen_requests_total{route="other",status="404"}') == 1
    assert metric(text, 'weldgen_request_seconds_count{route="/predict"}') == 1
    assert metric(text, 'weldgen_predictions_total{label="good"}') == 1
    assert metric(text, 'weldgen_predictions_total{label="bad"}') == 0
    assert metric(text, "weldgen_abstentions_total") == 1
    assert metric(text, "weldgen_unreadable_photos_total") == 1
    assert metric(other.get("/metrics").text, 'weldgen_predictions_total{label="good"}') == 0


def test_nothing_is_loaded_from_elsewhere(client):
    page = client.get("/")
    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]
    assert "//" not in page.text.replace("data:,", "")
    assert client.get("/docs").status_code == 404
    described = client.get("/openapi.json").json()["paths"]
    assert set(described) == {"/health", "/model", "/predict", "/metrics"}
    assert "multipart/form-data" in described["/predict"]["post"]["requestBody"]["content"]


def test_what_cannot_be_served(tiny_model, tmp_path, monkeypatch):
    with pytest.raises(BackendError, match="no such file"):
        create_app(tmp_path / "none.onnx")
    with pytest.raises(ConfigError, match="at least 1"):
        create_app(tiny_model, max_batch=0)
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises((BackendError, DataError), match=r"broken\.onnx"):
        create_app(tmp_path / "broken.onnx")
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(BackendError, match="cannot listen"):
        serve(tiny_model, port=taken.getsockname()[1], device="cpu")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(BackendError, match="prometheus_client") as caught:
        create_app(tiny_model)
    assert caught.value.hint == "pip install 'weldgen[serve]'"
