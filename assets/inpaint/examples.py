"""Training examples for the tones network: metal with filled holes, and what the tones of the fillings are off by.

Holes are made and filled as `weldgen clean` does it, at the photo's own size; an example is such a crop, reduced. They
are drawn beforehand into one file, since a processor draws them more slowly than it learns from them.

    python -m assets.inpaint.examples WELDS EXAMPLES.npy --photos PHOTOS --count 8000
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from assets.training.pictures import CROP_PX, Pictures, Rng, photograph
from assets.training.tools import split_pictures
from assets.training.writing import write
from weldgen.cleaning.texture import fill
from weldgen.cleaning.tones import HOLE, KNOWN, OUTSIDE, SIDE_PX, reduced

Plane = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

SEED = 31
# Planes of an example: the crop with its hole filled, what its tones lack (128 is nothing), and what a pixel is.
FILLED, LACK, KIND = slice(0, 3), slice(3, 6), 6
PLANES, NOTHING = 7, 128
# Finer than this, in reduced pixels, is grain.
_TONE_SIGMA_PX = 1.0
# Rust, paint and parts lie on the metal less often than the ink network must see them.
_LITTERED = 0.2
_BOX_SHARE = 0.12
_MARGIN_PX = (1, 7)
_LARGEST_HOLE = 0.3


class Examples:
    """An endless supply of them.

    Args:
        pictures: Metal without writing.
        seed: Of everything.
    """

    def __init__(self, pictures: Pictures, seed: int) -> None:
        self._pictures, self._seed = pictures, seed

    def example(self, index: int) -> Plane:
        """One example, (128, 128, 7) uint8; see `FILLED`, `LACK` and `KIND`."""
        rng = np.random.default_rng((self._seed, index))
        truth = photograph(self._pictures.draw(rng), rng)
        hole = _boxes(rng) if rng.random() < _BOX_SHARE else _strokes(rng)
        if not hole.any():
            return self.example(index + (1 << 32))
        return packed(fill(np.where(hole[:, :, None], 0, truth), hole), truth, hole)


def packed(filled: Plane, truth: Plane, hole: Mask) -> Plane:
    """A crop (H, W, 3) with its hole (H, W) filled, and without a hole, as an example."""
    (seen, small), (true, _) = reduced(filled, hole), reduced(truth, hole)
    height, width = small.shape
    weight = cv2.GaussianBlur(small, (0, 0), _TONE_SIGMA_PX)[:, :, None]
    # pixels at the rim are made in part
    lack = cv2.GaussianBlur(true - seen, (0, 0), _TONE_SIGMA_PX) / np.maximum(weight, 1e-3)
    example = np.zeros((SIDE_PX, SIDE_PX, PLANES), np.uint8)
    example[:, :, KIND] = OUTSIDE
    part = example[:height, :width]
    part[:, :, FILLED] = np.rint(seen)
    part[:, :, LACK] = np.clip(np.rint(lack) + NOTHING, 0, 255)
    part[:, :, KIND] = np.where(small > 0, HOLE, KNOWN)
    return example


def _strokes(rng: Rng) -> Mask:
    """Where a mask of writing would be, (256, 256) bool."""
    margin = int(rng.integers(*_MARGIN_PX))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    hole = np.zeros((CROP_PX, CROP_PX), np.uint8)
    for written in write(rng, stamps=False):
        wider = hole | cv2.dilate((written.overlay.alpha > 0).astype(np.uint8), kernel)
        if wider.mean() <= _LARGEST_HOLE:
            hole = wider
    return hole > 0


def _boxes(rng: Rng) -> Mask:
    """One to three boxes, as masks by hand are, (256, 256) bool."""
    hole = np.zeros((CROP_PX, CROP_PX), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        left, top = rng.integers(-20, CROP_PX, 2)
        width, height = np.exp(rng.uniform(np.log(12), np.log(100), 2)).astype(int)
        hole[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)] = 1
    return hole > 0


def draw(examples: Examples, count: int, path: Path) -> None:
    """Draw so many examples into a file, (count, 128, 128, 7) uint8."""
    kept = np.lib.format.open_memmap(path, "w+", np.uint8, (count, SIDE_PX, SIDE_PX, PLANES))
    for index in range(count):
        kept[index] = examples.example(index)
    kept.flush()


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backgrounds", type=Path, help="folder that assets.training.pictures filled")
    parser.add_argument("out", type=Path, help="file to write, .npy")
    parser.add_argument("--photos", type=Path, nargs="*", default=[], help="folders of photos without writing")
    parser.add_argument("--photo-share", type=float, default=0.25)
    parser.add_argument("--count", type=int, default=8000)
    parser.add_argument("--held-out", action="store_true", help="of welds that are in no training example")
    asked = parser.parse_args()
    pictures, kept = split_pictures(asked.backgrounds, asked.photos, asked.photo_share, _LITTERED)
    draw(Examples(kept, SEED + 1) if asked.held_out else Examples(pictures, SEED), asked.count, asked.out)


if __name__ == "__main__":
    main()
