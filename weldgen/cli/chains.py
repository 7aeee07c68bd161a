"""Commands that run a chain of stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weldgen.cli.frame import EXIT_PARTIAL, Common, app, command
from weldgen.errors import TargetError

if TYPE_CHECKING:
    from weldgen.pipeline import Step


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

    try:
        summaries = run_pipeline(steps, tell)
    except TargetError:
        _report(steps)  # it shows what was missed
        raise
    _report(steps)
    return EXIT_PARTIAL if any(summary.failures for summary in summaries) else 0


def _report(steps: Sequence[Step]) -> None:
    from weldgen.report.project import write_project_report

    typer.echo(f"report: {write_project_report(Path(), [(step.stage, step.out) for step in steps])}")


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
