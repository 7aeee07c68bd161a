"""Every documented command is run as written, but for its numbers, in small projects."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from weldgen import weights
from weldgen.cli import app
from weldgen.demo import make_photos

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Smaller numbers; a preset's win over those of the project below, so they follow its name.
SMALLER = {
    "--n 10000": "--n 8", "--n 200": "--n 6", "synth.n=40": "synth.n=8", "size_px=384": "size_px=96",
    "--config-name quick_test": "--config-name quick_test data.image_size=64 training.min_steps=0",
    "run smoke": "run smoke train.data.image_size=64 train.training.min_steps=0 synth.n=6 synth.size_px=96 "
    "synth.jobs=1",
    "weldgen bench models/export/classifier.onnx": "weldgen bench models/export/classifier.onnx --runs 3",
}  # fmt: skip
# Of the tiny networks the residual one is exported fastest.
# One job for synthesis: to start processes takes longer than to make so few images; test_generate.py starts some.
SETTINGS = """
clean:
  detect: {canvas_size_px: 256, rapidocr_canvas_px: 256, mag_ratio: 1.0}
synth: {n: 8, size_px: 96, jobs: 1}
train:
  model: {backbone: test_resnet.r160_in1k, weights: none}
  data: {image_size: 64}
  training: {epochs: 2, min_steps: 0, batch_size: 8}
review:
  model: {backbone: test_resnet.r160_in1k, weights: none}
  image_size: 64
"""
DEMO = """
steps:
  - stage: clean
    config: {detect: {canvas_size_px: 256, rapidocr_canvas_px: 256, mag_ratio: 1.0}}
  - stage: synth
    config: {n: 6, size_px: 96, jobs: 1}
  - stage: mix
  - stage: train
    config:
      model: {backbone: test_resnet.r160_in1k, weights: none}
      data: {image_size: 64}
      training: {epochs: 1, min_steps: 0}
  - stage: evaluate
  - stage: export
"""


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    return [
        part.strip() for block in blocks for line in block.splitlines() for part in line.split("&&") if part.strip()
    ]


def all_commands() -> list[str]:
    found = [command for page in PAGES for command in commands(page)]
    return [command for command in dict.fromkeys(found) if command.startswith("weldgen ")]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of small rendered photos, with weights that lie in files instead of on a hub."""
    monkeypatch.chdir(tmp_path)
    make_photos(tmp_path / "PHOTOS", {"good": 5, "bad": 4}, size_px=(160, 112))
    mark_photos(tmp_path / "PHOTOS", tmp_path / "MARKED")
    (tmp_path / "weldgen.yaml").write_text(SETTINGS)
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "demo.yaml").write_text(DEMO)
    (tmp_path / "big-lama.pt").write_bytes(b"lama")
    monkeypatch.setattr("weldgen.demo.PHOTOS", {"good": 4, "bad": 3})
    monkeypatch.setattr("weldgen.demo.SIZE_PX", (160, 112))
    for module in ("gates", "shards"):  # so that eight images are enough for two machines
        monkeypatch.setattr(f"weldgen.synthesis.{module}.BLOCK", 4)
    return tmp_path


def mark_photos(photos: Path, out: Path) -> None:
    """The photos with a YOLO box around the band in which their welds lie."""
    out.mkdir()
    (out / "classes.txt").write_text("weld\n")
    for path in sorted(photos.glob("*/*.jpg")):
        (out / path.name).write_bytes(path.read_bytes())
        (out / f"{path.stem}.txt").write_text("0 0.08 0.35 0.92 0.35 0.92 0.68 0.08 0.68\n")


def with_file_weights(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for weight_id in ("lama", "migan"):
        source = project / f"{weight_id}.bin"
        source.write_bytes(weight_id.encode())
        weight = dataclasses.replace(
            weights.WEIGHTS[weight_id], urls=(source.as_uri(),), sha256=hashlib.sha256(weight_id.encode()).hexdigest()
        )
        monkeypatch.setitem(weights.WEIGHTS, weight_id, weight)


def call(command: str) -> None:
    for text, smaller in SMALLER.items():
        command = command.replace(text, smaller)
    result = CliRunner().invoke(app, shlex.split(command)[1:])
    assert result.exit_code == 0, f"{command}\n{result.output}\n{result.exception!r}"


START = ["weldgen init", "weldgen ingest PHOTOS --out data/raw"]
BASE = ["clean", "synth", "train", "evaluate", "export", "predict"]


def part_of(command: str) -> str:
    """Which test runs a command, so that several run side by side: chains, synthesis, weights, or the rest."""
    words = command.split()
    if words[1] in ("run", "demo"):
        return "chains"
    if words[1] == "synth" and len(words) > 4:
        return "synthesis"
    return "weights" if words[1] == "models" else "models"


def listed(part: str) -> list[str]:
    """The commands of a part, those that make what others need first."""
    found = [command for command in all_commands() if part_of(command) == part and command not in START]

    def turn(command: str) -> int:
        """The main chain comes first; what is done with cut-out welds keeps the order of its page."""
        word = command.split()[1]
        return BASE.index(word) if word in BASE and "located" not in command else len(BASE)

    return sorted(found, key=turn)


def test_documented_chains_work(project):
    for command in [*START, *listed("chains")]:
        call(command)
    assert (project / "demo" / "report.html").is_file()


def test_documented_ways_to_make_images_work(project):
    commands = listed("synthesis")
    assert len(commands) >= 4
    for command in [*START, "weldgen clean", *commands]:
        call(command)


def test_documented_commands_about_models_work(project):
    commands = listed("models")
    assert len(commands) > 15
    for command in [*START, *commands]:
        call(command)
    assert (project / "out.jsonl").read_text().count('"label"') == 9


def test_documented_commands_about_weights_work(project, monkeypatch):
    with_file_weights(project, monkeypatch)
    for command in listed("weights"):
        if "add" in command:
            weights.find("lama").unlink()
        call(command)


def test_make_has_the_targets_that_are_documented():
    targets = {c.split()[1] for page in PAGES for c in commands(page) if c.startswith("make ")}
    makefile = (ROOT / "Makefile").read_text()
    assert {"demo", "test"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_every_command_and_page_is_documented():
    text = "\n".join(page.read_text() for page in PAGES)
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert {name for name in names if f"weldgen {name}" not in text} == set()
    readme = PAGES[0].read_text()
    assert all(f"docs/{page.name}" in readme for page in PAGES[1:])


def test_links_and_pictures_exist():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
