"""Where the training curves go: TensorBoard always, Weights & Biases and MLflow where they are asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from weldgen.classifier.folder import MLFLOW, TENSORBOARD, WANDB
from weldgen.errors import BackendError
from weldgen.runtime import write_atomic

if TYPE_CHECKING:
    from weldgen.classifier.settings import TrainConfig


# File in the folder of MLflow that names the run.
RUN_ID = "run_id"
_MLFLOW_NOTES = "mlflow.note.content"


def open_loggers(out: Path, config: TrainConfig) -> list[Logger]:
    """The loggers of a run, with its settings as their hyperparameters.

    Args:
        out: Folder of the model; everything local is written below it.
        config: Settings of the run; `config.logging` says which loggers.

    Raises:
        BackendError: One that was asked for is not installed, or its server cannot be reached.
    """
    loggers: list[Logger] = [TensorBoardLogger(out, name=TENSORBOARD, version="")]
    settings = config.model_dump(mode="json", exclude={"logging"})
    if config.logging.wandb.enabled:
        loggers.append(_ready("wandb", settings, _wandb, out, config))
    if config.logging.mlflow.enabled:
        mlflow = _ready("mlflow", settings, _mlflow, out, config)
        write_atomic(out / MLFLOW / RUN_ID, f"{mlflow.version}\n")
        loggers.append(mlflow)
    return loggers


def close_loggers(loggers: Sequence[Logger]) -> None:
    """Write out what is still in memory: Weights & Biases keeps a run open until the process ends."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()


@contextmanager
def closing_run(config: TrainConfig) -> Iterator[None]:
    """Within, a run of Weights & Biases stays open from the training to what is logged after it."""
    try:
        yield
    finally:
        wandb = sys.modules.get("wandb") if config.logging.wandb.enabled else None
        if wandb is not None and wandb.run is not None:
            wandb.run.finish()


def _wandb(out: Path, config: TrainConfig) -> Logger:
    asked = config.logging.wandb
    folder = out / WANDB
    folder.mkdir(exist_ok=True)
    return WandbLogger(
        project=asked.project,
        entity=asked.entity,
        save_dir=folder,
        offline=asked.mode == "offline",
        log_model=False,
        tags=list(config.logging.tags),
        notes=config.logging.notes or None,
    )


def _mlflow(out: Path, config: TrainConfig) -> Logger:
    asked = config.logging.mlflow
    folder = out / MLFLOW
    folder.mkdir(exist_ok=True)
    # A server decides itself where files go; beside a database of our own they would lie in the current folder.
    files = None if asked.tracking_uri else (folder / "files").resolve().as_uri()
    pairs = (tag.partition("=") for tag in config.logging.tags)
    tags = {name: value if equals else "true" for name, equals, value in pairs}
    if config.logging.notes:
        tags[_MLFLOW_NOTES] = config.logging.notes
    return MLFlowLogger(
        experiment_name=asked.experiment, tracking_uri=tracking_uri(out, config), tags=tags, artifact_location=files
    )


def tracking_uri(out: Path, config: TrainConfig) -> str:
    """Where MLflow keeps the run: where the settings say, else a database in the model's folder."""
    own = f"sqlite:///{(out / MLFLOW / 'mlflow.db').resolve()}"
    return config.logging.mlflow.tracking_uri or own


def _ready(name: str, settings: dict[str, Any], make: Any, out: Path, config: TrainConfig) -> Logger:
    """A logger that has opened its run, so that what is missing shows before the training and not in it."""
    try:
        logger: Logger = make(out, config)
        logger.log_hyperparams(settings)
    except (ImportError, ModuleNotFoundError) as error:
        raise BackendError(
            f"logging.{name}.enabled=true, but {name} is not installed: {error}", f"pip install 'weldgen[{name}]'"
        ) from error
    except Exception as error:  # each raises kinds of its own
        raise BackendError(
            f"{name} cannot be opened: {error}",
            f"mend the settings logging.{name}, or set logging.{name}.enabled=false",
        ) from error
    return logger
