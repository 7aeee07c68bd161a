"""A dataset folder under construction survives interruptions and never touches what a user made."""

from __future__ import annotations

import json

import pytest

from weldgen.data.dataset import Dataset, Failure, Sample
from weldgen.data.writer import DatasetWriter
from weldgen.errors import OutputError


def accept(record):
    return record["key"] == "k"


def add(writer, name, data=None, key="k"):
    writer.add(Sample(f"good/{name}.png", "", "good", width=4, height=4), data or name.encode(), key)


def test_an_interrupted_run_keeps_what_is_whole(tmp_path):
    with DatasetWriter(tmp_path, accept) as writer:
        add(writer, "a")
        add(writer, "b")
        add(writer, "c")
    # SIGKILL between the line and the rename leaves a line without a file; in mid-line, a torn line
    (tmp_path / "good" / "c.png").rename(tmp_path / "good" / ".writing-c.png")
    with (tmp_path / "metadata.jsonl").open("a") as stream:
        stream.write('{"file_name": "good/d')
    with DatasetWriter(tmp_path, accept) as writer:
        assert sorted(writer.done) == ["good/a.png", "good/b.png"]
        add(writer, "c")
        samples = writer.finish()
    assert [s.file_name for s in samples] == ["good/a.png", "good/b.png", "good/c.png"]
    assert sorted(p.name for p in (tmp_path / "good").iterdir()) == ["a.png", "b.png", "c.png"]
    assert len(Dataset.open(tmp_path).samples) == 3


def test_stale_images_are_made_anew_but_never_one_that_was_edited(tmp_path):
    with DatasetWriter(tmp_path, accept) as writer:
        add(writer, "a", key="old")
        add(writer, "b", key="old")
        writer.finish()
    with DatasetWriter(tmp_path, accept) as writer:
        assert not writer.done
        add(writer, "a", key="old")
        writer.finish()
    (tmp_path / "good" / "a.png").write_bytes(b"touched up by hand")
    with pytest.raises(OutputError, match="by hand"), DatasetWriter(tmp_path, accept):
        pass
    assert (tmp_path / "good" / "a.png").read_bytes() == b"touched up by hand"


def test_a_users_file_is_never_overwritten(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.png").write_bytes(b"mine")
    with DatasetWriter(tmp_path, accept) as writer, pytest.raises(OutputError, match="not made by weldgen"):
        add(writer, "a")
    assert (tmp_path / "good" / "a.png").read_bytes() == b"mine"


def test_two_runs_in_one_folder_are_refused(tmp_path):
    with (
        DatasetWriter(tmp_path, accept),
        pytest.raises(OutputError, match="another weldgen run"),
        DatasetWriter(tmp_path, accept),
    ):
        pass


def test_failures_are_listed_and_old_lists_go(tmp_path):
    with DatasetWriter(tmp_path, accept) as writer:
        writer.finish([Failure("good/x.jpg", "damaged")], labels=["good", "bad"])
    assert json.loads((tmp_path / "failures.jsonl").read_text()) == {"file": "good/x.jpg", "reason": "damaged"}
    assert (tmp_path / "bad").is_dir()
    with DatasetWriter(tmp_path, accept) as writer:
        writer.finish()
    assert not (tmp_path / "failures.jsonl").exists()


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    from pathlib import Path

    def full(self, data):
        self.touch()
        raise OSError(28, "No space left on device")

    with DatasetWriter(tmp_path, accept) as writer:
        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match="No space left") as raised:
            add(writer, "a")
    assert "free some space" in raised.value.hint
    assert list((tmp_path / "good").iterdir()) == []
    assert (tmp_path / "metadata.jsonl").read_text() == ""
