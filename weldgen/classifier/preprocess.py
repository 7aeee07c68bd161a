"""The one preprocessing: training, evaluation and the exported file letterbox with the same module.

What is notable: the resize is written as two small matrix products, so that it exports to ONNX with free height and
width and gives the same grey levels in torch, ONNX Runtime and OpenVINO. (The ONNX operator `Resize` with
`antialias=1` does not: OpenVINO 2026.4 is off by up to 255 levels against PIL and torch.)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

# A size is symbolic while the module is exported.
Size = int | torch.SymInt
# Grey level of the padding: the middle of the range, close to zero once normalised.
FILL = 128
# Averages of whole numbers often end in exactly .5, which the last bit would round up in one runtime and down in
# another; a small step upwards decides it.
_ROUNDING = 0.5 + 2**-8


class Letterbox(nn.Module):
    """Scale photos into a square, keep their aspect ratio, pad the rest with grey.

    Bilinear with antialiasing (triangle filter), like Pillow's and torch's. Photos of more than twice the side are
    first averaged over whole blocks of pixels, which makes a 24-megapixel photo ten times cheaper.

    Args:
        size_px: Side of the square.
    """

    def __init__(self, size_px: int) -> None:
        super().__init__()
        self.size_px = size_px

    def forward(self, images: Tensor) -> Tensor:
        """Letterbox photos of one size.

        Args:
            images: (B, H, W, 3) uint8 RGB.

        Returns:
            (B, 3, S, S) float32, whole numbers from 0 to 255.
        """
        side = self.size_px
        batch, height, width = images.shape[:3]
        longest = torch.sym_max(height, width)
        block = torch.sym_max(1, torch.sym_min(longest // (2 * side), torch.sym_min(height, width)))
        rows, columns = height // block, width // block
        whole = images[:, : rows * block, : columns * block]
        pixels = whole.reshape(batch, rows, block, columns, block, 3).float().mean(dim=(2, 4))  # (B, rows, columns, 3)
        down, inside_y = self._weights(height, longest, block, rows)
        across, inside_x = self._weights(width, longest, block, columns)
        pixels = (down @ pixels.reshape(batch, rows, columns * 3)).reshape(batch, side, columns, 3)
        pixels = pixels.permute(0, 3, 1, 2) @ across.transpose(0, 1)  # (B, 3, S, S)
        return torch.floor(pixels + FILL * (1 - inside_y[:, None] * inside_x[None]) + _ROUNDING).clamp(max=255)

    def _weights(self, length: Size, longest: Size, block: Size, samples: Size) -> tuple[Tensor, Tensor]:
        """Resampling of one axis.

        Returns:
            Weights (S, samples), rows of the padding zero; and (S,) which is 1 where there is image.
        """
        side = self.size_px
        full = _scalar(length)
        target = torch.clamp(torch.floor(full * side / _scalar(longest) + 0.5), min=1.0)
        position = torch.arange(side, dtype=torch.float32) - torch.floor((side - target) / 2)
        inside = ((position >= 0) & (position < target)).float()
        step = full / _scalar(block) / target  # averaged samples for each output pixel
        centre = (position + 0.5) * step
        source = torch.arange(samples, dtype=torch.float32) + 0.5
        reach = torch.clamp(step, min=1.0)
        weights = torch.relu(1 - (source[None] - centre[:, None]).abs() / reach) * inside[:, None]
        return weights / torch.clamp(weights.sum(dim=1, keepdim=True), min=1e-6), inside


def _scalar(value: Size) -> Tensor:
    """A size as (1,) float32."""
    return torch.full((1,), value, dtype=torch.float32)


def letterbox(image: npt.NDArray[np.uint8], size_px: int) -> npt.NDArray[np.uint8]:
    """Letterbox one photo, (H, W, 3) uint8 RGB, to (3, S, S) uint8."""
    with torch.inference_mode():
        squares = Letterbox(size_px)(torch.from_numpy(np.array(image))[None])
    array: npt.NDArray[np.uint8] = squares[0].to(torch.uint8).numpy()
    return array
