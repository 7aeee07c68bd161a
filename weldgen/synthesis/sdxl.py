"""The parts of the generator `sdxl`: SDXL-Turbo, a ControlNet Tile that holds it to a photo's shape, a LoRA.

Nothing is downloaded: the parts are local folders, or lie in the hub's cache (`weldgen models pull sdxl`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field

from weldgen import hub_weights
from weldgen.errors import BackendError
from weldgen.hub_parts import GENERATOR, PARTS, TILE, TURBO, UNKNOWN_LICENCE, VAE, licence_of, remedy
from weldgen.synthesis.diffusion.settings import DiffusionConfig

# What `weldgen lora` writes beside its weights.
LORA_RECORD = "lora.json"
# The name that diffusers gives to a LoRA's weights.
LORA_WEIGHTS = "pytorch_lora_weights.safetensors"


class SdxlConfig(DiffusionConfig):
    """SDXL-Turbo with its ControlNet."""

    model: str = Field(TURBO.repository, description="folder, or repository of the hub")
    model_revision: str = Field(TURBO.revision, description="commit; unused for a folder")
    controlnet: str = Field(TILE.repository, description="folder, or repository of the hub")
    controlnet_revision: str = Field(TILE.revision, description="commit")
    vae: str = Field(VAE.repository, description="folder or repository; empty: the model's own")
    vae_revision: str = Field(VAE.revision, description="commit")

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """Source and revision of the model, the ControlNet and, where one is set, the autoencoder."""
        parts = ((self.model, self.model_revision), (self.controlnet, self.controlnet_revision))
        return (*parts, (self.vae, self.vae_revision)) if self.vae else parts

    @property
    def licences(self) -> dict[str, str]:
        """Source -> licence of every part but the LoRA."""
        return {source: licence_of(source) for source, _ in self.parts}


def licences_of(config: DiffusionConfig) -> dict[str, str]:
    """Source -> licence of every part of a model and of its LoRA."""
    lora = {config.lora: lora_licence(Path(config.lora))} if config.lora else {}
    return {**config.licences, **lora}


def find_part(source: str, revision: str) -> Path | None:
    """Folder of a part that is on this machine, or None."""
    if Path(source).is_dir():
        return Path(source)
    if source in PARTS and PARTS[source].revision == revision:  # only some of its files are ever downloaded
        return hub_weights.find(PARTS[source])
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source, revision=revision or None, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def lora_file(path: Path) -> Path:
    """The weights of a LoRA that is given by its file or its folder.

    Raises:
        BackendError: The folder holds none.
    """
    file = path / LORA_WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise BackendError(f"{path} holds no {LORA_WEIGHTS}", "weldgen lora makes one")
    return file


def lora_licence(path: Path) -> str:
    """Licence of a LoRA: those of what it was trained on, where `weldgen lora` made it."""
    record = (path if path.is_dir() else path.parent) / LORA_RECORD
    if not record.is_file():
        return UNKNOWN_LICENCE
    return "; ".join(sorted(set(json.loads(record.read_text(encoding="utf-8"))["licences"].values())))


def missing_parts(config: DiffusionConfig) -> list[str]:
    """Parts that are not on this machine; a LoRA counts."""
    missing = [source for source, revision in config.parts if find_part(source, revision) is None]
    return missing + ([config.lora] if config.lora and not Path(config.lora).exists() else [])


def require_parts(config: DiffusionConfig) -> None:
    """Raise a `BackendError` that says what is missing and how to get it."""
    missing = missing_parts(config)
    if missing:
        own_lora = missing[0] == config.lora
        fetch = "weldgen lora" if own_lora else remedy(GENERATOR, missing[0], dict(config.parts)[missing[0]])
        raise BackendError(
            f"the generator sdxl needs {', '.join(missing)}, which is not on this machine",
            f"{fetch} (or set sdxl.model, sdxl.controlnet and sdxl.vae to folders); "
            "--generator render needs no weights",
        )


def hush() -> None:
    """Keep diffusers and transformers from writing bars and remarks of their own beside ours."""
    import diffusers.utils.logging
    import transformers.utils.logging

    for logging in (diffusers.utils.logging, transformers.utils.logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()


def load_part(kind: Any, folder: Path | None, dtype: Any, **parts: Any) -> Any:
    """`from_pretrained` on a folder, with the half-precision files where the folder has them."""
    halves = folder is not None and any(folder.rglob("*.fp16.safetensors"))
    return kind.from_pretrained(
        str(folder), dtype=dtype, variant="fp16" if halves else None, local_files_only=True, **parts
    )
