"""Commands that run one stage each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weldgen.cli.frame import EXIT_PARTIAL, Common, Out, Words, app, command, run_configured, sort_words
from weldgen.errors import ConfigError, TargetError

if TYPE_CHECKING:
    from weldgen.receipts import Summary

# Where photos from object storage are kept.
INCOMING = Path("data/incoming")


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
def ingest(
    common: Common,
    words: Words = None,
    out: Out = None,
    format: Annotated[str | None, typer.Option(help="auto, folder, yolo, coco or csv.")] = None,
    mode: Annotated[str | None, typer.Option(help="presence: whole photos; crops: a photo of each box.")] = None,
) -> int:
    """Bring photos into the project: a folder of classes, or photos with YOLO, COCO or CSV annotations.

    weldgen ingest SRC [--out data/raw] [--format auto|folder|yolo|coco|csv] [--mode presence|crops]. SRC may be in
    object storage: s3://bucket/photos.
    """
    from weldgen.data.remote import fetch, is_remote

    words = [str(fetch(word, INCOMING)) if is_remote(word) else word for word in words or ()]
    paths, overrides = sort_words(words, ["source"])
    if "source" not in paths:
        raise ConfigError("ingest needs the folder to bring in", "weldgen ingest SRC")
    return run_configured("ingest", common, paths, overrides, out=out, flags={"format": format, "mode": mode})


@command(app)
def clean(
    common: Common,
    words: Words = None,
    out: Out = None,
    review: Annotated[
        bool, typer.Option("--review", help="Write review.html, to tick what needs another look.")
    ] = False,
    only: Annotated[
        Path | None, typer.Option(help="List of photos to clean again; all others stay as they are.")
    ] = None,
    mask_dir: Annotated[
        Path | None, typer.Option(help="Folder of masks; photos that have one there are not searched.")
    ] = None,
    transcribe: Annotated[
        bool, typer.Option("--transcribe", help="Read the writing and keep it in the metadata.")
    ] = False,
) -> int:
    """Find writing on photos and take it away.

    weldgen clean [SRC=data/raw] [--out data/clean] [--transcribe] [--review] [--only LIST] [--mask-dir DIR]
    """
    from weldgen.receipts import read_receipt
    from weldgen.stages import get_stage

    paths, overrides = sort_words(words, ["source"])
    target = out or Path(get_stage("clean").out)
    earlier = read_receipt(target) if only else None
    if earlier and "source" not in paths:
        paths["source"] = Path(earlier["inputs"]["source"])  # the list is about the photos that were cleaned there
    flags = {
        "only": str(only) if only else None, "transcribe": transcribe or None,
        "mask.given": str(mask_dir) if mask_dir else None,
    }  # fmt: skip
    code = run_configured("clean", common, paths, overrides, out=out, flags=flags)
    if review:
        from weldgen.report.review_pages import write_clean_page

        typer.echo(f"page: {write_clean_page(target)}")
    return code


@command(app)
def locator(
    common: Common,
    words: Words = None,
    out: Out = None,
    format: Annotated[str | None, typer.Option(help="auto, yolo, coco or csv.")] = None,
) -> int:
    """Learn from a few marked photos where the weld lies on a photo.

    weldgen locator MARKED [--out models/locator] [--format auto|yolo|coco|csv]
    """
    paths, overrides = sort_words(words, ["marked"])
    if "marked" not in paths:
        raise ConfigError("locator needs photos on which welds are marked", "weldgen locator MARKED")
    return run_configured("locator", common, paths, overrides, out=out, flags={"format": format})


@command(app)
def locate(
    common: Common,
    words: Words = None,
    with_: Annotated[Path | None, typer.Option("--locator", help="What weldgen locator wrote.")] = None,
    out: Out = None,
) -> int:
    """Cut the weld out of every photo, upright.

    weldgen locate [SRC=data/raw] [--locator models/locator] [--out data/located]
    """
    paths, overrides = sort_words(words, ["source"])
    given = {"locator": with_} if with_ else {}
    return run_configured("locate", common, {**paths, **given}, overrides, out=out)


@command(app)
def lora(common: Common, words: Words = None, out: Out = None) -> int:
    """Train a LoRA of the training photos for the generator sdxl.

    weldgen lora [DATASET=data/clean] [--out models/lora]; then weldgen synth --generator sdxl sdxl.lora=models/lora
    """
    paths, overrides = sort_words(words, ["dataset"])
    return run_configured("lora", common, paths, overrides, out=out)


@command(app)
def synth(
    common: Common,
    words: Words = None,
    n: Annotated[int | None, typer.Option("--n", help="Number of images.")] = None,
    out: Out = None,
    generator: Annotated[str | None, typer.Option(help="auto, sdxl, tiny or render.")] = None,
    annotations: Annotated[str | None, typer.Option(help="Of the defects: masks, yolo or coco.")] = None,
    shard: Annotated[str | None, typer.Option(help="i/N: only the i-th of N parts, for one of N machines.")] = None,
    join: Annotated[list[Path] | None, typer.Option(help="Take over another machine's part; may be repeated.")] = None,
) -> int:
    """Make synthetic welds.

    weldgen synth [DATASET=data/clean] --n 10000 [--out data/synthetic]
    """
    paths, overrides = sort_words(words, ["dataset"])
    folders = [str(folder) for folder in join] if join else None
    flags = {"n": n, "generator": generator, "annotations": annotations, "shard": shard, "join": folders}
    return run_configured("synth", common, paths, overrides, out=out, flags=flags)


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
    paths, overrides = sort_words(words, ["real", "synthetic"])
    return run_configured("mix", common, paths, overrides, out=out, flags={"real_ratio": real_ratio})


@command(app)
def train(common: Common, words: Words = None, out: Out = None) -> int:
    """Train the classifier.

    weldgen train [DATASET] [--out models/classifier]. Without DATASET it mixes data/clean and data/synthetic first.
    """
    from weldgen.project import mix_if_parts_exist
    from weldgen.stages import describe

    paths, overrides = sort_words(words, ["dataset"])
    failed = False
    if "dataset" not in paths:
        mixed = mix_if_parts_exist(preset=common.config_name, flags=common.flags)
        failed = bool(mixed and mixed.failures)
        if mixed and not common.quiet:
            for line in describe(mixed):
                typer.echo(line)
    code = run_configured("train", common, paths, overrides, out=out)
    return EXIT_PARTIAL if failed else code


@command(app)
def evaluate(
    common: Common,
    words: Words = None,
    data: Annotated[list[Path] | None, typer.Option(help="Dataset to measure on; may be repeated.")] = None,
    split: Annotated[str | None, typer.Option(help="train, val or test.")] = None,
    tta: Annotated[int | None, typer.Option(help="Views of each photo that vote, 1 to 12.")] = None,
    targets: Annotated[Path | None, typer.Option(help="YAML file of what has to be reached; else it exits 1.")] = None,
    group_by: Annotated[str | None, typer.Option(help="Field of the records to compare photos by; group.")] = None,
    out: Out = None,
) -> int:
    """Measure a model on real photos.

    weldgen evaluate [MODEL=models/classifier] [--data DATASET] [--split test] [--tta N] [--targets FILE]
    [--group-by FIELD] [--out models/evaluation]; with --data A --data B one table of both in models/evaluations
    """
    from weldgen.project import training_data

    paths, overrides = sort_words(words, ["model"])
    model = paths.get("model", Path("models/classifier"))
    flags = {"split": split, "tta": tta, "targets": str(targets) if targets else None, "group_by": group_by}
    if data and len(data) > 1:
        return _evaluate_sets(common, (model, data, out or Path("models/evaluations")), overrides, flags)
    dataset = data[0] if data else training_data(model)
    return run_configured("evaluate", common, {"model": model, "dataset": dataset}, overrides, out=out, flags=flags)


def _evaluate_sets(
    common: Common, paths: tuple[Path, Sequence[Path], Path], overrides: Sequence[str], flags: Mapping[str, Any]
) -> int:
    """Measure on several datasets; `paths` are the model, they, and the folder of the results."""
    from weldgen.classifier.comparison_table import markdown
    from weldgen.classifier.evaluate import EvaluateConfig
    from weldgen.classifier.several_sets import evaluate_sets
    from weldgen.config import load_config
    from weldgen.report.sets import write_sets_page
    from weldgen.stages import describe, run_stage

    model, datasets, out = paths
    given = {**common.flags, **flags}
    config = load_config("evaluate", EvaluateConfig, preset=common.config_name, overrides=overrides, flags=given)

    def one(dataset: Path, target: Path, settings: EvaluateConfig) -> Summary:
        summary = run_stage("evaluate", {"model": model, "dataset": dataset}, target, settings)
        for line in describe(summary) if not common.quiet else ():
            typer.echo(line)
        return summary

    found = evaluate_sets(model, datasets, out, config, one)
    page = write_sets_page(out)
    for line in (*markdown(found.record["table"]), *found.record["notes"], f"page: {page}") if not common.quiet else ():
        typer.echo(line)
    if found.unmet:
        raise TargetError(found.unmet)
    return EXIT_PARTIAL if found.partial else 0


@command(app)
def drift(
    common: Common,
    words: Words = None,
    data: Annotated[Path | None, typer.Option(help="What the model was trained on.")] = None,
    out: Out = None,
) -> int:
    """Tell whether new photos still look like the training photos; no labels are needed.

    weldgen drift PHOTOS [MODEL=models/classifier] [--data DATASET] [--out models/drift]
    """
    from weldgen.project import training_data

    paths, overrides = sort_words(words, ["photos", "model"])
    if "photos" not in paths:
        raise ConfigError("drift needs the folder of new photos", "weldgen drift PHOTOS")
    dataset = data or training_data(paths.get("model", Path("models/classifier")))
    return run_configured("drift", common, {"photos": paths["photos"], "dataset": dataset}, overrides, out=out)


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
    paths, overrides = sort_words(words, ["model"])
    return run_configured("export", common, paths, overrides, out=out, flags={"format": format, "precision": precision})
