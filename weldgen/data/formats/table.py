"""CSV: a table with a row for each photo, or for each box."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from weldgen.data.dataset import SPLIT_FOLDERS
from weldgen.data.formats.collector import Collector
from weldgen.data.formats.paths import IMAGES, find_photo, names_of, read_text, split_of
from weldgen.data.formats.records import Annotated, Annotations, Box, number
from weldgen.errors import DataError

TABLE_SUFFIXES = (".csv", ".tsv")
_NEEDED = ("file", "label")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_COLUMNS = (*_NEEDED, "group", "split", *_CORNERS)


def csv_files(root: Path) -> list[Path]:
    """Tables in a folder that have the columns `file` and `label`."""
    return [table for table in _tables(root) if set(_NEEDED) <= set(_header(table)[0])]


def read_csv(source: Path) -> Annotations:
    """CSV: columns `file` and `label`; optional `group`, `split`, and `xmin`, `ymin`, `xmax`, `ymax` in pixels.

    Files are relative to the table, or to `images/` beside it. With boxes each row is a box; a row that has neither
    a label nor a box lists a photo without boxes.

    Args:
        source: The table, or a folder with one.

    Raises:
        DataError: A column is missing, the table is no text, or a group lies in two splits.
    """
    table = source if source.is_file() else _only_table(source)
    columns, separator = _header(table)
    _check_columns(table, columns)
    boxed = set(_CORNERS) <= set(columns)
    found = Collector(table.parent)
    classes = set()
    for line, values in _rows(table, separator):
        where = f"{table.name}, line {line}"
        row = {column: value.strip() for column, value in zip(columns, values, strict=False)}
        try:
            photo = find_photo(found.root, row.get("file", ""), [found.root, found.root / IMAGES])
        except ValueError as error:
            found.miss(row.get("file") or where, f"{where}: {error}")
            continue
        try:
            if len(values) != len(columns):
                raise ValueError(f"{len(values)} values, but there are {len(columns)} columns")
            found.add(_row_image(photo, row, where, boxed))
            classes.add(row["label"])
        except ValueError as error:
            found.refuse(photo, f"{where}: {error}")
    return found.finish(sorted(classes - {""}), boxed=boxed)


def _row_image(photo: Path, row: Mapping[str, str], where: str, boxed: bool) -> Annotated:
    split, label = row.get("split", ""), row["label"]
    if split and not split_of([split]):
        raise ValueError(f"split is '{split}'; accepted: {', '.join(SPLIT_FOLDERS)}, or nothing")
    one = Annotated(photo, split=split_of([split]), group=row.get("group", ""), where=where)
    if not boxed:
        if not label:
            raise ValueError("the label is empty")
        return replace(one, label=label)
    corners = [row[column] for column in _CORNERS]
    if bool(label) != any(corners):
        raise ValueError("a label without a box" if label else "the label is empty")
    if not label:
        return one
    left, top, right, bottom = map(number, corners)
    return replace(one, boxes=(Box(label, (left, top, right, bottom), relative=False, where=where),))


def _rows(table: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and values of each row below the header; empty lines are left out."""
    reader = csv.reader(io.StringIO(read_text(table)), delimiter=separator)
    try:
        for index, values in enumerate(reader):
            if index and any(value.strip() for value in values):
                yield reader.line_num, values
    except csv.Error as error:
        raise DataError(
            f"{table}, line {reader.line_num}: {error}", "look for a quotation mark that is open"
        ) from error


def _header(table: Path) -> tuple[list[str], str]:
    """Names of the columns in lower case, and the separator that occurs most often among them."""
    first = (read_text(table).splitlines() or [""])[0]
    separator = max(",;\t|", key=first.count)
    return [name.strip().lower() for name in next(csv.reader([first], delimiter=separator), [])], separator


def _check_columns(table: Path, columns: Sequence[str]) -> None:
    needed = [*_NEEDED, *(_CORNERS if set(_CORNERS) & set(columns) else ())]
    missing = [column for column in needed if column not in columns]
    if missing:
        unknown = ", ".join(column for column in columns if column not in _COLUMNS) or "none"
        raise DataError(
            f"{table}: there is no column {', '.join(missing)}; columns that weldgen does not know: {unknown}",
            "rename the columns to file, label and, as needed, group, split, xmin, ymin, xmax, ymax",
        )
    twice = [column for column, count in Counter(columns).items() if count > 1 and column in _COLUMNS]
    if twice:
        raise DataError(f"{table}: the column {twice[0]} is there twice", "rename one of them")


def _tables(root: Path) -> list[Path]:
    return sorted(file for file in root.iterdir() if file.suffix.lower() in TABLE_SUFFIXES and file.is_file())


def _only_table(root: Path) -> Path:
    tables = csv_files(root) or _tables(root)
    if len(tables) != 1:
        raise DataError(
            f"{root}: {len(tables)} tables, but one is needed ({names_of(tables) or 'no .csv'})",
            "weldgen ingest takes the table itself, too",
        )
    return tables[0]
