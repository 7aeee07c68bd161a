"""Test-time augmentation with soft voting: a photo is asked about from several views, the probabilities are averaged.

A weld is the same weld mirrored, a little smaller or a little to the side, so what differs between the views is chance.
(Simonyan and Zisserman, ICLR 2015, averaged a photo and its mirror image in the same way.) The views are fixed: the
same photo always gives the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt

RGB = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]

MAX_VIEWS = 12
# Width that padding adds and cropping takes, as a share of the photo's side. Padding is wider, because it loses
# nothing: a pore at the border is still there.
_PAD, _CROP = 0.06, 0.02
# Share of the padding above, below, left, right. The first makes the weld smaller, the others also move it.
_PADDINGS = ((0.5, 0.5, 0.5, 0.5), (1, 0, 1, 0), (0, 1, 0, 1), (1, 0, 0, 1), (0, 1, 1, 0))


def views(image: RGB, count: int) -> Iterator[RGB]:
    """The first `count` views of a photo: as it is, mirrored three ways, smaller, larger, moved to the corners, turned.

    The views turned by 90 and 270 degrees come last: a photo that is not square turns onto its side, and in the model's
    frame, where it is letterboxed afterwards, it may then be smaller. A model that never saw welds lie so may err.

    Args:
        image: (H, W, 3) uint8 RGB.
        count: 1 to 12; 1 is the photo alone.
    """
    makers: list[Callable[[], RGB]] = [
        lambda: image,
        lambda: image[:, ::-1],
        lambda: image[::-1],
        lambda: image[::-1, ::-1],
        lambda: _padded(image, _PADDINGS[0]),
        lambda: _cropped(image),
        *(partial(_padded, image, shares) for shares in _PADDINGS[1:]),
        lambda: np.rot90(image),
        lambda: np.rot90(image, 3),
    ]
    for make in makers[:count]:
        yield np.ascontiguousarray(make())


def ask_views(ask: Callable[[RGB], Probabilities], image: RGB, count: int) -> Probabilities:
    """What a model says of each view of a photo, (`count`, K); the first row is of the photo as it is.

    Args:
        ask: (H, W, 3) uint8 RGB -> (K,) probabilities.
        image: The photo.
        count: Number of views, 1 to 12.
    """
    # One view after the other: twelve copies of a large photo need not be in memory together.
    return np.stack([ask(view) for view in views(image, count)])


def vote(rows: Probabilities) -> Probabilities:
    """Mean of the (V, K) probabilities of all views, (K,)."""
    if len(rows) == 1:
        single: Probabilities = rows[0]
        return single
    mean: Probabilities = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def _padded(image: RGB, shares: tuple[float, float, float, float]) -> RGB:
    height, width = image.shape[:2]
    above, below = (round(share * _PAD * height) for share in shares[:2])
    left, right = (round(share * _PAD * width) for share in shares[2:])
    return np.pad(image, ((above, below), (left, right), (0, 0)), mode="edge")


def _cropped(image: RGB) -> RGB:
    rows, columns = (int(_CROP * side) for side in image.shape[:2])
    return image[rows : image.shape[0] - rows, columns : image.shape[1] - columns]
