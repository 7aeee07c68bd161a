"""The parts of the generator `tiny`: SDXL's classes at a small size, trained by this project, shipped with it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from weldgen.runtime import resource_dir
from weldgen.synthesis.diffusion.settings import DiffusionConfig

# Its name among the weights.
TINY = "tiny"
TINY_LICENCE = {TINY: "MIT"}
# What it was trained at; larger images are made, but look coarser.
TINY_PX = 256


class TinyConfig(DiffusionConfig):
    """The small model, which needs no download and runs on a CPU; it is not distilled, so it takes more steps."""

    steps: int = Field(20, ge=1, description="steps of the full schedule")
    control_scale: float = Field(1.0, ge=0, le=2, description="weight of the ControlNet")

    hold_structure: bool = Field(
        True, description="leave structures between fine texture and broad tone as they were at the start"
    )

    _usual_strength: ClassVar[float] = 0.4

    @property
    def licences(self) -> dict[str, str]:
        """The project's own."""
        return dict(TINY_LICENCE)

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """Folders of the model, the ControlNet and the autoencoder."""
        return tuple((str(folder), "") for folder in tiny_folders())


def tiny_folders() -> tuple[Path, Path, Path]:
    """Folders of the model, the ControlNet and the autoencoder that ship."""
    root = resource_dir("assets") / "tiny"
    return root / "model", root / "controlnet", root / "vae"
