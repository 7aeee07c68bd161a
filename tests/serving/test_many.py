from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from weldgen.errors import BackendError
from weldgen.serving.many import predict_on_ray
from weldgen.serving.predict import predict_paths


def test_a_cluster_answers_as_one_machine_does(tiny_model, tmp_path):
    for index in range(5):
        pixels = np.random.default_rng(index).integers(0, 255, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    alone = list(predict_paths(tiny_model, [tmp_path], device="cpu"))
    together = list(predict_on_ray(tiny_model, [tmp_path], device="cpu"))
    assert [r["file"] for r in together] == [r["file"] for r in alone]
    assert [r.get("label") for r in together] == [r.get("label") for r in alone]
    assert "error" in together[-1] and "probabilities" not in together[-1]


def test_ray_that_is_not_installed_is_named(tiny_model, tmp_path, monkeypatch):
    import sys

    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BackendError) as caught:
        list(predict_on_ray(tiny_model, [tmp_path]))
    assert caught.value.hint == "pip install 'weldgen[ray]'"
