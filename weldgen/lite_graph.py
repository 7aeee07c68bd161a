"""EfficientNet-Lite0 written out as an ONNX graph from its weights, so that who runs it needs no torch.

(Tan and Le, EfficientNet, ICML 2019; the Lite variants have no squeeze-and-excite and ReLU6 for swish.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen import weights

LITE_WEIGHT = "efficientnet_lite0"
_BATCH_NORM_EPSILON = 1e-3
# Number of blocks and stride of the first, stage by stage; everything else is in the weights.
_STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
BLOCKS = tuple(blocks for blocks, _ in _STAGES)
_OPSET, _IR = 17, 8


def lite_state() -> dict[str, npt.NDArray[Any]] | None:
    """The weights that come with the installation, by the package's names; None where they are missing.

    Raises:
        BackendError: The file of the weights is damaged.
    """
    if weights.find(LITE_WEIGHT) is None:
        return None
    import torch

    state = torch.load(weights.require(LITE_WEIGHT), map_location="cpu", weights_only=True)
    return {name: value.numpy() for name, value in state.items()}


class LiteGraph:
    """A graph under construction: the network's layers as ONNX nodes, batch normalisation folded into convolutions.

    Each method adds nodes and returns the name of what the last of them gives.

    Args:
        state: Weights by name.
    """

    def __init__(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        self._state = state
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def stages(self, image: str) -> list[str]:
        """The seven stages of the body, (1, C, h, w) each, with strides 2, 4, 8, 16, 16, 32 and 32.

        Args:
            image: Name of the input, (1, H, W, 3) uint8 RGB.
        """
        top = self._convolution(self._scaled(image), "_conv_stem", "_bn0", stride=2)
        number, made = 0, []
        for blocks, stride in _STAGES:
            for index in range(blocks):
                block = self._block(top, f"_blocks.{number}", 1 if index else stride)
                top = self.node("Add", [top, block]) if index else block
                number += 1
            made.append(top)
        return made

    def head(self, top: str) -> str:
        """The 1280 feature maps on the last stage."""
        return self._convolution(top, "_conv_head", "_bn1")

    def node(self, kind: str, inputs: Sequence[str], name: str = "", **attributes: Any) -> str:
        """One ONNX node."""
        from onnx import helper

        name = name or f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: npt.ArrayLike) -> str:
        """A float32 constant."""
        from onnx import numpy_helper

        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def build(
        self,
        image: Sequence[int | str],
        output: tuple[str, Sequence[int | str]],
        metadata: Mapping[str, str] | None = None,
    ) -> bytes:
        """The file.

        Args:
            image: Shape of the input `image`; words are free dimensions.
            output: Name of a node, and its shape.
            metadata: What the file says about itself.
        """
        from onnx import TensorProto, helper

        taken = helper.make_tensor_value_info("image", TensorProto.UINT8, list(image))
        given = helper.make_tensor_value_info(output[0], TensorProto.FLOAT, list(output[1]))
        graph = helper.make_graph(self._nodes, LITE_WEIGHT, [taken], [given], self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
        if metadata:
            helper.set_model_props(model, dict(metadata))
        written: bytes = model.SerializeToString()
        return written

    def _scaled(self, image: str) -> str:
        """RGB from -1 to 1, channels first."""
        from onnx import TensorProto

        planes = self.node("Transpose", [image], perm=[0, 3, 1, 2])
        floats = self.node("Cast", [planes], to=TensorProto.FLOAT)
        scaled = self.node("Mul", [floats, self.constant(1 / 127.5)])
        return self.node("Sub", [scaled, self.constant(1)])

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
        made = self.node(
            "Conv", [top, self.constant(weight), self.constant(bias)], strides=[stride, stride],
            auto_pad="SAME_UPPER", group=weight.shape[0] if weight.shape[1] == 1 else 1,
        )  # fmt: skip
        if not clipped:
            return made
        return self.node("Clip", [made, *map(self.constant, (0, 6))])
