"""The seam of all generators: what is asked for, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from weldgen.synthesis.recipes import Recipe

RGB = npt.NDArray[np.uint8]
SEED, TRANSPLANT, PATTERN = "seed", "transplant", "pattern"
# Kind of a defect that was taken from a photo and that nobody has named.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Request:
    """One image that is wanted.

    Attributes:
        index: Number of the image in the run.
        attempt: 0, and one more each time that a gate rejected what was made.
        label: Class.
        seed: Seed of this attempt.
        width: Pixels.
        height: Pixels.
        recipe: How the class looks.
        photo: Real training photo to start from, or None.
        parent: Its id, or empty.
        use: What the photo is for: `seed` of a diffusion, `transplant` of defects into it, or a `pattern` of colours,
            texture, light and of where the weld lies.
        weld: Real training photo whose sound weld is laid over that of the photo, or None.
        weld_parent: Its id, or empty.
        donor: Real training photo whose defects are put into the photo, or None.
        donor_parent: Its id, or empty.
        donor_mask: Mask of its defects, or None where they are to be found.
    """

    index: int
    attempt: int
    label: str
    seed: int
    width: int
    height: int
    recipe: Recipe
    photo: Path | None = None
    parent: str = ""
    use: str = ""
    weld: Path | None = None
    weld_parent: str = ""
    donor: Path | None = None
    donor_parent: str = ""
    donor_mask: Path | None = None

    @property
    def parents(self) -> tuple[str, ...]:
        """Ids of the real photos that are in it."""
        return tuple(dict.fromkeys(filter(None, (self.parent, self.weld_parent, self.donor_parent))))


@dataclass(frozen=True)
class DefectBox:
    """Where a defect lies in an image.

    Attributes:
        kind: Its kind.
        severity: 0..1.
        box: Left, top, right, bottom in pixels, the last two exclusive; None where it is not in the image.
        area_px: Pixels of its mask.
    """

    kind: str
    severity: float
    box: tuple[int, int, int, int] | None
    area_px: int

    @property
    def record(self) -> dict[str, Any]:
        """What a metadata line keeps of it."""
        return {"kind": self.kind, "severity": self.severity, "box": list(self.box or ()), "area_px": self.area_px}


@dataclass(frozen=True)
class Generated:
    """One image that was made.

    Attributes:
        image: (H, W, 3) uint8 RGB of the size that was asked for.
        defects: What is wrong with the weld, where the generator knows.
        defect_masks: Kind -> (H, W) uint8, 255 on the defect, where the generator knows.
        prompt: Text that made it, or empty.
        use: What the request's photo was for, where that is not what was asked; else None.
    """

    image: RGB
    defects: tuple[DefectBox, ...] = ()
    defect_masks: Mapping[str, RGB] = field(default_factory=dict)
    prompt: str = ""
    use: str | None = None


class Generator(Protocol):
    """Makes images; what it makes of a request does not depend on the other requests of the call."""

    def generate(self, requests: Sequence[Request]) -> list[Generated]:
        """One image for each request, in order.

        Raises:
            DataError: A seed photo cannot be read.
            BackendError: A library, weight or device is missing or broken.
        """
        ...
