"""Every inpainter keeps sizes and fills holes; the adapters speak their networks' own language."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from weldgen import weights
from weldgen.cleaning.inpainters import INPAINTERS
from weldgen.cleaning.settings import (
    INPAINTER_WEIGHTS,
    LAMA,
    MIGAN,
    OPENCV,
    SIMPLE_LAMA,
    TEXTURE,
    InpaintConfig,
    inpainter_name,
)
from weldgen.errors import BackendError, ConfigError


class TinyLama(torch.nn.Module):
    """The signature of big-lama.pt; paints holes with the batch's size, so that batches show."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if image.shape[2] % 8 != 0 or image.shape[3] % 8 != 0:
            raise RuntimeError("sides must be multiples of 8")
        return image * (1 - mask) + mask * (0.1 * image.shape[0])


@pytest.fixture
def lama(tmp_path, monkeypatch):
    path = tmp_path / "big-lama.pt"
    torch.jit.script(TinyLama()).save(str(path))
    known = replace(weights.get(LAMA), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(weights.WEIGHTS, LAMA, known)
    monkeypatch.setenv("LAMA_MODEL", str(path))
    return path


@pytest.fixture
def migan(tmp_path, monkeypatch):
    """A network of MI-GAN's interface that paints 200 where its mask is 0."""
    nodes = [
        helper.make_node("Cast", ["mask"], ["keep"], to=TensorProto.BOOL),
        helper.make_node("Where", ["keep", "image", "paint"], ["result"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 3, "h", "w"]),
            helper.make_tensor_value_info("mask", TensorProto.UINT8, [1, 1, "h", "w"]),
        ],
        [helper.make_tensor_value_info("result", TensorProto.UINT8, [1, 3, "h", "w"])],
        [helper.make_tensor("paint", TensorProto.UINT8, [1], [200])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "migan.onnx"
    onnx.save(model, str(path))
    known = replace(weights.get(MIGAN), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(weights.WEIGHTS, MIGAN, known)
    monkeypatch.setenv("MIGAN_MODEL", str(path))


@pytest.fixture
def crops(make_plate):
    """Two crops of one padded size and one of another; no side is a multiple of 8."""
    images = [make_plate(0, 61, 43), make_plate(1, 90, 51), make_plate(2, 62, 44)]
    masks = [np.zeros(image.shape[:2], bool) for image in images]
    for mask in masks:
        mask[15:25, 20:40] = True
    return images, masks


def test_lama_unpads_and_keeps_the_order_of_a_batch(lama, crops):
    images, masks = crops
    results = INPAINTERS[LAMA](InpaintConfig(), "cpu").inpaint(images, masks)
    for image, mask, result, batch in zip(images, masks, results, (2, 1, 2), strict=True):
        assert result.shape == image.shape and result.dtype == np.uint8
        assert np.array_equal(result[~mask], image[~mask])
        assert (result[mask] == round(25.5 * batch)).all()


def test_lama_keeps_to_its_batch_size(lama, crops):
    images, masks = crops
    results = INPAINTERS[LAMA](InpaintConfig(batch_size=1), "cpu").inpaint(images, masks)
    assert all((result[mask] == 26).all() for result, mask in zip(results, masks, strict=True))


def test_auto_takes_lama_where_its_weights_are(lama):
    assert inpainter_name("auto") == LAMA


def test_auto_needs_no_weights():
    assert inpainter_name("auto") == TEXTURE
    with pytest.raises(ConfigError, match="accepted: auto, lama, migan, texture"):
        inpainter_name("photoshop")


def test_a_file_that_is_not_lama_is_refused(tmp_path, monkeypatch):
    (tmp_path / "other.pt").write_bytes(b"something else")
    monkeypatch.setenv("LAMA_MODEL", str(tmp_path / "other.pt"))
    with pytest.raises(BackendError, match="is not the known file of 'lama'"):
        INPAINTERS[LAMA](InpaintConfig(), "cpu")


def test_a_file_that_is_no_torchscript_is_refused(lama, monkeypatch):
    lama.write_bytes(b"no model")
    known = replace(weights.get(LAMA), sha256=hashlib.sha256(b"no model").hexdigest())
    monkeypatch.setitem(weights.WEIGHTS, LAMA, known)
    with pytest.raises(BackendError, match="no TorchScript file"):
        INPAINTERS[LAMA](InpaintConfig(), "cpu")


@pytest.mark.parametrize("name", [LAMA, MIGAN, SIMPLE_LAMA])
def test_missing_weights_say_how_to_get_them(name):
    with pytest.raises(BackendError) as caught:
        INPAINTERS[name](InpaintConfig(), "cpu")
    assert f"weldgen models pull {INPAINTER_WEIGHTS[name]}" in caught.value.hint


def test_simple_lama_says_which_package_it_needs(lama):
    try:
        import simple_lama_inpainting  # noqa: F401
    except ImportError:
        with pytest.raises(BackendError, match="simple-lama-inpainting"):
            INPAINTERS[SIMPLE_LAMA](InpaintConfig(), "cpu")


def test_migan_is_told_holes_as_zero(migan, crops):
    images, masks = crops
    results = INPAINTERS[MIGAN](InpaintConfig(), "cpu").inpaint(images, masks)
    for image, mask, result in zip(images, masks, results, strict=True):
        assert np.array_equal(result[~mask], image[~mask])
        assert (result[mask] == 200).all()


@pytest.mark.parametrize("name", [TEXTURE, OPENCV])
def test_embedded_inpainters_fill_the_hole(crops, name):
    images, masks = crops
    black = [np.where(mask[:, :, None], 0, image).astype(np.uint8) for image, mask in zip(*crops, strict=True)]
    results = INPAINTERS[name](InpaintConfig(), "cpu").inpaint(black, masks)
    for image, mask, result in zip(images, masks, results, strict=True):
        assert result.shape == image.shape and result.dtype == np.uint8
        assert np.abs(result[mask].astype(float) - image[mask]).mean() < 20


def test_the_registry_and_the_settings_name_the_same_backends():
    assert set(INPAINTERS) == set(INPAINTER_WEIGHTS)
