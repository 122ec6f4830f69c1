"""Finds image files beneath a folder: which class they belong to by their place, and what is left out and why."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from longtail.data.images.reading import SUFFIXES
from longtail.data.words import listed, printable, shown
from longtail.errors import LongtailError
from longtail.text import counted

PART_FOLDERS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}  # folder name in lower case -> part


@dataclass(frozen=True)
class Layout:
    """The folders of the parts (the root itself where it holds class folders), and what lies beside them."""

    parts: dict[str, Path]
    left_out: list[str]


@dataclass(frozen=True)
class Found:
    """Image files by class; names and bytes of one class stand in the order of the names."""

    names: dict[str, list[str]]  # class -> paths relative to the root, with forward slashes
    bytes: dict[str, list[int]]
    loose: list[str] = field(default_factory=list)  # images in no class folder
    passed_over: Counter[str] = field(default_factory=Counter)  # suffixes of files that are no images

    def notes(self) -> Iterator[str]:
        """What was left out, a line each."""
        if self.loose:
            yield f"Left out, in no class folder: {counted(len(self.loose), 'image')} ({listed(self.loose)})"
        if self.passed_over:
            suffixes = ", ".join(f"{suffix} {count}" for suffix, count in self.passed_over.most_common(8))
            yield f"Left out, no images by their suffix: {counted(self.passed_over.total(), 'file')} ({suffixes})"


def find_layout(root: Path) -> Layout:
    """Which parts (train, validation, test) have folders of their own beneath `root`.

    A folder `train` among others that are no parts is a class, unless a test or validation folder stands beside it.
    Raises LongtailError for parts without train, and for two folders of one part.
    """
    entries = _entries(root)
    for entry in entries:
        _check_link(entry, os.path.realpath(root))
    folders = [entry.name for entry in entries if entry.is_dir()]
    parts: dict[str, Path] = {}
    for name in folders:
        part = PART_FOLDERS.get(name.lower())
        if part in parts:
            raise LongtailError(f"{root} has both {parts[part].name}/ and {name}/; leave one {part} folder.")
        if part is not None:
            parts[part] = root / name
    if parts and "train" not in parts and len(parts) == len(folders):
        raise LongtailError(f"{root} has {' and '.join(f'{name}/' for name in folders)} but no train/ beside it.")
    if "train" not in parts or (len(parts) == 1 and len(folders) > 1):
        return Layout({"train": root}, [])
    used = {folder.name for folder in parts.values()}
    in_order = {part: parts[part] for part in dict.fromkeys(PART_FOLDERS.values()) if part in parts}
    return Layout(in_order, [printable(entry.name) for entry in entries if entry.name not in used])


def find_images(folder: Path, root: Path) -> Found:
    """The images of every class folder of `folder`, named relative to `root`; nested folders belong to their class.

    Classes are sorted by name (plain code points, as torchvision's ImageFolder does). Hidden files and __MACOSX are
    ignored. Raises LongtailError for a link that leads out of the root or round in a circle, and for a folder that may
    not be read.
    """
    found = Found({}, {})
    inside = os.path.realpath(root)
    for entry in _entries(folder):
        _check_link(entry, inside)
        if not entry.is_dir():
            if _is_image(entry, found):
                found.loose.append(relative_name(entry.path, root))
            continue
        images = [file for file in _walk(entry, inside) if _is_image(file, found)]
        label = printable(entry.name)
        found.names[label] = [relative_name(file.path, root) for file in images]
        found.bytes[label] = [_bytes(file) for file in images]
    return found


def relative_name(path: str, root: Path) -> str:
    """`path` relative to `root`, with forward slashes on every system."""
    return PurePath(path).relative_to(root).as_posix()


def _walk(folder: os.DirEntry[str], inside: str) -> Iterator[os.DirEntry[str]]:
    for entry in _entries(folder.path):
        _check_link(entry, inside)
        if entry.is_dir():
            yield from _walk(entry, inside)
        else:
            yield entry


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            seen = [entry for entry in entries if not entry.name.startswith(".") and entry.name != "__MACOSX"]
    except OSError as error:
        raise LongtailError(f"The folder {shown(str(folder))} cannot be read: {error.strerror}.") from error
    return sorted(seen, key=lambda entry: entry.name)


def _check_link(entry: os.DirEntry[str], inside: str) -> None:
    if not entry.is_symlink():
        return
    target = Path(os.path.realpath(entry.path))
    if not target.is_relative_to(inside):
        raise LongtailError(
            f"{shown(entry.path)} is a link that leads out of the data folder; put the files themselves there."
        )
    if Path(os.path.realpath(Path(entry.path).parent)).is_relative_to(target):
        raise LongtailError(f"{shown(entry.path)} is a link that leads round in a circle; remove it.")


def _is_image(entry: os.DirEntry[str], found: Found) -> bool:
    """Whether the name says image; other files are counted. A link to nothing is an image that cannot be read."""
    suffix = PurePath(entry.name).suffix.lower()
    if suffix in SUFFIXES and (entry.is_file() or entry.is_symlink()):
        return True
    found.passed_over[printable(suffix) or "without suffix"] += 1
    return False


def _bytes(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:
        return 0
