"""Object storage, with fsspec's own in-memory storage in the place of a bucket."""

from __future__ import annotations

import fsspec
import pytest

from weldgen.data.remote import fetch, is_remote
from weldgen.errors import BackendError, DataError


@pytest.fixture
def bucket():
    system = fsspec.filesystem("memory")
    system.store.clear()
    for name, content in {"/shop/welds/good/a.jpg": b"one", "/shop/welds/bad/b.jpg": b"three"}.items():
        system.pipe(name, content)
    yield system
    system.store.clear()


def test_a_remote_folder_becomes_a_local_one(bucket, tmp_path):
    folder = fetch("memory://shop/welds", tmp_path)
    assert {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.jpg")} == {
        "good/a.jpg": b"one",
        "bad/b.jpg": b"three",
    }


def test_only_what_is_new_or_changed_is_fetched(bucket, tmp_path, monkeypatch):
    folder = fetch("memory://shop/welds", tmp_path)
    bucket.pipe("/shop/welds/good/c.jpg", b"four!")
    bucket.pipe("/shop/welds/bad/b.jpg", b"longer now")
    asked = []
    get_file = type(bucket).get_file
    monkeypatch.setattr(type(bucket), "get_file", lambda *a, **k: (asked.append(a[1]), get_file(*a, **k))[1])
    fetch("memory://shop/welds", tmp_path)
    assert sorted(asked) == ["/shop/welds/bad/b.jpg", "/shop/welds/good/c.jpg"]
    assert (folder / "bad" / "b.jpg").read_bytes() == b"longer now"


def test_an_empty_address_is_named(bucket, tmp_path):
    with pytest.raises(DataError, match="memory://shop/nothing"):
        fetch("memory://shop/nothing", tmp_path)


def test_a_protocol_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(DataError, match="nonsense"):
        fetch("nonsense://bucket", tmp_path)


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(BackendError) as caught:
        fetch("s3://bucket/welds", tmp_path)
    assert caught.value.hint == "pip install 'weldgen[s3]'"


@pytest.mark.parametrize(("source", "remote"), [("s3://b/c", True), ("data/raw", False), ("C:\\welds", False)])
def test_urls_are_told_from_folders(source, remote):
    assert is_remote(source) is remote
