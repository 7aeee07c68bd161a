"""Diffusion models of the hub: which files of which commit, how large, under which licence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One repository of the hub at one commit.

    Attributes:
        repository: Its name on the hub.
        revision: Commit.
        files: What is needed of it, as paths or patterns inside the repository; each matches at least one file.
        size_gb: Size of these files, in units of 10^9 bytes.
        licence: SPDX identifier or the licence's own name.
        commercial: Whether the licence allows commercial use without conditions on the user's size.
    """

    repository: str
    revision: str
    files: tuple[str, ...]
    size_gb: float
    licence: str
    commercial: bool = True

    @property
    def terms(self) -> str:
        """The licence, with a mark where it is not free for everyone."""
        return self.licence if self.commercial else f"{self.licence}; not free for every commercial use"


@dataclass(frozen=True)
class Bundle:
    """Parts that are pulled together, under the name that the command line uses."""

    id: str
    used_by: str
    parts: tuple[Part, ...]

    @property
    def size_gb(self) -> float:
        """Size of all parts, in units of 10^9 bytes."""
        return sum(part.size_gb for part in self.parts)


# Half precision only: the repositories hold the same weights in up to six other forms, 40 GB and more.
_SDXL_FILES = (
    "model_index.json", "scheduler/scheduler_config.json", "tokenizer/*", "tokenizer_2/*",
    "text_encoder/config.json", "text_encoder/model.fp16.safetensors",
    "text_encoder_2/config.json", "text_encoder_2/model.fp16.safetensors",
    "unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors",
    "vae/config.json", "vae/diffusion_pytorch_model.fp16.safetensors",
)  # fmt: skip
_SINGLE_FILES = ("config.json", "diffusion_pytorch_model.safetensors")

TURBO = Part(
    repository="stabilityai/sdxl-turbo",
    revision="71153311d3dbb46851df1931d3ca6e939de83304",
    files=_SDXL_FILES,
    size_gb=6.9,
    licence="Stability AI Community Licence (free below 1 M$ yearly revenue)",
    commercial=False,
)
SDXL_BASE = Part(
    repository="stabilityai/stable-diffusion-xl-base-1.0",
    revision="462165984030d82259a11f4367a4eed129e94a7b",
    files=_SDXL_FILES,
    size_gb=6.9,
    licence="CreativeML Open RAIL++-M",
)
TILE = Part(
    repository="xinsir/controlnet-tile-sdxl-1.0",
    revision="1ae8d9529efe58f7362a987363ff86a7904dc84f",
    files=_SINGLE_FILES,
    size_gb=2.5,
    licence="Apache-2.0",
)
VAE = Part(
    repository="madebyollin/sdxl-vae-fp16-fix",
    revision="207b116dae70ace3637169f1ddd2434b91b3a8cd",
    files=_SINGLE_FILES,
    size_gb=0.3,
    licence="MIT",
)
PARTS = {part.repository: part for part in (TURBO, SDXL_BASE, TILE, VAE)}
GENERATOR, TRAINING = "sdxl", "sdxl-base"
UNKNOWN_LICENCE = "unknown: set by the user"
BUNDLES = {
    GENERATOR: Bundle(GENERATOR, "synth: the generator sdxl; lora train_on=turbo", (TURBO, TILE, VAE)),
    TRAINING: Bundle(TRAINING, "lora: train on SDXL-base", (SDXL_BASE, VAE)),
}


def licence_of(source: str) -> str:
    """Licence of a default part; whoever sets another part answers for it."""
    return PARTS[source].licence if source in PARTS else UNKNOWN_LICENCE


def remedy(bundle_id: str, source: str, revision: str) -> str:
    """The command that fetches a missing source: ours for a part of the bundle, the hub's for one the user set."""
    if any((part.repository, part.revision) == (source, revision) for part in BUNDLES[bundle_id].parts):
        return f"weldgen models pull {bundle_id}"
    return f"hf download {source}" + (f" --revision {revision}" if revision else "")
