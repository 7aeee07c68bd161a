"""What pictures look like to a network: features of ImageNet's EfficientNet-Lite0, which comes with a package.

What is notable: the network is written out as an ONNX graph from its weights, so that worker processes need no torch;
and images are looked at one at a time by one thread, so that the features of an image do not depend on the batch it
is in, on the number of jobs, or on where a run was resumed.
(Tan and Le, EfficientNet, ICML 2019; the Lite variants have no squeeze-and-excite and ReLU6 for swish.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen import weights
from weldgen.inference import Network

RGB = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

FEATURE_WEIGHT = "efficientnet_lite0"
FEATURES = 1280
SIDE_PX = 224
_FILL = 128
_BATCH_NORM_EPSILON = 1e-3
# Number of blocks and stride of the first, stage by stage; everything else is in the weights.
_STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
_OPSET, _IR = 17, 8


class FeatureExtractor:
    """Images in, features out.

    Args:
        network: The ONNX file that `feature_network` makes.

    Raises:
        BackendError: The runtime is missing.
    """

    def __init__(self, network: bytes) -> None:
        self._network = Network(network, threads=1)

    def __call__(self, images: Iterable[RGB]) -> Floats:
        """Features of images, each (H, W, 3) uint8 RGB of any size.

        Returns:
            (N, 1280) float32, each row of length 1.
        """
        rows = [self._network(letterbox(image)[None])[0][0] for image in images]
        return unit_rows(feature_rows(rows))


def feature_rows(rows: Sequence[npt.NDArray[Any]]) -> Floats:
    """(N, 1280) float32 of N rows; N may be 0."""
    return np.array(rows, np.float32).reshape(-1, FEATURES)


def unit_rows(rows: npt.NDArray[Any]) -> Floats:
    """The rows of (N, F), each scaled to length 1, float32."""
    wide = rows.astype(np.float64)
    scaled: Floats = (wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return scaled


def letterbox(image: RGB) -> RGB:
    """Scale an image into a square and pad it with grey, (224, 224, 3) uint8 RGB."""
    import cv2

    scale = SIDE_PX / max(image.shape[:2])
    width, height = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square = np.full((SIDE_PX, SIDE_PX, 3), _FILL, np.uint8)
    top, left = (SIDE_PX - height) // 2, (SIDE_PX - width) // 2
    square[top : top + height, left : left + width] = cv2.resize(image, (width, height), interpolation=method)
    return square


def feature_network() -> bytes | None:
    """The network as an ONNX file, (1, 224, 224, 3) uint8 RGB to (1, 1280); None where its weights are missing.

    Raises:
        BackendError: The file of the weights is damaged.
    """
    if weights.find(FEATURE_WEIGHT) is None:
        return None
    import torch

    state = torch.load(weights.require(FEATURE_WEIGHT), map_location="cpu", weights_only=True)
    return _Graph({name: value.numpy() for name, value in state.items()}).build()


class _Graph:
    """EfficientNet-Lite0 as ONNX nodes, batch normalisation folded into the convolutions."""

    def __init__(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        self._state = state
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def build(self) -> bytes:
        """The file."""
        from onnx import TensorProto, helper

        top = self._convolution(self._scaled_input(), "_conv_stem", "_bn0", stride=2)
        number = 0
        for blocks, stride in _STAGES:
            for index in range(blocks):
                made = self._block(top, f"_blocks.{number}", 1 if index else stride)
                top = self._node("Add", [top, made]) if index else made
                number += 1
        top = self._convolution(top, "_conv_head", "_bn1")
        pooled = self._node("GlobalAveragePool", [top])
        self._nodes.append(helper.make_node("Flatten", [pooled], ["features"]))
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIDE_PX, SIDE_PX, 3])
        features = helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, FEATURES])
        graph = helper.make_graph(self._nodes, "efficientnet_lite0", [image], [features], self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
        written: bytes = model.SerializeToString()
        return written

    def _scaled_input(self) -> str:
        """RGB from -1 to 1, channels first."""
        from onnx import TensorProto

        planes = self._node("Transpose", ["image"], perm=[0, 3, 1, 2])
        floats = self._node("Cast", [planes], to=TensorProto.FLOAT)
        scaled = self._node("Mul", [floats, self._constant(np.array(1 / 127.5, np.float32))])
        return self._node("Sub", [scaled, self._constant(np.array(1, np.float32))])

    def _block(self, top: str, name: str, stride: int) -> str:
        """Inverted residual block: widen, filter each channel, narrow."""
        if f"{name}._expand_conv.weight" in self._state:
            top = self._convolution(top, f"{name}._expand_conv", f"{name}._bn0")
        top = self._convolution(top, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride)
        return self._convolution(top, f"{name}._project_conv", f"{name}._bn2", clipped=False)

    def _convolution(self, top: str, name: str, norm: str, *, stride: int = 1, clipped: bool = True) -> str:
        state = self._state
        gain = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + _BATCH_NORM_EPSILON)
        weight = state[f"{name}.weight"] * gain[:, None, None, None]
        bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain
        made = self._node(
            "Conv", [top, self._constant(weight), self._constant(bias)], strides=[stride, stride],
            auto_pad="SAME_UPPER", group=weight.shape[0] if weight.shape[1] == 1 else 1,
        )  # fmt: skip
        if not clipped:
            return made
        ends = [self._constant(np.array(end, np.float32)) for end in (0, 6)]
        return self._node("Clip", [made, *ends])

    def _node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        from onnx import helper

        name = f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def _constant(self, value: npt.NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name
