"""The frame of all commands: the common options, errors as one line and an exit code, words into paths and settings."""

from __future__ import annotations

import functools
import inspect
import os
import re
import select
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from weldgen import __version__
from weldgen.errors import ConfigError, TargetError, WeldgenError

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
    "config_name": (Annotated[str | None, typer.Option(help="Preset, e.g. quick_test, or a YAML file.")], None),
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
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return EXIT_FAILED
        if common.debug:
            raise
        typer.echo(f"error: {type(error).__name__}: {error}", err=True)
        typer.echo("hint: this is a fault in weldgen; run again with --debug and report what it prints", err=True)
        return EXIT_FAILED


def _nobody_reads() -> bool:
    """Whether who read the output, such as `head`, has seen enough; then what is left of it goes nowhere."""
    try:
        poll, output = select.poll(), sys.stdout.fileno()
    except (AttributeError, OSError):  # Windows; a program that calls us and takes the output itself
        return False
    poll.register(output, select.POLLOUT)
    closed = any(event & select.POLLERR for _, event in poll.poll(0))
    if closed:  # Python flushes once more at its end, and would complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return closed


Words = Annotated[
    list[str] | None,
    typer.Argument(help="Paths first, then settings as KEY=VALUE.", metavar="[PATH]... [KEY=VALUE]..."),
]
Out = Annotated[Path | None, typer.Option(help="Where the result goes.")]


def sort_words(words: Sequence[str] | None, names: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """Divide a command's words into its paths, by name, and overrides."""
    overrides = [word for word in words or () if _OVERRIDE.match(word) and not Path(word).exists()]
    paths = [word for word in words or () if word not in overrides]
    if len(paths) > len(names):
        raise ConfigError(
            f"{len(paths)} paths were given ({', '.join(paths)}), at most {len(names)} are accepted: {', '.join(names)}"
        )
    return dict(zip(names, map(Path, paths), strict=False)), overrides


def run_configured(
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
    if summary.unmet:
        raise TargetError(summary.unmet)
    return EXIT_PARTIAL if summary.failures else 0


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"weldgen {__version__}")
        raise typer.Exit()
