"""The stages: name -> function, configuration, folders and report. The only table of them.

Functions are given as `module:name` and imported when they run, so that `--help` and `--dry-run` load no torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weldgen.config import StageConfig
from weldgen.errors import PipelineError
from weldgen.receipts import Summary
from weldgen.runtime import log


@dataclass(frozen=True)
class Stage:
    """One stage of the chain.

    Attributes:
        module: Module of the stage file.
        function: Its function: input paths, `out`, `config` -> Summary.
        config: Its configuration class.
        inputs: Parameter -> default path inside a project folder; an empty path must be given.
        out: Default path of the result.
        about: One line for `--dry-run` and the reports.
        optional: Inputs that may be missing.
        tools: Parameter -> what another subject lends to the function.
    """

    module: str
    function: str
    config: str
    inputs: Mapping[str, str]
    out: str
    about: str
    optional: frozenset[str] = field(default_factory=frozenset)
    tools: Mapping[str, Any] = field(default_factory=dict)


# Probability of ink from which on a photo counts as written on.
_SURE_OF_INK = 0.9


def find_writing(thorough: bool) -> Callable[[Any], bool]:
    """What says whether there is writing on an image, (H, W, 3) uint8 RGB, as `clean` would see it.

    Args:
        thorough: Ask a text detector as well as the ink network.

    Raises:
        BackendError: A package or weight is missing.
    """
    from weldgen.cleaning.detectors import detect_all, load_detectors
    from weldgen.cleaning.ink import InkSegmenter
    from weldgen.cleaning.mask import text_mask
    from weldgen.cleaning.settings import RAPIDOCR, DetectConfig, InkConfig, MaskConfig

    # fp32, so that no two machines disagree on a photo
    segmenter = InkSegmenter(InkConfig(precision="fp32"))
    detectors = load_detectors(DetectConfig(backend=RAPIDOCR), "cpu") if thorough else []

    def has_writing(image: Any) -> bool:
        regions = detect_all(detectors, image)
        ink = segmenter.segment(image)
        # surer than clean is: to fill a dark spot costs nothing, to leave a photo out may cost a class its only one
        return bool(ink.ink.max() > _SURE_OF_INK and text_mask(image, regions, ink, MaskConfig()).regions)

    return has_writing


def find_regions(device: str) -> Callable[[Any], list[Any]]:
    """What finds the corners of each piece of writing, (N, 2) in pixels, on an image, (H, W, 3) uint8 RGB.

    It finds what `clean` finds at its defaults.

    Args:
        device: Where the detectors compute.

    Raises:
        BackendError: A package or weight is missing.
    """
    from weldgen.cleaning.detectors import detect_all, load_detectors
    from weldgen.cleaning.ink import InkSegmenter
    from weldgen.cleaning.mask import text_mask
    from weldgen.cleaning.settings import DetectConfig, InkConfig, MaskConfig

    detectors, segmenter = load_detectors(DetectConfig(), device), InkSegmenter(InkConfig(), device)

    def regions_of(image: Any) -> list[Any]:
        found = text_mask(image, detect_all(detectors, image), segmenter.segment(image), MaskConfig())
        return [region.polygon for region in found.regions]

    return regions_of


STAGES: dict[str, Stage] = {
    "ingest": Stage(
        "weldgen.data.ingest", "ingest", "IngestConfig",
        {"source": ""}, "data/raw", "bring class folders or annotated photos in",
    ),
    "locator": Stage(
        "weldgen.locating.learn", "locator", "LocatorConfig",
        {"marked": ""}, "models/locator", "learn from marked photos where the weld lies",
    ),
    "locate": Stage(
        "weldgen.locating.locate", "locate", "LocateConfig",
        {"source": "data/raw", "locator": "models/locator"}, "data/located", "cut the weld out of every photo",
    ),
    "clean": Stage(
        "weldgen.cleaning.clean", "clean", "CleanConfig",
        {"source": "data/raw"}, "data/clean", "find the writing and take it away",
    ),
    "lora": Stage(
        "weldgen.synthesis.lora.train", "lora", "LoraConfig",
        {"dataset": "data/clean"}, "models/lora", "train a LoRA of the photos for the generator sdxl",
    ),
    "synth": Stage(
        "weldgen.synthesis.generate", "synth", "SynthConfig",
        {"dataset": "data/clean"}, "data/synthetic", "make synthetic welds", tools={"find_writing": find_writing},
    ),
    "mix": Stage(
        "weldgen.data.mix", "mix", "MixConfig",
        {"real": "data/clean", "synthetic": "data/synthetic"}, "data/mixed", "mix real and synthetic images",
        frozenset({"synthetic"}),
    ),
    "pretrain": Stage(
        "weldgen.classifier.pretrain", "pretrain", "PretrainConfig",
        {"dataset": "data/clean", "synthetic": "data/synthetic"}, "models/pretrained",
        "warm the backbone up without labels", frozenset({"synthetic"}),
    ),
    "train": Stage(
        "weldgen.classifier.train", "train", "TrainConfig",
        {"dataset": "data/mixed"}, "models/classifier", "train the classifier",
    ),
    "evaluate": Stage(
        "weldgen.classifier.evaluate", "evaluate", "EvaluateConfig",
        {"model": "models/classifier", "dataset": "data/mixed"}, "models/evaluation", "measure it on real photos",
        tools={"find_regions": find_regions},
    ),
    "drift": Stage(
        "weldgen.classifier.drift", "drift", "DriftConfig",
        {"photos": "", "dataset": "data/mixed"}, "models/drift", "compare new photos with the training photos",
    ),
    "review": Stage(
        "weldgen.classifier.review", "review", "ReviewConfig",
        {"dataset": "data/clean"}, "data/review", "find labels that are probably wrong",
    ),
    "export": Stage(
        "weldgen.classifier.export", "export", "ExportConfig",
        {"model": "models/classifier"}, "models/export/classifier.onnx", "write the file that ships",
    ),
}  # fmt: skip


def get_stage(name: str) -> Stage:
    """The stage of a name.

    Raises:
        PipelineError: There is none.
    """
    if name not in STAGES:
        raise PipelineError(f"'{name}' is not a stage; stages: {', '.join(STAGES)}")
    return STAGES[name]


def config_class(name: str) -> type[StageConfig]:
    """The configuration class of a stage; imports its stage file, which is light."""
    stage = get_stage(name)
    loaded: type[StageConfig] = getattr(importlib.import_module(stage.module), stage.config)
    return loaded


def resolved_config(name: str, config: StageConfig) -> StageConfig:
    """The configuration with every `auto` decided for this machine, as it counts in the run's key."""
    resolve = getattr(importlib.import_module(get_stage(name).module), "resolve_config", None)
    resolved: StageConfig = resolve(config) if resolve else config
    return resolved


def run_stage(name: str, inputs: Mapping[str, Path], out: Path, config: StageConfig) -> Summary:
    """Run one stage and write its report.

    Args:
        name: The stage.
        inputs: Parameter -> path; missing ones take the project's default below the working folder.
        out: Folder (or file) of the result.
        config: An instance of the stage's configuration class.

    Raises:
        WeldgenError: What the stage raises.
    """
    from weldgen.report.stage import write_stage_report

    stage = get_stage(name)
    function = getattr(importlib.import_module(stage.module), stage.function)
    paths = {parameter: inputs.get(parameter, Path(default)) for parameter, default in stage.inputs.items()}
    summary: Summary = function(**paths, out=out, config=config, **stage.tools)
    if not summary.skipped:
        report = write_stage_report(name, out)
        if report:
            log.debug("report: %s", report)
    return summary


def describe(summary: Summary) -> list[str]:
    """What the user is told of a stage that ran, line by line."""
    counts = ", ".join(f"{count} {name}" for name, count in summary.counts.items())
    state = "nothing changed, skipped" if summary.skipped else f"done in {summary.seconds:.1f} s"
    lines = [f"{summary.stage}: {state} ({counts}) -> {summary.out}" if counts else f"{summary.stage}: {state}"]
    lines += [f"  {note}" for note in summary.notes]
    if summary.failures:
        folder = summary.out if summary.out.is_dir() else summary.out.parent
        lines.append(f"  {summary.failures} images failed; reasons in {folder / 'failures.jsonl'}")
    return lines


def resolved_inputs(name: str, given: Mapping[str, Any]) -> dict[str, Path]:
    """All inputs of a stage as paths, defaults filled in.

    Raises:
        PipelineError: One that has no default is missing.
    """
    stage = get_stage(name)
    paths = {}
    for parameter, default in stage.inputs.items():
        value = given.get(parameter) or default
        if not value:
            raise PipelineError(f"{name}: '{parameter}' must be given")
        paths[parameter] = Path(value)
    return paths
