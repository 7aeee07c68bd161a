"""The network that puts tones right in filled holes: a U-Net with fast Fourier convolutions at its coarsest.

After LaMa (Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions", WACV 2022) and Chi et
al., "Fast Fourier Convolution", NeurIPS 2020. Small, for CPUs: it works on squares of 128 pixels, so the Fourier
transform is a product with constant matrices, which every runtime has. It is shown the photo with its holes filled and
says what to add to which tones; an untrained network adds nothing.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from weldgen.cleaning.tones import SIDE_PX

WIDTHS = (24, 64, 128)
BLOCKS = 4
GLOBAL_SHARE = 0.75
_TRUNK_PX = SIDE_PX // 8
_LEAST_CONTRAST = 3 / 255
Pair = tuple[torch.Tensor, torch.Tensor]


def conv(inputs: int, outputs: int, side: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False),
        nn.BatchNorm2d(outputs), nn.ReLU(inplace=True),
    )  # fmt: skip


class Fourier(nn.Module):
    """Real Fourier transform of squares, a 1x1 convolution of the frequencies, and back."""

    cos_half: torch.Tensor
    sin_half: torch.Tensor
    cos_full: torch.Tensor
    sin_full: torch.Tensor
    weight: torch.Tensor

    def __init__(self, channels: int, side: int = _TRUNK_PX) -> None:
        super().__init__()
        self.mix = conv(2 * channels, 2 * channels, 1)
        half = side // 2 + 1
        turn = 2 * math.pi / side * torch.outer(torch.arange(side), torch.arange(side)).double()
        scale = 1 / math.sqrt(side)
        twice = torch.full((half,), 2.0)
        twice[0] = twice[-1] = 1.0
        for name, values in {
            "cos_half": torch.cos(turn[:, :half]) * scale, "sin_half": torch.sin(turn[:, :half]) * scale,
            "cos_full": torch.cos(turn) * scale, "sin_full": torch.sin(turn) * scale, "weight": twice,
        }.items():  # fmt: skip
            self.register_buffer(name, values.float(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            real, imaginary = self.transform(x.float())
            parts = torch.cat([real, imaginary], dim=1)
        real, imaginary = self.mix(parts).float().chunk(2, dim=1)
        with torch.autocast(x.device.type, enabled=False):
            return self.inverse(real, imaginary)

    def transform(self, x: torch.Tensor) -> Pair:
        """(N, C, s, s) to the real and imaginary part of `torch.fft.rfft2(x, norm="ortho")`."""
        real, imaginary = x @ self.cos_half, -(x @ self.sin_half)
        return (
            self.cos_full @ real + self.sin_full @ imaginary,
            self.cos_full @ imaginary - self.sin_full @ real,
        )

    def inverse(self, real: torch.Tensor, imaginary: torch.Tensor) -> torch.Tensor:
        """Back to (N, C, s, s), as `torch.fft.irfft2`."""
        rows_real = (self.cos_full @ real - self.sin_full @ imaginary) * self.weight
        rows_imaginary = (self.sin_full @ real + self.cos_full @ imaginary) * self.weight
        return rows_real @ self.cos_half.T - rows_imaginary @ self.sin_half.T


class Spectral(nn.Module):
    """The global half of a fast Fourier convolution: fewer channels, frequencies mixed, as many channels again."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fewer = conv(channels, channels // 2, 1)
        self.fourier = Fourier(channels // 2)
        self.again = nn.Conv2d(channels // 2, channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.fewer(x)
        return self.again(x + self.fourier(x))


class FastFourierConv(nn.Module):
    """Local and global features, each from both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        far = int(channels * GLOBAL_SHARE)
        near = channels - far
        self.near_near = nn.Conv2d(near, near, 3, padding=1, bias=False)
        self.near_far = nn.Conv2d(near, far, 3, padding=1, bias=False)
        self.far_near = nn.Conv2d(far, near, 3, padding=1, bias=False)
        self.far_far = Spectral(far)
        self.after_near = nn.Sequential(nn.BatchNorm2d(near), nn.ReLU(inplace=True))
        self.after_far = nn.Sequential(nn.BatchNorm2d(far), nn.ReLU(inplace=True))

    def forward(self, pair: Pair) -> Pair:
        near, far = pair
        return (
            self.after_near(self.near_near(near) + self.far_near(far)),
            self.after_far(self.near_far(near) + self.far_far(far)),
        )


class Block(nn.Module):
    """Two of them, and a short cut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = FastFourierConv(channels), FastFourierConv(channels)

    def forward(self, pair: Pair) -> Pair:
        near, far = self.second(self.first(pair))
        return pair[0] + near, pair[1] + far


class Tones(nn.Module):
    """What to add to filled holes, (N, 3, 128, 128), of pictures in 0..1.

    Forward:
        filled: (N, 3, 128, 128) in 0..1, metal, its holes filled.
        hole: (N, 1, 128, 128), 1 where something was filled.
        outside: The same, 1 where there is no picture; `filled` may hold anything there.
    """

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.first = conv(5 * 4, fine)
        self.down_middle = nn.Sequential(conv(fine, middle, 3, 2), conv(middle, middle))
        self.down_coarse = conv(middle, coarse, 3, 2)
        self.near = coarse - int(coarse * GLOBAL_SHARE)
        self.blocks = nn.ModuleList([Block(coarse) for _ in range(BLOCKS)])
        self.up_middle = nn.Sequential(conv(coarse + middle, middle, 1), conv(middle, middle))
        self.up_fine = nn.Sequential(conv(middle + fine, fine, 1), conv(fine, fine))
        self.last = nn.Conv2d(fine, 3 * 4, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, filled: torch.Tensor, hole: torch.Tensor, outside: torch.Tensor) -> torch.Tensor:
        inside = 1 - outside
        mean = (filled * inside).sum(dim=(2, 3), keepdim=True) / inside.sum(dim=(2, 3), keepdim=True).clamp(min=1)
        seen = (filled - mean) * inside
        # faint metal is as good a picture as one of strong contrast
        power = (seen**2).sum(dim=(1, 2, 3), keepdim=True) / (3 * inside.sum(dim=(1, 2, 3), keepdim=True)).clamp(min=1)
        contrast = power.sqrt().clamp(min=_LEAST_CONTRAST)
        seen = seen / contrast
        fine = self.first(F.pixel_unshuffle(torch.cat([seen, hole, outside], dim=1), 2))
        middle = self.down_middle(fine)
        coarse = self.down_coarse(middle)
        pair = coarse[:, : self.near], coarse[:, self.near :]
        for block in self.blocks:
            pair = block(pair)
        x = self.up_middle(torch.cat([_larger(torch.cat(pair, dim=1)), middle], dim=1))
        x = self.up_fine(torch.cat([_larger(x), fine], dim=1))
        return F.pixel_shuffle(self.last(x), 2).to(filled.dtype) * contrast * hole


def _larger(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
