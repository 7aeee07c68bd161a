"""Seeds, files and progress."""

from __future__ import annotations

import logging

import pytest

from weldgen.data.mix import MixConfig
from weldgen.errors import BackendError, ConfigError, OutputError
from weldgen.receipts import Summary, fingerprint, finished, run_key, stage_key, write_receipt
from weldgen.runtime import (
    derive_seed,
    give_back_memory,
    remove_temporaries,
    resolve_device,
    resolve_jobs,
    track,
    write_atomic,
)


def test_derived_seeds_are_fixed_and_differ_by_every_part():
    assert derive_seed(0, "image", 1) == derive_seed(0, "image", 1)
    assert len({derive_seed(seed, part, n) for seed in range(3) for part in "ab" for n in range(50)}) == 300
    assert derive_seed(0, "a", "b") != derive_seed(0, "ab")
    assert 0 <= derive_seed(0) < 2**63
    # a change of the derivation would change every data set that anybody has made
    assert derive_seed(42, "synth", 7) == 7187775058241247255


def test_write_atomic_replaces_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a" / "file.txt"
    write_atomic(path, "first")
    write_atomic(path, b"second")
    assert path.read_text() == "second"

    def fail(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "replace", fail)
    with pytest.raises(OutputError, match="No space left"):
        write_atomic(path, "third")
    assert path.read_text() == "second"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_leftovers_are_removed_and_nothing_else(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / ".writing-x.png").write_bytes(b"half")
    (tmp_path / "good" / "x.png").write_bytes(b"whole")
    remove_temporaries(tmp_path)
    assert [p.name for p in (tmp_path / "good").iterdir()] == ["x.png"]


def test_devices_and_jobs_are_checked():
    assert resolve_device("cpu") == "cpu"
    with pytest.raises(ConfigError, match="'gpu' is not known"):
        resolve_device("gpu")
    with pytest.raises(BackendError, match="mps"):
        resolve_device("mps")
    assert resolve_jobs(0) >= 1
    with pytest.raises(ConfigError, match="negative"):
        resolve_jobs(-1)


def test_plain_progress_tells_rate_and_time_left(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("weldgen"), "propagate", True)
    with caplog.at_level(logging.INFO, logger="weldgen"):
        assert list(track(iter("abc"), total=3, description="letters", unit="letters")) == ["a", "b", "c"]
    assert "letters: 3/3 letters" in caplog.text
    assert "s left" in caplog.text


def test_fingerprints_follow_content_and_names_only(tmp_path):
    folder = tmp_path / "set"
    (folder / "good").mkdir(parents=True)
    (folder / "good" / "a.png").write_bytes(b"a")
    first = fingerprint(folder)
    (folder / "stage.json").write_text("{}")
    (folder / ".lock").write_text("")
    (folder / "report.html").write_text("")
    assert fingerprint(folder) == first
    (folder / "good" / "a.png").rename(folder / "good" / "b.png")
    second = fingerprint(folder)
    assert second != first
    (folder / "good" / "b.png").write_bytes(b"b")
    assert fingerprint(folder) not in (first, second)


def test_a_receipt_is_the_skip_test(tmp_path):
    config = MixConfig()
    key = stage_key("mix", config, {"real": tmp_path / "missing"})
    assert key == run_key("mix", config, {})
    assert finished(tmp_path, key) is None
    summary = Summary("mix", tmp_path, {"images": 3}, failures=1, notes=("a note",), details={"x": [1, 2]}, seconds=2.0)
    write_receipt(tmp_path, key, config, {"real": tmp_path / "real"}, summary)
    again = finished(tmp_path, key)
    assert again is not None
    assert again.skipped
    assert (again.counts, again.failures, again.notes, again.details) == ({"images": 3}, 1, ("a note",), {"x": [1, 2]})
    assert finished(tmp_path, run_key("mix", MixConfig(seed=1), {})) is None
    assert run_key("mix", MixConfig(jobs=5, device="cuda"), {}) == key
    (tmp_path / "stage.json").write_text("{ torn")
    assert finished(tmp_path, key) is None


def test_memory_is_given_back_on_any_system(monkeypatch):
    give_back_memory()
    monkeypatch.setattr("weldgen.runtime.ctypes.CDLL", lambda name: object())  # a C library that cannot
    give_back_memory()
