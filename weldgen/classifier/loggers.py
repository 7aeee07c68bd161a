"""Where the training curves go: TensorBoard always, Weights & Biases and MLflow where they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from weldgen.classifier.folder import MLFLOW, TENSORBOARD, WANDB
from weldgen.errors import BackendError

if TYPE_CHECKING:
    from weldgen.classifier.settings import TrainConfig


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
        loggers.append(_ready("mlflow", settings, _mlflow, out, config))
    return loggers


def close_loggers(loggers: Sequence[Logger]) -> None:
    """Write out what is still in memory; Weights & Biases keeps a run open until the process ends."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()


def _wandb(out: Path, config: TrainConfig) -> Logger:
    asked = config.logging.wandb
    folder = out / WANDB
    folder.mkdir(exist_ok=True)
    return WandbLogger(
        project=asked.project, entity=asked.entity, save_dir=folder, offline=asked.mode == "offline", log_model=False
    )


def _mlflow(out: Path, config: TrainConfig) -> Logger:
    asked = config.logging.mlflow
    folder = out / MLFLOW
    folder.mkdir(exist_ok=True)
    uri = asked.tracking_uri or f"sqlite:///{(folder / 'mlflow.db').resolve()}"
    return MLFlowLogger(experiment_name=asked.experiment, tracking_uri=uri)


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
