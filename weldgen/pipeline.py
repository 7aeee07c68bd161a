"""A YAML chain of stages: check it whole, then run it, skipping what is done.

A pipeline file holds the order and what differs from the defaults::

    description: clean, generate, mix, train, evaluate, export
    steps:
      - stage: clean
      - stage: synth
        config: {n: 10000}
      - stage: train
        name: train-real-only        # needed where a stage stands twice
        inputs: {dataset: data/clean}
        out: models/real-only

Nothing is remembered but the receipts: each stage knows from its inputs and settings whether it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from weldgen.config import Config, StageConfig, load_config
from weldgen.errors import PipelineError, TargetError
from weldgen.receipts import Summary, finished, receipt_folder, stage_key
from weldgen.runtime import resource_dir
from weldgen.stages import config_class, get_stage, resolved_config, resolved_inputs, run_stage


class StepSpec(Config):
    """One step as the file states it."""

    stage: str
    name: str = ""
    inputs: dict[str, str] = Field(default_factory=dict)
    out: str = ""
    config: dict[str, Any] = Field(default_factory=dict)


class PipelineSpec(Config):
    """A pipeline file."""

    description: str = ""
    preset: str = ""
    steps: list[StepSpec] = Field(min_length=1)


@dataclass(frozen=True)
class Step:
    """A checked step: everything that is needed to run it."""

    name: str
    stage: str
    inputs: Mapping[str, Path]
    out: Path
    config: StageConfig

    @property
    def folder(self) -> Path:
        """Folder that holds the receipt."""
        return receipt_folder(self.out)


def find_pipeline(name: str) -> Path:
    """File of a pipeline: a path, `pipelines/<name>.yaml` of the project, or one that ships with weldgen.

    Raises:
        PipelineError: There is none.
    """
    shipped = resource_dir("pipelines")
    for candidate in (Path(name), Path("pipelines") / f"{name}.yaml", shipped / f"{name}.yaml"):
        if candidate.suffix in (".yaml", ".yml") and candidate.is_file():
            return candidate
    names = ", ".join(sorted(file.stem for file in shipped.glob("*.yaml")))
    raise PipelineError(f"there is no pipeline '{name}'; shipped: {names}", "the path of a YAML file is accepted too")


def load_pipeline(
    file: Path,
    *,
    root: Path | None = None,
    preset: str | None = None,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> list[Step]:
    """Read a pipeline and check it whole, before anything runs.

    Args:
        file: The YAML file.
        root: The project folder that the file's paths are relative to; None means the working folder.
        preset: Preset that replaces the file's own.
        overrides: `stage.key=value`, Hydra's grammar behind the stage's name.
        flags: Settings that every step gets (seed, device, jobs).

    Raises:
        PipelineError: A stage, input or order that cannot work.
        ConfigError: A setting that does not exist or does not fit.
    """
    spec, root = _read(file), root or Path()
    names = [step.name or step.stage for step in spec.steps]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated:
        raise PipelineError(f"{file}: two steps are called '{repeated}'", "give one of them a name: of its own")
    by_step = _overrides_by_step(overrides, names)
    steps: list[Step] = []
    for name, step in zip(names, spec.steps, strict=True):
        stage = get_stage(step.stage)
        unknown = set(step.inputs) - set(stage.inputs)
        if unknown:
            raise PipelineError(
                f"{file}: step '{name}' has no input '{unknown.pop()}'; inputs: {', '.join(stage.inputs)}"
            )
        config = load_config(
            step.stage,
            config_class(step.stage),
            preset=preset or spec.preset or None,
            project=root,
            step=step.config,
            overrides=by_step[name],
            flags=flags,
        )
        inputs = {name: root / path for name, path in resolved_inputs(step.stage, step.inputs).items()}
        made = {earlier.out for earlier in steps}
        for parameter, path in inputs.items():
            if path not in made and not path.exists() and parameter not in stage.optional:
                hint = f"{name}.inputs in {file} says where it lies"
                if path == root / "data/raw":
                    hint = "weldgen init makes a project folder; put photos into data/raw/<class>/"
                raise PipelineError(f"step '{name}' reads {path}, which does not exist and no earlier step makes", hint)
        steps.append(Step(name, step.stage, inputs, root / (step.out or stage.out), config))
    return steps


def select_steps(steps: Sequence[Step], first: str | None, last: str | None) -> list[Step]:
    """The steps from `first` to `last`, both included.

    Raises:
        PipelineError: A name is none of the steps, or the order is wrong.
    """
    names = [step.name for step in steps]
    for name in (first, last):
        if name and name not in names:
            raise PipelineError(f"there is no step '{name}'; steps: {', '.join(names)}")
    start = names.index(first) if first else 0
    end = names.index(last) if last else len(names) - 1
    if start > end:
        raise PipelineError(f"--from {first} comes after --to {last}; steps: {', '.join(names)}")
    return list(steps[start : end + 1])


def plan(steps: Sequence[Step]) -> list[tuple[Step, str]]:
    """What a run would do with each step: `done`, or why it would run."""
    result = []
    remade: set[Path] = set()
    for step in steps:
        if any(path in remade for path in step.inputs.values()):
            state = "runs: an earlier step changes its input"
        elif step.out.exists() and finished(step.folder, _key(step)):
            state = "done"
        else:
            state = "runs"
        if state != "done":
            remade.add(step.out)
        result.append((step, state))
    return result


def _key(step: Step) -> str:
    return stage_key(step.stage, resolved_config(step.stage, step.config), step.inputs)


def run_pipeline(steps: Sequence[Step], report: Callable[[Summary], None]) -> list[Summary]:
    """Run the steps in order; each skips itself where nothing changed.

    Args:
        steps: Checked steps.
        report: Called with the summary of each step when it is done.

    Raises:
        TargetError: A step measured something that misses its target; its report is written.
        WeldgenError: The first step that fails; what ran before it stays.
    """
    summaries = []
    for step in steps:
        summary = run_stage(step.stage, step.inputs, step.out, step.config)
        report(summary)
        if summary.unmet:
            raise TargetError(f"step '{step.name}': {summary.unmet}")
        summaries.append(summary)
    return summaries


def _read(file: Path) -> PipelineSpec:
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        return PipelineSpec.model_validate(content)
    except yaml.YAMLError as error:
        raise PipelineError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = " -> ".join(str(part) for part in first["loc"])
        raise PipelineError(f"{file}: {where or 'the file'}: {first['msg'].lower()}") from error


def _overrides_by_step(overrides: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {name: [] for name in names}
    for text in overrides:
        step, _, rest = text.partition(".")
        if step not in result or "=" not in rest:
            raise PipelineError(
                f"'{text}' names no step; write STEP.key=value with one of {', '.join(names)}",
                "e.g. train.training.epochs=50",
            )
        result[step].append(rest)
    return result
