"""Lists of images as the public splits have them: `path label` lines, and iNaturalist's JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from longtail.data.images.headers import Headers, read_headers
from longtail.data.pixels import Files
from longtail.data.sources.catalogue import Entry, clean_label, in_order
from longtail.data.sources.inside import Inside
from longtail.data.sources.places import Place
from longtail.data.words import shown
from longtail.errors import LongtailError
from longtail.watching import Watcher


def read_list(path: Path, part: str, inside: Inside) -> list[Entry]:
    """The images of a list file: `path label` lines, or iNaturalist's JSON where the name ends in .json.

    Raises LongtailError, with file and line, for a line that is none, a path that leads out of the folder, and a list
    without images.
    """
    rows = _json_rows(path) if path.suffix.lower() == ".json" else _lines(path)
    source = f"{shown(path.name)}, {'annotation' if path.suffix.lower() == '.json' else 'line'}"
    entries = []
    for number, image, label in rows:
        where = f"{source} {number}"
        entries.append(Entry(inside.name(image, where), clean_label(label, where), part, source, number))
    if not entries:
        raise LongtailError(f"{shown(str(path))} lists no image; a line is a path and a label, as in: cat/001.jpg 0")
    return entries


def read_text(place: Place) -> str:
    """A text file, in which bytes that are no UTF-8 stand for themselves, as they do in names of files.

    Raises LongtailError for a file that cannot be read.
    """
    with place.open() as file:
        return file.read().decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def files(root: Path, entries: Sequence[Entry], watcher: Watcher) -> tuple[Files, Headers]:
    """The files of the entries and what their headers tell.

    Raises LongtailError where not one of them is there.
    """
    names = tuple(entry.image for entry in entries)
    sizes = np.array([_bytes(root / name) for name in names], dtype=np.int64)
    if len(sizes) and sizes.max() < 0:
        raise LongtailError(
            f"{entries[0].where}: there is no {shown(names[0])} under {shown(str(root))}, nor any other image of the "
            "list; name the folder that they are in with --image-root."
        )
    headers = read_headers(root, names, watcher)
    return Files(root, names, sizes.clip(0), headers.size), headers


def names_of_folders(entries: Sequence[Entry]) -> Mapping[str, str]:
    """Class names for labels that are numbers: the folder of each class's images where it has one of its own.

    >>> entries = [Entry("train/cat/1.jpg", "0", "train", "", 1), Entry("val/cat/2.jpg", "0", "test", "", 2)]
    >>> names_of_folders([*entries, Entry("train/ant/3.jpg", "1", "train", "", 3)])
    {'0': 'cat', '1': 'ant'}
    """
    folders: dict[str, set[str]] = {}
    for entry in entries:
        folders.setdefault(entry.label, set()).add(PurePosixPath(entry.image).parent.name)
    labels = in_order(folders)
    names = [next(iter(folders[label])) for label in labels]
    if len(set(names)) < len(names) or not all(names) or any(len(each) > 1 for each in folders.values()):
        names = labels
    return dict(zip(labels, names, strict=True))


def _lines(path: Path) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(read_text(Place(str(path))).split("\n"), start=1):
        if not line.strip():
            continue
        image, *label = line.rsplit(maxsplit=1)
        if not label:
            raise LongtailError(
                f"{shown(path.name)}, line {number}: a line is a path and a label, as in cat/001.jpg 0, not {image!r}."
            )
        yield number, image, label[0]


def _json_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """`images` with `id` and `file_name`, `annotations` with `image_id` and `category_id`: COCO's way to say it."""
    try:
        content = json.loads(read_text(Place(str(path))))
        names = {_whole(image["id"]): str(image["file_name"]) for image in content["images"]}
        pairs = [(_whole(each["image_id"]), _whole(each["category_id"])) for each in content["annotations"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LongtailError(
            f"{shown(str(path))} is no list of images in iNaturalist's form, an object with images (id, file_name) and "
            f"annotations (image_id, category_id): {str(error).partition(chr(10))[0]}."
        ) from error
    if labelled := len(names) - len({image for image, _ in pairs} & names.keys()):
        raise LongtailError(f"{shown(str(path))} has {labelled} images without an annotation; remove or label them.")
    for number, (image, category) in enumerate(pairs, start=1):
        if image not in names:
            raise LongtailError(f"{shown(path.name)}, annotation {number}: there is no image {image}.")
        yield number, names[image], str(category)


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _bytes(path: Path) -> int:
    """-1 where there is no file."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return -1
