"""The one preprocessing: training, evaluation and the exported file letterbox with the same module.

What is notable: the resize is written as two small matrix products, so that it exports to ONNX with free height and
width and gives the same grey levels in torch, ONNX Runtime and OpenVINO. (The ONNX operator `Resize` with
`antialias=1` does not: OpenVINO 2026.4 is off by up to 255 levels against PIL and torch.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

# A size is symbolic while the module is exported.
Size = int | torch.SymInt
# Height and width of a network's input in pixels.
Frame = tuple[int, int]
# Sides of a frame are multiples of this, as most networks want them, and it is at most so many times longer than wide;
# photos that are nearly square go into a square.
_STEP_PX, _LONGEST, _SQUARE = 32, 4.0, 1.2
# Grey level of the padding: the middle of the range, close to zero once normalised.
FILL = 128
# Averages of whole numbers often end in exactly .5, which the last bit would round up in one runtime and down in
# another; a small step upwards decides it.
_ROUNDING = 0.5 + 2**-8


class Letterbox(nn.Module):
    """Scale photos into a frame, keep their aspect ratio, pad the rest with grey.

    Bilinear with antialiasing (triangle filter), like Pillow's and torch's. Photos of more than twice the size are
    first averaged over whole blocks of pixels, which makes a 24-megapixel photo ten times cheaper.

    Args:
        frame: Height and width of the result in pixels.
    """

    def __init__(self, frame: Frame) -> None:
        super().__init__()
        self.frame = frame

    def forward(self, images: Tensor) -> Tensor:
        """Letterbox photos of one size.

        Args:
            images: (B, H, W, 3) uint8 RGB.

        Returns:
            (B, 3, h, w) float32, whole numbers from 0 to 255.
        """
        tall, wide = self.frame
        batch, height, width = images.shape[:3]
        coarse = torch.sym_max(height // (2 * tall), width // (2 * wide))
        block = _short(torch.sym_max(1, torch.sym_min(coarse, torch.sym_min(height, width))))
        rows, columns = _short(height // block), _short(width // block)
        whole = images.narrow(1, 0, rows * block).narrow(2, 0, columns * block)
        pixels = whole.reshape(batch, rows, block, columns, block, 3).float().mean(dim=(2, 4))  # (B, rows, columns, 3)
        down, inside_y = self._weights((height, tall), (width, wide), block, rows)
        across, inside_x = self._weights((width, wide), (height, tall), block, columns)
        # bmm, for the exporter reasons for seconds on the reshapes that @ makes of free sizes
        pixels = torch.bmm(down.expand(batch, -1, -1), pixels.reshape(batch, rows, columns * 3))
        pixels = pixels.reshape(batch, tall, columns, 3).permute(0, 3, 1, 2).reshape(batch, 3 * tall, columns)
        pixels = torch.bmm(pixels, across.transpose(0, 1).expand(batch, -1, -1)).reshape(batch, 3, tall, wide)
        return torch.floor(pixels + FILL * (1 - inside_y[:, None] * inside_x[None]) + _ROUNDING).clamp(max=255)

    def _weights(
        self, axis: tuple[Size, int], other: tuple[Size, int], block: Size, samples: Size
    ) -> tuple[Tensor, Tensor]:
        """Resampling of one axis.

        Args:
            axis: Length of the photo along it, and side of the frame.
            other: The same of the other axis.
            block: Pixels that were averaged to one sample.
            samples: Their number.

        Returns:
            Weights (side, samples), rows of the padding zero; and (side,) which is 1 where there is image.
        """
        full, side = _scalar(axis[0]), axis[1]
        by_other = torch.floor(full * other[1] / _scalar(other[0]) + 0.5)
        target = torch.clamp(by_other, min=1.0, max=float(side))  # the tighter of both axes
        position = torch.arange(side, dtype=torch.float32) - torch.floor((side - target) / 2)
        inside = ((position >= 0) & (position < target)).float()
        step = full / _scalar(block) / target  # averaged samples for each output pixel
        centre = (position + 0.5) * step
        source = torch.arange(samples, dtype=torch.float32) + 0.5
        reach = torch.clamp(step, min=1.0)
        weights = torch.relu(1 - (source[None] - centre[:, None]).abs() / reach) * inside[:, None]
        return weights / torch.clamp(weights.sum(dim=1, keepdim=True), min=1e-6), inside


def _short(size: Size) -> Size:
    """The same size, of 1 at least; the exporter would reason for many seconds on the whole expression of it."""
    if isinstance(size, int):
        return size
    symbol = cast(Size, torch.scalar_tensor(size, dtype=torch.int64).item())
    torch._check(symbol >= 1)
    return symbol


def _scalar(value: Size) -> Tensor:
    """A size as (1,) float32."""
    return torch.full((1,), value, dtype=torch.float32)


def frame_for(shapes: Sequence[tuple[int, int]], side_px: int) -> Frame:
    """The frame of as many pixels as a square of `side_px` that suits most photos: their middle shape.

    A long weld fills a square frame to a third; in a frame of its own shape its pores are almost twice as large.

    Args:
        shapes: Width and height of the photos.
        side_px: Side of the square.
    """
    aspects = sorted(width / height for width, height in shapes) or [1.0]
    aspect = min(max(aspects[len(aspects) // 2], 1 / _LONGEST), _LONGEST)
    if max(aspect, 1 / aspect) < _SQUARE:
        return side_px, side_px
    height, width = (
        max(_STEP_PX, round(side_px * ratio / _STEP_PX) * _STEP_PX) for ratio in (aspect**-0.5, aspect**0.5)
    )
    return height, width


def photo_in_frame(shape: tuple[int, ...], frame: Frame) -> tuple[int, int, int, int]:
    """Where a letterboxed photo of shape (H, W, ...) lies in the frame: top, left, height, width in pixels."""
    (height, width), (tall, wide) = shape[:2], frame
    rows = min(max(math.floor(height * wide / width + 0.5), 1), tall)
    columns = min(max(math.floor(width * tall / height + 0.5), 1), wide)
    return (tall - rows) // 2, (wide - columns) // 2, rows, columns


def letterbox(image: npt.NDArray[np.uint8], frame: Frame) -> npt.NDArray[np.uint8]:
    """Letterbox one photo, (H, W, 3) uint8 RGB, to (3, h, w) uint8."""
    with torch.inference_mode():
        framed = Letterbox(frame)(torch.from_numpy(np.array(image))[None])
    array: npt.NDArray[np.uint8] = framed[0].to(torch.uint8).numpy()
    return array
