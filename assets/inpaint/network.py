"""The network of weldgen's own inpainter, in the manner of LaMa (Suvorov et al., WACV 2022).

A part of its channels is worked on as spectra, so that each layer sees the whole crop (fast Fourier convolution: Chi,
Jiang and Mu, NeurIPS 2020), which is what brushed metal and long straight edges need.
"""

from __future__ import annotations

import math

import torch
from torch import nn

STRIDE_PX = 8  # sides of an input are multiples of it
_FINE, _BODY = 64, 160
_GLOBAL = 120  # channels of the body that are worked on as spectra
_BLOCKS = 6


class FourierUnit(nn.Module):
    """A 1 x 1 convolution on the two-dimensional spectrum, (N, C, H, W) to the same.

    While `as_products` is set the transforms are products with cosine and sine matrices, which every runtime has.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(2 * channels, 2 * channels, 1, bias=False), nn.BatchNorm2d(2 * channels), nn.ReLU(inplace=True)
        )
        self.as_products = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.as_products:
            return self._by_products(x)
        spectrum = torch.fft.rfft2(x.float(), norm="ortho")
        mixed = self.mix(torch.cat([spectrum.real, spectrum.imag], dim=1)).float()
        real, imaginary = mixed.chunk(2, dim=1)
        return torch.fft.irfft2(torch.complex(real, imaginary), s=x.shape[-2:], norm="ortho").to(x.dtype)

    def _by_products(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2], x.shape[-1]
        across_cos, across_sin = _waves(width, width // 2 + 1, x)
        down_cos, down_sin = _waves(height, height, x)
        a, b = x @ across_cos, x @ across_sin
        mixed = self.mix(torch.cat([down_cos @ a - down_sin @ b, -(down_cos @ b) - down_sin @ a], dim=1))
        real, imaginary = mixed.chunk(2, dim=1)
        # all frequencies but the first (and, for an even width, the last) stand for two of the full spectrum
        index = torch.arange(width // 2 + 1, device=x.device)
        twice = 2.0 - (index == 0).to(x.dtype) - (2 * index == width).to(x.dtype)
        up_real = (down_cos @ real - down_sin @ imaginary) * twice
        up_imaginary = (down_cos @ imaginary + down_sin @ real) * twice
        return up_real @ across_cos.transpose(0, 1) - up_imaginary @ across_sin.transpose(0, 1)


def _waves(length: int, count: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines, (length, count) each, of an orthonormal transform."""
    position = torch.arange(length, device=like.device).to(like.dtype)
    frequency = torch.arange(count, device=like.device).to(like.dtype)
    angle = position[:, None] * frequency[None, :] * (2 * math.pi / length)
    return torch.cos(angle) * length**-0.5, torch.sin(angle) * length**-0.5


class SpectralTransform(nn.Module):
    """The global branch's own path: fewer channels, a spectrum, all channels again."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.enter = _convolution(channels, half, 1)
        self.unit = FourierUnit(half)
        self.leave = nn.Conv2d(half, channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        entered = self.enter(x)
        return self.leave(entered + self.unit(entered))


class FourierConvolution(nn.Module):
    """Channels in two parts, local (3 x 3) and global (spectral), each fed by both; batch norm and ReLU."""

    def __init__(self, channels: int, global_channels: int) -> None:
        super().__init__()
        local = channels - global_channels
        self.parts = (local, global_channels)
        self.from_local = nn.Conv2d(local, channels, 3, padding=1, bias=False)
        self.to_local = nn.Conv2d(global_channels, local, 3, padding=1, bias=False)
        self.spectral = SpectralTransform(global_channels)
        self.end = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        local, wide = x.split(self.parts, dim=1)
        rest = torch.cat([self.to_local(wide), self.spectral(wide)], dim=1)
        return self.end(self.from_local(local) + rest)


class Block(nn.Module):
    """Two Fourier convolutions, added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Sequential(FourierConvolution(_BODY, _GLOBAL), FourierConvolution(_BODY, _GLOBAL))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inside(x)


def _convolution(channels_in: int, channels_out: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class FillNet(nn.Module):
    """A picture whose holes are filled smoothly, to the picture as it should be.

    (N, 3, H, W) in -1..1 and holes (N, 1, H, W) of 0 and 1, H and W multiples of 8, to (N, 3, H, W).
    """

    def __init__(self) -> None:
        super().__init__()
        self.fold, self.unfold = nn.PixelUnshuffle(4), nn.PixelShuffle(4)
        self.stem = nn.Sequential(_convolution(4 * 16, _FINE), _convolution(_FINE, _FINE))
        self.down = _convolution(_FINE, _BODY, 3, 2)
        self.body = nn.Sequential(*[Block() for _ in range(_BLOCKS)])
        self.up = nn.Sequential(nn.Conv2d(_BODY, 4 * _FINE, 1), nn.PixelShuffle(2))
        self.join = nn.Sequential(_convolution(2 * _FINE, _FINE, 1), _convolution(_FINE, _FINE))
        self.last = nn.Conv2d(_FINE, 3 * 16, 3, padding=1)
        nn.init.zeros_(self.last.weight)  # the smooth fill is where it starts
        nn.init.zeros_(self.last.bias)

    def forward(self, smooth: torch.Tensor, holes: torch.Tensor) -> torch.Tensor:
        fine = self.stem(self.fold(torch.cat([smooth, holes * 2 - 1], dim=1)))
        coarse = self.up(self.body(self.down(fine)))
        return smooth + holes * self.unfold(self.last(self.join(torch.cat([coarse, fine], dim=1))))
