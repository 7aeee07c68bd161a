"""What a diffusion starts from: a view of a photo, a rendering, or a photo with rendered defects in it."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from weldgen.runtime import derive_seed
from weldgen.synthesis.requests import PATTERN, RGB, TRANSPLANT, Generated, Request

Mask = npt.NDArray[np.uint8]

# Both sides of what the networks see: every halving of autoencoder and UNet goes through.
_MULTIPLE_PX = 16
# A view of a photo: largest zoom, largest turn, changes of exposure and white balance (deviations of the logarithm).
_MOST_ZOOM, _MOST_TURN_DEG, _EXPOSURE, _BALANCE = 1.2, 4.0, 0.08, 0.02
# Gaussian sigmas below which texture and above which tone are new where structures are held.
_FINE_PX, _BROAD_PX = 1.2, 12.0
# How far around its defects an image may change, as a share of the short side, and the seam's softness in pixels.
_AROUND, _SEAM_PX = 0.02, 2.0


@dataclass(frozen=True)
class Start:
    """What an image starts from.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        free: (H, W) float32, 1 where it may change, 0 where it stays; None: everywhere.
        known: The rendering or composition with its defects and masks; None for a photo as it is.
    """

    image: RGB
    free: npt.NDArray[np.float32] | None = None
    known: Generated | None = field(default=None, repr=False)


def start_of(request: Request, fit: float, *, inpaint: bool) -> Start:
    """What the image of a request starts from.

    Args:
        request: Its photo, if there is one, and what that is for.
        fit: How far renderings take after their photo.
        inpaint: Whether the image may change on its defects alone.

    Raises:
        DataError: The photo cannot be read.
    """
    if request.photo is not None and request.use not in (PATTERN, TRANSPLANT):
        return Start(view_of(request))
    from weldgen.synthesis.render.generator import RenderGenerator

    known = RenderGenerator(fit).generate([request])[0]
    changed = np.maximum.reduce([np.zeros(known.image.shape[:2], np.uint8), *known.defect_masks.values()])
    if not inpaint or request.use != TRANSPLANT or not changed.any():
        return Start(known.image, None, known)
    return Start(known.image, _around(changed), known)


def view_of(request: Request) -> RGB:
    """A request's photo at the wanted size: mirrored or not, a little nearer, turned, lighter or darker.

    Raises:
        DataError: The photo cannot be read.
    """
    from weldgen.data.images import read_rgb

    assert request.photo is not None
    photo, size = read_rgb(request.photo), (request.width, request.height)
    rng = np.random.default_rng(derive_seed(request.seed, "view"))
    level = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))
    if rng.random() < 0.5:
        level = np.ascontiguousarray(level[:, ::-1])
    zoom, angle = float(np.exp(rng.uniform(0, np.log(_MOST_ZOOM)))), float(rng.uniform(-1, 1) * _MOST_TURN_DEG)
    turn = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), angle, zoom)
    turn[:, 2] += [float(rng.uniform(-0.5, 0.5)) * side * (zoom - 1) for side in size]
    seen = cv2.warpAffine(level, turn, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    gain = np.exp(rng.normal(0, _EXPOSURE) + rng.normal(0, _BALANCE, 3))
    return np.asarray(np.clip(np.asarray(seen, np.float32) * gain + 0.5, 0, 255), np.uint8)


def _around(changed: Mask) -> npt.NDArray[np.float32]:
    """Where an image with defects may change: on them and a little around, with a soft rim, (H, W) float32."""
    reach = max(2, round(_AROUND * min(changed.shape)))
    wide = cv2.dilate(changed, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)))
    soft = cv2.GaussianBlur(np.where(wide > 0, np.float32(1), np.float32(0)), (0, 0), _SEAM_PX)
    return np.where(soft < 1 / 255, np.float32(0), soft).astype(np.float32)


def hold_structure(image: RGB, start: RGB) -> RGB:
    """An image that differs from its start in fine texture and in broad tone alone.

    A small model gets texture and tone right before it does structures between them. Keeping part of the spectrum of a
    reference is iterative latent variable refinement (Choi et al., ICCV 2021), here once, at the end.

    Args:
        image: What was made, (H, W, 3) uint8 RGB.
        start: What it was made from, of the same shape.
    """
    change = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2YCrCb)
    change -= cv2.cvtColor(start.astype(np.float32), cv2.COLOR_RGB2YCrCb)
    kept = cv2.GaussianBlur(change, (0, 0), _BROAD_PX)
    brightness = change[:, :, 0]
    kept[:, :, 0] += brightness - cv2.GaussianBlur(brightness, (0, 0), _FINE_PX)
    whole = cv2.cvtColor(start.astype(np.float32), cv2.COLOR_RGB2YCrCb) + kept
    return np.asarray(np.clip(cv2.cvtColor(whole, cv2.COLOR_YCrCb2RGB) + 0.5, 0, 255), np.uint8)


def padded(image: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Grow an image, (H, W) or (H, W, 3), to the right and below until its sides are multiples of 16."""
    height, width = image.shape[:2]
    edges = [(0, -height % _MULTIPLE_PX), (0, -width % _MULTIPLE_PX), (0, 0)][: image.ndim]
    return np.pad(image, edges, mode="edge")


def control_image(image: RGB, factor: int) -> RGB:
    """ControlNet Tile's condition: the image without its fine detail, (H, W, 3) of the same size.

    It is what controlnet-aux's `TileDetector` makes by pyramids, for any factor and without importing that package.
    """
    height, width = image.shape[:2]
    coarse = Image.fromarray(image).resize((max(1, width // factor), max(1, height // factor)), Image.Resampling.BOX)
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
