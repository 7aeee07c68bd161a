"""Settings of the synth stage; importing this loads no torch and no OpenCV."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from weldgen.config import StageConfig
from weldgen.data.split import SplitConfig
from weldgen.synthesis.diffusion.settings import DiffusionConfig
from weldgen.synthesis.gates import GateConfig
from weldgen.synthesis.generators import SDXL, RenderConfig
from weldgen.synthesis.recipes import Recipe
from weldgen.synthesis.sdxl import SdxlConfig
from weldgen.synthesis.tiny import TINY, TinyConfig

MIN_SIDE_PX = 64


class SynthConfig(StageConfig):
    """How many images, made how."""

    n: int = Field(1000, ge=1, description="images in all, dealt out evenly over the classes")
    generator: str = Field(
        "auto", description="auto, render, tiny or sdxl; auto: sdxl where its weights and a GPU are here, else render"
    )
    size_px: int = Field(512, ge=MIN_SIDE_PX, le=4096, description="long side; shapes are those of the real photos")
    shard: str = Field(
        "1/1", pattern=r"^[1-9]\d*/[1-9]\d*$", description="i/N: only the i-th of N parts, for one of N machines"
    )
    join: tuple[str, ...] = Field((), description="folders of other machines' parts, which are taken over")
    annotations: Literal["none", "masks", "yolo", "coco"] = Field(
        "masks",
        description="of the defects: masks/<class>/*.png, from which training with next to no photos learns what a "
        "defect is; yolo and coco: a dataset for a detector too, annotations/yolo/ or annotations/coco.json",
    )
    recipes: dict[str, str | Recipe] = Field(
        default_factory=dict, description="class -> known recipe or one in full; most class names need none"
    )
    render: RenderConfig = RenderConfig()
    sdxl: SdxlConfig = SdxlConfig()
    tiny: TinyConfig = TinyConfig()
    gates: GateConfig = GateConfig()
    quality_images: int = Field(
        500, ge=0, description="images on which the result is measured against the photos; 0: not measured"
    )
    split: SplitConfig = SplitConfig()

    @property
    def diffusion(self) -> DiffusionConfig | None:
        """The settings of the diffusion model that is used, None where none is."""
        return {SDXL: self.sdxl, TINY: self.tiny}.get(self.generator)

    @field_validator("shard")
    @classmethod
    def _within(cls, shard: str) -> str:
        number, count = map(int, shard.split("/"))
        if number > count:
            raise ValueError(f"there is no part {number} of {count}")
        return shard
