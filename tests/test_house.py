"""The floors of the house: imports only go down, and light commands stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

import weldgen

ROOT = Path(weldgen.__file__).parent
SUBJECTS = {"cleaning", "synthesis", "classifier", "serving", "report"}
# Top down; a module may import from lower floors and from its own room.
FLOORS = [
    {"cli"},
    {"demo", "project", "doctor"},
    {"pipeline"},
    {"stages"},
    SUBJECTS,
    {"locating"},
    {"data"},
    {"receipts", "runfolder", "features"},
    {"lite_graph"},
    {"config", "inference", "weights", "hub_weights", "decision", "tta"},
    {"runtime", "quantisation", "hub_parts", "weight_list"},
    {"errors", "weldgen"},
]


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "weldgen"


def floor(name: str) -> int:
    return next(index for index, rooms in enumerate(FLOORS) if name in rooms)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name for name in found if name.split(".")[0] == "weldgen"}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_only_go_down(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts == ("__init__",):
        return  # the package's face hands on one name, lazily
    own = parts[0]
    for module in imports(path):
        other = room(module)
        if other == own:
            continue
        assert other in {"weldgen"} or floor(other) > floor(own), f"{path.name} imports {module}"


def test_typer_is_imported_by_the_command_line_alone():
    users = {p.relative_to(ROOT).parts[0] for p in ROOT.rglob("*.py") if "import typer" in p.read_text()}
    assert users == {"cli"}


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["doctor"], ["models", "list"]])
def test_light_commands_load_nothing_heavy(arguments):
    code = (
        "import sys; from weldgen.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "heavy = {'torch', 'cv2', 'timm', 'diffusers', 'easyocr', 'openvino', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    started = time.monotonic()
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert time.monotonic() - started < 10  # far above what it takes; a hang or a download would exceed it
