"""Photos in object storage: copied to disk once, then an ordinary folder."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from weldgen.errors import BackendError, DataError
from weldgen.runtime import log, output_errors, temporary_for

# Protocol -> the extra that brings its package; fsspec itself comes with torch.
_EXTRAS = {"s3": "s3", "s3a": "s3"}


def is_remote(source: str) -> bool:
    """Whether a source is a URL of object storage, such as `s3://bucket/photos`."""
    protocol, separator, _ = source.partition("://")
    return bool(separator) and protocol.isalnum()


def fetch(url: str, into: Path) -> Path:
    """Copy a remote folder to disk; what is there already, with the same size, is not fetched again.

    Args:
        url: Folder in object storage, `s3://bucket/photos`. Credentials come from the environment, as its own tools
            read them.
        into: Folder below which it is put, as `<into>/<bucket>/<path>`.

    Returns:
        The local folder.

    Raises:
        BackendError: The protocol's package is missing, or the storage cannot be reached.
        DataError: There is nothing at the URL.
        OutputError: The disk is full or not writable.
    """
    protocol = url.partition("://")[0]
    system, root = _open(url, protocol)
    try:
        found = system.find(root, detail=True)
    except Exception as error:  # each storage raises kinds of its own
        raise BackendError(f"{url} cannot be listed: {error}", "check the address and the credentials") from error
    if not found:
        raise DataError(f"{url}: there is no file", "the address of a folder is needed, e.g. s3://bucket/photos")
    target = into / Path(*PurePosixPath(root.strip("/")).parts)
    fetched = 0
    for name, details in sorted(found.items()):
        inner = PurePosixPath(name).relative_to(PurePosixPath(root))
        if ".." in inner.parts:
            raise DataError(f"{url}: the name {name} leads out of the folder")
        fetched += _fetch_file(system, name, int(details["size"]), target / Path(*inner.parts))
    log.info("%s: %d files fetched, %d were here already", url, fetched, len(found) - fetched)
    return target


def _open(url: str, protocol: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    import fsspec

    try:
        system, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        extra = _EXTRAS.get(protocol)
        hint = f"pip install 'weldgen[{extra}]'" if extra else f"install fsspec's package for {protocol}"
        raise BackendError(f"{protocol}:// needs a package that is not installed: {error}", hint) from error
    except ValueError as error:
        raise DataError(f"{url}: {error}", "accepted: s3://bucket/folder, or another protocol of fsspec") from error
    return system, str(root)


def _fetch_file(system: Any, name: str, size: int, target: Path) -> bool:
    """Copy one file under a temporary name; False where it was here already."""
    if target.is_file() and target.stat().st_size == size:
        return False
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_for(target)
        try:
            system.get_file(name, str(temporary))
        except OSError:
            raise
        except Exception as error:
            raise BackendError(f"{name} cannot be fetched: {error}", "run the same command again") from error
        temporary.replace(target)
    return True
