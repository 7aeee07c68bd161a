"""An exported classifier as an HTTP service: photos in, JSON out, with limits and metrics."""

# No `from __future__ import annotations` here: FastAPI evaluates the annotations of the handlers, and their types are
# imported inside a function, so that nothing of this loads for `--help`.

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from weldgen import __version__
from weldgen.data.images import RGB, decode_photo
from weldgen.errors import ConfigError, WeldgenError
from weldgen.runtime import cpu_count
from weldgen.serving.shared import SharedClassifier, listen, require

if TYPE_CHECKING:
    from fastapi import FastAPI

_PAGE = Path(__file__).with_name("upload.html")
_FIELD = "files"
_ROUTES = ("/", "/health", "/model", "/predict", "/metrics")
# Headers and boundaries of a multipart body, for each file.
_OVERHEAD_BYTES = 4096
# Metadata that /model shows by itself, and the long list of all training photos, of no use to a caller.
_UNSHOWN_METADATA = ("classes", "threshold", "operating", "licences", "warnings", "seen")

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Scope]]
_Send = Callable[[_Scope], Awaitable[None]]


def create_app(
    model: Path,
    *,
    device: str = "auto",
    max_upload_mb: int = 20,
    max_batch: int = 32,
    tta: int = 0,
    locator: Path | None = None,
) -> "FastAPI":
    """Make the service; any ASGI server can run it.

    Args:
        model: The exported `.onnx` file, or OpenVINO's `.xml`.
        device: `auto`, `cpu` or `cuda`.
        max_upload_mb: Largest photo that is accepted.
        max_batch: Most photos that one request may hold.
        tta: Views of each photo, 1 to 12; 0: as the model says.
        locator: What `weldgen locator` wrote, to cut the weld out of each photo; None: whole photos.

    Raises:
        BackendError: A library of the extra `serve`, the file or its runtime is missing.
        ConfigError: A limit is not positive, or a wrong number of views.
        DataError: The file was not exported by weldgen.
    """
    require("serve", ("fastapi", "uvicorn", "python_multipart", "prometheus_client"))
    if max_upload_mb < 1 or max_batch < 1:
        raise ConfigError(f"max_upload_mb={max_upload_mb} and max_batch={max_batch} must be at least 1")
    from fastapi import FastAPI, Request, Response
    from fastapi.responses import HTMLResponse, JSONResponse
    from prometheus_client import CONTENT_TYPE_LATEST

    classifier = SharedClassifier(model, device, tta, locator)
    metrics = _Metrics(classifier.inference.classes)
    # Each worker holds one request's decoded photos; further requests wait as files.
    workers = ThreadPoolExecutor(max(2, cpu_count()), thread_name_prefix="predict")

    async def predict(request: Request) -> JSONResponse:
        async with _form(request, max_upload_mb, max_batch) as uploads:
            decoders = [(name, partial(_decode, name, file)) for name, file in uploads]
            records = await asyncio.get_running_loop().run_in_executor(workers, classifier.classify, decoders)
        metrics.count(records)
        if len(records) == 1 and "error" in records[0]:
            return JSONResponse({"detail": records[0]["error"]}, 422)
        return JSONResponse(records)

    async def broken(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 500)

    # The pages for trying an API out load scripts from elsewhere, which a shop floor does not reach.
    app = FastAPI(title="weldgen", version=__version__, docs_url=None, redoc_url=None)
    app.add_middleware(_Meter, metrics=metrics)
    app.add_exception_handler(WeldgenError, broken)
    page = _PAGE.read_text(encoding="utf-8")
    described = _describe(classifier)
    app.add_api_route("/", lambda: HTMLResponse(page), include_in_schema=False)
    app.add_api_route("/health", lambda: {"status": "ok", "model": model.name}, summary="Whether it is up")
    app.add_api_route("/model", lambda: described, summary="Classes, how it decides, licences")
    app.add_api_route("/predict", predict, methods=["POST"], summary="Classify photos", openapi_extra=_BODY)
    app.add_api_route(
        "/metrics", lambda: Response(metrics.text(), media_type=CONTENT_TYPE_LATEST), summary="For Prometheus"
    )
    return app


def serve(  # noqa: PLR0913 - what the command line asks for, by name
    model: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    device: str = "auto",
    max_upload_mb: int = 20,
    max_batch: int = 32,
    tta: int = 0,
    locator: Path | None = None,
) -> None:
    """Run the service until it is interrupted; see `create_app`.

    Raises:
        BackendError: A library, the file or its runtime is missing, or the port is taken.
        ConfigError: A limit is not positive.
        DataError: The file was not exported by weldgen.
    """
    limits = {"max_upload_mb": max_upload_mb, "max_batch": max_batch}
    app = create_app(model, device=device, tta=tta, locator=locator, **limits)
    listen(app, host, port)


# --- uploads -------------------------------------------------------------------------------------------------------

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [_FIELD],
                    "properties": {_FIELD: {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            }
        },
    }
}


@asynccontextmanager
async def _form(request: Any, max_upload_mb: int, max_batch: int) -> AsyncIterator[list[tuple[str, BinaryIO]]]:
    """Names and files of an upload, after all limits were checked; the files are closed afterwards.

    Raises:
        HTTPException: 413 where it is too much, 422 where there is no photo.
    """
    from fastapi import HTTPException, Request
    from starlette.datastructures import UploadFile

    limit_bytes = max_upload_mb * 2**20
    body_bytes = max_batch * (limit_bytes + _OVERHEAD_BYTES)
    too_much = HTTPException(413, f"the request is above {max_batch} photos of {max_upload_mb} MB")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > body_bytes:
        raise too_much
    async with Request(request.scope, _bounded(request.receive, body_bytes, too_much)).form() as form:
        uploads = [value for value in form.getlist(_FIELD) if isinstance(value, UploadFile) and value.filename]
        if not uploads:
            raise HTTPException(422, f"no photo: send one or more as files of the multipart field '{_FIELD}'")
        if len(uploads) > max_batch:
            raise HTTPException(413, f"{len(uploads)} photos; at most {max_batch} a request are accepted")
        for upload in uploads:
            if upload.size is None or upload.size > limit_bytes:
                raise HTTPException(413, f"{upload.filename} is larger than {max_upload_mb} MB")
        yield [(upload.filename or "", upload.file) for upload in uploads]


def _bounded(receive: _Receive, limit_bytes: int, error: Exception) -> _Receive:
    """Stop reading a body without a true length at the limit, not when the disk is full."""
    received = 0

    async def counted() -> _Scope:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit_bytes:
            raise error
        return message

    return counted


def _decode(name: str, file: BinaryIO) -> RGB:
    return decode_photo(file.read(), name).pixels


def _describe(classifier: SharedClassifier) -> dict[str, Any]:
    metadata = classifier.inference.metadata
    return {
        "file": classifier.model.name,
        "classes": classifier.inference.classes,
        "threshold": classifier.inference.threshold,
        "decision": classifier.inference.decision.record(),
        "decides": classifier.inference.decision.sentences(),
        "views": classifier.inference.tta,
        "licences": json.loads(metadata.get("licences", "{}")),
        "warnings": classifier.inference.warnings,
        "metadata": {key: text for key, text in metadata.items() if key not in _UNSHOWN_METADATA},
    }


# --- metrics -------------------------------------------------------------------------------------------------------


class _Metrics:
    """Counters of one application, in a registry of its own: two of them in one process do not clash."""

    def __init__(self, classes: Sequence[str]) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, CPU time, open files
        self._requests = Counter("weldgen_requests", "HTTP requests", ["route", "status"], registry=registry)
        self._seconds = Histogram("weldgen_request_seconds", "Time of HTTP requests", ["route"], registry=registry)
        self._predictions = Counter("weldgen_predictions", "Photos by predicted class", ["label"], registry=registry)
        self._abstentions = Counter("weldgen_abstentions", "Photos that a person should look at", registry=registry)
        self._unreadable = Counter("weldgen_unreadable_photos", "Photos that cannot be read", registry=registry)
        for name in classes:  # so that they are there, as 0, from the start
            self._predictions.labels(name)

    def request(self, path: str, status: int, seconds: float) -> None:
        route = path if path in _ROUTES else "other"  # anything may be asked for, and each label is kept
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count(self, records: Sequence[dict[str, Any]]) -> None:
        for record in records:
            if "error" in record:
                self._unreadable.inc()
                continue
            self._predictions.labels(record["label"]).inc()
            if record["abstained"]:
                self._abstentions.inc()

    def text(self) -> bytes:
        from prometheus_client import generate_latest

        return bytes(generate_latest(self._registry))


class _Meter:
    """ASGI middleware: counts and times each request."""

    def __init__(self, app: Callable[[_Scope, _Receive, _Send], Awaitable[None]], metrics: _Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500  # unless an answer begins
        started = time.perf_counter()

        async def noted(message: _Scope) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            self._metrics.request(scope["path"], status, time.perf_counter() - started)
