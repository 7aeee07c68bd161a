"""The registry of generators, and which of them `auto` is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from weldgen.errors import ConfigError
from weldgen.synthesis.requests import Generator
from weldgen.synthesis.sdxl import SdxlConfig, missing_parts


@dataclass(frozen=True)
class GeneratorKind:
    """A kind of generator.

    Attributes:
        build: Makes one, given the sdxl settings and the device.
        parallel: Whether worker processes may each build their own.
        uses_photos: Whether images start from real photos.
    """

    build: Callable[[SdxlConfig, str], Generator]
    parallel: bool
    uses_photos: bool


def _render(_config: SdxlConfig, _device: str) -> Generator:
    from weldgen.synthesis.render.generator import RenderGenerator

    return RenderGenerator()


def _sdxl(config: SdxlConfig, device: str) -> Generator:
    from weldgen.synthesis.sdxl import SdxlGenerator

    return SdxlGenerator(config, device)


GENERATORS: Mapping[str, GeneratorKind] = {
    "render": GeneratorKind(_render, parallel=True, uses_photos=False),
    "sdxl": GeneratorKind(_sdxl, parallel=False, uses_photos=True),
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
