"""Read what other tools say of photos: YOLO label files, COCO files, CSV tables; pure functions, frozen records.

An image whose annotation is wrong in any place is left out whole, with a reason that names the file and the line:
with one box missing, "no defect" would be a guess.
"""

from __future__ import annotations

from pathlib import Path

from weldgen.data.formats.coco import read_coco
from weldgen.data.formats.records import COCO, CSV, YOLO, Annotations
from weldgen.data.formats.table import read_csv
from weldgen.data.formats.yolo import read_yolo
from weldgen.errors import DataError

_READERS = {YOLO: read_yolo, COCO: read_coco, CSV: read_csv}


def read_annotations(source: Path, form: str) -> Annotations:
    """Read a source.

    Args:
        source: Its folder; for `coco` and `csv` also the file.
        form: `yolo`, `coco` or `csv`.

    Raises:
        DataError: It is missing, or is not of that format.
    """
    if not source.exists() or (form == YOLO and not source.is_dir()):
        raise DataError(f"{source}: there is no such folder")
    return _READERS[form](source)
