"""Stage `lora`: train a LoRA on the real photos of the train split, for the generator `sdxl`.

What is notable: photos and prompts are encoded once; each batch, its noise and its dropout are functions of the seed
and the batch's number, so a run that was killed goes on from its checkpoint to the same weights; the file keeps alpha.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weldgen.data.dataset import Dataset, failures_text
from weldgen.data.split import decide_split, require_labels
from weldgen.errors import ConfigError, DataError
from weldgen.receipts import FAILURES_NAME, Summary, finished, stage_key, write_receipt
from weldgen.runfolder import RunFolder
from weldgen.runtime import write_atomic
from weldgen.synthesis.lora.base import load_base, release_text_encoders, require_base
from weldgen.synthesis.lora.settings import DISTILLED, LoraConfig
from weldgen.synthesis.recipes import Recipe, resolve_recipes
from weldgen.synthesis.sdxl import LORA_RECORD

if TYPE_CHECKING:
    from weldgen.synthesis.lora.data import TrainingData
    from weldgen.synthesis.lora.loop import Training

__all__ = ["LoraConfig", "lora"]

_FEW_PHOTOS = 10
_HIGH_TURBO_LR = 2e-5


def lora(dataset: Path, out: Path, config: LoraConfig) -> Summary:
    """Train a LoRA, or go on with a run that was interrupted.

    Under `accelerate launch` each process calls it; the main one alone writes.

    Args:
        dataset: Dataset of real photos; synthetic ones, validation and test are left alone.
        out: Folder of the LoRA, which `sdxl.lora` takes.
        config: Settings.

    Raises:
        DataError: There is no training photo, or none can be read.
        ConfigError: A class has no recipe, or a setting does not fit the machine.
        BackendError: The base, bitsandbytes or the device is missing.
        OutputError: The folder holds files that weldgen did not make, or cannot be written.
    """
    started = time.monotonic()
    inputs = {"dataset": dataset}
    key = stage_key("lora", config, inputs)
    done = finished(out, key)
    if done:
        return done
    photos, recipes = training_photos(dataset, config)
    require_base(config)
    from weldgen.synthesis.lora.adapter import save_adapter
    from weldgen.synthesis.lora.folder import LORA
    from weldgen.synthesis.lora.loop import Training
    from weldgen.synthesis.lora.machine import check_optimizer, open_accelerator

    check_optimizer(config.training)
    with ExitStack() as stack:
        accelerator, precision = stack.enter_context(open_accelerator(config))
        pipe = load_base(config, precision)
        folder = stack.enter_context(RunFolder(out, LORA, key)) if accelerator.is_main_process else None
        data = _encode(accelerator, pipe, photos, recipes, out, config)
        training = Training(accelerator, pipe, data, out, config)
        training.run()
        accelerator.wait_for_everyone()
        notes = (*(folder.notes if folder else ()), *_notes(photos, config))
        details = _details(training, data, precision, accelerator, config)
        counts = {"photos": len(data.shots), "classes": len(details["classes"]), "steps": config.training.steps}
        weights = tuple({"id": source, "licence": licence} for source, licence in config.licences.items())
        seconds = time.monotonic() - started
        summary = Summary("lora", out, counts, len(data.failures), notes, weights, details, seconds)
        if folder:
            save_adapter(pipe.unet, out)
            write_atomic(out / LORA_RECORD, json.dumps(_record(training, data, details, pipe, config), indent=1) + "\n")
            if data.failures:
                write_atomic(out / FAILURES_NAME, failures_text(data.failures))
            write_receipt(out, key, config, inputs, summary)
            folder.finish()
    return summary


def training_photos(root: Path, config: LoraConfig) -> tuple[Dataset, dict[str, Recipe]]:
    """The real photos of the train split that are learnt from, and the recipes of their classes.

    Raises:
        DataError: There is none.
        ConfigError: A class has no recipe, or `data.classes` names one that does not exist.
    """
    photos = Dataset.open(root)
    require_labels(photos)
    unknown = set(config.data.classes) - set(photos.labels)
    if unknown:
        raise ConfigError(
            f"data.classes: there is no class '{min(unknown)}' in {root}; classes: {', '.join(photos.labels)}"
        )
    photos = decide_split(photos.where(lambda sample: sample.origin == "real"), config.split, config.seed)
    wanted = config.data.classes or photos.labels
    photos = photos.where(lambda sample: sample.split == "train" and sample.label in wanted)
    if not photos.samples:
        raise DataError(
            f"{root} holds no real photo of the train split" + (f" of {', '.join(wanted)}" if wanted else ""),
            "put photos into data/raw/<class>/ and run weldgen clean",
        )
    labels = tuple(label for label, count in photos.counts().items() if count)
    photos = replace(photos, labels=labels)
    recipes, _ = resolve_recipes(photos.counts(), config.recipes, stage="lora")
    return photos, recipes


def _encode(
    accelerator: Any, pipe: Any, photos: Dataset, recipes: dict[str, Recipe], out: Path, config: LoraConfig
) -> TrainingData:
    """Encode on the device; the main process first, so that the others find its files."""
    from weldgen.synthesis.lora.data import CACHE, encode_data

    for part in (pipe.vae, pipe.text_encoder, pipe.text_encoder_2):
        part.to(accelerator.device)
    with accelerator.main_process_first():
        data = encode_data(pipe, photos, recipes, out / CACHE, config)
    release_text_encoders(pipe)
    return data


def _notes(photos: Dataset, config: LoraConfig) -> list[str]:
    """Sentences for the user on what may disappoint."""
    notes = []
    if len(photos.samples) < _FEW_PHOTOS:
        notes.append(
            f"only {len(photos.samples)} training photos: a LoRA learns so few by heart; compare synth without"
        )
    if config.train_on == DISTILLED and config.training.lr > _HIGH_TURBO_LR:
        notes.append(f"training.lr={config.training.lr:g} on turbo may cost it its four-step ability; 1e-5 is gentler")
    return notes


def _details(
    training: Training, data: TrainingData, precision: str, accelerator: Any, config: LoraConfig
) -> dict[str, Any]:
    """What belongs to the receipt."""
    settings = config.training
    losses = [record["loss"] for record in training.history]
    tenth = max(1, len(losses) // 10)
    return {
        "train_on": config.train_on,
        "classes": dict(Counter(shot.sample.label for shot in data.shots)),
        "precision": precision,
        "optimizer": training.optimizer_name,
        "processes": accelerator.num_processes,
        "photos_a_step": settings.batch_size * settings.accumulation * accelerator.num_processes,
        "loss_first_tenth": round(sum(losses[:tenth]) / tenth, 5),
        "loss_last_tenth": round(sum(losses[-tenth:]) / tenth, 5),
    }


def _record(
    training: Training, data: TrainingData, details: dict[str, Any], pipe: Any, config: LoraConfig
) -> dict[str, Any]:
    """`lora.json`: what the LoRA was made of, for whoever uses the file later."""
    return {
        "base": [{"source": source, "revision": revision} for source, revision in config.parts],
        "licences": config.licences,
        "prediction_type": pipe.scheduler.config.prediction_type,
        **details,
        "seed": config.seed,
        "settings": config.model_dump(mode="json"),
        "photos": [
            {
                "file_name": shot.sample.file_name,
                "id": shot.sample.id,
                "label": shot.sample.label,
                "prompts": list(shot.prompts),
            }
            for shot in data.shots
        ],
        "history": training.history,
    }
