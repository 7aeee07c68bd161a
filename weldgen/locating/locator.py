"""Ask a learned locator where the weld lies on a photo; on the CPU, where it takes a sixth of a second."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen.data.images import MIN_SIDE_PX, RGB
from weldgen.data.upright import Rectangle, upright
from weldgen.errors import BackendError, DataError
from weldgen.inference import Network, read_metadata
from weldgen.locating.network import CELL_PX, cells_of, network_input
from weldgen.locating.strips import best_rectangles, evidence_in
from weldgen.runtime import file_hash

Floats = npt.NDArray[np.float32]

LOCATOR_NAME = "locator.onnx"
# The entry of the file's metadata that holds its `Marks`.
_MARKS_KEY = "marks"


@dataclass(frozen=True)
class Marks:
    """What the marked rectangles are like.

    Attributes:
        side_px: Long side at which photos are looked at.
        turned: Whether they may be turned; else each was a plain box.
        breadths: Their breadths, as shares of the photo's long side.
        aspect: Usual breadth, as a share of the length; 0 for plain boxes, which keep the shape that is found.
        stretch: Usual length of a marked one, as a share of the length over which there is evidence.
        margin: Added on each side of what is found, as a share of its longer side.
        min_evidence: Mean evidence in a rectangle from which it is a weld.
    """

    side_px: int
    turned: bool
    breadths: Sequence[float]
    aspect: float
    stretch: float
    margin: float
    min_evidence: float

    def metadata(self) -> dict[str, str]:
        """As it travels in a locator's file."""
        return {_MARKS_KEY: json.dumps(asdict(self))}

    def rectangles(self, evidence: Floats, cell_px: float, most: int = 1) -> list[Found]:
        """The clearest rectangles on a map of evidence, without the margin, however clear they are.

        Args:
            evidence: (H, W) from 0 to 1.
            cell_px: Pixels of the photo that a cell covers, along each side.
            most: Number of rectangles.
        """
        long_cells = max(evidence.shape)
        breadths = [share * long_cells for share in self.breadths]
        found = best_rectangles(evidence, breadths, turned=self.turned, most=most)
        return [self._shaped(one, evidence, cell_px) for one in found]

    def _shaped(self, found: Rectangle, evidence: Floats, cell_px: float) -> Found:
        """With the usual shape of the marked ones, in pixels of the photo."""
        length = found.length_px * self.stretch
        breadth = length * self.aspect if self.turned else found.breadth_px
        scaled = Rectangle(
            found.x_px * cell_px, found.y_px * cell_px, length * cell_px, breadth * cell_px, found.turn_deg
        )
        return Found(scaled, evidence_in(evidence, found))


@dataclass(frozen=True)
class Found:
    """Where a weld lies.

    Attributes:
        rectangle: In pixels of the photo.
        evidence: For a weld there, 0 to 1.
    """

    rectangle: Rectangle
    evidence: float

    def record(self) -> dict[str, Any]:
        """As it is written: corners in pixels, from the upright picture's top left one, clockwise."""
        return {"corners": np.round(self.rectangle.corners(), 1).tolist(), "evidence": round(self.evidence, 4)}


class Locator:
    """A locator that `weldgen locator` wrote.

    Args:
        model: Its `.onnx` file.
        threads: CPU threads, 0 for all cores.

    Attributes:
        marks: What the rectangles are like that it learned from.
        file: Where it lies.
        id: Hash of the file.

    Raises:
        BackendError: The file or its runtime is missing.
        DataError: The file is no locator.
    """

    def __init__(self, model: Path, threads: int = 0) -> None:
        metadata = read_metadata(model)
        if _MARKS_KEY not in metadata:
            raise DataError(f"{model} is no locator", "weldgen locator MARKED writes one")
        self.marks = read_marks(metadata)
        self.file = model
        self.id = file_hash(model)
        self._network = Network(model, threads=threads)

    def locate(self, image: RGB, most: int = 1) -> list[Found]:
        """The clearest welds on a photo with their margin, clearest first; none where nothing is like what was marked.

        Args:
            image: (H, W, 3) uint8 RGB.
            most: Number of welds.
        """
        ready, scale = network_input(image, self.marks.side_px)
        rows, columns = cells_of(image, scale)
        evidence = self._network(ready)[0][0, 0, :rows, :columns]
        found = self.marks.rectangles(evidence, CELL_PX * scale, most)
        clear = [one for one in found if one.evidence >= self.marks.min_evidence]
        grown = [replace(one, rectangle=one.rectangle.grown(self.marks.margin)) for one in clear]
        return [one for one in grown if min(one.rectangle.size_px()) >= MIN_SIDE_PX]

    def cut_out(self, image: RGB) -> tuple[RGB, Found | None]:
        """The clearest weld of a photo, upright, and where it lies; the photo itself and None where there is none."""
        found = self.locate(image)
        return (upright(image, found[0].rectangle), found[0]) if found else (image, None)


def open_locator(path: Path, threads: int = 0) -> Locator:
    """A locator, given its file or the folder that `weldgen locator` wrote.

    Raises:
        BackendError: There is none, or its runtime is missing.
        DataError: The file is no locator.
    """
    file = path / LOCATOR_NAME if path.is_dir() else path
    if not file.is_file():
        raise BackendError(f"{file}: there is no such file", "weldgen locator MARKED writes one")
    return Locator(file, threads)


def read_marks(metadata: Mapping[str, str]) -> Marks:
    """What a locator's file says of the marks."""
    return Marks(**json.loads(metadata[_MARKS_KEY]))
