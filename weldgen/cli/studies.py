"""Commands that look at a project from above: comparisons, searches, reviews."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weldgen.cli.frame import EXIT_PARTIAL, Common, Out, Words, app, command, run_configured, sort_words
from weldgen.errors import ConfigError


@command(app)
def compare(
    common: Common,
    words: Words = None,
    sweep: Annotated[
        str, typer.Option(help="What is varied, as KEY=V1,V2,...; keys of mix and train. [default: mix.real_ratio]")
    ] = "",
    row: Annotated[
        list[str] | None,
        typer.Option(help="Several settings, as 'NAME: [preset=NAME] key=value ...' or a YAML file; may be repeated."),
    ] = None,
    repeats: Annotated[int, typer.Option(help="Trainings of each value, with other seeds.")] = 1,
    parallel: Annotated[str, typer.Option(help="Trainings side by side; auto is one for each GPU.")] = "auto",
    timing: Annotated[bool, typer.Option(help="Export a model of each value; measure its file and its speed.")] = True,
    claims: Annotated[str, typer.Option(help="Show what others claim for a task, e.g. rust, beside the results.")] = "",
    out: Out = None,
) -> int:
    """Train with several settings and say which difference the test photos can show.

    weldgen compare [REAL=data/clean] [SYNTHETIC=data/synthetic] --sweep mix.real_ratio=1,0.5,0.25
    [--out models/comparison]; or --row 'fast: train.training.epochs=5' --row 'tiny: preset=tiny_data'
    """
    from weldgen.classifier.compare import compare as run_comparison
    from weldgen.classifier.compare import compare_config
    from weldgen.report.stage import write_stage_report
    from weldgen.stages import describe

    paths, overrides = sort_words(words, ["real", "synthetic"])
    config = compare_config(
        sweep,
        row or (),
        settings={"repeats": repeats, "parallel": parallel, "timing": timing, "claims": claims},
        preset=common.config_name,
        overrides=overrides,
        flags=common.flags,
    )
    target = out or Path("models/comparison")
    summary = run_comparison(
        paths.get("real", Path("data/clean")), paths.get("synthetic", Path("data/synthetic")), target, config
    )
    if not summary.skipped:
        write_stage_report("compare", target)
    for line in describe(summary) if not common.quiet else ():
        typer.echo(line)
    return EXIT_PARTIAL if summary.failures else 0


@command(app)
def ensemble(common: Common, words: Words = None, out: Out = None) -> int:
    """Put several trained models into one, whose probabilities are the mean of theirs.

    weldgen ensemble MODEL MODEL... [--out models/ensemble], then weldgen evaluate models/ensemble
    """
    from weldgen.classifier.ensemble import ensemble as put_together
    from weldgen.config import StageConfig
    from weldgen.stages import describe

    models = list(words or ())
    settings = [word for word in models if "=" in word and not Path(word).exists()]
    if settings:
        raise ConfigError(f"ensemble takes no settings, got {', '.join(settings)}", "weldgen ensemble MODEL MODEL...")
    own = {name: value for name, value in common.flags.items() if value is not None}
    summary = put_together([Path(model) for model in models], out or Path("models/ensemble"), StageConfig(**own))
    for line in describe(summary) if not common.quiet else ():
        typer.echo(line)
    return 0


@command(app)
def pretrain(common: Common, words: Words = None, out: Out = None) -> int:
    """Warm the backbone up on the training images without their labels.

    weldgen pretrain [DATASET=data/clean] [SYNTHETIC=data/synthetic] [--out models/pretrained], then weldgen train
    model.weights=models/pretrained. SYNTHETIC joins where it exists.
    """
    paths, overrides = sort_words(words, ["dataset", "synthetic"])
    return run_configured("pretrain", common, paths, overrides, out=out)


@command(app)
def tune(
    common: Common,
    words: Words = None,
    trials: Annotated[int | None, typer.Option(help="Trainings; 20 unless given.")] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(help="What is searched: KEY=LOW..HIGH[:log], KEY=V1,V2,... or a YAML file; may be repeated."),
    ] = None,
    pruner: Annotated[str | None, typer.Option(help="How bad trials are cut short: median, asha or none.")] = None,
    startup: Annotated[int | None, typer.Option(help="Trials drawn at random before the search learns.")] = None,
    out: Out = None,
) -> int:
    """Search for better training settings, judged on the real validation photos.

    weldgen tune [REAL=data/clean] [SYNTHETIC=data/synthetic] [--trials 20] [--out models/tuning], then weldgen train
    --config-name models/tuning/best.yaml
    """
    from weldgen.classifier.tune import tune as run_search
    from weldgen.classifier.tune import tune_config
    from weldgen.report.stage import write_stage_report
    from weldgen.stages import describe

    paths, overrides = sort_words(words, ["real", "synthetic"])
    config = tune_config(
        space or (),
        settings={"trials": trials, "startup": startup, "pruner": pruner},
        preset=common.config_name,
        overrides=overrides,
        flags=common.flags,
    )
    target = out or Path("models/tuning")
    summary = run_search(
        paths.get("real", Path("data/clean")), paths.get("synthetic", Path("data/synthetic")), target, config
    )
    if not summary.skipped:
        write_stage_report("tune", target)
    for line in describe(summary) if not common.quiet else ():
        typer.echo(line)
    return EXIT_PARTIAL if summary.failures else 0


@command(app)
def review(
    common: Common,
    words: Words = None,
    model: Annotated[Path | None, typer.Option(help="Trained classifier whose backbone looks at the photos.")] = None,
    apply: Annotated[Path | None, typer.Option(help="decisions.json: write the dataset with corrected labels.")] = None,
    out: Out = None,
) -> int:
    """Find labels that are probably wrong, and correct them.

    weldgen review [DATASET=data/clean] [--out data/review] writes review.html, a page to decide on; then
    weldgen review --apply decisions.json [--out data/reviewed]
    """
    from weldgen.stages import describe, get_stage

    paths, overrides = sort_words(words, ["dataset"])
    if apply is None:
        flags = {"model.trained": str(model) if model else None}
        code = run_configured("review", common, paths, overrides, out=out, flags=flags)
        typer.echo(f"page: {(out or Path(get_stage('review').out)) / 'review.html'}")
        return code
    from weldgen.classifier.relabel import relabel
    from weldgen.config import StageConfig

    if overrides or model:
        raise ConfigError(
            f"--apply takes no settings, got {', '.join([*overrides, *([f'--model {model}'] if model else [])])}",
            "weldgen review --apply decisions.json [DATASET] [--out data/reviewed]",
        )
    own = {name: value for name, value in common.flags.items() if value is not None}
    summary = relabel(apply, paths.get("dataset"), out or Path("data/reviewed"), StageConfig(**own))
    for line in describe(summary) if not common.quiet else ():
        typer.echo(line)
    return EXIT_PARTIAL if summary.failures else 0
