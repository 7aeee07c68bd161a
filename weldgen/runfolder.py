"""The folder of something under training: one run at a time, resumed where it stopped, earlier runs moved aside."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

import weldgen
from weldgen.errors import OutputError
from weldgen.runtime import output_errors, remove_temporaries, write_atomic

RUN_NAME = "run.json"


@dataclass(frozen=True)
class Contents:
    """What a kind of training keeps in its folder.

    Attributes:
        stage: Command that makes it.
        made: What it makes, for a message.
        names: Its files and folders, `run.json` among them.
        passing: Those of them that only resuming needs.
    """

    stage: str
    made: str
    names: tuple[str, ...]
    passing: tuple[str, ...]


class RunFolder:
    """A context manager that holds the folder's lock.

    Args:
        out: The folder; made where it is missing.
        contents: What belongs to a run there.
        key: Identity of the run. Checkpoints of the same key are used; those of another are moved to
            `previous/<its key>/`.

    Attributes:
        notes: What was moved.

    Raises:
        OutputError: Another run works in the folder, or a file stands there that weldgen did not make.
    """

    def __init__(self, out: Path, contents: Contents, key: str) -> None:
        self.notes: tuple[str, ...] = ()
        self._out = out
        self._contents = contents
        self._key = key
        self._lock = FileLock(out / ".lock")

    def __enter__(self) -> RunFolder:
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
        """Remove what only resuming needs."""
        for path in (self._out / name for name in self._contents.passing):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _make_room(self) -> None:
        there = [self._out / name for name in self._contents.names if (self._out / name).exists()]
        if not there:
            return
        run = self._out / RUN_NAME
        if not run.is_file():
            raise OutputError(
                f"{there[0]} exists and was not made by weldgen {self._contents.stage}",
                "move it away, or choose another --out",
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
        self.notes = (f"the {self._contents.made} of the earlier run was moved to {target}",)
