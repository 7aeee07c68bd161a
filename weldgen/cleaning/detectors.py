"""Find regions of writing: EasyOCR's CRAFT and PP-OCR's detector, neither with its recogniser.

What is notable: a photo is looked at on a bounded canvas, because the cost grows with its area; and on CPUs both
networks run through `weldgen.inference`, where OpenVINO takes a fraction of the time for the same boxes.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from weldgen import weights
from weldgen.cleaning.settings import DETECTOR_WEIGHTS, EASYOCR, RAPIDOCR, DetectConfig, detector_names
from weldgen.errors import BackendError
from weldgen.inference import Network, ranges_for

# CRAFT is by far the slowest network here. On photos of 3:2 it covered 19, 18 and 19 of 24 written items at 640, 704
# and 768 px; long photos keep their length.
_CRAFT_FILL = 0.5

RGB = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TextRegion:
    """One region of writing.

    Attributes:
        polygon: Corners in order, (N, 2) float32, x and y in pixels of the photo.
        score: How sure the detector is, 0 to 1.
        source: Name of the detector.
    """

    polygon: Points
    score: float
    source: str

    def record(self) -> dict[str, Any]:
        """What a metadata line keeps of it."""
        return {
            "polygon": np.round(self.polygon).astype(int).tolist(),
            "score": round(float(self.score), 3),
            "source": self.source,
        }


class TextDetector(Protocol):
    """Finds writing."""

    name: str

    def detect(self, images: Sequence[RGB]) -> list[list[TextRegion]]:
        """Regions of each image, (H, W, 3) uint8 RGB of any size."""
        ...


class EasyOcrDetector:
    """EasyOCR's CRAFT text detector (Baek et al., CVPR 2019).

    Args:
        config: Thresholds and canvas.
        device: `cpu`, `cuda` or `mps`.

    Raises:
        BackendError: easyocr or its weights are missing.
    """

    name = EASYOCR

    def __init__(self, config: DetectConfig, device: str = "cpu") -> None:
        folder = weights.require(DETECTOR_WEIGHTS[self.name]).parent
        try:
            import easyocr
        except ImportError as error:
            raise BackendError(f"easyocr cannot be imported: {error}", "pip install easyocr") from error
        self._config = config
        on_gpu: bool | str = False if device == "cpu" else device
        self._reader = easyocr.Reader(
            ["en"], gpu=on_gpu, model_storage_directory=str(folder), download_enabled=False, detector=False,
            recognizer=False, verbose=False, quantize=False,
        )  # fmt: skip
        file = Path(self._reader.getDetectorPath("craft"))
        network = load_craft(file)
        self._maps = _ScoreMaps(_on_cpu(network, file, config.precision) if device == "cpu" else network.to(device))
        self._reader.detector = self._maps

    def detect(self, images: Sequence[RGB]) -> list[list[TextRegion]]:
        """Regions of each image; see `TextDetector`."""
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: RGB) -> list[TextRegion]:
        config = self._config
        canvas, scale = _on_canvas(image, config.canvas_size_px, config.mag_ratio, _CRAFT_FILL)
        level, tilted = self._reader.detect(
            canvas, min_size=max(1, round(config.min_size_px * scale)), text_threshold=config.text_threshold,
            low_text=config.low_text, link_threshold=config.link_threshold, canvas_size=max(canvas.shape[:2]),
            mag_ratio=1.0,
        )  # fmt: skip
        boxes = [[(x0, y0), (x1, y0), (x1, y1), (x0, y1)] for x0, x1, y0, y1 in level[0]] + list(tilted[0])
        polygons = [np.asarray(box, dtype=np.float32) for box in boxes]
        return [
            TextRegion(_onto_photo(p, scale, image), self._maps.best_score(p), self.name)
            for p in polygons
            if _has_area(p)
        ]


class RapidOcrDetector:
    """PP-OCR's DB text detector (Liao et al., AAAI 2020), as rapidocr ships it.

    Args:
        config: Thresholds and canvas.
        device: On `cpu` its network runs through `weldgen.inference`; elsewhere rapidocr runs it itself.

    Raises:
        BackendError: rapidocr or its weights are missing.
    """

    name = RAPIDOCR

    def __init__(self, config: DetectConfig, device: str = "cpu") -> None:
        file = rapidocr_file()
        try:
            import rapidocr
        except ImportError as error:
            raise BackendError(f"rapidocr cannot be imported: {error}", "pip install rapidocr") from error
        self._config = config
        self._engine = rapidocr.RapidOCR(
            params={
                "Global.log_level": "error",
                "Global.max_side_len": config.rapidocr_canvas_px,
                "Det.limit_type": "max",
                "Det.limit_side_len": config.rapidocr_canvas_px,
                "Det.thresh": config.pixel_threshold,
                "Det.box_thresh": config.box_threshold,
            }
        )
        network = self._engine._load_det_model()
        # rapidocr sorts the boxes but not their scores, which mixes them up; their order does not matter here
        network.sorted_boxes = lambda boxes: boxes
        # by numbers of double precision it would take twice as long to prepare a photo
        network.mean, network.std = (np.asarray(values, np.float32) for values in (network.mean, network.std))
        if device == "cpu":
            ranges = ranges_for(self.name, file, config.precision)
            network.session = _maps_of(Network(file, precision=config.precision, ranges=ranges))
        logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)  # an image without text is no warning here

    def detect(self, images: Sequence[RGB]) -> list[list[TextRegion]]:
        """Regions of each image; see `TextDetector`."""
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: RGB) -> list[TextRegion]:
        canvas, scale = _on_canvas(image, self._config.rapidocr_canvas_px, self._config.mag_ratio)
        bgr = np.ascontiguousarray(canvas[:, :, ::-1])
        found = self._engine(bgr, use_det=True, use_cls=False, use_rec=False)
        if found.boxes is None:
            return []
        return [
            TextRegion(_onto_photo(np.asarray(box, dtype=np.float32), scale, image), float(score), self.name)
            for box, score in zip(found.boxes, found.scores, strict=True)
        ]


DETECTORS: Mapping[str, Callable[[DetectConfig, str], TextDetector]] = {
    EasyOcrDetector.name: EasyOcrDetector,
    RapidOcrDetector.name: RapidOcrDetector,
}


def load_detectors(config: DetectConfig, device: str) -> list[TextDetector]:
    """The detectors that a setting asks for; `auto` is all of them.

    Raises:
        ConfigError: There is none of that name.
        BackendError: Its package or weights are missing.
    """
    return [DETECTORS[name](config, device) for name in detector_names(config.backend)]


def detect_all(detectors: Sequence[TextDetector], image: RGB) -> list[TextRegion]:
    """Union of what all detectors find on a photo, (H, W, 3) uint8 RGB."""
    return [region for detector in detectors for region in detector.detect([image])[0]]


class _ScoreMaps:
    """CRAFT as EasyOCR calls it; keeps the last text map, because EasyOCR drops the scores of its boxes."""

    def __init__(self, network: Callable[[Any], tuple[Any, Any]]) -> None:
        self._network = network
        self._text: npt.NDArray[np.float32] = np.zeros((1, 1), np.float32)

    def __call__(self, images: Any) -> tuple[Any, Any]:
        maps, features = self._network(images)
        self._text = maps[0, :, :, 0].float().cpu().numpy()
        return maps, features

    def best_score(self, polygon: Points) -> float:
        """Best text score inside a polygon given in canvas pixels; the map has half their resolution."""
        inside = np.zeros(self._text.shape, np.uint8)
        cv2.fillPoly(inside, [np.round(polygon / 2).astype(np.int32)], 1)
        return float(np.clip(self._text.max(initial=0.0, where=inside > 0), 0, 1))


def load_craft(path: Path) -> Any:
    """EasyOCR's network with its weights; EasyOCR itself first fills it with random numbers, for seconds."""
    import torch
    from easyocr.craft import CRAFT

    with torch.device("meta"):
        network = CRAFT()
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict({name.removeprefix("module."): value for name, value in state.items()}, assign=True)
    return network.eval()


def craft_as_onnx(network: Any) -> bytes:
    """EasyOCR's network as ONNX: `image` (1, 3, H, W) to `maps` and `features`, for H and W that 32 divides."""
    import torch

    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # the tracing exporter is deprecated, and nine times faster than the new one
        path = Path(folder) / "craft.onnx"
        torch.onnx.export(
            network, (torch.zeros(1, 3, 160, 224),), str(path), dynamo=False, input_names=["image"],
            output_names=["maps", "features"], dynamic_axes={"image": {2: "height", 3: "width"}},
        )  # fmt: skip
        return path.read_bytes()


def rapidocr_file() -> Path:
    """The network of rapidocr's detector.

    Raises:
        BackendError: rapidocr is not installed, or comes without it.
    """
    folder = weights.require(DETECTOR_WEIGHTS[RAPIDOCR])
    found = sorted(folder.glob("*_det_*.onnx"))
    if not found:
        raise BackendError(f"{folder} holds no text detector (*_det_*.onnx)", "pip install --force-reinstall rapidocr")
    return found[0]


def _on_cpu(network: Any, file: Path, precision: str) -> Callable[[Any], tuple[Any, Any]]:
    """EasyOCR's network, with the weights of a file, behind `Network`: called with and returning torch tensors."""
    import torch

    ranges = ranges_for(EASYOCR, file, precision)
    onnx = Network(craft_as_onnx(network), precision=precision, ranges=ranges)

    def run(images: Any) -> tuple[Any, Any]:
        maps, features = onnx(images.numpy())
        return torch.from_numpy(maps), features

    return run


def _maps_of(network: Network) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """A network with one input and one output, called as rapidocr calls its own."""
    return lambda pixels: network(pixels)[0]


def _on_canvas(image: RGB, canvas_px: int, mag_ratio: float, fill: float = 1.0) -> tuple[RGB, float]:
    """The image at the size the detectors look at, and that size over the photo's.

    Args:
        image: (H, W, 3) uint8 RGB.
        canvas_px: Long side of the canvas.
        mag_ratio: The image is enlarged by at most this.
        fill: It covers at most this share of a square of that side, which is what a network's time grows with.
    """
    height, width = image.shape[:2]
    scale = min(canvas_px / max(height, width), mag_ratio, canvas_px * (fill / (height * width)) ** 0.5)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=method), dtype=np.uint8), scale


def _onto_photo(polygon: Points, scale: float, image: RGB) -> Points:
    height, width = image.shape[:2]
    return np.asarray(np.clip(polygon / scale, 0, [width - 1, height - 1]), dtype=np.float32)


def _has_area(polygon: Points) -> bool:
    return bool(np.ptp(polygon, axis=0).min() >= 1)
