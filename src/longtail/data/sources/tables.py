"""A table of images with their labels, written as CSV or JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from longtail.data.sources.catalogue import Entry, clean_label, clean_part, clean_text
from longtail.data.sources.lists import read_text
from longtail.data.sources.places import Place
from longtail.data.words import listed, shown
from longtail.errors import LongtailError

IMAGE_COLUMNS = ("path", "image", "file", "file_name", "filename", "filepath", "image_path", "identity")
LABEL_COLUMNS = ("class", "label", "class_name", "category", "target")
PART_COLUMNS = ("part", "split", "set")

Naming = Callable[[str, str], str]
"""What a table calls an image, and where -> its name; raises LongtailError."""

Row = tuple[int, Mapping[str, Any]]
"""Line and what stands in each column."""


class Roles(NamedTuple):
    """Which columns say where an image is, what it shows, and which part it belongs to."""

    image: str
    label: str
    part: str | None

    def note(self) -> str:
        """One line that says what was taken for what."""
        part = f", parts in {self.part!r}" if self.part else ""
        return f"Columns: images in {self.image!r}, labels in {self.label!r}{part}"


def read_rows(place: Place) -> tuple[tuple[str, ...], list[Row]]:
    """The columns and rows of a CSV or TSV file, or of one with a JSON object a line.

    Raises LongtailError, with file and line, for a line that does not fit.
    """
    text = read_text(place)
    if place.suffix in {".jsonl", ".ndjson"}:
        rows = list(_json_lines(text, place))
        return tuple(dict.fromkeys(column for _, row in rows for column in row)), rows
    return _delimited(text, place)


def roles_of(columns: Sequence[str], source: str) -> Roles:
    """What the columns are by their names, the first in the order of the names known.

    Raises LongtailError for a table without images or without labels.
    """
    return Roles(
        column_of(columns, IMAGE_COLUMNS, "the images", source),
        column_of(columns, LABEL_COLUMNS, "their labels", source),
        _known(columns, PART_COLUMNS),
    )


def entries_of(rows: Iterable[Row], roles: Roles, columns: Sequence[str], name_of: Naming, source: str) -> list[Entry]:
    """The images of a table whose paths `name_of` makes names. Raises LongtailError with the line."""
    others = [column for column in columns if column not in roles]
    entries = []
    for line, row in rows:
        where = f"{source} {line}"
        entries.append(
            Entry(
                name_of(text_of(row, roles.image, where), where),
                clean_label(text_of(row, roles.label, where), where),
                clean_part(text_of(row, roles.part, where), where) if roles.part else "train",
                source,
                line,
                {column: clean_text(_loose_text(row.get(column)), where) for column in others},
            )
        )
    if not entries:
        raise LongtailError(f"{source.rpartition(',')[0]} has no rows; give one for each image.")
    return entries


def _delimited(text: str, place: Place) -> tuple[tuple[str, ...], list[Row]]:
    heading = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=heading.count), strict=True)
    columns: tuple[str, ...] = ()
    rows: list[Row] = []
    line = 0
    try:
        for cells in reader:
            line, start = reader.line_num, line + 1
            if not columns:
                columns = _heading(cells, place)
            elif len(cells) == len(columns):
                rows.append((start, dict(zip(columns, cells, strict=True))))
            elif cells:
                raise LongtailError(
                    f"{shown(place.name)}, line {start} has {len(cells)} cells, but the heading has {len(columns)}; "
                    "put names with commas or quotes into quotes."
                )
    except csv.Error as error:
        raise LongtailError(f"{shown(place.name)}, line {line + 1} is no line of a table: {error}.") from error
    return columns, rows


def _heading(cells: Sequence[str], place: Place) -> tuple[str, ...]:
    columns = tuple(cell.strip() for cell in cells)
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise LongtailError(f"{shown(place.name)} has several columns called {listed(twice)}; rename all but one.")
    return columns


def _json_lines(text: str, place: Place) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise LongtailError(f"{shown(place.name)}, line {number} is no JSON: {error}.") from error
        if not isinstance(row, dict):
            raise LongtailError(f"{shown(place.name)}, line {number} is no JSON object with a path and a label.")
        yield number, row


def column_of(columns: Sequence[str], known: Sequence[str], of_what: str, source: str) -> str:
    """The first of the `known` names that is a column. Raises LongtailError where none is."""
    found = _known(columns, known)
    if found is None:
        raise LongtailError(
            f"{source.rpartition(',')[0]} has no column of {of_what} ({', '.join(known)}), only "
            f"{listed(columns) or 'none at all'}; rename one."
        )
    return found


def _known(columns: Sequence[str], known: Sequence[str]) -> str | None:
    by_name = {column.lower(): column for column in reversed(columns)}
    return next((by_name[name] for name in known if name in by_name), None)


def text_of(row: Mapping[str, Any], column: str, where: str) -> str:
    """What a row has in a column. Raises LongtailError for what is neither text nor a whole number."""
    value = row.get(column)
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    raise LongtailError(f"{where}: {column!r} is {json.dumps(value)[:40]}; give a text or a whole number.")


def _loose_text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)
