"""Commands about this machine: what is installed, and the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weldgen.cli.frame import EXIT_FAILED, Common, app, command

models_app = typer.Typer(help="Third-party weights and their licences.", no_args_is_help=True)
app.add_typer(models_app, name="models")


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
