"""The forms in which people hold images, told by what is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from longtail.data.asked import Reading
from longtail.data.parts import ImageSet
from longtail.data.sources.catalogue import Entry, image_set, parts_in_words
from longtail.data.sources.cifar import cifar10, cifar100
from longtail.data.sources.digits import digits
from longtail.data.sources.finding import PART_FOLDERS
from longtail.data.sources.folders import check_folder, open_folder
from longtail.data.sources.hub import PREFIX, is_saved, open_hub, open_saved
from longtail.data.sources.inside import Inside
from longtail.data.sources.lists import files, names_of_folders, read_list
from longtail.data.sources.parquet import holds_bytes, open_parquet, parquet_files, parquet_rows
from longtail.data.sources.places import UNREAD, Place, is_remote
from longtail.data.sources.published import imagenet_lt, inaturalist2018, places_lt
from longtail.data.sources.remote import RemoteFiles, name_below
from longtail.data.sources.shards import is_range, open_shards, shards_in
from longtail.data.sources.tables import Row, entries_of, read_rows, roles_of
from longtail.data.words import shown
from longtail.errors import LongtailError, unknown
from longtail.text import counted
from longtail.watching import Watcher

NAMED: Mapping[str, Callable[[Reading, Watcher], ImageSet]] = {
    "digits": digits,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "imagenet-lt": imagenet_lt,
    "places-lt": places_lt,
    "inaturalist2018": inaturalist2018,
}
"""The sets of the papers; a docstring is a card."""

TABLES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson"})
PARQUET = frozenset({".parquet", ".pq"})
LISTS = frozenset({".txt", ".json"})


def open_source(data: str | Path, reading: Reading, watcher: Watcher) -> ImageSet:
    """The images as they are held, in the parts that they come in; there may be no test part yet.

    Raises LongtailError with one sentence for what cannot be opened.
    """
    if str(data) in NAMED:
        return NAMED[str(data)](reading, watcher)
    if str(data).startswith(PREFIX):
        return open_hub(str(data).removeprefix(PREFIX), watcher)
    if is_remote(data) or Path(data).is_file() or is_range(data):
        return _open_file(Place(str(data)), reading, watcher)
    folder = Path(data)
    if isinstance(data, str) and folder.name == data and not folder.exists():
        raise unknown("folder or data set", data, NAMED)
    check_folder(folder)
    if is_saved(folder):
        return open_saved(folder, watcher)
    if _holds_files_only(folder):
        if shards_in(folder):
            return open_shards(folder, _kept(reading), watcher)
        if tables := parquet_files(folder):
            return open_parquet(folder.resolve().name, tables, watcher)
    return open_folder(folder, watcher)


def _open_file(place: Place, reading: Reading, watcher: Watcher) -> ImageSet:
    if place.suffix == ".tar":
        return open_shards(place.where, _kept(reading), watcher)
    if place.suffix in PARQUET and not is_remote(place.where):
        path = Path(place.where)
        if holds_bytes(path):
            return open_parquet(path.stem, [path], watcher)
        return _open_table(place, *parquet_rows(path), "row", reading, watcher)
    if place.suffix in TABLES:
        return _open_table(place, *read_rows(place), "line", reading, watcher)
    if place.suffix in LISTS and not is_remote(place.where):
        return _open_list(Path(place.where), reading, watcher)
    forms = ", ".join(sorted(TABLES | PARQUET | LISTS | {".tar"}))
    kind = "no table or shard that can be read from there" if is_remote(place.where) else "a file"
    raise LongtailError(
        f"{shown(place.where)} is {kind}; give a folder with one folder of images for each class, or a file of these "
        f"forms: {forms}."
    )


def _open_table(
    place: Place, columns: tuple[str, ...], rows: list[Row], unit: str, reading: Reading, watcher: Watcher
) -> ImageSet:
    """A table of paths, relative to its own folder or to the image root."""
    source = f"{shown(place.name)}, {unit}"
    roles = roles_of(columns, source)
    asked = reading.get("image_root")
    if is_remote(place.where) or is_remote(asked or ""):
        entries = entries_of(rows, roles, columns, name_below, source)
        names = np.array([entry.image for entry in entries], dtype=object)
        far = RemoteFiles(str(asked or place.folder).rstrip("/"), names)
        return image_set(Path(place.name).stem, entries, far, UNREAD, notes=[_table_note(entries), roles.note()])
    root = Path(asked or place.folder or ".")
    check_folder(root)
    entries = entries_of(rows, roles, columns, Inside(root).name, source)
    pixels, headers = files(root, entries, watcher)
    return image_set(Path(place.name).stem, entries, pixels, headers, notes=[_table_note(entries), roles.note()])


def _table_note(entries: Sequence[Entry]) -> str:
    classes = counted(len({entry.label for entry in entries}), "class")
    return f"Data: a table of {len(entries):,} images of {classes} ({parts_in_words(entries)})"


def _open_list(path: Path, reading: Reading, watcher: Watcher) -> ImageSet:
    """A list of the user's own: `path label` lines; numbers as labels take the names of folders."""
    root = Path(reading.get("image_root") or path.parent)
    check_folder(root)
    entries = read_list(path, "train", Inside(root))
    pixels, headers = files(root, entries, watcher)
    numbered = all(entry.label.isdecimal() for entry in entries)
    note = f"Data: a list of {len(entries):,} images of {counted(len({entry.label for entry in entries}), 'class')}"
    names = names_of_folders(entries) if numbered else None
    return image_set(path.stem, entries, pixels, headers, notes=[note], names=names)


def _holds_files_only(folder: Path) -> bool:
    """Whether there are no class folders: of folders only those of the parts, and data/, none within them."""
    folders = _folders(folder)
    known = [path for path in folders if path.name.lower() in PART_FOLDERS or path.name == "data"]
    return len(known) == len(folders) and not any(_folders(path) for path in known)


def _folders(folder: Path) -> list[Path]:
    try:
        return [
            path
            for path in folder.iterdir()
            if path.is_dir() and not path.name.startswith(".") and path.name != "__MACOSX"
        ]
    except OSError:
        return []  # whoever reads it says so


def _kept(reading: Reading) -> Path | None:
    """Where the index of shards is kept."""
    folder = reading.get("cache")
    return None if folder is None else Path(folder)
