"""Where the training curves go: TensorBoard always, Weights & Biases and MLflow where they are asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from weldgen.classifier.folder import MLFLOW, TENSORBOARD, WANDB
from weldgen.classifier.keeper import LAST
from weldgen.errors import BackendError
from weldgen.runtime import write_atomic

if TYPE_CHECKING:
    from weldgen.classifier.settings import TrainConfig


# File in the folders of Weights & Biases and MLflow that names the run.
_RUN_ID = "run_id"
_MLFLOW_NOTES = "mlflow.note.content"


def open_loggers(out: Path, config: TrainConfig) -> list[Logger]:
    """The loggers of a run, with its settings as their hyperparameters.

    Where a checkpoint lies in the folder, an interrupted run goes on, and so do its curves.

    Args:
        out: Folder of the model; everything local is written below it.
        config: Settings of the run; `config.logging` says which loggers.

    Raises:
        BackendError: One that was asked for is not installed, or its server cannot be reached.
    """
    loggers: list[Logger] = [TensorBoardLogger(out, name=TENSORBOARD, version="")]
    for name, make in ((WANDB, _wandb), (MLFLOW, _mlflow)):
        if getattr(config.logging, name).enabled:
            logger = _ready(name, make, out, config)
            write_atomic(out / name / _RUN_ID, f"{logger.version}\n")
            loggers.append(logger)
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


def run_id(out: Path, name: str) -> str:
    """The run of the training in a folder, of Weights & Biases (`WANDB`) or MLflow (`MLFLOW`).

    Raises:
        FileNotFoundError: None was opened.
    """
    return (out / name / _RUN_ID).read_text(encoding="utf-8").strip()


def reopen_wandb(out: Path, config: TrainConfig) -> Any:
    """The run of a training that other processes made and closed, open again.

    Raises:
        FileNotFoundError: There is none.
    """
    return _wandb(out, config, run_id(out, WANDB)).experiment


def _wandb(out: Path, config: TrainConfig, earlier: str | None) -> WandbLogger:
    asked = config.logging.wandb
    folder = out / WANDB
    folder.mkdir(exist_ok=True)
    return WandbLogger(
        project=asked.project,
        entity=asked.entity,
        save_dir=folder,
        id=earlier,
        offline=asked.mode == "offline",
        log_model=False,
        tags=list(config.logging.tags),
        notes=config.logging.notes or None,
    )


def _mlflow(out: Path, config: TrainConfig, earlier: str | None) -> MLFlowLogger:
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
        experiment_name=asked.experiment,
        tracking_uri=tracking_uri(out, config),
        tags=tags,
        artifact_location=files,
        run_id=earlier,
    )


def tracking_uri(out: Path, config: TrainConfig) -> str:
    """Where MLflow keeps the run: where the settings say, else a database in the model's folder."""
    own = f"sqlite:///{(out / MLFLOW / 'mlflow.db').resolve()}"
    return config.logging.mlflow.tracking_uri or own


def _ready(name: str, make: Any, out: Path, config: TrainConfig) -> WandbLogger | MLFlowLogger:
    """A logger that has opened its run, so that what is missing shows before the training and not in it."""
    try:
        goes_on = (out / LAST).is_file() and (out / name / _RUN_ID).is_file()
        logger: WandbLogger | MLFlowLogger = make(out, config, run_id(out, name) if goes_on else None)
        if goes_on:  # its settings are there, and MLflow refuses others, such as a different number of jobs
            _ = logger.experiment
        else:
            logger.log_hyperparams(config.model_dump(mode="json", exclude={"logging"}))
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
