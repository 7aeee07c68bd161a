"""Both runtimes run the same small network to the same numbers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from weldgen.errors import BackendError
from weldgen.inference import RUNTIMES, Network


@pytest.fixture
def affine(tmp_path):
    """y = x @ weight + 1 for x of shape (N, 3)."""
    weight = np.arange(6, dtype=np.float32).reshape(3, 2)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "one"], ["y"])],
        "affine",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [
            helper.make_tensor("w", TensorProto.FLOAT, [3, 2], weight.ravel()),
            helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path = tmp_path / "affine.onnx"
    onnx.save(model, path)
    return path, weight


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_gives_the_right_numbers(affine, runtime):
    path, weight = affine
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    for source in (path, path.read_bytes()):
        network = Network(source, runtime=runtime, threads=1)
        assert network.input_names == ["x"]
        (y,) = network(x)
        assert np.allclose(y, x @ weight + 1, atol=1e-5)
        assert np.allclose(network({"x": x[:1]})[0], y[:1], atol=1e-5)


def test_bfloat16_is_coarser_but_close(affine):
    path, weight = affine
    x = np.ones((2, 3), np.float32)
    assert np.allclose(Network(path, precision="bf16", threads=1)(x)[0], x @ weight + 1, rtol=0.02)


def test_faults_are_named(affine, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    for runtime in RUNTIMES:
        with pytest.raises(BackendError, match=r"broken\.onnx cannot be loaded"):
            Network(tmp_path / "broken.onnx", runtime=runtime)
    with pytest.raises(BackendError, match="'tflite' is not known"):
        Network(affine[0], runtime="tflite")
    with pytest.raises(BackendError, match="cuda"):
        Network(affine[0], device="cuda")
