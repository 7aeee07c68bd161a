"""The registry of generators, and which of them `auto` is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from weldgen.config import Config
from weldgen.errors import ConfigError
from weldgen.synthesis.diffusion.settings import DiffusionConfig
from weldgen.synthesis.requests import Generator
from weldgen.synthesis.sdxl import SdxlConfig, missing_parts
from weldgen.synthesis.tiny import TINY, TinyConfig


class RenderConfig(Config):
    """What the renderer makes of the training photos."""

    transplant: float = Field(
        0.5, ge=0, le=1, description="share of images that are a real photo of a sound weld with rendered defects in it"
    )
    graft: float = Field(
        0.5, ge=0, le=1, description="share of these whose weld is laid over that of another photo, sound or not"
    )
    real_defects: float = Field(
        0.5, ge=0, le=1, description="share of these whose defects are those of a real photo of the class"
    )
    defect_masks: str = Field(
        "", description="folder of masks of the defects in training photos, <class>/<name>.png; empty: they are found"
    )
    fit: float = Field(
        0.8, ge=0, le=1, description="how far the others take after the training photos: colours, texture, pose, light"
    )


@dataclass(frozen=True)
class GeneratorSettings:
    """The settings of all generators; each takes its own."""

    render: RenderConfig
    sdxl: SdxlConfig
    tiny: TinyConfig
    device: str

    def diffusion(self, name: str) -> DiffusionConfig | None:
        """The settings of a diffusion generator, None for another one."""
        return {SDXL: self.sdxl, TINY: self.tiny}.get(name)


@dataclass(frozen=True)
class GeneratorKind:
    """A kind of generator.

    Attributes:
        build: Makes one.
        parallel: Whether worker processes may each build their own.
    """

    build: Callable[[GeneratorSettings], Generator]
    parallel: bool


def _render(settings: GeneratorSettings) -> Generator:
    from weldgen.synthesis.render.generator import RenderGenerator

    return RenderGenerator(settings.render.fit)


def _sdxl(settings: GeneratorSettings) -> Generator:
    from weldgen.synthesis.diffusion.generator import DiffusionGenerator

    return DiffusionGenerator(settings.sdxl, settings.device, settings.render.fit)


def _tiny(settings: GeneratorSettings) -> Generator:
    from weldgen.synthesis.diffusion.generator import DiffusionGenerator

    return DiffusionGenerator(settings.tiny, settings.device, settings.render.fit)


RENDER, SDXL = "render", "sdxl"
GENERATORS: Mapping[str, GeneratorKind] = {
    RENDER: GeneratorKind(_render, parallel=True),
    SDXL: GeneratorKind(_sdxl, parallel=False),
    TINY: GeneratorKind(_tiny, parallel=False),
}


def choose_generator(name: str, config: SdxlConfig, device: str) -> tuple[str, tuple[str, ...]]:
    """Resolve `auto`: sdxl where its weights and a GPU are present, else render.

    Returns:
        Key of `GENERATORS`, and sentences on what was chosen and what the better one would need.

    Raises:
        ConfigError: The name is not known.
    """
    if name in GENERATORS:
        return name, ()
    if name != "auto":
        raise ConfigError(f"generator '{name}' is not known; accepted: auto, {', '.join(GENERATORS)}")
    missing = missing_parts(config)
    # torch takes seconds to load; where the weights are missing, the GPU does not matter
    if not missing and not device.startswith("cpu") and _has_gpu():
        return "sdxl", ("generator: sdxl",)
    return "render", (f"generator: {describe_fallback(missing)}",)


def describe_fallback(missing: Sequence[str]) -> str:
    """What `auto` falls back to, and what sdxl would need beside a GPU."""
    weights = f"its weights ({', '.join(missing)}) and " if missing else ""
    return f"render; sdxl would need {weights}a GPU"


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
