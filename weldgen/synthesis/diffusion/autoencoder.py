"""A fixed autoencoder: the cosine transform of small patches, which loses nothing.

A small trained autoencoder smooths pores and cracks away; this one keeps every pixel, costs next to nothing, and its
latents are smaller by its factor in height and width. It stands where diffusers expects an `AutoencoderKL`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor


def cosine_basis(size: int) -> Tensor:
    """Orthonormal discrete cosine transform (type II), (size, size) float32; rows are frequencies, the mean first."""
    place = torch.arange(size, dtype=torch.float64)
    basis = torch.cos(math.pi / size * (place[None] + 0.5) * place[:, None]) * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return basis.float()


# Brightness and two opponent colours, orthonormal, of RGB: on metal the colours deviate a tenth as much as brightness
# does, so that the same error of a latent is a tenth as visible in them.
_COLOURS = ((1 / 3**0.5,) * 3, (1 / 2**0.5, 0.0, -1 / 2**0.5), (1 / 6**0.5, -2 / 6**0.5, 1 / 6**0.5))


class PatchAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Cosine transform of the patches of an image in opponent colours, each coefficient scaled to unit deviation.

    Args:
        factor: Side of a patch in pixels, a power of two.
        deviations: Deviation of each of the 3 x factor^2 coefficients over the training images, brightness first,
            then the colours, each from the mean to the finest; empty: all 1.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, factor: int = 4, deviations: Sequence[float] = ()) -> None:
        super().__init__()
        channels = 3 * factor**2
        if deviations and len(deviations) != channels:
            raise ValueError(f"{channels} deviations are needed, not {len(deviations)}")
        # What diffusers' pipelines ask of an autoencoder's config.
        self.register_to_config(
            latent_channels=channels, scaling_factor=1.0, force_upcast=False,
            block_out_channels=[1] * (factor.bit_length()), out_channels=3, in_channels=3,
        )  # fmt: skip
        row = cosine_basis(factor)
        basis = torch.einsum("ay,bx->abyx", row, row).reshape(factor**2, 1, factor, factor)
        self.register_buffer("basis", basis, persistent=False)
        self.register_buffer("colours", torch.tensor(_COLOURS), persistent=False)
        spread = torch.tensor(list(deviations) or [1.0] * channels).view(1, channels, 1, 1)
        self.register_buffer("spread", spread, persistent=False)
        # a module of parameters alone tells its device and type
        self.scale = torch.nn.Parameter(torch.ones(1), requires_grad=False)

    def encode(self, images: Tensor, return_dict: bool = True) -> Any:
        """Latents of images: (B, 3, H, W) in -1..1 to (B, 3 f^2, H / f, W / f), under `latents`."""
        factor = self.basis.shape[-1]
        batch, colours, height, width = images.shape
        opponent = torch.einsum("oc,bchw->bohw", self.colours.to(images.dtype), images)
        planes = opponent.reshape(batch * colours, 1, height, width)
        found = F.conv2d(planes, self.basis.to(images.dtype), stride=factor)
        latents = found.reshape(batch, -1, height // factor, width // factor) / self.spread.to(images.dtype)
        return SimpleNamespace(latents=latents) if return_dict else (latents,)

    def decode(self, latents: Tensor, return_dict: bool = True, generator: Any = None) -> Any:
        """Images of latents, the inverse of `encode`, under `sample`."""
        factor = self.basis.shape[-1]
        batch, _, height, width = latents.shape
        planes = (latents * self.spread.to(latents.dtype)).reshape(batch * 3, factor**2, height, width)
        images = F.conv_transpose2d(planes, self.basis.to(latents.dtype), stride=factor)
        opponent = images.reshape(batch, 3, height * factor, width * factor)
        images = torch.einsum("oc,bohw->bchw", self.colours.to(latents.dtype), opponent)
        return SimpleNamespace(sample=images) if return_dict else (images,)


def latents_of(vae: Any, pixels: Any) -> tuple[Any, Any]:
    """Mean and standard deviation of the latents of images, scaled as the UNet knows them, (B, C, h, w) each.

    Args:
        vae: The autoencoder.
        pixels: Images, (B, 3, H, W) float in -1..1.
    """
    encoded = vae.encode(pixels)
    if hasattr(encoded, "latent_dist"):
        mean, std = encoded.latent_dist.mean, encoded.latent_dist.std
    else:  # autoencoders without a distribution, such as TAESDXL
        mean, std = encoded.latents, torch.zeros_like(encoded.latents)
    shift, scale = _latent_scale(vae, mean)
    return (mean - shift) * scale, std * scale


def images_of(vae: Any, latents: Any) -> Any:
    """Images of scaled latents, (B, 3, H, W) float in 0..1; the inverse of `latents_of`."""
    shift, scale = _latent_scale(vae, latents)
    return (vae.decode(latents / scale + shift).sample / 2 + 0.5).clamp(0, 1)


def _latent_scale(vae: Any, like: Any) -> tuple[Any, Any]:
    """Shift and factor that bring raw latents to unit variance; by channel where the autoencoder says so."""
    mean, std = getattr(vae.config, "latents_mean", None), getattr(vae.config, "latents_std", None)
    if mean is None or std is None:
        return 0.0, vae.config.scaling_factor
    as_channels = [
        torch.tensor(values, device=like.device, dtype=like.dtype).view(1, -1, 1, 1) for values in (mean, std)
    ]
    return as_channels[0], vae.config.scaling_factor / as_channels[1]
