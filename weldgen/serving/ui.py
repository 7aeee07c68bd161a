"""An exported classifier in the browser: drop a photo or a folder, see the classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weldgen.data.images import RGB, SUFFIXES, decode_photo, is_image_name
from weldgen.serving.shared import SharedClassifier, listen, require

if TYPE_CHECKING:
    from fastapi import FastAPI
    from gradio import Blocks

_TITLE = "weldgen"
_HEADERS = ("photo", "class", "score", "abstained", "all classes, or what is wrong")
_PREVIEW_SIDE_PX = 1024
# Copies of uploads are removed after a day; looked for every hour.
_KEEP_UPLOADS_S = (3600, 86400)
# Fonts that each system has: the default ones would be loaded from elsewhere.
_FONTS = ("system-ui", "sans-serif")
_MONOSPACE_FONTS = ("ui-monospace", "monospace")


def create_ui(model: Path, *, device: str = "auto", locator: Path | None = None) -> Blocks:
    """Make the page.

    Args:
        model: The exported `.onnx` file, or OpenVINO's `.xml`.
        device: `auto`, `cpu` or `cuda`.
        locator: What `weldgen locator` wrote, to cut the weld out of each photo; None: whole photos.

    Raises:
        BackendError: Gradio, the file or its runtime is missing.
        DataError: The file was not exported by weldgen.
    """
    require("ui", ("gradio", "uvicorn"))
    # Before the import: Gradio reads it then. Nothing is sent anywhere.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr

    classifier = SharedClassifier(model, device, locator=locator)
    names = list(SUFFIXES)
    page: Blocks = gr.Blocks(title=_TITLE, analytics_enabled=False, delete_cache=_KEEP_UPLOADS_S)
    with page:
        gr.Markdown(_heading(classifier))
        with gr.Tab("One photo"), gr.Row():
            with gr.Column():
                photo = gr.File(label="Drop a photo here", file_types=names, type="filepath")
                preview = gr.Image(label="As the network sees it, upright", interactive=False, format="jpeg")
            with gr.Column():
                verdict = gr.Markdown()
                label = gr.Label(label="Probabilities")
            photo.change(partial(_show_one, classifier), photo, [preview, verdict, label], api_name="photo")
        with gr.Tab("Many photos"):
            with gr.Row():
                photos = gr.File(label="Drop photos here", file_count="multiple", file_types=names, type="filepath")
                folder = gr.File(label="Or choose a folder", file_count="directory", type="filepath")
            summary = gr.Markdown()
            table = gr.Dataframe(headers=list(_HEADERS), interactive=False, wrap=True, type="array")
            for source, name in ((photos, "photos"), (folder, "folder")):
                source.change(partial(_show_many, classifier), source, [summary, table], api_name=name)
    return page


def create_ui_app(
    model: Path, *, device: str = "auto", max_upload_mb: int = 20, locator: Path | None = None
) -> FastAPI:
    """The page as an ASGI application; see `create_ui`.

    Args:
        model: The exported file.
        device: `auto`, `cpu` or `cuda`.
        max_upload_mb: Largest photo that is accepted.
        locator: What `weldgen locator` wrote, to cut the weld out of each photo; None: whole photos.
    """
    page = create_ui(model, device=device, locator=locator)
    import gradio as gr
    from fastapi import FastAPI

    app: FastAPI = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None),
        page,
        path="/",
        theme=gr.themes.Base(font=_FONTS, font_mono=_MONOSPACE_FONTS),
        max_file_size=max_upload_mb * 2**20,
        ssr_mode=False,
        pwa=False,
        footer_links=[],
    )
    return app


def launch(
    model: Path,
    host: str = "127.0.0.1",
    port: int = 7860,
    *,
    device: str = "auto",
    max_upload_mb: int = 20,
    locator: Path | None = None,
) -> None:
    """Show the page until it is interrupted; it is never shared beyond `host`.

    Raises:
        BackendError: Gradio, the file or its runtime is missing, or the port is taken.
        DataError: The file was not exported by weldgen.
    """
    listen(create_ui_app(model, device=device, max_upload_mb=max_upload_mb, locator=locator), host, port)


def _heading(classifier: SharedClassifier) -> str:
    inference = classifier.inference
    decides = f"Its rule: {', '.join(inference.decision.sentences())}." if inference.decision.sentences() else ""
    abstains = decides or "It never abstains."
    known = f"# Classify photos\n`{classifier.model.name}` knows {', '.join(inference.classes)}. {abstains}"
    return "\n\n".join([known, *(f"**Warning:** {warning}." for warning in inference.warnings)])


def _show_one(classifier: SharedClassifier, file: str | None) -> tuple[RGB | None, str, dict[str, float] | None]:
    """Preview, sentence and probabilities of one photo; all empty without a photo."""
    if file is None:
        return None, "", None
    shown: list[RGB] = []

    def decode() -> RGB:
        shown.append(_read(Path(file)))
        return shown[0]

    (record,) = classifier.classify([(Path(file).name, decode)])
    if "error" in record:
        return None, f"### Cannot be read\n{record['error']}", None
    return _small(shown[0]), _sentence(record, classifier.inference.threshold), record["probabilities"]


def _sentence(record: dict[str, Any], threshold: float) -> str:
    if record.get("located", record) is None:
        return f"### No weld was found\nOf the whole photo it would say {record['label']}. Please look yourself."
    if record["abstained"]:
        below = record["score"] < threshold
        why = f"{record['score']:.3f} is below the threshold of {threshold:g}" if below else "it is near the threshold"
        return f"### Not sure\nMost likely {record['label']}, but {why}. Please look yourself."
    return f"### {record['label']}\nProbability {record['score']:.3f}"


def _show_many(classifier: SharedClassifier, files: Sequence[str] | None) -> tuple[str, list[list[Any]]]:
    """Counts and table of photos; other files of a folder are counted and left out."""
    paths = [Path(file) for file in files or ()]
    photos = [path for path in paths if is_image_name(path)]
    records = classifier.classify([(path.name, partial(_read, path)) for path in photos])
    return _counts(records, len(paths) - len(photos)), [_row(record) for record in records]


def _counts(records: Sequence[dict[str, Any]], others: int) -> str:
    labels = [record["label"] for record in records if "label" in record and not record["abstained"]]
    parts = [f"{labels.count(name)} {name}" for name in sorted(set(labels))]
    unsure = sum(bool(record.get("abstained")) for record in records)
    failed = sum("error" in record for record in records)
    parts += [f"{unsure} not sure"] if unsure else []
    parts += [f"{failed} cannot be read"] if failed else []
    parts += [f"{others} other files left out"] if others else []
    return f"{len(records)} photos: {', '.join(parts)}" if records or others else ""


def _read(file: Path) -> RGB:
    """The photo; errors do not show where Gradio keeps it."""
    return decode_photo(file.read_bytes(), file.name).pixels


def _row(record: dict[str, Any]) -> list[Any]:
    if "error" in record:
        return [record["file"], "", None, "", record["error"]]
    chances = ", ".join(f"{name} {value:.3f}" for name, value in record["probabilities"].items())
    return [record["file"], record["label"], round(record["score"], 4), "yes" if record["abstained"] else "", chances]


def _small(image: RGB) -> RGB:
    """A preview that does not send 20 megapixels to the browser."""
    step = -(-max(image.shape[:2]) // _PREVIEW_SIDE_PX)
    return image[::step, ::step]
