"""Commands that look at a project from above: comparisons, searches, reviews."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weldgen.cli.frame import EXIT_PARTIAL, Common, Out, Words, app, command, run_configured, sort_words


@command(app)
def compare(
    common: Common,
    words: Words = None,
    sweep: Annotated[str, typer.Option(help="What is varied, as KEY=V1,V2,...; keys of mix and train.")] = (
        "mix.real_ratio=1,0.75,0.5,0.25,0.1"
    ),
    repeats: Annotated[int, typer.Option(help="Trainings of each value, with other seeds.")] = 1,
    out: Out = None,
) -> int:
    """Train with several settings and say which difference the test photos can show.

    weldgen compare [REAL=data/clean] [SYNTHETIC=data/synthetic] --sweep mix.real_ratio=1,0.5,0.25
    [--out models/comparison]
    """
    from weldgen.classifier.compare import compare as run_comparison
    from weldgen.classifier.compare import compare_config
    from weldgen.stages import describe

    paths, overrides = sort_words(words, ["real", "synthetic"])
    config = compare_config(sweep, repeats=repeats, preset=common.config_name, overrides=overrides, flags=common.flags)
    summary = run_comparison(
        paths.get("real", Path("data/clean")),
        paths.get("synthetic", Path("data/synthetic")),
        out or Path("models/comparison"),
        config,
    )
    for line in describe(summary) if not common.quiet else ():
        typer.echo(line)
    return EXIT_PARTIAL if summary.failures else 0


@command(app)
def pretrain(common: Common, words: Words = None, out: Out = None) -> int:
    """Warm the backbone up on the training images without their labels.

    weldgen pretrain [DATASET=data/clean] [SYNTHETIC=data/synthetic] [--out models/pretrained], then weldgen train
    model.weights=models/pretrained. SYNTHETIC joins where it exists.
    """
    paths, overrides = sort_words(words, ["dataset", "synthetic"])
    return run_configured("pretrain", common, paths, overrides, out=out)
