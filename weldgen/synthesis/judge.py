"""Gates that compare an image with the real photos, in the features of an ImageNet network.

Distances are 1 - cosine. What they mean differs from shop to shop, so the limits are taken from the distances among
the shop's own photos. Measured on six sets of real photos: the same photo brighter, mirrored or as a poor JPEG lies
0.01 to 0.09 from itself, the nearest other photo 0.05 (castings from one camera) to 0.5 (pictures from the web).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from weldgen.data.images import RGB, read_rgb, shrink
from weldgen.features import FeatureExtractor, Floats
from weldgen.synthesis.gates import Hash, nearest_bits, picture_hash
from weldgen.synthesis.probe import Probe
from weldgen.synthesis.requests import TRANSPLANT, Request

# Reasons that depend on the real photos; with other photos these tries might have passed.
COPY_HELD_OUT = "copy of a validation or test photo"
NEAR_HELD_OUT = "too close to a validation or test photo"
NEAR_TRAIN = "too close to a training photo"
UNCHANGED = "the photo it was made from, unchanged"
OUTLIER = "unlike every training photo"
WRITING = "writing in the image"
# The field of a metadata line.
JUDGED = "judged"
# A view that differs from its photo by no more bits than this was not changed.
_UNCHANGED_BITS = 2
_KEPT_PARENTS = 256


@dataclass(frozen=True, eq=False)
class Reference:
    """What images are compared with; workers get a copy.

    Attributes:
        network: The ONNX file of the features.
        identity: Hash of what was compared with; the same identity, the same verdicts.
        size_px: Long side at which photos are seen, that of the images.
        held_out: (N, F) features of validation and test photos.
        train: (M, F) features of training photos.
        train_ids: Their ids.
        near: Images no further than this from a photo are copies of it; below 0: off.
        far: Images further than this from every training photo are outliers; infinite: off.
        probe: Says when an image contradicts its label, or None.
        confidence: From which probability on a contradiction counts.
    """

    network: bytes
    identity: str
    size_px: int
    held_out: Floats
    train: Floats
    train_ids: tuple[str, ...]
    near: float
    far: float
    probe: Probe | None
    confidence: float


@dataclass(frozen=True)
class Verdict:
    """What came of a comparison.

    Attributes:
        reason: Why the image is refused, or empty.
        nearest: Id of the nearest training photo, or empty.
        distance: Its distance.
    """

    reason: str = ""
    nearest: str = ""
    distance: float = 0.0

    def record(self, identity: str) -> dict[str, Any]:
        """What a metadata line keeps of it: who judged, and the nearest photo; nothing where nobody did."""
        if not identity:
            return {}
        return {JUDGED: {"by": identity, "nearest": self.nearest, "distance": self.distance}}


class Judge:
    """Compares images with the real photos; what it says of one depends on nothing else.

    Args:
        reference: The real photos.
    """

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._see = extractor(reference.network)

    def judge(self, image: RGB, request: Request) -> Verdict:
        """Compare an image, (H, W, 3) uint8 RGB, that was made for a request.

        Raises:
            DataError: The photo that it was made from cannot be read.
        """
        reference = self._reference
        feature = self._see([image])[0]
        away = 1 - reference.train @ feature
        first = int(away.argmin()) if len(away) else -1
        nearest, distance = (reference.train_ids[first], round(float(away[first]), 4)) if len(away) else ("", 0.0)
        return Verdict(self._refuse(image, feature, distance if len(away) else np.inf, request), nearest, distance)

    def _refuse(self, image: RGB, feature: Floats, distance: float, request: Request) -> str:
        reference = self._reference
        composed = request.use == TRANSPLANT and request.photo is not None
        held_out = float((1 - reference.held_out @ feature).min(initial=np.inf))
        own = self._from_parent(image, feature, request) if composed else np.inf
        if own < 0:
            return UNCHANGED
        # A view of a training photo may be near to a validation photo because its photo is; what must not happen is
        # that it comes nearer to that one than to its own.
        if held_out <= reference.near and held_out < own:
            return NEAR_HELD_OUT
        if not composed and distance <= reference.near:
            return NEAR_TRAIN
        if np.isfinite(distance) and distance > reference.far:
            return OUTLIER
        if reference.probe is None:
            return ""
        other, confidence = reference.probe.contradiction(feature, request.label)
        return f"looks like '{other}'" if confidence > reference.confidence else ""

    def _from_parent(self, image: RGB, feature: Floats, request: Request) -> float:
        """Distance of a view from the nearest photo that is in it; -1 where it is that photo itself."""
        distances = []
        for path in filter(None, (request.photo, request.weld, request.donor)):
            parent, bits = _parent(self._see, path, self._reference.size_px)
            sound = not request.recipe.defects
            if sound and nearest_bits(picture_hash(image), bits[None]) <= _UNCHANGED_BITS:
                return -1.0
            distances.append(float(1 - parent @ feature))
        return min(distances)


@lru_cache(1)
def extractor(network: bytes) -> FeatureExtractor:
    """The extractor of a network, made once in a process."""
    return FeatureExtractor(network)


@lru_cache(_KEPT_PARENTS)
def _parent(see: FeatureExtractor, path: Path, size_px: int) -> tuple[Floats, Hash]:
    photo = shrink(read_rgb(path), size_px)
    return see([photo])[0], picture_hash(photo)


def depends_on_photos(reason: str) -> bool:
    """Whether a reason may no longer hold when the real photos are others."""
    fixed = (COPY_HELD_OUT, NEAR_HELD_OUT, NEAR_TRAIN, OUTLIER)
    return reason in fixed or reason.startswith(("looks like ", "copy of another"))


def still_passes(record: dict[str, Any], request: Request, path: Path, reference: Reference | None) -> bool:
    """Whether an image of an earlier run would be made again now that the real photos may be others.

    Args:
        record: Its metadata line; brought up to date where the image was judged anew.
        request: What it was made for.
        path: Its file.
        reference: The real photos.

    Raises:
        DataError: The file, or the photo that it was made from, cannot be read.
    """
    identity = reference.identity if reference else ""
    if record.get(JUDGED, {}).get("by", "") == identity:
        return True
    if any(depends_on_photos(reason) for reason in record["rejected"]):
        return False
    verdict = Judge(reference).judge(read_rgb(path), request) if reference else Verdict()
    if verdict.reason:
        return False
    if reference is None:
        record.pop(JUDGED, None)
    record |= verdict.record(identity)
    return True
