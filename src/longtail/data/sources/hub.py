"""Image sets of Hugging Face's `datasets`: saved to a folder, built into one, or named on the hub.

Arrow files are memory-mapped and never unpickled. Of a hub set only its data are read: scripts are never run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longtail.data.images.headers import headers_of
from longtail.data.images.reading import UnreadableImage, read_bytes
from longtail.data.parts import ImageSet
from longtail.data.sources.catalogue import Entry, clean_label, image_set, in_order, parts_in_words
from longtail.data.sources.encoded import Encoded
from longtail.data.sources.extras import library
from longtail.data.sources.finding import PART_FOLDERS
from longtail.data.sources.inside import Inside
from longtail.data.sources.tables import Roles, roles_of
from longtail.data.words import listed, shown
from longtail.errors import LongtailError
from longtail.text import counted
from longtail.watching import Watcher

PREFIX = "hub:"


@dataclass(frozen=True, eq=False)
class InHub(Encoded):
    """Images of the rows of `datasets.Dataset`s, one for each part."""

    sets: tuple[Any, ...]
    column: str
    folder: Path | None  # that files beside the rows must lie in; None allows none
    of_set: NDArray[np.int64]  # (N,) of `sets`
    rows: NDArray[np.int64]  # (N,)
    common_size: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def content(self, index: int) -> bytes:
        image = self.sets[self.of_set[index]][int(self.rows[index])][self.column]
        if image["bytes"] is not None:
            return bytes(image["bytes"])
        if self.folder is None or not image["path"]:
            raise UnreadableImage("the row has no bytes")
        try:
            return read_bytes(self.folder / Inside(self.folder).name(image["path"], "the row"))
        except LongtailError as error:
            raise UnreadableImage(getattr(error, "reason", str(error))) from error

    def subset(self, indices: NDArray[np.int64]) -> InHub:
        return replace(self, of_set=self.of_set[indices], rows=self.rows[indices])


def is_saved(folder: Path) -> bool:
    """Whether `datasets` wrote the folder."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json", "dataset_info.json"))


def open_saved(folder: Path, watcher: Watcher) -> ImageSet:
    """The image set that `save_to_disk` or a builder wrote into `folder`.

    Raises LongtailError for a folder that cannot be read, and for a set without images and labels.
    """
    datasets = library("datasets", "hub", f"Reading {shown(folder.name)}")
    try:
        found = _built(folder, datasets) or datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise LongtailError(
            f"{shown(str(folder))} is no whole folder of Hugging Face's datasets ({reason})."
        ) from error
    return _image_set(folder.resolve().name, found, folder, datasets, watcher)


def open_hub(name: str, watcher: Watcher) -> ImageSet:
    """The image set of the hub that `name` names: `owner/set`, or `owner/set:configuration`.

    It is downloaded into the hub's own cache. Raises LongtailError where it is not to be had.
    """
    datasets = library("datasets", "hub", f"Loading {shown(name)} from the hub")
    place, _, configuration = name.partition(":")
    if not place:
        raise LongtailError("Which set of the hub? Name its owner and itself, as in hub:owner/name.")
    watcher.say(f"Loading {shown(place)} from the Hugging Face hub")
    try:
        found = datasets.load_dataset(place, configuration or None)
    except Exception as error:  # the network and the hub have many ways to fail
        reason = str(error).partition("\n")[0]
        raise LongtailError(f"{shown(place)} cannot be loaded from the hub: {reason}") from error
    return _image_set(place.rpartition("/")[2], found, None, datasets, watcher)


def _built(folder: Path, datasets: Any) -> dict[str, Any] | None:
    """The parts of a builder's folder, NAME-train-00000-of-00002.arrow and so on; None for other folders."""
    if (folder / "state.json").exists() or (folder / "dataset_dict.json").exists():
        return None
    files: dict[str, list[Any]] = {}
    for path in sorted(folder.glob("*.arrow")):
        words = [word for word in path.stem.split("-") if word.lower() in PART_FOLDERS]
        files.setdefault(words[-1] if words else "train", []).append(datasets.Dataset.from_file(str(path)))
    return {part: datasets.concatenate_datasets(pieces) for part, pieces in files.items()} or None


def _image_set(name: str, found: Any, folder: Path | None, datasets: Any, watcher: Watcher) -> ImageSet:
    used, left_out = _parts(name, dict(found) if isinstance(found, Mapping) else {"train": found})
    roles = roles_of(used["train"].column_names, f"{shown(name)}, row")
    decoded = [_undecoded(each, roles.image, name, datasets) for each in used.values()]
    entries = [entry for part, each in zip(used, decoded, strict=True) for entry in _entries(name, part, each, roles)]
    lengths = [len(each) for each in decoded]
    pixels = InHub(
        tuple(decoded),
        roles.image,
        folder,
        np.repeat(np.arange(len(decoded)), lengths),
        np.concatenate([np.arange(length) for length in lengths]),
    )
    headers = headers_of([entry.image for entry in entries], pixels.open, watcher)
    notes = [
        f"Data: {shown(name)}, a set of Hugging Face's datasets with {len(entries):,} images of "
        f"{counted(len({entry.label for entry in entries}), 'class')} ({parts_in_words(entries)})",
        roles.note(),
        *([f"Left out, splits that are no parts: {listed(left_out)}"] if left_out else []),
    ]
    names = _names(used["train"].features[roles.label], entries)
    return image_set(name, entries, replace(pixels, common_size=headers.size), headers, notes=notes, names=names)


def _parts(name: str, splits: Mapping[Any, Any]) -> tuple[dict[str, Any], list[str]]:
    """The rows of each part, and the splits that are none. Raises LongtailError for two of a part, and for no train."""
    parts: dict[str, Any] = {}
    left_out = []
    for split, rows in splits.items():
        part = PART_FOLDERS.get(str(split).lower())
        if part is None:
            left_out.append(str(split))
        elif part in parts:
            raise LongtailError(f"{shown(name)} has several splits for the {part} part ({listed(list(splits))}).")
        else:
            parts[part] = rows
    if "train" not in parts:
        raise LongtailError(f"{shown(name)} has the splits {listed(list(map(str, splits)))}, but no train among them.")
    return parts, left_out


def _undecoded(rows: Any, column: str, name: str, datasets: Any) -> Any:
    """The rows with their images as bytes, as they are stored."""
    if column not in rows.column_names or not isinstance(rows.features[column], datasets.Image):
        raise LongtailError(f"The column {column!r} of {shown(name)} holds no images; cast it to datasets.Image().")
    return rows.cast_column(column, datasets.Image(decode=False))


def _entries(name: str, part: str, rows: Any, roles: Roles) -> list[Entry]:
    source = f"{shown(name)}, {part} row"
    if roles.label not in rows.column_names:
        raise LongtailError(f"The {part} part of {shown(name)} has no column {roles.label!r}.")
    others = [column for column in rows.column_names if column not in roles]
    texts = {
        column: rows[column] for column in others if rows.features[column].__class__.__name__ in {"Value", "ClassLabel"}
    }
    return [
        Entry(
            f"{part}/{row}",
            clean_label(str(label), f"{source} {row}"),
            part,
            source,
            row,
            {column: str(values[row]) for column, values in texts.items()},
        )
        for row, label in enumerate(rows[roles.label])
    ]


def _names(feature: Any, entries: Sequence[Entry]) -> dict[str, str] | None:
    """Class names for numbers, where the set has them."""
    names = getattr(feature, "names", None)
    used = in_order({entry.label for entry in entries})
    if not names or not all(label.isdecimal() and int(label) < len(names) for label in used):
        return None
    return {label: str(names[int(label)]) for label in used}
