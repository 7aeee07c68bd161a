"""What the HTTP service and the browser page share: one classifier for many callers, and the socket."""

from __future__ import annotations

import importlib.util
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from weldgen.data.images import RGB
from weldgen.errors import BackendError, DataError
from weldgen.runtime import log
from weldgen.serving.predict import classified
from weldgen.serving.predictor import WeldClassifierInference

# What one caller keeps decoded at a time: eight photos of 8 megapixels, or a single larger one, 0.2 GB as RGB.
_CHUNK_PHOTOS = 8
_CHUNK_PIXELS = 64_000_000


class SharedClassifier:
    """An exported classifier that several threads may ask at once.

    Photos are decoded in the caller's thread; the network serves one caller after the other, because a compiled
    network has one set of buffers and uses all cores anyway.

    Args:
        model: The exported `.onnx` file, or OpenVINO's `.xml`.
        device: `auto`, `cpu` or `cuda`.
        tta: Views of each photo, 1 to 12; 0: as the model says.
        locator: What `weldgen locator` wrote, to cut the weld out of each photo; None: whole photos.

    Attributes:
        model: The exported file.
        inference: The classifier; only `classify` asks it.

    Raises:
        BackendError: The file or its runtime is missing.
        DataError: The file was not exported by weldgen.
    """

    def __init__(self, model: Path, device: str = "auto", tta: int = 0, locator: Path | None = None) -> None:
        self.model = model
        self.inference = WeldClassifierInference(model, device, tta=tta, locator=locator)
        self._lock = threading.Lock()

    def classify(self, photos: Iterable[tuple[str, Callable[[], RGB]]]) -> list[dict[str, Any]]:
        """Classify photos, in order.

        Args:
            photos: What each photo is called, and what decodes it.

        Returns:
            A record a photo, as `predict_paths` gives them: the answer, or `{"file", "error"}` for one that cannot be
            read.
        """
        records: list[dict[str, Any]] = []
        waiting: list[tuple[dict[str, Any], RGB]] = []
        pixels = 0
        for name, decode in photos:
            records.append({"file": name})
            try:
                image = decode()
            except DataError as error:
                records[-1]["error"] = error.message
                continue
            waiting.append((records[-1], image))
            pixels += image.shape[0] * image.shape[1]
            if len(waiting) == _CHUNK_PHOTOS or pixels >= _CHUNK_PIXELS:
                self._complete(waiting)
                waiting, pixels = [], 0
        self._complete(waiting)
        return records

    def _complete(self, waiting: Sequence[tuple[dict[str, Any], RGB]]) -> None:
        with self._lock:
            found = self.inference.predict_batch([image for _, image in waiting])
        for (record, _), answer in zip(waiting, found, strict=True):
            record.update(classified(record["file"], answer))


def require(extra: str, modules: Sequence[str]) -> None:
    """Check that the modules of an extra are installed.

    Raises:
        BackendError: At least one is not.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise BackendError(f"not installed: {', '.join(missing)}", f"pip install 'weldgen[{extra}]'")


def listen(app: Any, host: str, port: int) -> None:
    """Run an ASGI application until it is interrupted.

    Args:
        app: The application.
        host: Address to listen on; `127.0.0.1` is this machine alone, `0.0.0.0` everyone who reaches it.
        port: TCP port, 0 for any free one.

    Raises:
        BackendError: The port is taken or the address is not this machine's.
    """
    import uvicorn

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        server = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise BackendError(
            f"cannot listen on {host}, port {port}: {error}", "choose another --port or --host"
        ) from error
    with server:
        shown = f"[{host}]" if ":" in host else host
        log.info("listening on http://%s:%d; stop it with Ctrl+C", shown, server.getsockname()[1])
        uvicorn.Server(uvicorn.Config(app, server_header=False)).run(sockets=[server])
