"""Measure what goes into each convolution of EasyOCR's network, so that `weldgen clean` can compute it in int8.

On welds with writing that the renderer makes, at the size at which the network sees a photo of 3:2. It takes a minute:

    python -m assets.craft.ranges
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from weldgen.cleaning.detectors import craft_as_onnx, craft_ranges_file, load_craft
from weldgen.cleaning.settings import DETECTOR_WEIGHTS, EASYOCR
from weldgen.quantisation import input_ranges
from weldgen.synthesis.render.photos import render_photo_with_masks
from weldgen.weights import require

_PHOTOS, _WIDTH, _HEIGHT = 24, 672, 448


def inputs() -> Iterator[npt.NDArray[np.float32]]:
    """Photos as EasyOCR gives them to its network, (1, 3, H, W)."""
    from easyocr.imgproc import normalizeMeanVariance

    for seed in range(_PHOTOS):
        label = "good" if seed % 2 else "bad"
        photo = render_photo_with_masks(seed, label, _WIDTH, _HEIGHT, marked=True).image
        yield np.asarray(normalizeMeanVariance(photo), np.float32).transpose(2, 0, 1)[None]


def main() -> None:
    """Write the ranges beside this file."""
    import openvino

    network = openvino.Core().read_model(craft_as_onnx(load_craft(require(DETECTOR_WEIGHTS[EASYOCR]))))
    ranges = [[round(low, 4), round(high, 4)] for low, high in input_ranges(network, inputs())]
    craft_ranges_file().write_text("[" + ",\n".join(json.dumps(ends) for ends in ranges) + "]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
