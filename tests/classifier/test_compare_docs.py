"""The commands of docs/compare.md are run as written, but for their numbers, in a small project."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from weldgen.cli import app
from weldgen.data.dataset import METADATA_NAME, Dataset
from weldgen.demo import make_photos

PAGE = (Path(__file__).parents[2] / "docs" / "compare.md").read_text()
SMALLER = {
    "=1,0.75,0.5,0.25,0.1": "=1,0.5", "--repeats 3": "--repeats 1", "epochs=10,40": "epochs=1,2",
    "progressive=[],[256,384]": "progressive=[],[32,64]",
}  # fmt: skip
FILE = {"epochs=20": "epochs=1", "image_size=320": "image_size=96"}
SETTINGS = """
train:
  data: {image_size: 64}
  training: {epochs: 2, min_steps: 0, batch_size: 16, method: finetune}
"""
# Not for the command that names backbones: what those take must come with the installation.
TINY = "  model: {backbone: test_convnext.r160_in1k, weights: none}\n"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("text") for line in block.splitlines()]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("project")
    make_photos(root / "data" / "clean", {"good": 6, "bad": 6}, size_px=(160, 112))
    synthetic = root / "data" / "synthetic"
    shutil.copytree(root / "data" / "clean", synthetic)
    for image in synthetic.glob("*/*"):  # no copies of the photos: upside down
        Image.open(image).rotate(180).save(image)
    lines = [replace(s, split="train", origin="synthetic").record() for s in Dataset.open(synthetic).samples]
    (synthetic / METADATA_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


def test_the_page_shows_commands():
    assert len(commands()) >= 6
    assert all(command.startswith("weldgen compare ") for command in commands())
    assert {"--sweep", "--row", "--repeats", "--claims", "--no-timing"} <= set(" ".join(commands()).split())


@pytest.mark.parametrize("command", commands())
def test_documented_comparisons_work(command, project, monkeypatch):
    monkeypatch.chdir(project)
    rows = blocks("yaml")[0]
    for text, smaller in FILE.items():
        assert text in rows
        rows = rows.replace(text, smaller)
    (project / "rows.yaml").write_text(rows)
    for text, smaller in SMALLER.items():
        command = command.replace(text, smaller)
    (project / "weldgen.yaml").write_text(SETTINGS + ("" if "model.backbone" in command else TINY))
    timing = [] if "--no-timing" in command else ["--no-timing"]  # exports and times are tested elsewhere
    result = CliRunner().invoke(app, [*shlex.split(command)[1:], *timing, "--device", "cpu"])
    assert result.exit_code == 0, f"{command}\n{result.output}\n{result.exception!r}"
    page = (project / "models" / "comparison" / "report.html").read_text()
    assert "balanced accuracy" in page
    assert ("claimed by others" in page) == ("--claims" in command)
