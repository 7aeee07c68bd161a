"""Bring photos into a project: class folders as they are, or YOLO, COCO and CSV annotations as classes or crops."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from weldgen.config import StageConfig
from weldgen.data.crops import CropsConfig, cut
from weldgen.data.dataset import METADATA_NAME, Dataset, Failure, check_lineage, read_metadata, subfolders
from weldgen.data.formats import read_annotations
from weldgen.data.formats.detect import detect_format
from weldgen.data.formats.paths import image_files
from weldgen.data.formats.records import FOLDER, Annotations
from weldgen.data.images import read_photo
from weldgen.data.ingest_folder import copy_folders
from weldgen.data.ingest_plan import INGESTED, Item, Plan, PresenceConfig, make_plan
from weldgen.data.upright import Rectangle, cut_upright
from weldgen.data.writer import KEY, DatasetWriter
from weldgen.errors import ConfigError, DataError, OutputError
from weldgen.receipts import Summary, read_receipt, run_key, write_receipt
from weldgen.runtime import content_hash, track

AUTO, CROPS = "auto", "crops"


class IngestConfig(StageConfig):
    """How photos are brought in."""

    format: Literal["auto", "folder", "yolo", "coco", "csv"] = "auto"
    mode: Literal["presence", "crops"] = Field("presence", description="boxes: one class a photo, or one crop a box")
    presence: PresenceConfig = PresenceConfig()
    crops: CropsConfig = CropsConfig()


def ingest(source: Path, out: Path, config: IngestConfig) -> Summary:
    """Bring photos in; what cannot be used is listed in `failures.jsonl`, and nothing is overwritten.

    Class folders become a plain folder of classes, to which photos can be added by hand. Annotated photos become a
    dataset `out/<class>/<name>` with `metadata.jsonl`, which keeps splits and groups.

    Args:
        source: Folder; or a CSV table or COCO file.
        out: Target, usually `data/raw`.
        config: Settings.

    Raises:
        DataError: `source` is missing or empty, or its format is not clear.
        ConfigError: A setting does not fit the source.
        OutputError: `out` cannot be written, or holds what does not go with `source`.
    """
    started = time.monotonic()
    form, notes = str(config.format), []
    if form == AUTO:
        form, seen = detect_format(source)
        notes.append(f"read as {form} ({seen})")
    if form == FOLDER:
        if config.mode == CROPS:
            raise ConfigError(
                f"mode=crops needs boxes, and {source} is read as class folders", "leave out --mode crops"
            )
        summary, classes = copy_folders(source, out)
    else:
        found = read_annotations(source, form)
        _check_settings(found, source, out, config)
        plan = make_plan(found, _origin(source), config.crops if config.mode == CROPS else config.presence)
        summary, classes = _write(plan, out, _origin(source))
        notes += [*found.notes, *plan.notes]
    notes += _empty_class_notes(out, classes)
    summary = replace(summary, notes=tuple(notes), seconds=time.monotonic() - started)
    if form != FOLDER:
        keys = content_hash("".join(item.key for item in plan.items).encode())
        write_receipt(out, run_key("ingest", config, {"source": keys}), config, {"source": source}, summary)
    return summary


def _check_settings(found: Annotations, source: Path, out: Path, config: IngestConfig) -> None:
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise ConfigError(f"--out {out} lies in the folder of the photos, {source}", "choose a folder beside it")
    if not found.images and not found.failures:
        raise DataError(f"{source} lists no photo")
    if config.mode == CROPS and not found.boxed:
        raise ConfigError(f"mode=crops needs boxes, and {source} has none", "leave out --mode crops")
    unknown = [name for name in config.presence.positive if name not in found.classes]
    if unknown and found.boxed:
        raise ConfigError(
            f"presence.positive names '{unknown[0]}', which {source} does not have",
            f"its classes: {', '.join(found.classes)}",
        )


def _write(plan: Plan, out: Path, origin: str) -> tuple[Summary, Collection[str]]:
    others = _others(out, origin)
    _check_splits(plan.items, others)
    keys = {item.sample.file_name: item.key for item in plan.items}
    failures = list(plan.failures)
    counts = {"written": 0, "present": 0}

    def valid(record: Mapping[str, Any]) -> bool:
        ours = record[INGESTED]["from"] == origin
        return bool(not ours or keys.get(record["file_name"]) == record[KEY])

    with DatasetWriter(out, valid) as writer:
        used = {record["id"] for record in writer.done.values()}
        for path, items in track(plan.photos, total=len(plan.photos), description="ingest"):
            missing = [item for item in items if item.sample.file_name not in writer.done]
            there = [item for item in items if item.sample.file_name in writer.done]
            taken = [item for item in there if writer.done[item.sample.file_name][KEY] != item.key]
            failures += [_taken(item, out, writer.done[item.sample.file_name]) for item in taken]
            counts["present"] += len(there) - len(taken)
            try:
                _write_photo(writer, path, missing, used)
            except DataError as error:
                failures.append(Failure(items[0].file, error.message))
            else:
                counts["written"] += len(missing)
        samples = writer.finish(failures)
    check_lineage(Dataset(out, tuple(samples), ()))
    return Summary("ingest", out, counts, len(failures)), {sample.label for sample in samples}


def _write_photo(writer: DatasetWriter, path: Path, items: Sequence[Item], used: set[str]) -> None:
    """Decode a photo once and write its files; equal files get ids with a number."""
    if not items:
        return
    photo = read_photo(path)
    for item in items:
        data = None
        if item.part:
            data = cut_upright(photo, item.part) if isinstance(item.part, Rectangle) else cut(photo, item.part)
        identity = content_hash(data) if data else item.sample.id
        copies = 1
        while (numbered := identity if copies == 1 else f"{identity}-{copies}") in used:
            copies += 1
        used.add(numbered)
        sample = replace(item.sample, id=numbered)
        if data:
            writer.add(sample, data, item.key)
        else:
            writer.add_file(sample, path, item.key, link=False)


def _taken(item: Item, out: Path, record: Mapping[str, Any]) -> Failure:
    place = out / item.sample.file_name
    return Failure(item.file, f"{place} exists and comes from another source, {record[INGESTED]['from']}")


def _origin(source: Path) -> str:
    """Name of a source that tells it from others of the same name."""
    whole = source.resolve()
    return f"{whole.name}-{content_hash(str(whole).encode())[:6]}"


def _others(out: Path, origin: str) -> list[dict[str, Any]]:
    """Lines of photos that other sources brought to the same target.

    Raises:
        OutputError: There are photos without a line, or from another stage.
    """
    records = read_metadata(out) if (out / METADATA_NAME).is_file() else []
    receipt = read_receipt(out)
    if any(INGESTED not in record for record in records) or (receipt and receipt["stage"] != "ingest"):
        raise OutputError(f"{out} was not made by weldgen ingest", "choose another --out")
    listed = {record["file_name"] for record in records}
    plain = [path for path in image_files(out) if path.relative_to(out).as_posix() not in listed]
    if plain:
        raise OutputError(
            f"{out} holds {len(plain)} photos, {plain[0].name} the first, that would not count beside {METADATA_NAME}",
            "choose another --out; weldgen ingest brings class folders and annotated photos to different folders",
        )
    return [record for record in records if record[INGESTED]["from"] != origin]


def _check_splits(items: Sequence[Item], others: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a source that would put a group, or the same photo, into another split than it has from other sources."""
    known = {record["group"]: record for record in others if record["group"]}
    known |= {record[INGESTED]["photo"]: record for record in others}
    for item in items:
        for name in (item.sample.group, item.photo):
            if name in known and known[name]["split"] != item.sample.split:
                raise DataError(
                    f"{item.file} is in split '{item.sample.split}', but its group or the same photo "
                    f"is in '{known[name]['split']}' as {known[name]['file_name']}",
                    "choose another --out, or give both the same split",
                )


def _empty_class_notes(out: Path, classes: Collection[str]) -> list[str]:
    """Folders without photos that the source has no class for: those of `weldgen init`, mostly."""
    known = {path.relative_to(out).parts[0] for path in image_files(out)} | set(classes)
    empty = [folder.name for folder in subfolders(out) if folder.name not in known]
    return [f"{out} has empty class folders, which count as classes: {', '.join(empty)}"] if empty else []
