"""Prompts for the diffusion model, encoded once; the text encoders leave the device as soon as they have done it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weldgen.synthesis.book import Recipe
from weldgen.synthesis.prompts import every_prompt

ENCODERS = ("text_encoder", "text_encoder_2")


class Texts:
    """Embeddings of prompts, kept.

    The two encoders of SDXL take 1.6 GB in half precision, more than the latents of a batch of 16, and work for two
    seconds of a run of hours. So they are taken out of the pipeline, wait in main memory, and visit the device only
    when a recipe comes whose prompts are not known; all prompts of it are then encoded, one by one, so that an
    embedding does not depend on which images are asked for together. On a CPU, where an encoding takes long and there
    is nothing to leave, only what is asked for is encoded.

    Args:
        pipe: A pipeline with its encoders; they are taken out of it unless their place is managed (CPU offload).
        device: Where the embeddings are needed.
        managed: Whether diffusers itself moves the parts to the device and back.
    """

    def __init__(self, pipe: Any, device: str, *, managed: bool = False) -> None:
        self._pipe, self._device, self._managed = pipe, device, managed
        self._encoders = {name: getattr(pipe, name) for name in ENCODERS}
        self._known: dict[str, tuple[Any, Any]] = {}
        self._place(at_work=False)

    def embed(self, prompts: Sequence[str], recipes: Sequence[Recipe] = ()) -> tuple[Any, Any]:
        """Embeddings of a batch.

        Args:
            prompts: One for each image.
            recipes: What the prompts were drawn from: where encoding is quick, all that they may draw is encoded too.

        Returns:
            (B, 77, 2048) and pooled (B, 1280), at SDXL's sizes.
        """
        import torch

        wanted = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._known]
        if wanted and self._device != "cpu":
            wanted = list(dict.fromkeys([*wanted, *(text for recipe in recipes for text in every_prompt(recipe))]))
        if wanted:
            self._place(at_work=True)
            for prompt in wanted:
                self._known.setdefault(prompt, self._encode(prompt))
            self._place(at_work=False)
        found = [self._known[prompt] for prompt in prompts]
        return torch.cat([embeds for embeds, _ in found]), torch.cat([pooled for _, pooled in found])

    def _encode(self, prompt: str) -> tuple[Any, Any]:
        import torch

        with torch.inference_mode():
            embeds, _, pooled, _ = self._pipe.encode_prompt(
                prompt, device=self._device, num_images_per_prompt=1, do_classifier_free_guidance=False
            )
        return embeds, pooled

    def _place(self, *, at_work: bool) -> None:
        """Put the encoders into the pipeline and onto the device, or take them away from both."""
        if self._managed:
            return
        for name, encoder in self._encoders.items():
            encoder.to(self._device if at_work else "cpu")
            self._pipe.register_modules(**{name: encoder if at_work else None})
