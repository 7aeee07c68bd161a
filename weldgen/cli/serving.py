"""Commands that use an exported model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from weldgen.cli.frame import EXIT_PARTIAL, Common, app, command
from weldgen.errors import ConfigError

Model = Annotated[Path, typer.Argument(help="An exported .onnx file.")]
EXPORTED = Path("models/export/classifier.onnx")
Tta = Annotated[int, typer.Option(help="Views of each photo that vote, 1 to 12; 0: as the threshold was chosen with.")]
LocatorOption = Annotated[Path | None, typer.Option(help="What weldgen locator wrote: judge the weld it cuts out.")]
Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")]


@command(app)
def predict(
    common: Common,
    model: Annotated[Path, typer.Argument(help="An exported .onnx file.")],
    paths: Annotated[list[Path], typer.Argument(help="Photos or folders.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the lines to this file.")] = None,
    ray: Annotated[str | None, typer.Option(help="Work on a Ray cluster: its address, or `local`.")] = None,
    tta: Tta = 0,
    locator: LocatorOption = None,
) -> int:
    """Classify photos with an exported model.

    Prints one JSON object a line: file, label, score, probabilities, abstained; decided_by where a threshold decides,
    located where a locator cuts the weld out.
    """
    from weldgen.runtime import write_atomic
    from weldgen.serving.many import predict_on_ray
    from weldgen.serving.predict import predict_paths

    device = common.device or "auto"
    if ray is None:
        records = predict_paths(model, paths, device=device, tta=tta, locator=locator)
    else:
        address = None if ray == "local" else ray
        records = predict_on_ray(model, paths, address=address, device=device, tta=tta, locator=locator)
    lines, failed = [], 0
    for record in records:
        failed += "error" in record
        line = json.dumps(record, ensure_ascii=False)
        if json_file is None:
            typer.echo(line)
        lines.append(line + "\n")
    if json_file is not None:
        write_atomic(json_file, "".join(lines))
        if not common.quiet:
            typer.echo(f"predict: {len(lines) - failed} photos -> {json_file}")
    if failed:
        typer.echo(f"{failed} files could not be read; their lines hold the reason", err=True)
    return EXIT_PARTIAL if failed else 0


@command(app)
def bench(
    common: Common,
    model: Model = EXPORTED,
    batch: Annotated[list[int] | None, typer.Option(help="Photos at once; may be given several times.")] = None,
    size: Annotated[str | None, typer.Option(help="Size of the photos, as WIDTHxHEIGHT.")] = None,
    runs: Annotated[int, typer.Option(help="Timed runs of each row.")] = 30,
    photos: Annotated[Path | None, typer.Option(help="Photos or a folder: also time predict on them.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> int:
    """Time an exported model on each runtime of this machine."""
    from weldgen.runtime import write_atomic
    from weldgen.serving.bench import BenchConfig
    from weldgen.serving.bench import bench as measure

    config = BenchConfig(
        batch_sizes=tuple(batch or BenchConfig.batch_sizes),
        size_px=_size(size),
        runs=runs,
        threads=common.jobs or 0,
        device=common.device or "auto",
        photos=photos,
    )
    report = measure(model, config)
    for line in report.lines():
        typer.echo(line)
    if json_file is not None:
        write_atomic(json_file, json.dumps(report.as_dict(), indent=1) + "\n")
    return 0


@command(app)
def serve(
    common: Common,
    model: Model = EXPORTED,
    host: Host = "127.0.0.1",
    port: int = 8000,
    tta: Tta = 0,
    locator: LocatorOption = None,
) -> int:
    """Answer requests over HTTP: photos in, classes out."""
    from weldgen.serving.api import serve as listen

    listen(model, host, port, device=common.device or "auto", tta=tta, locator=locator)
    return 0


@command(app)
def ui(
    common: Common,
    model: Model = EXPORTED,
    host: Host = "127.0.0.1",
    port: int = 7860,
    locator: LocatorOption = None,
) -> int:
    """Show a page on which photos are dropped and classified."""
    from weldgen.serving.ui import launch

    launch(model, host, port, device=common.device or "auto", locator=locator)
    return 0


def _size(text: str | None) -> tuple[int, int] | None:
    """`WIDTHxHEIGHT` as numbers."""
    if text is None:
        return None
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise ConfigError(f"--size '{text}' is no size; accepted: WIDTHxHEIGHT, e.g. 1500x1000")
    return int(width), int(height)
