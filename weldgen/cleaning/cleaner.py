"""Clean one photo: find, fill, look again. Arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from threading import Lock

import numpy as np
import numpy.typing as npt

from weldgen.cleaning.by_hand import boxes_mask
from weldgen.cleaning.closer import look_closer
from weldgen.cleaning.crops import fill_holes
from weldgen.cleaning.detectors import TextDetector, TextRegion, detect_all
from weldgen.cleaning.ink import InkMap, InkSegmenter
from weldgen.cleaning.inpainters import Inpainter
from weldgen.cleaning.margin import tighten
from weldgen.cleaning.mask import TextMask, text_mask
from weldgen.cleaning.morphology import dilate
from weldgen.cleaning.paper import fill_paper
from weldgen.cleaning.scale import LARGE, scaled_px
from weldgen.cleaning.settings import InpaintConfig, MaskConfig
from weldgen.runtime import give_back_memory

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

# What is still seen after filling is covered this much wider, on a photo of 1500 px long side.
_WIDEN_PX = 8


@dataclass(frozen=True)
class Cleaned:
    """A photo without its writing.

    Attributes:
        pixels: (H, W, 3) uint8 RGB; equal to the photo outside `holes`.
        holes: (H, W) bool.
        regions: Writing that was found, in all rounds.
        residual: Regions that still look like writing in `pixels`.
    """

    pixels: RGB
    holes: Mask
    regions: list[TextRegion]
    residual: int


@dataclass(frozen=True)
class Cleaner:
    """Models and settings that clean photos.

    Attributes:
        detectors: Text detectors, the fastest first. The first looks at the photo, the others where it and the network
            see nothing, and the last at each result.
        segmenter: The ink network.
        inpainter: Fills the holes.
        mask: How regions become holes.
        inpaint: How crops are cut and pasted.
        verify_rounds: How often a cleaned photo with something left is cleaned again, wider.

    Photos may be cleaned by several threads at once; the networks look at one after the other, each with all cores.
    """

    detectors: Sequence[TextDetector]
    segmenter: InkSegmenter
    inpainter: Inpainter
    mask: MaskConfig
    inpaint: InpaintConfig
    verify_rounds: int
    looking: Lock = field(default_factory=Lock)

    def clean(self, image: RGB, given: Mask | None = None) -> Cleaned:
        """Take the writing out of a photo, (H, W, 3) uint8 RGB.

        Args:
            image: The photo.
            given: (H, W) bool, what a person wants to be replaced: exactly that is, and nothing is searched for.
        """
        if given is not None:
            result = self._fill(image, given, self.inpaint.feather_px)
            return Cleaned(result, given, [], len(self._look(result).regions))
        found, seen, all_looked, ink_seen = self._first_look(image)
        never = boxes_mask(self.mask.exclude, image.shape)
        always = boxes_mask(self.mask.include, image.shape)
        wide, ink, regions, labels = found.holes | always, found.ink | always, list(found.regions), found.labels
        if not wide.any():
            return Cleaned(image, wide, regions, 0)
        paper = labels if self.mask.objects == "keep" else np.zeros_like(labels)
        for attempt in range(self.verify_rounds + 1):
            # paper has no grain that were worth keeping, and shows the faintest outline
            holes = tighten(image, wide, ink) | wide & labels if self.inpaint.keep_margin else wide
            # a tight hole is ink up to its edge: blended, that would come back as an outline
            feather_px = 0 if self.inpaint.keep_margin else self.inpaint.feather_px
            result = self._fill(fill_paper(image, holes, paper, self._context(image)), holes & ~paper, feather_px)
            with self.looking:
                ink_seen = self.segmenter.segment_changed(result, ink_seen, wide)
                again = detect_all(self.detectors[-1:], result)
            left = self._masked(result, [*(r for r in seen if not _inside(r, wide)), *again], ink_seen)
            # what all have looked at is as it was; on a label, nothing but print is writing
            done = ~dilate(wide, self._around(image)) if all_looked or attempt else np.zeros_like(wide)
            left = _without(left, done | labels & ~left.prints)
            more = dilate(left.holes, scaled_px(_WIDEN_PX, image.shape)) & ~never
            # a false alarm that was filled already and comes back would come back for ever
            if attempt == self.verify_rounds or not (more & ~(ink if self.inpaint.keep_margin else wide)).any():
                break
            wide, ink = wide | more, ink | more
            regions += left.regions
        return Cleaned(result, holes, regions, len(left.regions))

    def _first_look(self, image: RGB) -> tuple[TextMask, list[TextRegion], bool, InkMap]:
        """What is to go, what detectors and network saw, and whether all detectors looked.

        The first one does, and the others only where there seems to be no writing: the last one looks at the result
        anyway, and at all of the photo there.
        """
        with self.looking:
            regions, seen = detect_all(self.detectors[:1], image), self.segmenter.segment(image)
            ink = look_closer(self.segmenter, image, seen, regions)
        found = self._masked(image, regions, ink)
        if found.holes.any():
            # now, not at the result: the network knows a broad stroke better where there are others
            with self.looking:
                again = self.segmenter.look_again(image, ink)
            found = found if again is ink else self._masked(image, regions, again)
        if found.holes.any() or len(self.detectors) == 1:
            return found, regions, len(self.detectors) == 1, seen
        with self.looking:
            regions += detect_all(self.detectors[1:], image)
        return self._masked(image, regions, ink), regions, True, seen

    def _look(self, image: RGB) -> TextMask:
        with self.looking:
            regions, ink = detect_all(self.detectors, image), self.segmenter.segment(image)
        return self._masked(image, regions, ink)

    def _masked(self, image: RGB, regions: Sequence[TextRegion], ink: InkMap) -> TextMask:
        found = text_mask(image, regions, ink, self.mask)
        return _without(found, boxes_mask(self.mask.exclude, image.shape))

    def _around(self, image: RGB) -> int:
        return scaled_px(self.inpaint.context_px / 2, image.shape)

    def _fill(self, image: RGB, holes: Mask, feather_px: int) -> RGB:
        feather_px = scaled_px(feather_px, image.shape)
        filled = fill_holes(image, holes, self.inpainter.inpaint, self._context(image), feather_px)
        if image.size > LARGE:
            give_back_memory()  # before the networks look at the result
        return filled

    def _context(self, image: RGB) -> int:
        return max(16, scaled_px(self.inpaint.context_px, image.shape))


def _without(found: TextMask, place: Mask) -> TextMask:
    """What was found, less what lies in a place."""
    regions = [region for region in found.regions if not _inside(region, place)]
    return replace(found, holes=found.holes & ~place, ink=found.ink & ~place, regions=regions)


def _inside(region: TextRegion, mask: Mask) -> bool:
    """Whether the middle of a region lies in a mask."""
    x, y = region.polygon.mean(axis=0)
    return bool(mask[min(int(y), mask.shape[0] - 1), min(int(x), mask.shape[1] - 1)])
