"""The command line: words, exit codes, errors as one line and a hint."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from weldgen.cli import app


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, list(words))


def test_init_makes_a_project_and_leaves_what_exists(call, tmp_path):
    assert call("init").exit_code == 0
    assert (tmp_path / "data/raw/good").is_dir()
    assert (tmp_path / "data/raw/bad").is_dir()
    (tmp_path / "weldgen.yaml").write_text("mix: {real_ratio: 0.5}\n")
    again = call("init")
    assert again.exit_code == 0
    assert "left as it is" in again.output
    assert (tmp_path / "weldgen.yaml").read_text() == "mix: {real_ratio: 0.5}\n"
    assert call("init", "elsewhere").exit_code == 0
    assert (tmp_path / "elsewhere/weldgen.yaml").is_file()


def test_words_are_paths_or_settings(call, class_folder):
    done = call("mix", str(class_folder), "--out", "mixed", "real_ratio=1.0", "--seed", "3", "split.val=0.3")
    assert done.exit_code == 0, done.output
    assert call(
        "mix", str(class_folder), "--out", "mixed", "real_ratio=1.0", "--seed", "3", "split.val=0.3"
    ).output.count("nothing changed, skipped")
    many = call("mix", "a", "b", "c")
    assert many.exit_code == 2
    assert "at most 2" in many.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["mix", "nowhere", "real_ratio=1"], 1, "nowhere: there is no such folder"),
        (["mix", "nowhere", "real_ration=1"], 2, "hint: did you mean 'real_ratio'?"),
        (["mix", "--config-name", "quik_test"], 2, "not a preset"),
        (["mix", "--no-such-option"], 2, "no-such-option"),
        (["ingest"], 2, "weldgen ingest SRC"),
        (["run", "nothing"], 1, "there is no pipeline 'nothing'"),
        (["models", "pull", "nothing"], 2, "not a known weight"),
        (["train"], 1, "run weldgen clean first"),
    ],
)
def test_errors_are_one_line_and_a_hint(call, words, code, message):
    result = call(*words)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_failed_images_exit_with_three(call, class_folder):
    (class_folder / "good" / "broken.png").write_text("no image")
    result = call("ingest", str(class_folder), "--out", "in")
    assert result.exit_code == 3
    assert "1 images failed" in result.output


def test_debug_shows_the_traceback(call):
    result = call("mix", "nowhere", "real_ratio=1", "--debug")
    assert type(result.exception).__name__ == "DataError"


def test_version_and_models_list(call):
    assert call("--version").output.startswith("weldgen ")
    listed = call("models", "list").output
    assert "lama" in listed
    assert "Apache-2.0" in listed
    verified = call("models", "verify")
    assert verified.exit_code == 0
    assert "WRONG" not in verified.output


def test_a_reader_who_has_seen_enough_is_no_fault(tmp_path):
    command = [sys.executable, "-c", "from weldgen.cli import main; main()", "models", "list"]
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "wb") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1 and done.stderr == ""


def test_another_broken_pipe_is_reported(call, monkeypatch):
    def broken(*_):
        raise BrokenPipeError("a worker is gone")

    monkeypatch.setattr("weldgen.weights.find", broken)
    result = call("models", "list")
    assert result.exit_code == 1 and "BrokenPipeError: a worker is gone" in result.stderr
