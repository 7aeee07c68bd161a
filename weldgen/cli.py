"""The command line: parse, call one function, print. The only importer of typer.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 done but some images failed.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from weldgen import __version__
from weldgen.errors import ConfigError, WeldgenError

EXIT_FAILED, EXIT_USAGE, EXIT_PARTIAL = 1, 2, 3
_OVERRIDE = re.compile(r"^[+~]?[A-Za-z_][\w.\-]*=")

app = typer.Typer(
    name="weldgen",
    help="From a few marked-up weld photos to a classifier a shop floor can trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models_app = typer.Typer(help="Third-party weights and their licences.", no_args_is_help=True)
app.add_typer(models_app, name="models")


@dataclass(frozen=True)
class Common:
    """The options that every command has."""

    config_name: str | None
    seed: int | None
    device: str | None
    jobs: int | None
    quiet: bool
    debug: bool

    @property
    def flags(self) -> dict[str, Any]:
        """Those that are settings of a stage."""
        return {"seed": self.seed, "device": self.device, "jobs": self.jobs}


_COMMON: dict[str, tuple[Any, Any]] = {
    "config_name": (Annotated[str | None, typer.Option(help="Preset: quick_test, production, or a YAML file.")], None),
    "seed": (Annotated[int | None, typer.Option(help="Seed of the run.")], None),
    "device": (Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")], None),
    "jobs": (Annotated[int | None, typer.Option(help="Workers; 0 means all cores.")], None),
    "quiet": (Annotated[bool, typer.Option("--quiet", help="Only warnings and results.")], False),
    "debug": (Annotated[bool, typer.Option("--debug", help="Everything, and tracebacks.")], False),
}


def command(group: typer.Typer, name: str | None = None) -> Callable[[Callable[..., int]], Callable[..., None]]:
    """Register a function as a command: adds the common options, turns errors into one line and an exit code."""

    def register(function: Callable[..., int]) -> Callable[..., None]:
        own = inspect.signature(function, eval_str=True)
        added = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for key, (annotation, default) in _COMMON.items()
        ]
        kept = [parameter for parameter in own.parameters.values() if parameter.name != "common"]

        @functools.wraps(function)
        def run(**given: Any) -> None:
            common = Common(**{key: given.pop(key) for key in _COMMON})
            raise typer.Exit(_guarded(functools.partial(function, common=common, **given), common))

        run.__signature__ = own.replace(  # type: ignore[attr-defined]
            parameters=[*(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in kept), *added],
            return_annotation=None,
        )
        run.__annotations__ = {p.name: p.annotation for p in [*kept, *added]}
        group.command(name)(run)
        return run

    return register


def _guarded(function: Callable[[], int], common: Common) -> int:
    """Run a command; every failure becomes `error:` and `hint:` on standard error."""
    from weldgen.runtime import configure_logging

    configure_logging(quiet=common.quiet, debug=common.debug)
    try:
        return function()
    except WeldgenError as error:
        if common.debug:
            raise
        typer.echo(f"error: {error.message}", err=True)
        if error.hint:
            typer.echo(f"hint: {error.hint}", err=True)
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on where it stopped", err=True)
        return EXIT_FAILED
    except Exception as error:
        if common.debug:
            raise
        typer.echo(f"error: {type(error).__name__}: {error}", err=True)
        typer.echo("hint: this is a fault in weldgen; run again with --debug and report what it prints", err=True)
        return EXIT_FAILED


# --- arguments -----------------------------------------------------------------------------------------------------

Words = Annotated[
    list[str] | None,
    typer.Argument(help="Paths first, then settings as KEY=VALUE.", metavar="[PATH]... [KEY=VALUE]..."),
]
Out = Annotated[Path | None, typer.Option(help="Where the result goes.")]


def _sort_words(words: Sequence[str] | None, names: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """Divide a command's words into its paths, by name, and overrides."""
    overrides = [word for word in words or () if _OVERRIDE.match(word) and not Path(word).exists()]
    paths = [word for word in words or () if word not in overrides]
    if len(paths) > len(names):
        raise ConfigError(
            f"{len(paths)} paths were given ({', '.join(paths)}), at most {len(names)} are accepted: {', '.join(names)}"
        )
    return dict(zip(names, map(Path, paths), strict=False)), overrides


def _run(
    name: str,
    common: Common,
    inputs: Mapping[str, Path],
    overrides: Sequence[str],
    *,
    out: Path | None = None,
    flags: Mapping[str, Any] | None = None,
) -> int:
    """Compose the configuration of a stage, run it, print what it did."""
    from weldgen.config import load_config
    from weldgen.stages import config_class, describe, get_stage, resolved_inputs, run_stage

    stage = get_stage(name)
    config = load_config(
        name,
        config_class(name),
        preset=common.config_name,
        overrides=overrides,
        flags={**common.flags, **(flags or {})},
    )
    summary = run_stage(name, resolved_inputs(name, inputs), out or Path(stage.out), config)
    if not common.quiet:
        for line in describe(summary):
            typer.echo(line)
    return EXIT_PARTIAL if summary.failures else 0


# --- stages --------------------------------------------------------------------------------------------------------


@command(app)
def init(common: Common, directory: Annotated[Path, typer.Argument(help="The new project's folder.")] = Path()) -> int:
    """Make a project folder.

    It holds data/raw/good, data/raw/bad and weldgen.yaml; what exists is left alone.
    """
    from weldgen.project import init_project

    for line in init_project(directory):
        typer.echo(line)
    return 0


@command(app)
def ingest(common: Common, words: Words = None, out: Out = None, format: str | None = None) -> int:
    """Bring a folder of classes into the project.

    weldgen ingest SRC [--out data/raw]
    """
    paths, overrides = _sort_words(words, ["source"])
    if "source" not in paths:
        raise ConfigError("ingest needs the folder to bring in", "weldgen ingest SRC")
    return _run("ingest", common, paths, overrides, out=out, flags={"format": format})


@command(app)
def clean(common: Common, words: Words = None, out: Out = None) -> int:
    """Find writing on photos and take it away.

    weldgen clean [SRC=data/raw] [--out data/clean]
    """
    paths, overrides = _sort_words(words, ["source"])
    return _run("clean", common, paths, overrides, out=out)


@command(app)
def synth(
    common: Common,
    words: Words = None,
    n: Annotated[int | None, typer.Option("--n", help="Number of images.")] = None,
    out: Out = None,
    generator: Annotated[str | None, typer.Option(help="auto, sdxl or render.")] = None,
) -> int:
    """Make synthetic welds.

    weldgen synth [DATASET=data/clean] --n 10000 [--out data/synthetic]
    """
    paths, overrides = _sort_words(words, ["dataset"])
    return _run("synth", common, paths, overrides, out=out, flags={"n": n, "generator": generator})


@command(app)
def mix(
    common: Common,
    words: Words = None,
    out: Out = None,
    real_ratio: Annotated[float | None, typer.Option(help="Share of real photos among the training images.")] = None,
) -> int:
    """Mix real and synthetic images.

    weldgen mix [REAL=data/clean] [SYNTHETIC=data/synthetic] [--out data/mixed] [--real-ratio 0.25]
    """
    paths, overrides = _sort_words(words, ["real", "synthetic"])
    return _run("mix", common, paths, overrides, out=out, flags={"real_ratio": real_ratio})


@command(app)
def train(common: Common, words: Words = None, out: Out = None) -> int:
    """Train the classifier.

    weldgen train [DATASET] [--out models/classifier]. Without DATASET it mixes data/clean and data/synthetic first.
    """
    from weldgen.project import mix_if_parts_exist
    from weldgen.stages import describe

    paths, overrides = _sort_words(words, ["dataset"])
    failed = False
    if "dataset" not in paths:
        mixed = mix_if_parts_exist(preset=common.config_name, flags=common.flags)
        failed = bool(mixed and mixed.failures)
        if mixed and not common.quiet:
            for line in describe(mixed):
                typer.echo(line)
    code = _run("train", common, paths, overrides, out=out)
    return EXIT_PARTIAL if failed else code


@command(app)
def evaluate(
    common: Common,
    words: Words = None,
    data: Annotated[Path | None, typer.Option(help="Dataset to measure on.")] = None,
    split: Annotated[str | None, typer.Option(help="train, val or test.")] = None,
    out: Out = None,
) -> int:
    """Measure a model on real photos.

    weldgen evaluate [MODEL=models/classifier] [--data DATASET] [--split test] [--out models/evaluation]
    """
    from weldgen.project import training_data

    paths, overrides = _sort_words(words, ["model"])
    model = paths.get("model", Path("models/classifier"))
    dataset = data or training_data(model)
    return _run("evaluate", common, {"model": model, "dataset": dataset}, overrides, out=out, flags={"split": split})


@command(app)
def export(
    common: Common,
    words: Words = None,
    out: Annotated[Path | None, typer.Option(help="The file to write.")] = None,
    format: Annotated[str | None, typer.Option(help="onnx, openvino or tensorrt.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 or fp16.")] = None,
) -> int:
    """Write the file that ships.

    weldgen export [MODEL=models/classifier] [--out models/export/classifier.onnx]
    """
    paths, overrides = _sort_words(words, ["model"])
    return _run("export", common, paths, overrides, out=out, flags={"format": format, "precision": precision})


@command(app)
def predict(
    common: Common,
    model: Annotated[Path, typer.Argument(help="An exported .onnx file.")],
    paths: Annotated[list[Path], typer.Argument(help="Photos or folders.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the lines to this file.")] = None,
) -> int:
    """Classify photos with an exported model.

    Prints one JSON object a line: file, label, score, probabilities, abstained.
    """
    from weldgen.runtime import write_atomic
    from weldgen.serving.predict import predict_paths

    lines, failed = [], 0
    for record in predict_paths(model, paths, device=common.device or "auto"):
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


# --- chains --------------------------------------------------------------------------------------------------------


@command(app)
def run(
    common: Common,
    pipeline: Annotated[str, typer.Argument(help="weld, smoke, ..., or a YAML file.")] = "weld",
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[STEP.KEY=VALUE]...")] = None,
    first: Annotated[str | None, typer.Option("--from", help="First step to run.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last step to run.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run.")] = False,
) -> int:
    """Run a chain of stages; what is done is skipped."""
    from weldgen.pipeline import find_pipeline, load_pipeline, plan, run_pipeline, select_steps
    from weldgen.stages import describe

    steps = load_pipeline(
        find_pipeline(pipeline), preset=common.config_name, overrides=overrides or (), flags=common.flags
    )
    steps = select_steps(steps, first, last)
    if dry_run:
        for step, state in plan(steps):
            inputs = ", ".join(map(str, step.inputs.values()))
            typer.echo(f"{step.name}: {inputs} -> {step.out}: {state}")
        return 0

    def tell(summary: Any) -> None:
        for line in describe(summary) if not common.quiet else ():
            typer.echo(line)

    summaries = run_pipeline(steps, tell)
    from weldgen.report.project import write_project_report

    typer.echo(f"report: {write_project_report(Path(), [(step.stage, step.out) for step in steps])}")
    return EXIT_PARTIAL if any(summary.failures for summary in summaries) else 0


@command(app)
def demo(
    common: Common,
    directory: Annotated[Path, typer.Argument(help="Folder of the demo's project.")] = Path("demo"),
) -> int:
    """Show the main job on rendered photos.

    Renders weld photos with marker writing, runs the whole chain on them and writes report.html.
    """
    from weldgen.demo import run_demo
    from weldgen.stages import describe

    def tell(summary: Any) -> None:
        for line in describe(summary):
            typer.echo(line)

    report = run_demo(directory, tell, flags=common.flags)
    typer.echo(f"report: {report}")
    return 0


# --- the machine ---------------------------------------------------------------------------------------------------


@command(app)
def doctor(common: Common) -> int:
    """Say what is installed and what auto takes."""
    from weldgen.doctor import examine

    findings = examine()
    for line in findings.lines:
        typer.echo(line)
    for fault in findings.faults:
        typer.echo(f"fault: {fault}", err=True)
    return EXIT_FAILED if findings.faults else 0


Names = Annotated[list[str], typer.Argument(help="Ids as `weldgen models list` shows them.")]


@command(models_app, "list")
def models_list(common: Common) -> int:
    """List third-party weights: present or not, size, licence, use."""
    from weldgen.weights import WEIGHTS, find

    for weight in WEIGHTS.values():
        state = "present" if find(weight.id) else "missing"
        terms = weight.licence if weight.commercial else f"{weight.licence} (non-commercial)"
        typer.echo(f"{weight.id:18} {state:8} {weight.size_mb:5} MB  {terms:34} {weight.used_by}")
    return 0


@command(models_app, "pull")
def models_pull(
    common: Common, ids: Names, offline: Annotated[bool, typer.Option("--offline", help="Never download.")] = False
) -> int:
    """Download weights into the cache and check their SHA-256."""
    from weldgen.weights import pull

    for weight_id in ids:
        typer.echo(f"{weight_id}: {pull(weight_id, offline=offline)}")
    return 0


@command(models_app, "add")
def models_add(
    common: Common, weight: Annotated[str, typer.Argument(help="Its id.")], file: Annotated[Path, typer.Argument()]
) -> int:
    """Take over a file of weights fetched on another machine."""
    from weldgen.weights import add

    typer.echo(f"{weight}: {add(weight, file)}")
    return 0


@command(models_app, "verify")
def models_verify(common: Common) -> int:
    """Check the SHA-256 of the weights that are here."""
    from weldgen.weights import WEIGHTS, verify

    results = {weight_id: verify(weight_id) for weight_id in WEIGHTS}
    for weight_id, good in results.items():
        typer.echo(f"{weight_id:18} {'missing' if good is None else 'ok' if good else 'WRONG CONTENT'}")
    return EXIT_FAILED if False in results.values() else 0


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"weldgen {__version__}")
        raise typer.Exit()


def main() -> None:
    """Entry point of the `weldgen` command."""
    app()


if __name__ == "__main__":
    main()
