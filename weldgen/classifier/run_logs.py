"""What a finished training hands to Weights & Biases and MLflow besides its curves: pictures, and the model."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from weldgen.classifier.folder import MLFLOW
from weldgen.classifier.loader import Images
from weldgen.classifier.loggers import reopen_wandb, run_id, tracking_uri
from weldgen.classifier.metrics import confusion_matrix
from weldgen.classifier.model_file import CARD_NAME, WEIGHTS_NAME, load_model
from weldgen.classifier.plots import confusion_png
from weldgen.classifier.settings import TrainConfig
from weldgen.classifier.train_shortcuts import asked
from weldgen.runtime import log

# Pictures by their name, without ending, and files of the model.
Given = tuple[dict[str, bytes], list[Path]]


def log_results(out: Path, validation: Images, labels: Sequence[str], config: TrainConfig, *, device: str) -> list[str]:
    """Log what `config.logging` asks for to the runs of a training.

    A training that is finished does not fail where a server no longer answers: a sentence says so.

    Args:
        out: Folder of the trained model.
        validation: Photos that chose the best epoch.
        labels: The K classes.
        config: Settings of the training.
        device: Where the model computes.

    Returns:
        Sentences on what could not be logged.
    """
    wanted = config.logging
    open_to: dict[str, Callable[[Given, Path, TrainConfig], None]] = {}
    if wanted.wandb.enabled:
        open_to["Weights & Biases"] = _to_wandb
    if wanted.mlflow.enabled:
        open_to["MLflow"] = _to_mlflow
    if not open_to or not (wanted.pictures or wanted.model):
        return []
    pictures = _pictures(out, validation, labels, device) if wanted.pictures and len(validation) else {}
    given = pictures, [out / WEIGHTS_NAME, out / CARD_NAME] if wanted.model else []
    notes = []
    for name, send in open_to.items():
        try:
            send(given, out, config)
        except Exception as error:  # each raises kinds of its own
            notes.append(f"pictures and model could not be logged to {name}: {error}")
            log.warning("%s", notes[-1])
    return notes


def _pictures(out: Path, validation: Images, labels: Sequence[str], device: str) -> dict[str, bytes]:
    """Confusion matrices of the validation photos, in counts and in shares, as PNG."""
    network, _ = load_model(out, device, judge=True)  # as it was before it learned them, if it did
    answers = asked(network, validation, validation.samples, embed=False).argmax(axis=1)
    matrix = confusion_matrix(validation.targets.tolist(), answers.tolist(), len(labels))
    title = f"validation, n = {len(validation)}"
    return {
        "confusion": confusion_png(matrix, labels, shares=False, title=title),
        "confusion_normalised": confusion_png(matrix, labels, shares=True, title=f"{title}, share of row"),
    }


def _to_wandb(given: Given, out: Path, config: TrainConfig) -> None:
    import wandb

    run = wandb.run or reopen_wandb(out, config)  # a training on several devices has closed it
    pictures, files = given
    if pictures:
        run.log({f"validation/{name}": wandb.Image(_opened(png)) for name, png in pictures.items()})
    if files:
        description = json.loads((out / CARD_NAME).read_text(encoding="utf-8"))
        known: dict[str, Any] = {name: description.get(name) for name in ("classes", "backbone", "frame", "validation")}
        artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata=known)
        for file in files:
            artifact.add_file(str(file), name=file.name)
        run.log_artifact(artifact)


def _to_mlflow(given: Given, out: Path, config: TrainConfig) -> None:
    from mlflow.tracking import MlflowClient

    run = run_id(out, MLFLOW)
    client = MlflowClient(tracking_uri(out, config))
    pictures, files = given
    for name, png in pictures.items():
        client.log_image(run, _opened(png), artifact_file=f"validation/{name}.png")
    for file in files:
        client.log_artifact(run, str(file), artifact_path="model")


def _opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))
