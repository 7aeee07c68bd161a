"""The browser page, asked over HTTP as a browser does; a real exported classifier behind it."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import sys

import numpy as np
import pytest
from PIL import Image

from weldgen.errors import BackendError
from weldgen.serving.shared import SharedClassifier
from weldgen.serving.ui import _heading, create_ui_app, launch


def photo(level: int) -> bytes:
    pixels = np.random.default_rng(level).normal(level, 20, (56, 80, 3)).clip(0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def uploads_folder(tmp_path_factory):
    """Where Gradio keeps uploads in these tests; it is read when a page is made."""
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("uploads"))
    yield
    os.environ.pop("GRADIO_TEMP_DIR")
    if before is not None:
        os.environ["GRADIO_TEMP_DIR"] = before


@pytest.fixture(scope="module")
def client(tiny_model, uploads_folder):
    from fastapi.testclient import TestClient

    with TestClient(create_ui_app(tiny_model, device="cpu", max_upload_mb=1)) as client:
        yield client


def ask(client, endpoint: str, files: dict[str, bytes]) -> list:
    """Upload files and call the function behind one of the page's fields."""
    sent = client.post("/gradio_api/upload", files=[("files", file) for file in files.items()])
    assert sent.status_code == 200, sent.text
    given = [
        {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
        for path, name in zip(sent.json(), files, strict=True)
    ]
    call = client.post(f"/gradio_api/call/{endpoint}", json={"data": [given[0] if endpoint == "photo" else given]})
    events = client.get(f"/gradio_api/call/{endpoint}/{call.json()['event_id']}").text
    assert "event: complete" in events, events
    return json.loads(re.search(r"event: complete\ndata: (.*)", events)[1])


def test_one_photo(client):
    preview, verdict, label = ask(client, "photo", {"weld.png": photo(200)})
    assert verdict.startswith("### good")
    assert label["label"] == "good"
    assert {entry["label"] for entry in label["confidences"]} == {"bad", "good"}
    assert client.get(preview["url"]).content[:2] == b"\xff\xd8"  # a JPEG


def test_a_photo_that_cannot_be_read(client):
    preview, verdict, label = ask(client, "photo", {"weld.png": b"no image"})
    assert preview is None
    assert "Cannot be read\nweld.png: not an image" in verdict
    assert not (label or {}).get("confidences")


@pytest.mark.parametrize("endpoint", ["photos", "folder"])
def test_many_photos(client, endpoint):
    files = {"a.png": photo(200), "b.png": photo(60), "c.png": b"no"}
    others = {"metadata.jsonl": b"{}"} if endpoint == "folder" else {}
    summary, table = ask(client, endpoint, files | others)
    expected = "3 photos: 1 bad, 1 good, 1 cannot be read"
    assert summary == expected + (", 1 other files left out" if others else "")
    assert [row[:2] for row in table["data"]] == [["a.png", "good"], ["b.png", "bad"], ["c.png", ""]]
    assert "not an image" in table["data"][2][4]


def test_below_the_threshold(strict_model, uploads_folder):
    from fastapi.testclient import TestClient

    with TestClient(create_ui_app(strict_model, device="cpu")) as client:
        assert ask(client, "photo", {"weld.png": photo(200)})[1].startswith("### Not sure\nMost likely good")
        summary, table = ask(client, "photos", {"weld.png": photo(200)})
    assert summary == "1 photos: 1 not sure"
    assert table["data"][0][3] == "yes"


def test_nothing_is_loaded_from_elsewhere(client):
    page = client.get("/").text
    loaded = re.findall(r"<(?:script|link|img)[^>]*?(?:src|href)=[\"']([^\"']+)", page)
    assert loaded
    assert [address for address in loaded if "//" in address] == []
    assert "fonts.g" not in page + client.get("/theme.css").text
    assert client.get("/config").json()["analytics_enabled"] is False
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"


def test_a_large_upload_is_refused(client):
    assert client.post("/gradio_api/upload", files=[("files", ("a.png", bytes(2**20 + 1)))]).status_code == 413


def test_what_cannot_be_shown(tiny_model, tmp_path, monkeypatch):
    with pytest.raises(BackendError, match="no such file"):
        create_ui_app(tmp_path / "none.onnx")
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(BackendError, match="cannot listen"):
        launch(tiny_model, port=taken.getsockname()[1], device="cpu")
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(BackendError, match="gradio") as caught:
        launch(tiny_model)
    assert caught.value.hint == "pip install 'weldgen[ui]'"


def test_a_warning_of_the_card_stands_above_the_photos(doubtful_model):
    assert "**Warning:** validation was synthetic." in _heading(SharedClassifier(doubtful_model, "cpu"))
