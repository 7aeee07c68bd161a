"""Chains of stages: checked whole, skipped where done, run again from a change on."""

from __future__ import annotations

import pytest
import yaml

from weldgen.errors import ConfigError, PipelineError
from weldgen.pipeline import find_pipeline, load_pipeline, plan, run_pipeline, select_steps
from weldgen.runtime import resource_dir


def write(path, *steps, **more):
    path.write_text(yaml.safe_dump({"steps": list(steps), **more}))
    return path


@pytest.fixture
def chain(class_folder, tmp_path, monkeypatch):
    """Two mixes in a row, both of real photos alone: light stages that read each other's folders."""
    monkeypatch.chdir(tmp_path)
    return write(
        tmp_path / "chain.yaml",
        {"stage": "mix", "name": "first", "inputs": {"real": "raw"}, "out": "one", "config": {"real_ratio": 1.0}},
        {"stage": "mix", "name": "second", "inputs": {"real": "one"}, "out": "two", "config": {"real_ratio": 1.0}},
    )


def states(steps):
    return [state.split(":")[0] for _, state in plan(steps)]


def test_a_second_run_skips_and_a_changed_setting_runs_from_there(chain):
    steps = load_pipeline(chain)
    assert states(steps) == ["runs", "runs"]
    assert [s.skipped for s in run_pipeline(steps, lambda summary: None)] == [False, False]
    assert states(steps) == ["done", "done"]
    assert [s.skipped for s in run_pipeline(steps, lambda summary: None)] == [True, True]
    later = load_pipeline(chain, overrides=["second.link=false"])
    assert states(later) == ["done", "runs"]
    earlier = load_pipeline(chain, flags={"seed": 5})
    assert states(earlier) == ["runs", "runs"]


def test_a_changed_photo_runs_everything_behind_it(chain, class_folder):
    steps = load_pipeline(chain)
    run_pipeline(steps, lambda summary: None)
    (class_folder / "good" / "0.png").unlink()
    assert states(steps) == ["runs", "runs"]


def test_from_and_to(chain):
    steps = load_pipeline(chain)
    assert [s.name for s in select_steps(steps, "second", None)] == ["second"]
    assert [s.name for s in select_steps(steps, None, "first")] == ["first"]
    with pytest.raises(PipelineError, match="comes after"):
        select_steps(steps, "second", "first")
    with pytest.raises(PipelineError, match="no step 'third'"):
        select_steps(steps, "third", None)


@pytest.mark.parametrize(
    ("steps", "error", "message"),
    [
        ([{"stage": "mixx"}], PipelineError, "'mixx' is not a stage"),
        ([{"stage": "mix", "inputs": {"reel": "raw"}}], PipelineError, "no input 'reel'"),
        ([{"stage": "mix", "inputs": {"real": "nowhere"}}], PipelineError, "nowhere, which does not exist"),
        ([{"stage": "mix", "inputs": {"real": "raw"}}] * 2, PipelineError, "two steps are called 'mix'"),
        ([{"stage": "mix", "inputs": {"real": "raw"}, "config": {"ratio": 1}}], ConfigError, "no setting 'ratio'"),
        ([], PipelineError, "steps"),
        ([{"stage": "mix", "extra": 1}], PipelineError, "extra"),
    ],
)
def test_a_chain_that_cannot_work_is_refused_before_anything_runs(
    class_folder, tmp_path, monkeypatch, steps, error, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        load_pipeline(write(tmp_path / "chain.yaml", *steps))


def test_overrides_need_a_step(chain):
    with pytest.raises(PipelineError, match="names no step"):
        load_pipeline(chain, overrides=["link=false"])


@pytest.mark.parametrize("file", sorted(resource_dir("pipelines").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_pipeline_loads(file, class_folder, tmp_path):
    (tmp_path / "data").mkdir()
    class_folder.rename(tmp_path / "data" / "raw")
    (tmp_path / "data" / "marked").mkdir()
    steps = load_pipeline(find_pipeline(file.stem), root=tmp_path)
    assert states(steps)[0] == "runs"
    assert all(tmp_path in step.out.parents for step in steps)


def test_an_input_that_is_missing_is_named_with_where_to_say_it(class_folder, tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(PipelineError, match="data/raw, which does not exist") as refused:
        load_pipeline(find_pipeline("weld"), root=tmp_path)
    assert "weldgen init" in refused.value.hint
    class_folder.rename(tmp_path / "data" / "raw")
    with pytest.raises(PipelineError, match="data/marked, which does not exist") as refused:
        load_pipeline(find_pipeline("located"), root=tmp_path)
    assert "locator.inputs in" in refused.value.hint


def test_an_unknown_pipeline_lists_those_that_ship():
    with pytest.raises(PipelineError, match="weld"):
        find_pipeline("welding")
