"""Give a rendering the colours and the sharpness of a shop's photos."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

RGB = npt.NDArray[np.uint8]

# A rendering's contrast is changed by at most these factors.
_CONTRAST = (0.55, 1.7)
_MOST_BLUR_PX = 2.0
_BLUR_STEP_PX = 0.25


def match_photo(image: RGB, photo: RGB, share: float) -> RGB:
    """A rendering with the mean and spread of colour of a photo, and no sharper than it.

    Args:
        image: (H, W, 3) uint8 RGB.
        photo: The photo, of any size.
        share: 0 leaves the rendering as it is, 1 takes the photo's statistics (Reinhard et al., "Color transfer
            between images", 2001).
    """
    height, width = image.shape[:2]
    scale = max(height, width) / max(photo.shape[:2])
    size = (max(2, round(photo.shape[1] * scale)), max(2, round(photo.shape[0] * scale)))
    reference = cv2.resize(photo, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    own, wanted = _lab(image), _lab(reference)
    mean, spread = own.mean(axis=(0, 1)), own.std(axis=(0, 1)) + 1e-3
    factor = np.clip(wanted.std(axis=(0, 1)) / spread, *_CONTRAST)
    matched = (own - mean) * factor + wanted.mean(axis=(0, 1))
    lab = own + np.float32(share) * (matched - own)
    rgb = cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB)
    result = np.asarray(np.clip(rgb * 255 + 0.5, 0, 255), np.uint8)
    return _as_soft(result, _detail(reference))


def _lab(image: RGB) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def _detail(image: RGB) -> float:
    """Spread of the finest detail over that of the whole picture."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float((grey - cv2.GaussianBlur(grey, (0, 0), 1.0)).std() / (grey.std() + 1))


def _as_soft(image: RGB, wanted: float) -> RGB:
    """The least blur at which a picture is no sharper than wanted."""
    for sigma_px in np.arange(0, _MOST_BLUR_PX + _BLUR_STEP_PX, _BLUR_STEP_PX):
        soft = image if sigma_px == 0 else np.asarray(cv2.GaussianBlur(image, (0, 0), float(sigma_px)), np.uint8)
        if _detail(soft) <= 1.15 * wanted:
            break
    return soft
