"""A Parquet table of images: paths, or the encoded bytes themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.data.images.headers import headers_of
from longtail.data.images.reading import UnreadableImage
from longtail.data.parts import ImageSet
from longtail.data.sources.catalogue import (
    Entry,
    clean_label,
    clean_part,
    clean_text,
    image_set,
    in_order,
    parts_in_words,
)
from longtail.data.sources.encoded import Encoded
from longtail.data.sources.extras import library
from longtail.data.sources.finding import PART_FOLDERS
from longtail.data.sources.tables import Roles, Row, roles_of
from longtail.data.words import listed, shown
from longtail.errors import LongtailError
from longtail.text import counted
from longtail.watching import Watcher

HELD_BYTES = 8 << 30
"""Of images in Parquet files: they are held in memory, since Parquet gives no single row."""


@dataclass(frozen=True, eq=False)
class InTable(Encoded):
    """Images in a column of Arrow's binary arrays, one for each file."""

    columns: tuple[Any, ...]  # pyarrow arrays of bytes
    column: NDArray[np.int64]  # (N,) of `columns`
    rows: NDArray[np.int64]  # (N,)
    common_size: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def content(self, index: int) -> bytes:
        found = self.columns[self.column[index]][int(self.rows[index])].as_py()
        if not isinstance(found, bytes):
            raise UnreadableImage("no bytes in the table")
        return found

    def subset(self, indices: NDArray[np.int64]) -> InTable:
        return replace(self, column=self.column[indices], rows=self.rows[indices])


def parquet_files(folder: Path) -> list[Path]:
    """The Parquet files of a folder and of its folder data/, where the Hugging Face hub keeps them."""
    places = [place for place in (folder, folder / "data") if place.is_dir()]
    return [
        path
        for place in places
        for path in sorted(place.iterdir())
        if _is_parquet(path) and not path.name.startswith(".")
    ]


def holds_bytes(path: Path) -> bool:
    """Whether the images of a Parquet file are in it. Raises LongtailError for what is no Parquet file."""
    schema = _file(path).schema_arrow
    arrow = library("pyarrow", "tables", f"Reading {shown(path.name)}")
    field = schema.field(roles_of(schema.names, f"{shown(path.name)}, row").image)
    return bool(arrow.types.is_struct(field.type) or _is_binary(field.type))


def parquet_rows(path: Path) -> tuple[tuple[str, ...], list[Row]]:
    """Columns and rows of a Parquet file without images; rows count from 1."""
    table = _file(path).read()
    return tuple(table.column_names), list(enumerate(table.to_pylist(), start=1))


def open_parquet(name: str, paths: Sequence[Path], watcher: Watcher) -> ImageSet:
    """The images in Parquet files, one part or several.

    A column of the table says the part, or the beginning of the file's name does (train-00000-of-00002.parquet). Where
    the file knows names for numbers as labels (Hugging Face writes them), these are the classes. An image's identity
    is its file's name and its row.

    Raises LongtailError for files that are none, or have no such columns.
    """
    tables = [_Table.read(path) for path in paths]
    entries = [entry for table in tables for entry in table.entries()]
    if not entries:
        raise LongtailError(f"{shown(name)} has no rows; give one for each image.")
    lengths = [len(table.labels) for table in tables]
    pixels = InTable(
        tuple(table.images for table in tables),
        np.repeat(np.arange(len(tables)), lengths),
        np.concatenate([np.arange(length) for length in lengths]),
    )
    headers = headers_of([entry.image for entry in entries], pixels.open, watcher)
    classes = _names(tables, entries)
    note = (
        f"Data: {counted(len(paths), 'Parquet file')} with {len(entries):,} images of "
        f"{counted(len({entry.label for entry in entries}), 'class')} ({parts_in_words(entries)})"
    )
    pixels = replace(pixels, common_size=headers.size)
    return image_set(name, entries, pixels, headers, notes=[note, tables[0].roles.note()], names=classes)


@dataclass(frozen=True)
class _Table:
    """What of a Parquet file is needed."""

    name: str
    roles: Roles
    images: Any
    labels: list[Any]
    parts: list[Any] | None
    others: Mapping[str, list[Any]]
    names: Sequence[str]  # of the labels 0, 1, ..., if the file knows them

    @classmethod
    def read(cls, path: Path) -> _Table:
        file = _file(path)
        held = sum(file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups))
        if held > HELD_BYTES:
            raise LongtailError(
                f"{shown(path.name)} holds {held / 2**30:.0f} GiB of images, which would all have to be in memory; "
                "pack them into tar shards."
            )
        roles = roles_of(file.schema_arrow.names, f"{shown(path.name)}, row")
        table = file.read()
        others = [column for column in table.column_names if column not in roles]
        return cls(
            path.name,
            roles,
            _bytes_of(table.column(roles.image), path),
            table.column(roles.label).to_pylist(),
            table.column(roles.part).to_pylist() if roles.part else None,
            {column: table.column(column).to_pylist() for column in others},
            _class_names(file.schema_arrow.metadata, roles.label),
        )

    def entries(self) -> Iterator[Entry]:
        source = f"{shown(self.name)}, row"
        of_file = PART_FOLDERS.get(self.name.replace("_", "-").replace(".", "-").split("-")[0].lower(), "train")
        for row, label in enumerate(self.labels, start=1):
            where = f"{source} {row}"
            if not isinstance(label, str | int) or isinstance(label, bool):
                raise LongtailError(f"{where}: {self.roles.label!r} is {label!r:.40}; give a text or a whole number.")
            part = clean_part(str(self.parts[row - 1]), where) if self.parts else of_file
            columns = {name: clean_text(str(values[row - 1]), where) for name, values in self.others.items()}
            yield Entry(f"{self.name}/{row}", clean_label(str(label), where), part, source, row, columns)


def _names(tables: Sequence[_Table], entries: Sequence[Entry]) -> Mapping[str, str] | None:
    """Class names for the numbers that are labels, where the files know them."""
    names = tables[0].names
    used = in_order({entry.label for entry in entries})
    if not names or not all(label.isdecimal() and int(label) < len(names) for label in used):
        return None
    return {label: names[int(label)] for label in used}


def _class_names(metadata: Mapping[bytes, bytes] | None, column: str) -> Sequence[str]:
    """What Hugging Face's `datasets` writes beside a table about a column of class labels."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
    except (KeyError, TypeError, ValueError):
        return ()
    return tuple(map(str, names)) if len(set(map(str, names))) == len(names) else ()


def _bytes_of(column: Any, path: Path) -> Any:
    arrow = library("pyarrow", "tables", f"Reading {shown(path.name)}")
    if arrow.types.is_struct(column.type):
        fields = [column.type.field(index).name for index in range(column.type.num_fields)]
        if "bytes" not in fields:
            raise LongtailError(f"{shown(path.name)} has images without bytes, only {listed(fields)}; give them bytes.")
        column = arrow.chunked_array([chunk.field("bytes") for chunk in column.chunks], arrow.binary())
    if not _is_binary(column.type):
        raise LongtailError(
            f"{shown(path.name)} has paths where other files have the bytes of images; give one of the two."
        )
    return column.cast(arrow.large_binary()).combine_chunks()


def _file(path: Path) -> Any:
    library("pyarrow", "tables", f"Reading {shown(path.name)}")
    parquet = library("pyarrow.parquet", "tables", f"Reading {shown(path.name)}")
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:  # pyarrow's own are ValueErrors
        reason = str(error).partition("\n")[0]
        raise LongtailError(f"{shown(str(path))} is no Parquet file that can be read ({reason}).") from error


def _is_binary(kind: Any) -> bool:
    return str(kind) in {"binary", "large_binary", "binary_view"}


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in {".parquet", ".pq"} and path.is_file()
