"""Build a TensorRT engine from an ONNX network; only where NVIDIA's `tensorrt` is installed."""

from __future__ import annotations

import importlib
from typing import Any

from weldgen.errors import BackendError

_WORKSPACE_BYTES = 4 << 30
# Smallest, usual and largest input: (batch, height, width, 3).
_SHAPES = ((1, 64, 64, 3), (1, 1080, 1920, 3), (32, 6000, 6000, 3))


def load_tensorrt() -> Any:
    """The `tensorrt` module.

    Raises:
        BackendError: It is not installed, or is the registry's empty package.
    """
    try:
        tensorrt = importlib.import_module("tensorrt")
    except (ImportError, OSError) as error:
        raise _missing(str(error)) from error
    if not hasattr(tensorrt, "Builder"):
        raise _missing("the installed package holds no library")
    return tensorrt


def build_engine(onnx_model: bytes, *, half: bool) -> bytes:
    """A serialised engine for the GPU of this machine.

    Args:
        onnx_model: The exported network.
        half: Allow fp16 kernels.

    Raises:
        BackendError: TensorRT is not installed, or refuses the network.
    """
    tensorrt = load_tensorrt()
    log = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(log)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, log)
    if not parser.parse(onnx_model):
        faults = "; ".join(str(parser.get_error(number)) for number in range(parser.num_errors))
        raise BackendError(f"TensorRT cannot read the network: {faults}", "export --format onnx")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, _WORKSPACE_BYTES)
    if half:
        config.set_flag(tensorrt.BuilderFlag.FP16)
    profile = builder.create_optimization_profile()
    profile.set_shape(network.get_input(0).name, *_SHAPES)
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BackendError("TensorRT could not build an engine from the network", "export --format onnx")
    return bytes(engine)


def _missing(reason: str) -> BackendError:
    return BackendError(
        f"TensorRT is not installed: {reason}",
        "install NVIDIA's tensorrt on the machine with the GPU, or export --format onnx, "
        "which ONNX Runtime runs with its TensorRT provider",
    )
