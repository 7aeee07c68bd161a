"""The folder of a model under training: one run at a time, resumed where it stopped, earlier runs moved aside."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

import weldgen
from weldgen.classifier.keeper import BEST, HISTORY, LAST
from weldgen.classifier.local_weights import OWN_RECORD, OWN_WEIGHTS
from weldgen.classifier.model_file import CARD_NAME, WEIGHTS_NAME
from weldgen.errors import OutputError
from weldgen.receipts import FAILURES_NAME, RECEIPT_NAME
from weldgen.runtime import output_errors, remove_temporaries, write_atomic

RUN_NAME = "run.json"
TENSORBOARD, WANDB, MLFLOW = "tensorboard", "wandb", "mlflow"
_OWN = (
    RUN_NAME, RECEIPT_NAME, BEST, LAST, HISTORY, CARD_NAME, WEIGHTS_NAME, FAILURES_NAME, TENSORBOARD, WANDB, MLFLOW,
    OWN_RECORD, OWN_WEIGHTS, "report.html",
)  # fmt: skip


class ModelFolder:
    """A context manager that holds the folder's lock.

    Args:
        out: The folder; made where it is missing.
        key: Identity of the run. Checkpoints of the same key are used; those of another are moved to
            `previous/<its key>/`.

    Attributes:
        notes: What was moved.

    Raises:
        OutputError: Another run works in the folder, or a file stands there that weldgen did not make.
    """

    def __init__(self, out: Path, key: str) -> None:
        self.notes: tuple[str, ...] = ()
        self._out = out
        self._key = key
        self._lock = FileLock(out / ".lock")

    def __enter__(self) -> ModelFolder:
        with output_errors(self._out):
            self._out.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise OutputError(
                f"another weldgen run trains in {self._out}", "wait for it, or choose another --out"
            ) from error
        with output_errors(self._out):
            remove_temporaries(self._out)
            self._make_room()
        write_atomic(self._out / RUN_NAME, json.dumps({"key": self._key, "weldgen": weldgen.__version__}) + "\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        remove_temporaries(self._out)
        self._lock.release()
        (self._out / ".lock").unlink(missing_ok=True)

    def finish(self) -> None:
        """Remove the checkpoint that only resuming needs."""
        (self._out / LAST).unlink(missing_ok=True)

    def _make_room(self) -> None:
        there = [self._out / name for name in _OWN if (self._out / name).exists()]
        if not there:
            return
        run = self._out / RUN_NAME
        if not run.is_file():
            raise OutputError(
                f"{there[0]} exists and was not made by weldgen train", "move it away, or choose another --out"
            )
        earlier = json.loads(run.read_text())["key"]
        if earlier == self._key:
            return
        target = self._out / "previous" / earlier[:8]
        number = 1
        while target.exists():
            number += 1
            target = target.with_name(f"{earlier[:8]}-{number}")
        target.mkdir(parents=True)
        # run.json goes last: while it is here, an interrupted move is taken up again.
        for path in [*(path for path in there if path != run), run]:
            path.rename(target / path.name)
        self.notes = (f"the model of the earlier run was moved to {target}",)
