"""The command line: parse, call one function, print. The only importer of typer.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 done but some images failed.
"""

from weldgen.cli import stages, studies, serving, chains, machine  # noqa: I001  the order that --help shows
from weldgen.cli.frame import app

__all__ = ["app", "chains", "machine", "main", "serving", "stages", "studies"]


def main() -> None:
    """Entry point of the `weldgen` command."""
    app()
