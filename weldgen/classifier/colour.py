"""Change brightness, contrast, saturation and hue of an image by one matrix: out = matrix @ RGB + offset.

Each of the four is linear in the colours, so they are multiplied before a pixel is touched, and rounded once at the
end (Haeberli, Matrix Operations for Image Processing, 1993, http://www.graficaobscura.com/matrix). The hue is turned
about the grey axis in YIQ, the colours of NTSC television: brightness (Y) and the strength of a colour stay as they
are. The detour by HSV cost more than all other augmentation together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Rows Y, I, Q (ITU-R BT.470, System M); Y is also the grey that contrast and saturation refer to.
_YIQ: Floats = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_RGB: Floats = np.asarray(np.linalg.inv(_YIQ), np.float64)


def colour_change(
    means: Sequence[float], brightness: float, contrast: float, saturation: float, hue_deg: float
) -> tuple[Floats, Floats]:
    """The matrix and the offset of a change, done in this order.

    Args:
        means: Mean red, green and blue of the image, about whose grey the contrast changes.
        brightness: Factor of all colours; 1 changes nothing.
        contrast: Factor of the distance from the image's mean grey; 0 is that grey alone.
        saturation: Factor of the distance from each pixel's own grey; 0 is a grey image.
        hue_deg: Turn of the hue in degrees, from red to yellow and green; 360 is one whole turn.

    Returns:
        (3, 3) and (3,) float64, the offset in the units of `means`.
    """
    turn = math.radians(hue_deg)
    cos, sin = math.cos(turn), math.sin(turn)
    # in the plane of I and Q, green lies clockwise of red
    chroma = saturation * np.array([[cos, sin], [-sin, cos]])
    turned = _YIQ.copy()
    turned[1:] = chroma @ _YIQ[1:]
    mean_grey = brightness * float(_YIQ[0] @ np.asarray(means))
    # the offset is a grey, which saturation and hue leave alone
    return brightness * contrast * (_RGB @ turned), np.full(3, (1 - contrast) * mean_grey)
