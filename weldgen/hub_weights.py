"""Diffusion models of the hub (`hub_parts`): pulled, checked, found again.

The files stay in the hub's own cache, where other programs share them; the checked SHA-256 are kept in weldgen's.
Downloads happen only in `pull_bundle`. `_download` and `_published_hashes` are all that reaches the hub.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weldgen.errors import BackendError, OutputError
from weldgen.hub_parts import BUNDLES, Bundle, Part
from weldgen.runtime import cache_dir, log, write_atomic

_GB = 1e9
_SPARE_GB = 1.0  # kept free beside a download, as sizes are rounded
_WEIGHTS = ".safetensors"
_RECORD = "hub_weights.json"


def hub_cache() -> Path:
    """The hub's cache, which its own variables such as `HF_HOME` move."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def find(part: Part) -> Path | None:
    """Folder of a part in the hub's cache, or None where a file is missing. Nothing is downloaded or hashed."""
    return _snapshot(part) if needed_files(part) else None


def needed_files(part: Part) -> list[Path]:
    """The files of a part that is here whole, else none; full precision counts where half is not here."""
    for names in (part.files, [name.replace(".fp16.", ".") for name in part.files]):
        found = [[path for path in sorted(_snapshot(part).glob(name)) if path.is_file()] for name in names]
        if all(found):
            return [path for paths in found for path in paths]
    return []


def describe(bundle: Bundle) -> list[str]:
    """What a pull brings: each part, its size and licence, the sum, and the space there is."""
    missing = [part for part in bundle.parts if find(part) is None]
    sizes = f"total {bundle.size_gb:.1f} GB, to download {_left_gb(missing):.1f} GB"
    return [
        f"{bundle.id}: {bundle.used_by}",
        *(
            f"  {part.repository}: {part.size_gb:.1f} GB, {'to download' if part in missing else 'present'}, "
            f"licence {part.terms}"
            for part in bundle.parts
        ),
        f"  {sizes}; {_free_gb():.1f} GB free at {hub_cache()}",
    ]


def pull_bundle(bundle_id: str, *, offline: bool = False) -> dict[str, Path]:
    """Download what is missing of a bundle into the hub's cache, and check the SHA-256 of all its weights.

    Args:
        bundle_id: A key of `BUNDLES`.
        offline: Download nothing; check what is here as far as a record allows.

    Returns:
        Repository -> its folder.

    Raises:
        BackendError: A part is missing and may not or cannot be downloaded, or a file is not what the hub published.
        OutputError: The disk is too small.
    """
    bundle = BUNDLES[bundle_id]
    missing = [part for part in bundle.parts if find(part) is None]
    for line in describe(bundle):
        log.info("%s", line)
    if missing and offline:
        names = ", ".join(f"{part.repository} ({part.size_gb:.1f} GB)" for part in missing)
        raise BackendError(
            f"{names} is not on this machine and --offline forbids a download",
            f"weldgen models pull {bundle_id} on a machine with internet, then copy {hub_cache()}",
        )
    _require_space(bundle_id, missing)
    for part in missing:
        log.info("downloading %s: %.1f GB", part.repository, part.size_gb)
        with _hub_errors(part, bundle_id):
            _download(part)
    return {part.repository: _check(part, bundle_id, offline=offline) for part in bundle.parts}


def wrong_files(part: Part) -> list[Path] | None:
    """Weights of a part whose SHA-256 is not the recorded one; None where no record covers them. Needs no network."""
    expected = _recorded(part)
    return None if expected is None else _differing(part, expected)


def _check(part: Part, bundle_id: str, *, offline: bool) -> Path:
    """Folder of a part, once its weights have the SHA-256 of the record or, without one, of the hub."""
    folder = find(part)
    if folder is None:
        raise BackendError(
            f"{part.repository} came without some of the files that are needed: {', '.join(part.files)}",
            f"weldgen models pull {bundle_id}",
        )
    expected = _recorded(part)
    if expected is None and offline:
        log.warning("%s has never been checked; weldgen models pull %s does it online", part.repository, bundle_id)
        return folder
    if expected is None:
        with _hub_errors(part, bundle_id):
            expected = _published_hashes(part)
    log.info("checking %s", part.repository)
    wrong = _differing(part, expected)
    if wrong:
        name = wrong[0].relative_to(folder).as_posix()
        raise BackendError(
            f"{name} of {part.repository} is not the file that the hub published: its SHA-256 is wrong",
            # the hub's cache keeps contents apart from names, and would link the same content again
            f"delete {wrong[0].resolve()} and run: weldgen models pull {bundle_id}",
        )
    _record(part, {name: expected[name] for name in _weights(part)})
    return folder


def _weights(part: Part) -> dict[str, Path]:
    """Name in the repository -> file, of all weights in use."""
    files = [path for path in needed_files(part) if path.suffix == _WEIGHTS]
    return {path.relative_to(_snapshot(part)).as_posix(): path for path in files}


def _differing(part: Part, expected: dict[str, str]) -> list[Path]:
    differing = []
    for name, path in _weights(part).items():
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != expected.get(name):
                differing.append(path)
    return differing


def _snapshot(part: Part) -> Path:
    return hub_cache() / "--".join(("models", *part.repository.split("/"))) / "snapshots" / part.revision


def _records() -> dict[str, dict[str, dict[str, str]]]:
    """Repository -> commit -> file -> SHA-256, of what was checked against the hub."""
    path = cache_dir() / _RECORD
    if not path.is_file():
        return {}
    try:
        records: dict[str, dict[str, dict[str, str]]] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BackendError(f"{path} cannot be read: {error}", "delete it and run: weldgen models pull sdxl") from error
    return records


def _recorded(part: Part) -> dict[str, str] | None:
    """SHA-256 of each of the part's weights, or None where the record lacks one."""
    known = _records().get(part.repository, {}).get(part.revision, {})
    weights = _weights(part)
    return known if weights and weights.keys() <= known.keys() else None


def _record(part: Part, hashes: dict[str, str]) -> None:
    records = _records()
    records[part.repository] = {part.revision: hashes}
    write_atomic(cache_dir() / _RECORD, json.dumps(records, indent=2) + "\n")


def _free_gb() -> float:
    folder = hub_cache()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free / _GB


def _left_gb(missing: list[Part]) -> float:
    """What is still to come of parts, in units of 10^9 bytes; files that an interrupted pull left count as here."""
    here = {path for part in missing for name in part.files for path in _snapshot(part).glob(name) if path.is_file()}
    return max(0.0, sum(part.size_gb for part in missing) - sum(path.stat().st_size for path in here) / _GB)


def _require_space(bundle_id: str, missing: list[Part]) -> None:
    needed_gb, free_gb = _left_gb(missing) + _SPARE_GB, _free_gb()
    if missing and needed_gb > free_gb:
        raise OutputError(
            f"'{bundle_id}' needs {needed_gb:.1f} GB in {hub_cache()}, where {free_gb:.1f} GB are free",
            "free some space, or set HF_HOME to a folder on a larger disk",
        )


@contextmanager
def _hub_errors(part: Part, bundle_id: str) -> Iterator[None]:
    """Turn a failing talk with the hub into one sentence."""
    try:
        yield
    except Exception as error:  # the hub's client raises its own, its HTTP library's and the system's
        reason = str(error).strip().partition("\n")[0]
        raise BackendError(
            f"{part.repository} could not be fetched from the hub: {type(error).__name__}: {reason}",
            f"run weldgen models pull {bundle_id} again; files that are complete are not downloaded twice",
        ) from error


def _download(part: Part) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download(part.repository, revision=part.revision, allow_patterns=list(part.files))


def _published_hashes(part: Part) -> dict[str, str]:
    """SHA-256 of each large file of the commit, from the hub's list of files."""
    from huggingface_hub import HfApi

    listed = HfApi().model_info(part.repository, revision=part.revision, files_metadata=True).siblings or []
    return {file.rfilename: file.lfs.sha256 for file in listed if file.lfs is not None}
