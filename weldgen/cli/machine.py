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
    from weldgen import hub_weights
    from weldgen.hub_parts import BUNDLES
    from weldgen.weight_list import WEIGHTS
    from weldgen.weights import find

    for weight in WEIGHTS.values():
        state = "present" if find(weight.id) else "missing"
        terms = weight.licence if weight.commercial else f"{weight.licence} (non-commercial)"
        typer.echo(f"{weight.id:18} {state:8} {weight.size_mb:5} MB  {terms:34} {weight.used_by}")
    for bundle in BUNDLES.values():
        states = {part: "present" if hub_weights.find(part) else "missing" for part in bundle.parts}
        state = "missing" if "missing" in states.values() else "present"
        typer.echo(f"{bundle.id:18} {state:8} {bundle.size_gb:5.1f} GB  {'of several parts':34} {bundle.used_by}")
        for part, state in states.items():
            typer.echo(f"  {part.repository:42} {state:8} {part.size_gb:5.1f} GB  {part.terms}")
    return 0


@command(models_app, "pull")
def models_pull(
    common: Common, ids: Names, offline: Annotated[bool, typer.Option("--offline", help="Never download.")] = False
) -> int:
    """Download weights into the cache and check their SHA-256."""
    from weldgen.hub_parts import BUNDLES
    from weldgen.hub_weights import pull_bundle
    from weldgen.weights import pull

    for weight_id in ids:
        if weight_id in BUNDLES:
            for repository, folder in pull_bundle(weight_id, offline=offline).items():
                typer.echo(f"{repository}: {folder}")
        else:
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
    from weldgen import hub_weights
    from weldgen.hub_parts import BUNDLES, PARTS
    from weldgen.weight_list import WEIGHTS
    from weldgen.weights import verify

    results = {weight_id: verify(weight_id) for weight_id in WEIGHTS}
    for weight_id, good in results.items():
        typer.echo(f"{weight_id:18} {'missing' if good is None else 'ok' if good else 'WRONG CONTENT'}")
    faulty = False in results.values()
    for part in PARTS.values():
        wrong = hub_weights.wrong_files(part)
        if hub_weights.find(part) is None:
            verdict = "missing"
        elif wrong is None:
            bundle = next(bundle for bundle in BUNDLES.values() if part in bundle.parts)
            verdict = f"never checked; weldgen models pull {bundle.id} checks it"
        else:
            verdict = f"WRONG CONTENT: {', '.join(map(str, wrong))}" if wrong else "ok"
        faulty = faulty or bool(wrong)
        typer.echo(f"{part.repository:42} {verdict}")
    return EXIT_FAILED if faulty else 0
