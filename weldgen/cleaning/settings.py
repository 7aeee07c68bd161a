"""Settings of the clean stage, by section, and what `auto` stands for; importing this loads no torch and no OpenCV."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from weldgen import weights
from weldgen.config import Config, StageConfig
from weldgen.data.split import SplitConfig
from weldgen.errors import ConfigError

AUTO = "auto"
Precision = Literal["fp32", "bf16", "int8"]
# Names of the backends; everything else refers to these.
EASYOCR, RAPIDOCR = "easyocr", "rapidocr"
LAMA, MIGAN, TEXTURE, OPENCV, SIMPLE_LAMA = "lama", "migan", "texture", "opencv", "simple-lama"
INK_WEIGHT, READER_WEIGHT, TONES_WEIGHT = "ink", "english_g2", "tones"
# Backend -> the weights it needs; detectors by speed.
DETECTOR_WEIGHTS = {RAPIDOCR: "ppocr", EASYOCR: "craft"}
INPAINTER_WEIGHTS = {LAMA: "lama", MIGAN: "migan", TEXTURE: TONES_WEIGHT, OPENCV: "", SIMPLE_LAMA: "lama"}


class DetectConfig(Config):
    """How writing is found."""

    backend: str = Field(AUTO, description="auto (both: see docs/clean.md), easyocr or rapidocr")
    canvas_size_px: int = Field(
        768, ge=256, le=4096, description="long side at which EasyOCR looks at a photo, and half of its square at most"
    )
    rapidocr_canvas_px: int = Field(1280, ge=256, le=4096, description="the same for rapidocr, which is faster")
    mag_ratio: float = Field(2.0, ge=1, le=4, description="small photos are enlarged by at most this for detection")
    min_size_px: int = Field(8, ge=1, description="EasyOCR: smaller regions are dropped, in pixels of the photo")
    text_threshold: float = Field(0.5, gt=0, lt=1, description="EasyOCR: a region's best text score must reach this")
    low_text: float = Field(0.3, gt=0, lt=1, description="EasyOCR: text score at which a region ends")
    link_threshold: float = Field(0.3, gt=0, lt=1, description="EasyOCR: score at which characters are joined")
    pixel_threshold: float = Field(0.2, gt=0, lt=1, description="rapidocr: text score at which a region ends")
    box_threshold: float = Field(0.4, gt=0, lt=1, description="rapidocr: a region's mean text score must reach this")
    precision: Precision = Field(
        "int8", description="int8: where it loses next to nothing; it and bf16 are used only where the CPU has them"
    )


class InkConfig(Config):
    """How the ink network looks at a photo."""

    canvas_px: int = Field(1024, ge=256, le=4096, description="long side at which the network looks at a photo")
    precision: Precision = Field("int8", description="int8 and bf16 are used only where the CPU has them")


def _check_box(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError("a box is left, top, right, bottom in shares of the photo, such as [0, 0, 0.2, 0.1]")
    return box


Box = Annotated[tuple[float, float, float, float], AfterValidator(_check_box)]


class MaskConfig(Config):
    """How regions and ink become holes."""

    mode: Literal["auto", "stroke", "box"] = Field(
        "auto",
        description="stroke: the ink alone; box: whole regions; auto: strokes, and the box where they are unclear",
    )
    dilate_px: int = Field(
        24, ge=0, le=60, description="growth around the strokes on a photo of 1500 px long side; scaled with the photo"
    )
    ink: bool = Field(True, description="also take ink that lies in no region of a text detector")
    stamped: bool = Field(False, description="also remove characters that are stamped into the metal")
    objects: Literal["keep", "remove"] = Field(
        "keep",
        description="printed labels: keep takes the print off and leaves the label, remove takes the whole label",
    )
    given: str = Field("", description="folder of masks; a photo that has one there is not searched (--mask-dir DIR)")
    grow_px: int = Field(
        0, ge=-60, le=60, description="pixels by which given masks are grown, or shrunk where negative"
    )
    include: tuple[Box, ...] = Field((), description="boxes that are always replaced, in shares of the photo")
    exclude: tuple[Box, ...] = Field((), description="boxes that are never touched, in shares of the photo")


class InpaintConfig(Config):
    """How holes are filled."""

    backend: str = Field(AUTO, description="auto, lama, migan, texture, opencv or simple-lama")
    batch_size: int = Field(4, ge=1, description="crops that LaMa fills at once")
    context_px: int = Field(128, ge=16, description="metal around a hole that the inpainter sees, on a 1500 px photo")
    keep_margin: bool = Field(True, description="leave the margin around the strokes as it is where no ink lies on it")
    feather_px: int = Field(
        2,
        ge=0,
        le=30,
        description="width of the seam inside the hole, on a 1500 px photo; with keep_margin, of given masks alone",
    )


class CleanConfig(StageConfig):
    """How writing is found, covered and filled, and how the photos are split."""

    detect: DetectConfig = DetectConfig()
    ink: InkConfig = InkConfig()
    mask: MaskConfig = MaskConfig()
    inpaint: InpaintConfig = InpaintConfig()
    verify_rounds: int = Field(
        2, ge=0, le=5, description="how often a photo on which something is left is cleaned again"
    )
    save_masks: bool = Field(False, description="write masks/<class>/<name>.png, white where pixels were replaced")
    transcribe: bool = Field(False, description="read the writing and keep it in the metadata; takes longer")
    only: str = Field("", description="list of photos; they alone are cleaned again, all others stay (--only LIST)")
    split: SplitConfig = SplitConfig()


def detector_names(backend: str) -> tuple[str, ...]:
    """The detectors that a setting asks for; `auto` is all of them.

    Raises:
        ConfigError: There is none of that name.
    """
    if backend == AUTO:
        return tuple(DETECTOR_WEIGHTS)
    if backend not in DETECTOR_WEIGHTS:
        raise ConfigError(f"detect.backend '{backend}' is not known; accepted: {AUTO}, {', '.join(DETECTOR_WEIGHTS)}")
    return (backend,)


def inpainter_name(backend: str) -> str:
    """The inpainter that a setting asks for; `auto` is LaMa where its weights are, else our texture copying.

    Raises:
        ConfigError: There is none of that name.
    """
    if backend == AUTO:
        return LAMA if weights.find(INPAINTER_WEIGHTS[LAMA]) is not None else TEXTURE
    if backend not in INPAINTER_WEIGHTS:
        raise ConfigError(f"inpaint.backend '{backend}' is not known; accepted: {AUTO}, {', '.join(INPAINTER_WEIGHTS)}")
    return backend
