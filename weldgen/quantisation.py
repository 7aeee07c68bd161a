"""Run the convolutions of a network in int8: a third of the time of fp32 on CPUs without bfloat16.

Post-training quantisation (Jacob et al., CVPR 2018): what goes into a convolution is rounded to 256 levels of a range
that was measured once (`input_ranges`), its weights to 255 levels for each output channel; the rest stays as it is.
Wide convolutions lose next to nothing and gain most, many narrow ones one after the other lose more and gain less, so
each network has to earn it, and any of its convolutions may be left out.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen.errors import BackendError

# Least and greatest value that goes into a convolution; None: it is not to be computed in int8.
Range = tuple[float, float] | None

_LEVELS, _WEIGHT_LEVELS = 256, 255
# A channel of weights that are all zero still needs a range.
_LEAST_WEIGHT = 1e-8
# What OpenVINO calls them, and how many leading axes of their weights are output channels.
_OUTPUT_AXES = {"Convolution": 1, "GroupConvolution": 2}


def convolutions(network: Any) -> list[Any]:
    """Those of an `openvino.Model`, grouped ones too, in the order in which they are computed."""
    return [node for node in network.get_ordered_ops() if node.get_type_name() in _OUTPUT_AXES]


def input_ranges(network: Any, inputs: Iterable[npt.NDArray[Any]], chosen: Container[int] | None = None) -> list[Range]:
    """What goes into each convolution of a network, at least and at most.

    Args:
        network: An `openvino.Model` with one input. It stays as it is.
        inputs: Arrays like those that it will be given.
        chosen: Places, among `convolutions`, of those that are to be computed in int8; None for all.

    Returns:
        A range for each convolution.
    """
    import openvino
    from openvino import opset13 as ops

    sources = [
        convolution.input_value(0) if chosen is None or place in chosen else None
        for place, convolution in enumerate(convolutions(network))
    ]
    outputs = []
    for source in sources:
        if source is None:
            continue
        axes = np.arange(source.get_partial_shape().rank.get_length())
        outputs += [ops.reduce_min(source, axes).output(0), ops.reduce_max(source, axes).output(0)]
    results = [ops.result(output) for output in outputs]
    measuring = openvino.Model(results, network.get_parameters(), "ranges")
    compiled = openvino.compile_model(measuring, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    seen = np.array([[float(value) for value in compiled(array).values()] for array in inputs])
    ends = zip(seen[:, ::2].min(axis=0).tolist(), seen[:, 1::2].max(axis=0).tolist(), strict=True)
    return [None if source is None else next(ends) for source in sources]


def quantise(network: Any, ranges: Sequence[Range]) -> None:
    """Let the convolutions of a network be computed in int8.

    Args:
        network: An `openvino.Model`, which is changed.
        ranges: What `input_ranges` measured.

    Raises:
        BackendError: The ranges are those of another network.
    """
    from openvino import opset13 as ops
    from openvino.passes import ConstantFolding, Manager

    folding = Manager()
    folding.register_pass(ConstantFolding())  # weights that are kept in fp16
    folding.run_passes(network)
    present = convolutions(network)
    if len(present) != len(ranges):
        raise BackendError(f"{len(ranges)} ranges do not fit a network of {len(present)} convolutions")
    rounded: dict[tuple[str, int], Any] = {}  # several convolutions may share an input
    for convolution, ends in zip(present, ranges, strict=True):
        if ends is None:
            continue
        source = convolution.input_value(0)
        name = (source.get_node().get_friendly_name(), source.get_index())
        if name not in rounded:
            rounded[name] = _round(source, *_with_zero(*ends), _LEVELS)
        weights = np.asarray(convolution.input_value(1).get_node().data, dtype=np.float32)
        others = tuple(range(_OUTPUT_AXES[convolution.get_type_name()], weights.ndim))
        largest = np.maximum(np.abs(weights).max(axis=others, keepdims=True), _LEAST_WEIGHT)
        convolution.input(0).replace_source_output(rounded[name])
        convolution.input(1).replace_source_output(_round(ops.constant(weights), -largest, largest, _WEIGHT_LEVELS))
    network.validate_nodes_and_infer_types()


def _with_zero(low: float, high: float) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The range, widened to zero and shifted so that one of its levels is exactly zero, which padding is."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / (_LEVELS - 1) or 1.0
    below = round(-low / step)
    return np.float32(-below * step).reshape(1), np.float32((_LEVELS - 1 - below) * step).reshape(1)


def _round(source: Any, low: Any, high: Any, levels: int) -> Any:
    from openvino import opset13 as ops

    ends = [ops.constant(np.asarray(end, np.float32)) for end in (low, high)]
    return ops.fake_quantize(source, *ends, *ends, levels).output(0)
