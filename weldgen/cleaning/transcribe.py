"""Read the writing before it goes: heat and piece numbers are worth keeping. Only done when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from weldgen import weights
from weldgen.cleaning.detectors import TextRegion
from weldgen.cleaning.settings import READER_WEIGHT
from weldgen.errors import BackendError

RGB = npt.NDArray[np.uint8]

# Letters are read at this height; smaller ones are enlarged, larger ones are not worth their time.
_HEIGHT_PX = 64
_MARGIN_SHARE = 0.15
# A region that is not longer than this holds a character or two, which may stand any way.
_SQUARE = 1.4
_UPRIGHT_BONUS = 0.25


@dataclass(frozen=True)
class Reading:
    """What one region says.

    Attributes:
        text: Characters; empty where nothing could be read.
        score: How sure the recogniser is, 0 to 1.
    """

    text: str
    score: float

    def record(self) -> dict[str, Any]:
        """What a metadata line keeps of it."""
        return {"text": self.text, "text_score": round(self.score, 3)}


class Transcriber:
    """EasyOCR's recogniser for English (a CRNN: Shi, Bai and Yao, 2017). It was made for print: handwriting is a guess.

    Args:
        device: `cpu`, `cuda` or `mps`.

    Raises:
        BackendError: easyocr or its weights are missing.
    """

    def __init__(self, device: str = "cpu") -> None:
        folder = weights.require(READER_WEIGHT).parent
        try:
            import easyocr
        except ImportError as error:
            raise BackendError(f"easyocr cannot be imported: {error}", "pip install easyocr") from error
        self._reader = easyocr.Reader(
            ["en"], gpu=False if device == "cpu" else device, model_storage_directory=str(folder),
            download_enabled=False, detector=False, verbose=False, quantize=False,
        )  # fmt: skip

    def read(self, image: RGB, regions: Sequence[TextRegion]) -> list[Reading]:
        """What the regions of a photo, (H, W, 3) uint8 RGB, say; writing that lies on its side or its head included."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        return [self._read_region(grey, region) for region in regions]

    def _read_region(self, grey: npt.NDArray[np.uint8], region: TextRegion) -> Reading:
        level = _level(grey, region)
        square = level.shape[1] < _SQUARE * level.shape[0]
        readings = [self._read_line(np.rot90(level, turns)) for turns in range(4) if square or turns % 2 == 0]
        # much that is written reads as something else on its head: the photo is believed to be held right
        scores = [reading.score + _UPRIGHT_BONUS * (index == 0) for index, reading in enumerate(readings)]
        return readings[int(np.argmax(scores))]

    def _read_line(self, line: npt.NDArray[np.uint8]) -> Reading:
        line = np.ascontiguousarray(line)
        found = self._reader.recognize(line, [[0, line.shape[1], 0, line.shape[0]]], [])
        return Reading(str(found[0][1]), float(found[0][2])) if found else Reading("", 0.0)


def _level(grey: npt.NDArray[np.uint8], region: TextRegion) -> npt.NDArray[np.uint8]:
    """A region turned level, its long side across, at reading height."""
    middle, (width, height), angle = cv2.minAreaRect(region.polygon)
    if width < height:
        width, height, angle = height, width, angle + 90
    if angle > 90:
        angle -= 180
    margin = _MARGIN_SHARE * height
    scale = _HEIGHT_PX / (height + 2 * margin)
    size = max(8, round((width + 2 * margin) * scale)), _HEIGHT_PX
    turn = cv2.getRotationMatrix2D(middle, angle, scale)
    turn[:, 2] += np.array(size) / 2 - np.array(middle)
    method = cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.warpAffine(grey, turn, size, flags=method, borderMode=cv2.BORDER_REPLICATE), np.uint8)
