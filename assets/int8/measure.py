"""Measure what goes into the convolutions of the networks of `weldgen clean`, so that it can compute them in int8.

On welds with writing that the renderer makes, at the size at which each network sees a photo of 3:2. It takes a few
minutes:

    python -m assets.int8.measure

Which convolutions: all of EasyOCR's network; of the ink network all but the stem and its first block, on whose output
everything else stands; of rapidocr's, in which many narrow ones follow each other, the two of 3 x 3 pixels over many
channels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen.cleaning.detectors import craft_as_onnx, load_craft, rapidocr_file
from weldgen.cleaning.settings import DETECTOR_WEIGHTS, EASYOCR, INK_WEIGHT, RAPIDOCR
from weldgen.inference import ranges_file
from weldgen.quantisation import convolutions, input_ranges
from weldgen.runtime import file_hash
from weldgen.synthesis.render.photos import render_photo_with_masks
from weldgen.weights import require

Array = npt.NDArray[Any]

_PHOTOS = 24
# Width and height.
_EASYOCR_PX, _INK_PX, _RAPIDOCR_PX = (672, 448), (1024, 704), (1280, 832)
_LEFT_OF_INK = 3
# Axes of the weights of a convolution that is not grouped.
_DENSE = 4


def photos(width: int, height: int) -> Iterator[Array]:
    """Rendered photos, (H, W, 3) uint8 RGB."""
    for seed in range(_PHOTOS):
        label = "good" if seed % 2 else "bad"
        yield render_photo_with_masks(seed, label, width, height, marked=True).image


def for_easyocr(photo: Array) -> Array:
    """A photo as EasyOCR gives it to its network, (1, 3, H, W) float32."""
    from easyocr.imgproc import normalizeMeanVariance

    return np.asarray(normalizeMeanVariance(photo), np.float32).transpose(2, 0, 1)[None]


def for_rapidocr(shown: Iterator[Array]) -> Iterator[Array]:
    """Photos as rapidocr gives them to its network, (1, 3, H, W) float32, BGR."""
    from rapidocr import RapidOCR

    limits = {"Det.limit_type": "max", "Det.limit_side_len": _RAPIDOCR_PX[0]}
    prepare = RapidOCR(params={"Global.log_level": "error", **limits})._load_det_model().get_preprocess()
    for photo in shown:
        yield np.asarray(prepare(np.ascontiguousarray(photo[:, :, ::-1])), np.float32)


def measure(name: str, weights: Path, network: Any, chosen: Sequence[int], inputs: Iterator[Array]) -> None:
    """Write the ranges of an `openvino.Model` beside this file."""
    ranges = input_ranges(network, inputs, chosen)
    lines = ",\n".join(json.dumps(ends and [round(end, 4) for end in ends]) for ends in ranges)
    text = f'{{"weights": "{file_hash(weights)}", "ranges": [\n{lines}\n]}}\n'
    ranges_file(name).write_text(text, encoding="utf-8")


def broad(network: Any) -> list[int]:
    """Places of the convolutions by more than two pixels a side, over more than the three colours, of all channels."""
    shapes = [tuple(convolution.input_value(1).get_shape()) for convolution in convolutions(network)]
    return [place for place, shape in enumerate(shapes) if len(shape) == _DENSE and shape[1] > 3 and shape[2] > 2]


def main() -> None:
    """All three."""
    import openvino

    read = openvino.Core().read_model
    craft, ink, rapidocr = require(DETECTOR_WEIGHTS[EASYOCR]), require(INK_WEIGHT), rapidocr_file()
    network = read(craft_as_onnx(load_craft(craft)))
    measure(EASYOCR, craft, network, range(len(convolutions(network))), map(for_easyocr, photos(*_EASYOCR_PX)))
    network = read(ink)
    chosen = range(_LEFT_OF_INK, len(convolutions(network)))
    measure(INK_WEIGHT, ink, network, chosen, (photo[None] for photo in photos(*_INK_PX)))
    network = read(rapidocr)
    measure(RAPIDOCR, rapidocr, network, broad(network), for_rapidocr(photos(*_RAPIDOCR_PX)))


if __name__ == "__main__":
    main()
