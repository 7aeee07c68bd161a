"""Run an ONNX network: OpenVINO on CPUs, ONNX Runtime for CUDA, TensorRT and as the floor."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen.errors import BackendError
from weldgen.quantisation import Range, quantise
from weldgen.runtime import cpu_count, file_hash, resource_dir

Array = npt.NDArray[Any]

RUNTIMES = ("openvino", "onnxruntime")
# OpenVINO's place for the metadata of ours.
METADATA_KEY = "weldgen"
# The precision that needs `ranges`.
INT8 = "int8"


class Network:
    """A loaded ONNX network.

    Args:
        model: Path or bytes of the ONNX file.
        runtime: `auto`, `openvino` or `onnxruntime`. `auto` is OpenVINO on a CPU, ONNX Runtime on a GPU.
        device: `cpu` or `cuda`.
        precision: `fp32`, or `bf16` to let OpenVINO use bfloat16 where the CPU has it; `int8` is that too, for what
            has no `ranges`.
        threads: CPU threads, 0 for all cores.
        ranges: What goes into its convolutions (`weldgen.quantisation`): OpenVINO computes them in int8 where the CPU
            can; empty: in `precision`, as everything else is.

    Raises:
        BackendError: The runtime is missing or cannot read the network.
    """

    def __init__(
        self,
        model: Path | bytes,
        *,
        runtime: str = "auto",
        device: str = "cpu",
        precision: str = "fp32",
        threads: int = 0,
        ranges: Sequence[Range] = (),
    ) -> None:
        if runtime == "auto":
            present = importlib.util.find_spec("openvino") is not None
            runtime = "openvino" if present and device == "cpu" else "onnxruntime"
        if runtime not in RUNTIMES:
            raise BackendError(f"runtime '{runtime}' is not known; accepted: auto, {', '.join(RUNTIMES)}")
        self.runtime = runtime
        self.precision = precision
        threads = threads or cpu_count()
        name = model.name if isinstance(model, Path) else "the network"
        try:
            self._run: _OpenVino | _OnnxRuntime = (
                _OpenVino(model, precision, threads, ranges)
                if runtime == "openvino"
                else _OnnxRuntime(model, device, threads)
            )
        except ImportError as error:
            raise BackendError(f"{runtime} is not installed: {error}", f"pip install {runtime}") from error
        except Exception as error:  # both runtimes raise bare RuntimeErrors of their own
            raise BackendError(f"{name} cannot be loaded by {runtime}: {error}") from error

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in order."""
        return self._run.input_names

    def __call__(self, inputs: Mapping[str, Array] | Array) -> list[Array]:
        """Run the network.

        Args:
            inputs: Arrays by input name, or the one array of a network with one input.

        Returns:
            The outputs in the network's order.
        """
        if isinstance(inputs, np.ndarray):
            inputs = {self.input_names[0]: inputs}
        return self._run(inputs)


def ranges_file(name: str) -> Path:
    """What goes into the convolutions of one of our networks; `assets/int8/measure.py` measures it."""
    return resource_dir("assets") / "int8" / f"{name}.json"


def ranges_for(name: str, weights: Path, precision: str) -> list[Range]:
    """The `ranges` of a `Network`, for one of those that were measured.

    Args:
        name: Of the network.
        weights: Its file; for any but the one that was measured, such as a later release, there are no ranges.
        precision: Unless it is `int8` there are none either.
    """
    if precision != INT8:
        return []
    measured = json.loads(ranges_file(name).read_text(encoding="utf-8"))
    if measured["weights"] != file_hash(weights):
        return []
    return [ends and (ends[0], ends[1]) for ends in measured["ranges"]]


def read_metadata(model: Path) -> dict[str, str]:
    """What weldgen wrote into an exported network: names and texts.

    Args:
        model: An `.onnx` file, or the `.xml` of an OpenVINO network.

    Raises:
        BackendError: The file is missing or no network.
    """
    if not model.is_file():
        raise BackendError(f"{model}: there is no such file", "weldgen export")
    try:
        if model.suffix == ".xml":
            import openvino

            network = openvino.Core().read_model(str(model))
            return {name: str(text) for name, text in network.get_rt_info([METADATA_KEY]).value.items()}
        import onnx

        loaded = onnx.load(str(model), load_external_data=False)
    except Exception as error:  # parsers raise many kinds
        raise BackendError(f"{model} is no network that can be read: {error}", "weldgen export") from error
    return {entry.key: entry.value for entry in loaded.metadata_props}


class _OpenVino:
    def __init__(self, model: Path | bytes, precision: str, threads: int, ranges: Sequence[Range]) -> None:
        import openvino

        core = openvino.Core()
        can = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        if precision in ("bf16", INT8) and "BF16" in can:
            settings["INFERENCE_PRECISION_HINT"] = "bf16"
        else:
            settings["INFERENCE_PRECISION_HINT"] = "f32"
        network = core.read_model(str(model) if isinstance(model, Path) else model)
        if ranges and "INT8" in can:
            quantise(network, ranges)
        self._compiled = core.compile_model(network, "CPU", settings)
        self.input_names = [port.get_any_name() for port in self._compiled.inputs]

    def __call__(self, inputs: Mapping[str, Array]) -> list[Array]:
        result = self._compiled(dict(inputs))
        return [np.array(result[port]) for port in self._compiled.outputs]


class _OnnxRuntime:
    def __init__(self, model: Path | bytes, device: str, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        providers = _providers(onnxruntime.get_available_providers(), device)
        source = str(model) if isinstance(model, Path) else model
        self._session = onnxruntime.InferenceSession(source, options, providers=providers)
        self.input_names = [port.name for port in self._session.get_inputs()]

    def __call__(self, inputs: Mapping[str, Array]) -> list[Array]:
        return list(self._session.run(None, dict(inputs)))


def _providers(available: Sequence[str], device: str) -> list[str]:
    wanted = [] if device == "cpu" else ["TensorrtExecutionProvider", "CUDAExecutionProvider"]
    if wanted and not set(wanted) & set(available):
        raise BackendError(
            f"device '{device}' was asked for, but this ONNX Runtime has only {', '.join(available)}",
            "pip install onnxruntime-gpu, or use --device cpu",
        )
    return [provider for provider in [*wanted, "CPUExecutionProvider"] if provider in available]
