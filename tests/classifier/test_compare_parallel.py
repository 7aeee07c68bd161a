"""Trainings side by side: the same result as one after the other, and nothing that outlives its parent."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch

from weldgen.classifier.compare import CompareConfig, compare, compare_config
from weldgen.classifier.costs import mark_shared, read_shared
from weldgen.classifier.evaluate import EvaluateConfig
from weldgen.classifier.side_by_side import Job, plan_slots, run_side_by_side
from weldgen.classifier.sweep import Row
from weldgen.classifier.trials import Trial
from weldgen.data.mix import MixConfig
from weldgen.errors import ConfigError, DataError, OutputError

# A child that reads its job and does as it says, with the functions that the real one uses.
CHILD = """
import os, sys, time
from weldgen.classifier.evaluate import EvaluateConfig
from weldgen.classifier.side_by_side import read_job, say_outcome
from weldgen.errors import DataError, OutputError
from weldgen.runtime import log
job = read_job()
{body}
say_outcome(None)
"""


def job(name, body):
    return Job(name, (sys.executable, "-c", CHILD.format(body=body)), {"pid_file": "", "name": name})


def wait_for(condition):
    for _ in range(300):
        if condition():
            return True
        time.sleep(0.05)
    return False


# --- how many at a time --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "gpus", "visible", "expected"),
    [
        (("auto", 5, True), 0, "", []),
        (("auto", 5, True), 1, "", []),
        (("auto", 5, False), 4, "", []),
        (("auto", 5, True), 2, "", ["0", "1"]),
        (("auto", 3, True), 4, "", ["0", "1", "2"]),
        (("auto", 1, True), 4, "", []),
        (("auto", 5, True), 2, "3, GPU-5f,7", ["3", "GPU-5f"]),
        ((3, 5, False), 2, "", [None] * 3),
        ((3, 5, True), 2, "", ["0", "1", "0"]),
        ((2, 5, True), 1, "", [None] * 2),
        ((1, 5, True), 2, "", []),
    ],
)
def test_how_many_run_side_by_side_and_where(asked, gpus, visible, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr("weldgen.classifier.side_by_side.cpu_count", lambda: 8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    slots = plan_slots(*asked[:2], spread=asked[2])
    assert [slot.get("CUDA_VISIBLE_DEVICES") for slot in slots] == expected
    assert {slot["OMP_NUM_THREADS"] for slot in slots} == ({str(8 // len(slots))} if slots else set())


@pytest.mark.parametrize(
    ("settings", "device", "expected"),
    [
        ({}, "auto", True),
        ({"device": "cuda"}, "cuda", True),
        ({"device": "cuda:1"}, "auto", False),
        ({}, "cpu", False),
        ({"training": {"devices": 2}}, "auto", False),
    ],
)
def test_a_training_that_names_its_gpus_keeps_them(settings, device, expected, tiny_config, tmp_path):
    trial = Trial(tiny_config(**{"device": "auto", **settings}), EvaluateConfig(device=device), *[tmp_path] * 3)
    assert trial.takes_any_gpu() == expected
    assert Trial.from_job(json.loads(json.dumps(trial.job()))).takes_any_gpu() == expected


def test_no_process_takes_more_threads_than_the_user_allows(monkeypatch):
    monkeypatch.setattr("weldgen.classifier.side_by_side.cpu_count", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert {slot["OMP_NUM_THREADS"] for slot in plan_slots(2, 2, spread=False)} == {"1"}


@pytest.mark.parametrize("parallel", ["0", "two", "-1", "1.5"])
def test_a_wrong_number_is_refused_in_one_sentence(parallel):
    with pytest.raises(ConfigError, match=f"--parallel {parallel}: auto or a number"):
        compare_config("mix.real_ratio=1,0.5", settings={"parallel": parallel})


# --- processes -----------------------------------------------------------------------------------------------------


def test_each_job_says_what_became_of_it_and_whose_line_it_is(caplog):
    bodies = {
        "fine": "log.info('an epoch'); log.warning('few photos'); print('chatter')",
        "wrong": "say_outcome(DataError('no photo', 'add some')); sys.exit()",
        "fault": "raise KeyError('a fault')",
        "killed": "os.kill(os.getpid(), 9)",
    }
    with caplog.at_level(logging.INFO, logger="weldgen"):
        logging.getLogger("weldgen").propagate = True
        found = run_side_by_side([job(name, body) for name, body in bodies.items()], [{}, {}])
    assert found["fine"] is None
    assert (type(found["wrong"]), found["wrong"].message, found["wrong"].hint) == (DataError, "no photo", "add some")
    assert found["fault"].message == "the process died: KeyError: 'a fault'"
    assert "ended by signal 9" in found["killed"].message
    said = {(record.levelname, record.getMessage()) for record in caplog.records}
    assert {("INFO", "fine: an epoch"), ("WARNING", "fine: few photos")} <= said
    assert any(text == "killed: failed (4 of 4)" or text.endswith("(4 of 4)") for _, text in said)


def test_slots_are_given_out_one_at_a_time(tmp_path):
    body = f"open(os.path.join({str(tmp_path)!r}, job['name']), 'w').write(os.environ['SLOT'])"
    found = run_side_by_side([job(f"job{k}", body) for k in range(3)], [{"SLOT": "only"}])
    assert found == dict.fromkeys(found)
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["only"] * 3


def test_a_full_disk_ends_all(tmp_path):
    sleeper = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    full = (
        f"while not os.path.exists({str(tmp_path / 'pid')!r}): time.sleep(0.02)\n"
        "say_outcome(OutputError('disk full')); sys.exit()"
    )
    with pytest.raises(OutputError, match="disk full"):
        run_side_by_side([job("sleeper", sleeper), job("full", full), job("later", "time.sleep(60)")], [{}, {}])
    assert wait_for(lambda: not psutil.pid_exists(int((tmp_path / "pid").read_text())))


def test_ctrl_c_ends_all_and_starts_none(tmp_path):
    body = f"open(os.path.join({str(tmp_path)!r}, str(os.getpid())), 'w').close(); time.sleep(60)"
    parent = (
        "import signal, sys\nfrom weldgen.classifier.side_by_side import Job, run_side_by_side\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a program in the background ignores it
        f"command = (sys.executable, '-c', {CHILD.format(body=body)!r})\n"
        "try:\n    run_side_by_side([Job(f'job{k}', command, {}) for k in range(4)], [{}, {}])\n"
        "except KeyboardInterrupt:\n    sys.exit(7)"
    )
    process = subprocess.Popen([sys.executable, "-c", parent])
    assert wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 7
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert len(pids) == 2
    assert wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids))


def test_children_of_a_killed_parent_end(tmp_path):
    body = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    parent = (
        "import sys\nfrom weldgen.classifier.side_by_side import Job, run_side_by_side\n"
        f"run_side_by_side([Job('a', (sys.executable, '-c', {CHILD.format(body=body)!r}), {{}})], [{{}}])"
    )
    process = subprocess.Popen([sys.executable, "-c", parent])
    file = tmp_path / "pid"
    assert wait_for(lambda: file.is_file() and file.read_text())
    process.kill()
    process.wait()
    assert wait_for(lambda: not psutil.pid_exists(int(file.read_text())))


# --- a whole comparison --------------------------------------------------------------------------------------------


def test_a_training_keeps_its_mark_unless_its_settings_change(tmp_path, tiny_config):
    mark_shared(tmp_path, tiny_config(), 3)
    mark_shared(tmp_path, tiny_config(jobs=1), 2)  # it goes on with fewer beside it
    assert read_shared(tmp_path, tiny_config()) == 3
    assert read_shared(tmp_path, tiny_config(seed=1)) == 1
    assert read_shared(tmp_path / "none", tiny_config()) == 1


def answers(out):
    files = sorted(out.rglob("predictions.jsonl"))
    return [[json.loads(line)["predicted"] for line in file.read_text().splitlines()] for file in files]


def test_side_by_side_is_the_same_as_one_after_the_other(photos, tmp_path, tiny_config):
    trainings = {
        "one": tiny_config(training={"epochs": 1}),
        "two": tiny_config(training={"epochs": 2}),
        "none": tiny_config(model={"backbone": "no_such_net"}),
    }
    rows = {name: Row(settings="", mix=MixConfig(), train=training) for name, training in trainings.items()}
    config = CompareConfig(rows=rows, device="cpu", timing=False)
    alone, beside = tmp_path / "alone", tmp_path / "beside"
    first = compare(photos, None, alone, config)
    shutil.copytree(alone, beside)  # killed, say, before a row was trained
    shutil.rmtree(beside / "row=one")
    (beside / "stage.json").unlink()
    second = compare(photos, None, beside, config.model_copy(update={"parallel": 2}))

    records = [json.loads((out / "comparison.json").read_text()) for out in (alone, beside)]
    same = ("value", "accuracy", "balanced_accuracy", "false_alarms", "runs", "epochs", "parameters")
    measured = [[{key: result[key] for key in same} for result in record["results"]] for record in records]
    assert measured[0] == measured[1]
    assert answers(alone) == answers(beside)
    assert len(answers(alone)) == 2
    failed = [[note for note in summary.notes if note.startswith("failed:")] for summary in (first, second)]
    assert failed[0] == failed[1]
    assert "no_such_net" in failed[0][0]

    assert [[r["trained_side_by_side"] for r in record["results"]] for record in records] == [[1, 1], [2, 1]]
    times = records[1]["table"][0].index("training")
    assert [row[times].endswith(" s*") for row in records[1]["table"][1:]] == [True, False]
    assert any(note.startswith("training marked *") for note in second.notes)
    assert not any(note.startswith("training marked *") for note in first.notes)
    assert records[1]["results"][0]["peak_memory_mb"] > 50
    receipts = [(out / "row=two" / "seed0" / "model" / "stage.json").read_text() for out in (alone, beside)]
    assert receipts[0] == receipts[1]  # what was there was not trained again
