"""Classify photos on many machines with Ray: each worker loads the model once and takes batches of files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from weldgen.errors import BackendError
from weldgen.serving.predict import find_photos, predict_files
from weldgen.serving.predictor import WeldClassifierInference

_BATCH_FILES = 32


def predict_on_ray(
    model: Path,
    paths: Sequence[Path],
    *,
    address: str | None = None,
    device: str = "auto",
    tta: int = 0,
    locator: Path | None = None,
) -> Iterator[dict[str, Any]]:
    """`predict_paths` on a Ray cluster; model and photos must lie on storage that all machines see.

    Args:
        model: An exported file.
        paths: Photos or folders.
        address: Of a running cluster, e.g. `ray://head:10001` or `auto`; None starts workers on this machine.
        device: `auto`, `cpu` or `cuda`, of each worker.
        tta: Views of each photo, 1 to 12; 0: as the model says.
        locator: What `weldgen locator` wrote, to cut the weld out of each photo; None: whole photos.

    Yields:
        The records of `predict_paths`, in the order of the files.

    Raises:
        BackendError: Ray is not installed, or the cluster cannot be reached.
        DataError: There is no such path, or a folder holds no photo.
    """
    files = [file.resolve() for path in paths for file in find_photos(path)]
    # a wrong file is refused here, not once on every machine
    WeldClassifierInference(model, device, tta=tta, locator=locator)
    ray = _connect(address)
    try:
        rows = ray.data.from_items([{"index": index, "file": str(file)} for index, file in enumerate(files)])
        cores = int(ray.cluster_resources().get("CPU", 1))
        answered = rows.map_batches(
            _Worker,
            fn_constructor_args=(str(model.resolve()), device, tta, locator and str(locator.resolve())),
            batch_size=_BATCH_FILES,
            concurrency=(1, max(1, cores)),
            num_cpus=1,
        )
        yield from (json.loads(row["record"]) for row in sorted(answered.iter_rows(), key=lambda row: row["index"]))
    finally:
        if address is None:
            ray.shutdown()


class _Worker:
    def __init__(self, model: str, device: str, tta: int, locator: str | None) -> None:
        own = Path(locator) if locator else None
        self._classifier = WeldClassifierInference(model, device, threads=1, tta=tta, locator=own)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        files = [Path(file) for file in batch["file"]]
        # as text: Ray's tables would give every record the fields of all of them
        return {"index": batch["index"], "record": [json.dumps(r) for r in predict_files(self._classifier, files)]}


def _connect(address: str | None) -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise BackendError(f"ray is not installed: {error}", "pip install 'weldgen[ray]'") from error
    try:
        ray.init(address=address, ignore_reinit_error=True, include_dashboard=False, log_to_driver=False)
    except Exception as error:  # Ray raises many kinds
        raise BackendError(f"no Ray cluster at '{address}': {error}", "start one: ray start --head") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    return ray
