"""Write a dataset folder image by image, so that SIGKILL loses at most the image in hand.

An image is written under a temporary name, its line is appended to `metadata.jsonl`, then it is renamed: a file
without a line is therefore always a user's and is never touched, and a line without a file is simply done again.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from weldgen.data.dataset import METADATA_NAME, Failure, Sample, failures_text, read_metadata
from weldgen.errors import OutputError
from weldgen.receipts import FAILURES_NAME, RECEIPT_NAME
from weldgen.runtime import (
    content_hash,
    file_hash,
    output_errors,
    remove_temporaries,
    temporary_for,
    write_atomic,
)

# The field of a metadata line that says from what and with which settings the image was made.
KEY = "key"


class DatasetWriter:
    """A dataset folder under construction; a context manager that holds the folder's lock.

    Args:
        out: The folder; made where it is missing.
        valid: Whether an image of an earlier run, given its metadata line, is still what this run would make.

    Attributes:
        done: Lines of the images that are there already, by file name.

    Raises:
        OutputError: Another run works in the folder, or an image in it was changed by hand.
    """

    def __init__(self, out: Path, valid: Callable[[dict[str, Any]], bool]) -> None:
        self.out = out
        self.done: dict[str, dict[str, Any]] = {}
        self._valid = valid
        self._mutex = threading.Lock()
        self._lock = FileLock(out / ".lock")

    def __enter__(self) -> DatasetWriter:
        with output_errors(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise OutputError(
                f"another weldgen run is writing to {self.out}", "wait for it, or choose another --out"
            ) from error
        with output_errors(self.out):
            (self.out / RECEIPT_NAME).unlink(missing_ok=True)
            remove_temporaries(self.out)
            self._recover()
        self._stream = (self.out / METADATA_NAME).open("a", encoding="utf-8")
        return self

    def __exit__(self, *exception: object) -> None:
        self._stream.close()
        self._lock.release()
        (self.out / ".lock").unlink(missing_ok=True)

    def add(self, sample: Sample, data: bytes, key: str) -> None:
        """Write one image and its line; the sample's id is set from the bytes.

        The number that tells copies of one photo apart (`<hash>-2`) stays, because their results are equal too.

        Args:
            sample: Its description; `file_name` says where it goes.
            data: The encoded image.
            key: What `valid` is asked about in a later run.

        Raises:
            OutputError: The disk is full, or a file that weldgen did not make stands there.
        """
        copy = "".join(sample.id.partition("-")[1:])
        self._commit(sample, key, lambda temporary: temporary.write_bytes(data), content_hash(data) + copy)

    def add_file(self, sample: Sample, source: Path, key: str, *, link: bool) -> None:
        """Take over a file as it is: as a hard link where `link` and the file system allow it, else as a copy."""
        self._commit(sample, key, lambda temporary: link_or_copy(source, temporary, link), sample.id)

    def add_side_file(self, name: str, data: bytes) -> None:
        """Write a file that belongs to an image (a mask, say) before the image itself."""
        write_atomic(self.out / name, data)

    def add_side_copy(self, name: str, source: Path, *, link: bool) -> None:
        """Take over a file that belongs to an image, before the image itself; see `add_file`."""
        target = self.out / name
        with output_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(source, temporary_for(target), link)
            temporary_for(target).replace(target)

    def finish(self, failures: Iterable[Failure] = (), labels: Iterable[str] = ()) -> list[Sample]:
        """Sort the metadata, list the failures, keep a folder for classes without an image."""
        self._stream.close()
        with output_errors(self.out):
            for label in labels:
                if label and not any(sample["label"] == label for sample in self.done.values()):
                    (self.out / label).mkdir(exist_ok=True)
        self._write_metadata()
        listed = failures_text(failures)
        if listed:
            write_atomic(self.out / FAILURES_NAME, listed)
        else:
            (self.out / FAILURES_NAME).unlink(missing_ok=True)
        return [Sample.from_record(self.done[name]) for name in sorted(self.done)]

    def _commit(self, sample: Sample, key: str, write: Callable[[Path], object], identity: str) -> None:
        path = self.out / sample.file_name
        if path.exists():
            raise OutputError(f"{path} exists and was not made by weldgen", "move it away, or choose another --out")
        record = {**replace(sample, id=identity).record(), KEY: key}
        temporary = temporary_for(path)
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                write(temporary)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            with self._mutex:
                self._stream.write(json.dumps(record, ensure_ascii=False) + "\n")
                self._stream.flush()
                temporary.replace(path)
                self.done[sample.file_name] = record

    def _recover(self) -> None:
        """Keep what an earlier run left whole and valid; remove what it made that is stale."""
        if not (self.out / METADATA_NAME).is_file():
            return
        for record in read_metadata(self.out):
            path = self.out / record["file_name"]
            if not path.is_file():
                continue
            if self._valid(record):
                self.done[record["file_name"]] = record
                continue
            if file_hash(path) != record["id"].partition("-")[0]:
                raise OutputError(
                    f"{path} was changed by hand since weldgen wrote it, and would now be made anew",
                    "move it away, or choose another --out",
                )
            path.unlink()
        self._write_metadata()

    def _write_metadata(self) -> None:
        lines = [json.dumps(self.done[name], ensure_ascii=False) + "\n" for name in sorted(self.done)]
        write_atomic(self.out / METADATA_NAME, "".join(lines))


def link_or_copy(source: Path, target: Path, link: bool) -> None:
    """Put a file under a second name: as a hard link where `link` and the file system allow it, else as a copy."""
    target.unlink(missing_ok=True)
    if link:
        try:
            os.link(source, target)
            return
        except OSError:
            pass  # another file system, or one without hard links: a copy does the same
    shutil.copyfile(source, target)
