"""Ask an exported classifier: photos in, classes out, without torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weldgen.data.images import RGB, read_rgb
from weldgen.decision import read_decision, read_operating
from weldgen.errors import ConfigError, DataError
from weldgen.inference import Network, read_metadata
from weldgen.locating.locator import Found, open_locator
from weldgen.runtime import log
from weldgen.tta import MAX_VIEWS, ask_views, vote

# Photos that go through the network together, as far as they have one size.
_BATCH_PHOTOS = 8
_BATCH_PIXELS = 16_000_000


class WeldClassifierInference:
    """An exported classifier.

    Args:
        model: The `.onnx` file (or OpenVINO's `.xml`) that `weldgen export` wrote.
        device: `cpu`, `cuda`, or `auto` for a GPU where ONNX Runtime can use one.
        threads: CPU threads, 0 for all cores.
        tta: Views of each photo whose probabilities are averaged, 1 to 12; 0: as many as the model's threshold was
            chosen with, else 1.
        locator: What `weldgen locator` wrote, its folder or file: the clearest weld is cut out of each photo, as
            `weldgen locate` did it for the training photos, and the classifier is asked about it.

    Attributes:
        classes: Names, in the order of the probabilities.
        threshold: Predictions with a lower probability abstain; 0: never.
        decision: How it decides.
        tta: Views of each photo.
        warnings: What must be known before its answers are trusted; logged once when it is opened.
        metadata: Everything that the file says about itself.

    Raises:
        BackendError: The file or its runtime is missing.
        ConfigError: A wrong number of views.
        DataError: The file was not exported by weldgen.
    """

    def __init__(
        self,
        model: Path | str,
        device: str = "cpu",
        threads: int = 0,
        tta: int = 0,
        locator: Path | None = None,
    ) -> None:
        path = Path(model)
        self.metadata = read_metadata(path)
        if "classes" not in self.metadata:
            raise DataError(f"{path} was not exported by weldgen: it names no classes", "weldgen export")
        self.classes: tuple[str, ...] = tuple(json.loads(self.metadata["classes"]))
        self.decision = read_decision(self.metadata)
        self.threshold = self.decision.confidence
        self.tta = self._views(tta)
        self.warnings: tuple[str, ...] = tuple(json.loads(self.metadata.get("warnings", "[]")))
        for warning in self.warnings:
            log.warning("%s: %s", path.name, warning)
        runtime = "openvino" if path.suffix == ".xml" else "auto"
        self._network = Network(path, runtime=runtime, device=_device(device), threads=threads)
        self._locator = open_locator(locator, threads) if locator else None
        self._check_locator(path.name)

    def predict(self, photo: Path | str | RGB) -> dict[str, Any]:
        """Classify one photo.

        Args:
            photo: Its path, or (H, W, 3) uint8 RGB.

        Returns:
            `class`, `confidence` (probability of that class), `probabilities` by class, and `abstained` (whether a
            person should look: the confidence is below the model's threshold, or the probability in its band). Where a
            threshold for one class decides, `decided_by` names both. With a locator, `located` holds the corners of the
            weld on the photo and the evidence for it; where it is None, no weld was found, the answer is about the
            whole photo, and `abstained` is true.

        Raises:
            DataError: The photo cannot be read.
        """
        return self.predict_batch([photo])[0]

    def predict_batch(self, photos: Sequence[Path | str | RGB]) -> list[dict[str, Any]]:
        """Classify photos of any sizes; see `predict`."""
        images = [photo if isinstance(photo, np.ndarray) else read_rgb(Path(photo)) for photo in photos]
        for image in images:
            _check(image)
        if self._locator is None:
            return self._answers(images)
        cut = [self._locator.cut_out(image) for image in images]
        answers = self._answers([image for image, _ in cut])
        return [_about_weld(answer, found) for answer, (_, found) in zip(answers, cut, strict=True)]

    def _answers(self, images: Sequence[RGB]) -> list[dict[str, Any]]:
        if self.tta > 1:
            return [self._record(vote(ask_views(self._ask, image, self.tta))) for image in images]
        # Only neighbours of one size share a batch; the others go one by one, with the same result.
        runs = [list(run) for _, run in groupby(images, key=lambda image: image.shape)]
        rows = [row for run in runs for batch in _batches(run) for row in self._network(np.stack(batch))[0]]
        return [self._record(row) for row in rows]

    def _ask(self, image: RGB) -> npt.NDArray[np.float32]:
        found: npt.NDArray[np.float32] = self._network(image[None])[0][0]
        return found

    def _check_locator(self, name: str) -> None:
        """Say where photos are cut out otherwise than those of the training."""
        trained = self.metadata.get("locator", "")
        own = self._locator.id if self._locator else ""
        if own and not trained:
            log.warning("%s was trained on whole photos, not on welds that a locator cut out of them", name)
        elif trained and not own:
            log.warning(
                "%s was trained on welds that weldgen locate cut out: give it such, or whole photos with --locator",
                name,
            )
        elif trained != own:
            log.warning("%s was trained on welds that another locator cut out (%s, this is %s)", name, trained, own)

    def _views(self, asked: int) -> int:
        """Number of views of each photo: as asked for, or as the threshold was chosen with."""
        if not 0 <= asked <= MAX_VIEWS:
            raise ConfigError(f"tta={asked}: 1 to {MAX_VIEWS} views are accepted")
        point = read_operating(self.metadata)
        chosen = int(point.get("tta", 1))
        if asked and point and asked != chosen:
            log.warning("its threshold was chosen with tta=%d: with %d the probabilities are others", chosen, asked)
        return asked or chosen

    def _record(self, probabilities: npt.NDArray[np.float32]) -> dict[str, Any]:
        best, abstained = self.decision(probabilities, self.classes)
        by = {"class": self.decision.positive, "threshold": self.decision.threshold}
        return {
            "class": self.classes[best],
            "confidence": float(probabilities[best]),
            "probabilities": {name: float(value) for name, value in zip(self.classes, probabilities, strict=True)},
            "abstained": abstained,
            **({"decided_by": by} if self.decision.positive else {}),
        }


def _about_weld(answer: dict[str, Any], found: Found | None) -> dict[str, Any]:
    """The answer with the place of the weld; without a weld it is for a person to look."""
    if found is None:
        return answer | {"abstained": True, "located": None}
    return answer | {"located": found.record()}


def _batches(images: Sequence[RGB]) -> Iterator[list[RGB]]:
    """Images of one size in batches that fit into memory."""
    height, width = images[0].shape[:2]
    size = max(1, min(_BATCH_PHOTOS, _BATCH_PIXELS // (height * width)))
    for start in range(0, len(images), size):
        yield list(images[start : start + size])


def _check(image: RGB) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(f"a photo must be (H, W, 3) uint8 RGB, but got {image.shape} {image.dtype}")


def _device(device: str) -> str:
    """`cpu` or `cuda`; the network runs on torch nowhere, so torch is not asked."""
    if device != "auto":
        return "cuda" if device.startswith("cuda") else device
    import onnxruntime

    return "cuda" if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else "cpu"
