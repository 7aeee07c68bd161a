"""Divide a run over several machines, and put the parts together.

Images are dealt out in blocks of consecutive numbers. Copies of synthetic images are looked for within a block only,
so a machine needs to know nothing of the others, and the parts together are what one machine would have made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from weldgen.data.dataset import METADATA_NAME, Sample, read_metadata
from weldgen.data.writer import KEY, DatasetWriter
from weldgen.errors import DataError
from weldgen.synthesis.gates import BLOCK
from weldgen.synthesis.plan import Planned

MASKS = "masks"


def own_part(plan: Sequence[Planned], shard: str) -> list[Planned]:
    """The images of a plan that are a machine's own.

    Args:
        plan: The whole run.
        shard: `i/N`: the i-th of N machines.

    Raises:
        DataError: None is.
    """
    number, count = map(int, shard.split("/"))
    part = [planned for planned in plan if planned.request.index // BLOCK % count == number - 1]
    if not part:
        raise DataError(
            f"shard {shard} of {len(plan)} images is empty: they are dealt out in blocks of {BLOCK}",
            "ask for more images with --n, or divide them into fewer shards",
        )
    return part


def mask_name(file_name: str) -> str:
    """The mask file of an image, in the same dataset."""
    return f"{MASKS}/{Path(file_name).with_suffix('.png').as_posix()}"


def join(folders: Sequence[str], writer: DatasetWriter, valid: Callable[[dict[str, Any], Path], bool]) -> int:
    """Take over what other machines made of the same run, as hard links where possible; returns how many images.

    Args:
        folders: Their output folders.
        writer: Where to.
        valid: Whether an image, given its metadata line and its folder, is what this run would make.

    Raises:
        DataError: A folder holds no images of weldgen, or none of this run.
    """
    taken = 0
    for folder in map(Path, folders):
        records = read_metadata(folder) if (folder / METADATA_NAME).is_file() else []
        fitting = [record for record in records if (folder / record["file_name"]).is_file() and valid(record, folder)]
        if not fitting:
            raise DataError(
                f"{folder} holds no images of this run, made from the same photos with the same settings",
                "make it with the same command and --shard i/N",
            )
        for record in fitting:
            name = record["file_name"]
            if name in writer.done:
                continue
            mask = folder / mask_name(name)
            if mask.is_file():
                writer.add_side_file(mask_name(name), mask.read_bytes())
            writer.add_file(Sample.from_record(record), folder / name, record[KEY], link=True)
            taken += 1
    return taken
