"""Fill holes: LaMa, MI-GAN, our own texture copying, OpenCV. Images in, images out; holes are True."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from weldgen import weights
from weldgen.cleaning import texture
from weldgen.cleaning.settings import INPAINTER_WEIGHTS, LAMA, MIGAN, OPENCV, SIMPLE_LAMA, TEXTURE, InpaintConfig
from weldgen.cleaning.tones import ToneNetwork
from weldgen.errors import BackendError
from weldgen.inference import Network
from weldgen.runtime import cpu_count

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_LAMA_MULTIPLE = 8
_TELEA_RADIUS_PX = 5
# Filling a larger image takes about 150 bytes a pixel, so one is filled after the other.
_MOST_PIXELS_AT_ONCE = 1_500_000


class Inpainter(Protocol):
    """Fills holes."""

    name: str

    def inpaint(self, images: Sequence[RGB], masks: Sequence[Mask]) -> list[RGB]:
        """Fill the holes of each image.

        Args:
            images: (H, W, 3) uint8 RGB, of any sizes.
            masks: (H, W) bool each, True where pixels are to be made.

        Returns:
            Images of the same sizes. Outside the holes they may differ a little: paste the holes alone.
        """
        ...


class LamaInpainter:
    """LaMa's `big-lama.pt` (Suvorov et al., WACV 2022), TorchScript, always in float32.

    Args:
        config: Batch size.
        device: `cpu`, `cuda` or `mps`.

    Raises:
        BackendError: The weights are missing or not TorchScript.
    """

    name = LAMA

    def __init__(self, config: InpaintConfig, device: str = "cpu") -> None:
        import torch

        path = weights.require(INPAINTER_WEIGHTS[self.name])
        try:
            self._model = torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise BackendError(
                f"{path} is no TorchScript file: {str(error).splitlines()[0]}", "weldgen models verify lama"
            ) from error
        self._device = device
        self._batch_size = config.batch_size

    def inpaint(self, images: Sequence[RGB], masks: Sequence[Mask]) -> list[RGB]:
        """Fill the holes of each image; see `Inpainter`. Images of one padded size share a batch."""
        groups: dict[tuple[int, int], list[int]] = {}
        for index, image in enumerate(images):
            groups.setdefault(_padded_size(image.shape), []).append(index)
        results: dict[int, RGB] = {}
        for indices in groups.values():
            for start in range(0, len(indices), self._batch_size):
                batch = indices[start : start + self._batch_size]
                filled = self._run([images[i] for i in batch], [masks[i] for i in batch])
                results.update(zip(batch, filled, strict=True))
        return [results[index] for index in range(len(images))]

    def _run(self, images: Sequence[RGB], masks: Sequence[Mask]) -> list[RGB]:
        import torch

        pixels = np.stack([_padded(image) for image in images]).astype(np.float32) / 255  # (B, H, W, 3)
        holes = np.stack([_padded(mask.astype(np.uint8)) for mask in masks]).astype(np.float32)  # (B, H, W)
        with torch.inference_mode():
            filled = self._model(
                torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(self._device),
                torch.from_numpy(holes)[:, None].to(self._device),
            )
        array = np.clip(np.round(filled.permute(0, 2, 3, 1).float().cpu().numpy() * 255), 0, 255).astype(np.uint8)
        return [result[: image.shape[0], : image.shape[1]] for result, image in zip(array, images, strict=True)]


class MiganInpainter:
    """MI-GAN's ONNX pipeline (Sargsyan et al., ICCV 2023), which works on 512 pixels inside; give it small crops.

    Args:
        config: Unused.
        device: `cpu` or `cuda`.

    Raises:
        BackendError: The weights are missing or cannot be read.
    """

    name = MIGAN

    def __init__(self, config: InpaintConfig, device: str = "cpu") -> None:
        del config
        path = weights.require(INPAINTER_WEIGHTS[self.name])
        on = "cuda" if device.startswith("cuda") else "cpu"
        # OpenVINO's CPU plug-in refuses the network's Squeeze of unknown rank
        self._network = Network(path, runtime="onnxruntime", device=on)

    def inpaint(self, images: Sequence[RGB], masks: Sequence[Mask]) -> list[RGB]:
        """Fill the holes of each image; see `Inpainter`."""
        return [self._inpaint_one(image, mask) for image, mask in zip(images, masks, strict=True)]

    def _inpaint_one(self, image: RGB, mask: Mask) -> RGB:
        keep = np.where(mask, 0, 255).astype(np.uint8)  # MI-GAN's polarity: 0 is the hole
        image_name, mask_name = self._network.input_names
        inputs = {image_name: np.ascontiguousarray(image.transpose(2, 0, 1)[None]), mask_name: keep[None, None]}
        (filled,) = self._network(inputs)
        return np.ascontiguousarray(filled[0].transpose(1, 2, 0)).astype(np.uint8)


class TextureInpainter:
    """Our own: grain simulated on plain metal, copied beside edges; a small network then puts its tones right.

    Raises:
        BackendError: The network, which comes with weldgen, is missing or damaged.
    """

    name = TEXTURE

    def __init__(self, config: InpaintConfig, device: str = "cpu") -> None:
        del config, device  # it has no settings and runs on the CPU
        self._tones = ToneNetwork()

    def inpaint(self, images: Sequence[RGB], masks: Sequence[Mask]) -> list[RGB]:
        """Fill the holes of each image; see `Inpainter`."""
        largest = max((mask.size for mask in masks), default=0)
        at_once = 1 if largest > _MOST_PIXELS_AT_ONCE else cpu_count()
        with ThreadPoolExecutor(at_once) as pool:  # OpenCV leaves Python's lock while it works
            return list(pool.map(self._fill, images, masks))

    def _fill(self, image: RGB, mask: Mask) -> RGB:
        return self._tones.correct(texture.fill(image, mask), mask)


class OpenCvInpainter:
    """OpenCV's Telea fill (2004): the floor; smooth, without any grain."""

    name = OPENCV

    def __init__(self, config: InpaintConfig, device: str = "cpu") -> None:
        del config, device

    def inpaint(self, images: Sequence[RGB], masks: Sequence[Mask]) -> list[RGB]:
        """Fill the holes of each image; see `Inpainter`."""
        return [
            np.asarray(cv2.inpaint(image, mask.astype(np.uint8), _TELEA_RADIUS_PX, cv2.INPAINT_TELEA), dtype=np.uint8)
            for image, mask in zip(images, masks, strict=True)
        ]


class SimpleLamaInpainter:
    """LaMa through the package simple-lama-inpainting; the same weights as `lama`, one image at a time.

    Args:
        config: Unused.
        device: `cpu` or `cuda`.

    Raises:
        BackendError: The package or the weights are missing.
    """

    name = SIMPLE_LAMA

    def __init__(self, config: InpaintConfig, device: str = "cpu") -> None:
        del config
        path = weights.require(INPAINTER_WEIGHTS[self.name])
        if importlib.util.find_spec("simple_lama_inpainting") is None:
            raise BackendError(
                "inpaint.backend 'simple-lama' needs the package simple-lama-inpainting, which is not installed",
                "pip install 'weldgen[simple-lama]' (Python 3.12 or later), or use inpaint.backend=lama",
            )
        import os

        import torch
        from simple_lama_inpainting import SimpleLama

        os.environ["LAMA_MODEL"] = str(path)  # else the package downloads its own copy, unchecked
        self._model: Any = SimpleLama(torch.device(device))

    def inpaint(self, images: Sequence[RGB], masks: Sequence[Mask]) -> list[RGB]:
        """Fill the holes of each image; see `Inpainter`."""
        results = []
        for image, mask in zip(images, masks, strict=True):
            filled = np.asarray(self._model(image, mask.astype(np.uint8) * 255), dtype=np.uint8)
            results.append(filled[: image.shape[0], : image.shape[1]])  # the package leaves its padding on
        return results


INPAINTERS: Mapping[str, Callable[[InpaintConfig, str], Inpainter]] = {
    LamaInpainter.name: LamaInpainter,
    MiganInpainter.name: MiganInpainter,
    TextureInpainter.name: TextureInpainter,
    OpenCvInpainter.name: OpenCvInpainter,
    SimpleLamaInpainter.name: SimpleLamaInpainter,
}


def _padded_size(shape: tuple[int, ...]) -> tuple[int, int]:
    return -(-shape[0] // _LAMA_MULTIPLE) * _LAMA_MULTIPLE, -(-shape[1] // _LAMA_MULTIPLE) * _LAMA_MULTIPLE


def _padded(array: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Reflected at the right and bottom to a multiple of 8; LaMa halves its input three times."""
    height, width = _padded_size(array.shape)
    extra = [(0, height - array.shape[0]), (0, width - array.shape[1])] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, extra, mode="symmetric")
